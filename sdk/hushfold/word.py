"""One word of a user's: what counts as one, how it is written, and what becomes of it as it is seen and decided on.

A ladder keeps slips of the finger out: a word is hidden at its first sighting, offered from the second on, and learned,
never taken for a slip again, from the third. How a word is written counts where it stands in the middle of a sentence:
beginnings and messages in capitals say nothing about it.

Values in, values out: `words` keeps them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum

from hushfold_format import FIRST_WORD, Vocabulary

from .errors import WordRefused
from .redaction import redact

OFFER_AT, LEARN_AT = 2, 3  # sightings
LONGEST = 48  # characters
LONGEST_NUMBER = 2  # digits: "2" and "4" are written for "to" and "for"
MOST_LEAD = 10  # so that a habit can change

_SURE = 3  # lead from which on a user writes a word of the model in another way than people do
_APOSTROPHES = str.maketrans("\u2019\u2018\u02bc", "'''")
_ADVICE = f"Give one word of letters, digits, apostrophes and hyphens, at most {LONGEST} characters"
_WORD = re.compile(r"[^\W_](?:['-]?[^\W_])*'?")


class Standing(StrEnum):
    """Where a word stands with its user. The first three are rungs of the ladder, the others are decisions."""

    HIDDEN = "hidden"
    OFFERED = "offered"
    LEARNED = "learned"  # offered, and never corrected
    TAUGHT = "taught"  # offered, and never corrected
    BLOCKED = "blocked"  # never offered
    FORGOTTEN = "forgotten"  # as if it had never been written, now and later


@dataclass(frozen=True, slots=True)
class KnownWord:
    """What is kept of a word. It is found by its `key_of`."""

    form: str
    lead: int = 0  # how much more often than others this form was written lately, at most MOST_LEAD
    sightings: int = 0
    decision: Standing | None = None
    seen_at: float = 0.0  # unix seconds, when it was last written or decided on

    def written(self, form: str) -> KnownWord:
        """The word after one more look at how it is written.

        The form and its lead are those of a majority vote (Boyer and Moore 1991, MJRTY): enough to find the form that
        is written more often than all others, without a count of each.
        """
        if form == self.form:
            return replace(self, lead=min(self.lead + 1, MOST_LEAD))
        return replace(self, lead=self.lead - 1) if self.lead else replace(self, form=form, lead=1)


def decided(known: KnownWord | None, form: str, decision: Standing, at: float) -> KnownWord:
    """The word after its user has decided on it: taught, blocked or forgotten. `known` is None for a new one."""
    if decision is Standing.TAUGHT:
        return KnownWord(form, MOST_LEAD, known.sightings if known else 0, decision, at)
    if decision is Standing.BLOCKED:
        return replace(known or KnownWord(key_of(form)), decision=decision, seen_at=at)
    return KnownWord(key_of(form), decision=decision, seen_at=at)


@dataclass(frozen=True, slots=True)
class Ladder:
    """How words climb, and what follows from it for suggestions.

    Attributes:
        vocabulary: the model's words, which are no user's own: of these only casing and decisions count.
        offer_at, learn_at: rungs, in sightings.
    """

    vocabulary: Vocabulary
    offer_at: int = OFFER_AT
    learn_at: int = LEARN_AT

    def observed(self, known: KnownWord | None, form: str, telling: bool, at: float) -> KnownWord | None:
        """What is to be kept of a word after it was written once more; `known` itself if nothing is new.

        Args:
            known: what was kept, if anything was.
            form: as it was written.
            telling: whether it stands where its casing says something.
            at: unix seconds.
        """
        if known and known.decision in (Standing.FORGOTTEN, Standing.BLOCKED):
            return known
        taught = known is not None and known.decision is Standing.TAUGHT
        if key_of(form) in self.vocabulary:
            return self._casing(known, form, at) if telling and not taught else known
        known = known or KnownWord(key_of(form))
        if telling and not taught:
            known = known.written(form)
        return replace(known, sightings=known.sightings + 1, seen_at=at)

    def _casing(self, known: KnownWord | None, form: str, at: float) -> KnownWord | None:
        """A word of the model: kept only while the user writes it in another way than people do."""
        key = key_of(form)
        token_id = self.vocabulary.encode_word(key)
        if self.vocabulary.words[token_id - FIRST_WORD] != key:
            return known  # a spelling that the vocabulary does not hold as it stands, such as one with a quote
        usual = self.vocabulary.surface(token_id)
        if form == usual and not (known and known.lead):
            return known
        written = (known or KnownWord(usual)).written(form)
        return replace(written, seen_at=at) if written.lead else None

    def unblocked(self, known: KnownWord) -> KnownWord | None:
        """What is to be kept of a word once its block is lifted."""
        worth_keeping = known.sightings or (known.lead and key_of(known.form) in self.vocabulary)
        return replace(known, decision=None) if worth_keeping else None

    def standing(self, known: KnownWord) -> Standing:
        """Its rung, or what was decided."""
        if known.decision:
            return known.decision
        if known.sightings < self.offer_at:
            return Standing.HIDDEN
        return Standing.OFFERED if known.sightings < self.learn_at else Standing.LEARNED

    def offers(self, known: KnownWord) -> bool:
        """Whether the word may be suggested and the model does not have it."""
        offered = (Standing.OFFERED, Standing.LEARNED, Standing.TAUGHT)
        return self.standing(known) in offered and key_of(known.form) not in self.vocabulary

    def trusts(self, known: KnownWord) -> bool:
        """Whether the word is never taken for a slip."""
        return self.standing(known) in (Standing.LEARNED, Standing.TAUGHT)

    def overrides(self, known: KnownWord) -> bool:
        """Whether the word is written in the user's form even where the model has another."""
        sure = known.decision is None and known.lead >= _SURE and key_of(known.form) in self.vocabulary
        return known.decision is Standing.TAUGHT or sure

    def shown(self, known: KnownWord | None) -> tuple[object, ...]:
        """What suggestions depend on: equal before and after a change that they need not know of."""
        if known is None:
            return False, False, False, None
        offers, overrides = self.offers(known), self.overrides(known)
        blocks = known.decision is Standing.BLOCKED
        return offers, self.trusts(known), blocks, known.form if offers or overrides else None


def key_of(word: str) -> str:
    """What all ways of writing a word have in common; that of a key is itself."""
    lower = unicodedata.normalize("NFC", word.translate(_APOSTROPHES)).lower()
    return unicodedata.normalize("NFC", lower)


def is_word(text: str) -> bool:
    """Whether it is one word with a letter in it, or a short number; straight apostrophes and hyphens may be inside."""
    if len(text) > LONGEST or not _WORD.fullmatch(text):
        return False
    return any(map(str.isalpha, text)) or (text.isdecimal() and len(text) <= LONGEST_NUMBER)


def checked(word: str) -> str:
    """The word as it is kept, without spaces around it. Raises WordRefused for what is not one word."""
    word = unicodedata.normalize("NFC", word.strip().translate(_APOSTROPHES))
    if not word:
        raise WordRefused("there is no word", _ADVICE)
    redacted = redact(word)
    if "<email>" in redacted:
        raise WordRefused("an e-mail address is not kept as a word", _ADVICE)
    if "<url>" in redacted:
        raise WordRefused("a link is not kept as a word", _ADVICE)
    if redacted != word:
        raise WordRefused("a long number, or what looks like a password, is not kept as a word", _ADVICE)
    if len(word) > LONGEST:
        raise WordRefused(f"a word of {len(word):,} characters is too long", _ADVICE)
    if (count := len(word.split())) > 1:
        raise WordRefused(f"these are {count} words", _ADVICE)
    if word.isdecimal() and len(word) > LONGEST_NUMBER:
        raise WordRefused(f"a number of {len(word)} digits is not kept as a word", _ADVICE)
    if not is_word(_without_marks(word)):
        raise WordRefused(f"{word!r} is not a word", _ADVICE)
    return word


def _without_marks(word: str) -> str:
    """The word without signs that belong to the letter before them, as in Arabic or Hindi."""
    return "".join(character for character in word if not unicodedata.category(character).startswith("M"))
