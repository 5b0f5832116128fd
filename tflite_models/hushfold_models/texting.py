"""Public text, respelt as people text it.

People who write on phones shorten words, and leave out articles, subjects and full stops. A base that has seen this
done to ordinary sentences understands a phone better from the first day. The table is common knowledge about texting
English, written for this project; it comes from no corpus.
"""

from __future__ import annotations

import random
import re

_RATES = (0.3, 0.6, 0.9)  # of the words that have a short form, how many a writer shortens
_TERSE = 0.6  # share of writers who leave words out
_TERSE_RATES = (0.4, 0.8)  # of the words that can be left out, how many they leave out
_U_FOR_YOU = 0.93  # hardly anybody who texts writes it out
_IN_FOR_ING = 0.4  # "goin", as a share of the rate
_HALF = 0.5
_ADDED_ENDING = 0.12

_SHORT = """
about: abt bout
already: oredi alr alrdy
also: oso
and: n & nd
anyone: any1
are: r
around: ard
back: bk
be: b
because: cos coz cuz bcos bcoz
before: b4 bef
better: btr
birthday: bday
brother: bro
but: bt
can't: cant cnt
could: cld
couldn't: couldnt
didn't: didnt din
dinner: din dinner
doesn't: doesnt
don't: dont dun
everyone: every1
for: 4
friday: fri
friend: fren frnd
friends: frens frnds
from: frm
good: gd
great: gr8
haven't: havent
have: hv hav haf
he's: hes
hello: helo hey hi
home: hm
hour: hr
hours: hrs
house: hse
how: hw
i'd: id
i'll: ill
i'm: im
i've: ive
isn't: isnt
it's: its
just: jus jst juz
know: noe kno
late: l8
later: l8r ltr
lecture: lect
let's: lets
love: luv lv
maybe: mayb
message: msg
messages: msgs
minute: min
minutes: mins
mom: mum
monday: mon
month: mth
morning: mrng morn
mother: mum
much: mch
must: mus
need: nid
night: nite nt
no: nope na
not: nt
now: nw
number: no num
ok: k okie okay
okay: ok k okie
one: 1
people: ppl pple
picture: pic
pictures: pics
please: pls plz
really: rly realy
right: rite
saturday: sat
school: sch skool
see: c
she's: shes
should: shld
shouldn't: shouldnt
sister: sis
some: sum
someone: sum1 som1
something: smth sumthing
sorry: sry sori
still: stil
sunday: sun
text: txt
thank: thk
thanks: thx thnx tks tnx
that: tat dat
that's: thats
the: d da
them: dem
then: den
there: der
there's: theres
they: dey
thing: ting
think: tink thk
this: dis
three: 3
thursday: thu thurs
to: 2
today: 2day tdy
tomorrow: tmr 2moro tomo tmrw
tonight: 2nite tonite
too: 2
tuesday: tue tues
two: 2
very: v vry
wait: w8
want: wan wana
wanted: wantd
was: ws
wasn't: wasnt
wednesday: wed
week: wk
weekend: wkend
well: wel
what: wat wot wad
what's: whats wats
when: wen
where: whr
which: wich
why: y
will: wil
with: wif w wit wth
won't: wont
work: wrk
would: wld
wouldn't: wouldnt
yeah: ya yah yea
year: yr
years: yrs
yes: ya yup yep yeah
you're: ur ure
your: ur yr
"""
_SHORT_PHRASES = {
    "a lot": ("alot",),
    "as soon as possible": ("asap",),
    "be right back": ("brb",),
    "by the way": ("btw",),
    "don't know": ("dunno",),
    "give me": ("gimme",),
    "going to": ("gonna",),
    "good night": ("gdnite", "gnite", "gd nite"),
    "got to": ("gotta",),
    "have to": ("hafta", "hv 2"),
    "i don't know": ("idk", "dunno"),
    "kind of": ("kinda",),
    "let me": ("lemme",),
    "never mind": ("nvm",),
    "oh my god": ("omg",),
    "out of": ("outta",),
    "see you": ("cya", "c u", "see ya"),
    "talk to you later": ("ttyl",),
    "to be honest": ("tbh",),
    "want to": ("wanna", "wana"),
}
_ENDINGS = ("haha", "lol", "hehe", "la", "lah", "lor", "ah", "leh", "man", "dear", "yo")

_FORMS = {word: tuple(short.split()) for word, short in (line.split(": ") for line in _SHORT.split("\n") if line)}
_PHRASE = re.compile(r"\b(" + "|".join(sorted(_SHORT_PHRASES, key=len, reverse=True)) + r")\b")
_WORD = re.compile(r"<[a-z]+>|[a-z0-9']+")
_OMITTED = re.compile(r"\b(?:the|an?|is|are|am|that|do|does|did|have|has|would|of)\s+")
_OMITTED_FIRST = re.compile(
    r"(^|[.!?]\s+)(?:i am|i'm|i will|i'll|i have|i've|i'd|i would|i|it's|it is|that's|do you|are you)\s+"
)
_FULL_STOP = re.compile(r"\.(?=\s|$)")


def respell(text: str, chance: random.Random) -> str:
    """A message as somebody might text it, in lower case; who that is, `chance` decides anew for each message."""
    text = text.lower().replace("\u2019", "'")
    if chance.random() < _TERSE:
        rate = chance.choice(_TERSE_RATES)
        text = _OMITTED.sub(lambda found: _maybe("", found[0], rate, chance), text)
        text = _OMITTED_FIRST.sub(lambda found: _maybe(found[1], found[0], rate, chance), text)
    text = _PHRASE.sub(lambda found: _maybe(chance.choice(_SHORT_PHRASES[found[0]]), found[0], _HALF, chance), text)
    rate = chance.choice(_RATES)
    text = _WORD.sub(lambda found: _shortened(found[0], rate, chance), text)
    if chance.random() < _HALF:
        text = text.replace(",", "")
    if chance.random() < _HALF:
        text = _FULL_STOP.sub(lambda _: chance.choice(("", "...")), text)
    if chance.random() < _ADDED_ENDING:
        text = f"{text.rstrip(' .')} {chance.choice(_ENDINGS)}"
    return text


def _shortened(word: str, rate: float, chance: random.Random) -> str:
    if word == "you":
        return _maybe("u", word, _U_FOR_YOU, chance)
    if word in _FORMS:
        return _maybe(chance.choice(_FORMS[word]), word, rate, chance)
    if len(word) > len("wing") and word.endswith("ing"):
        return _maybe(word[:-1], word, _IN_FOR_ING * rate, chance)
    return word


def _maybe(changed: str, original: str, probability: float, chance: random.Random) -> str:
    return changed if chance.random() < probability else original
