"""The words of a user that the model does not know, and what the user decides about words.

A ladder keeps slips of the finger out: a word is hidden at its first sighting, offered from the second on, and learned,
never taken for a slip again, from the third. How a word is written counts where it stands in the middle of a sentence:
beginnings and messages in capitals say nothing about it. Unlike messages, words do not expire.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from hushfold_format import FIRST_WORD, Vocabulary, tokenize

from .clock import Clock
from .errors import WordRefused
from .redaction import redact
from .store import Store
from .wordlists import Entry, ImportReport, Skipped, parse, to_bytes

OFFER_AT, LEARN_AT = 2, 3  # sightings
LONGEST = 48  # characters
MOST_WORDS = 20_000  # beyond it those go that were seen least, and of these the oldest
LONGEST_NUMBER = 2  # digits: "2" and "4" are written for "to" and "for"

_SURE = 3  # lead from which on a user writes a word of the model in another way than people do
_MOST_LEAD = 10  # so that a habit can change
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


_DECISIONS = (Standing.TAUGHT, Standing.BLOCKED, Standing.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class PersonalWord:
    """A word as a settings screen shows it."""

    form: str  # as the user writes it; lower-case for one that was forgotten
    sightings: int
    standing: Standing
    seen_at: float  # unix seconds, when it was last written or decided on


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a word, by its lower-case spelling."""

    form: str
    lead: int = 0
    sightings: int = 0
    decision: Standing | None = None
    seen_at: float = 0.0

    def written(self, form: str) -> _Known:
        """The word after one more look at how it is written.

        The form and its lead are those of a majority vote (Boyer and Moore 1991, MJRTY): enough to find the form that
        is written more often than all others, without a count of each.
        """
        if form == self.form:
            return replace(self, lead=min(self.lead + 1, _MOST_LEAD))
        return replace(self, lead=self.lead - 1) if self.lead else replace(self, form=form, lead=1)


_Changes = dict[str, _Known | None]  # by key; None for a word that goes


class PersonalWords:
    """One user's words, in the store and in memory. Safe to share between threads; reading does not wait for the store.

    Args:
        store: where they are kept.
        vocabulary: the model's words, which are no user's own; of these only casing and decisions are kept.
        offer_at, learn_at: rungs of the ladder, in sightings.
    """

    def __init__(
        self, store: Store, vocabulary: Vocabulary, clock: Clock, *, offer_at: int = OFFER_AT, learn_at: int = LEARN_AT
    ) -> None:
        self._store, self._vocabulary, self._clock = store, vocabulary, clock
        self._offer_at, self._learn_at = offer_at, learn_at
        self._lock = threading.Lock()  # held while memory is read or changed; taken after the store's, where both are
        self._words: dict[str, _Known] = {}
        self._revision = 0
        self.reload()

    @property
    def revision(self) -> int:
        """Grows whenever `offered`, `trusted`, `blocked` or `forms` may have changed."""
        return self._revision

    def reload(self) -> None:
        """Read the words from the store again, after a wipe for one."""
        with self._store.transaction():
            rows = self._store.execute("SELECT word, form, lead, sightings, decision, seen_at FROM personal_words")
            with self._lock:
                self._words = {
                    word: _Known(form, lead, n, Standing(decision) if decision else None, at)
                    for word, form, lead, n, decision, at in rows
                }
                self._revision += 1

    # -------------------------------------------------------------- what is typed

    def observe(self, message: str) -> None:
        """Count the words of a message that was kept, once for each time that they are written."""
        shouted, before, ended = message.isupper(), "", 0
        with self._changing() as changes:
            for token in tokenize(message):
                # After a word or a comma, on the same line: elsewhere a capital may be that of a sentence.
                inside = before[-1:].isalnum() or before in (",", "&")
                telling = inside and not shouted and "\n" not in message[ended : token.start]
                text = message[token.start : token.end] if token.text == "<number>" else token.text
                word = unicodedata.normalize("NFC", text.strip("'") if text.startswith("'") else text)
                if _is_word(word):
                    self._count(changes, word, telling)
                before, ended = token.text, token.end

    def _count(self, changes: _Changes, word: str, telling: bool) -> None:
        key = _key(word)
        known = self._current(changes, key) or _Known(key)
        if known.decision in (Standing.FORGOTTEN, Standing.BLOCKED):
            return
        if known.decision is not Standing.TAUGHT and telling:
            known = known.written(word)
        if key not in self._vocabulary:
            changes[key] = replace(known, sightings=known.sightings + 1, seen_at=self._clock.now())
        elif telling and known.decision is None:
            self._note_casing(changes, key, word)

    def _note_casing(self, changes: _Changes, key: str, word: str) -> None:
        """A word of the model: kept only while the user writes it in another way than people do."""
        token_id = self._vocabulary.encode_word(key)
        if self._vocabulary.words[token_id - FIRST_WORD] != key:
            return  # a spelling that the vocabulary does not hold as it stands, such as one with a quote
        known = self._current(changes, key) or _Known(self._vocabulary.surface(token_id))
        usual = word == self._vocabulary.surface(token_id)
        if usual and not known.lead:
            return
        known = replace(known.written(word), seen_at=self._clock.now())
        changes[key] = known if known.lead else None

    # -------------------------------------------------------------- what the user decides

    def teach(self, word: str) -> None:
        """Offer the word from now on, as it is written here, and never correct it. Raises WordRefused."""
        self._decide(word, Standing.TAUGHT)

    def block(self, word: str) -> None:
        """Never offer the word, the model's or not; it may be typed all the same. Raises WordRefused."""
        self._decide(word, Standing.BLOCKED)

    def unblock(self, word: str) -> None:
        """Let the word be offered as if it had not been blocked. What was taught before is not: teach it again.

        Raises WordRefused.
        """
        key = _key(_checked(word))
        with self._changing() as changes:
            known = self._words.get(key)
            if known and known.decision is Standing.BLOCKED:
                worth_keeping = known.sightings or (known.lead and key in self._vocabulary)
                changes[key] = replace(known, decision=None) if worth_keeping else None

    def forget(self, word: str) -> None:
        """Drop the user's own word for good: written again, it is not learned again, but it can be taught.

        Raises WordRefused.
        """
        self._decide(word, Standing.FORGOTTEN)

    def reset(self, word: str) -> None:
        """Take back whatever was decided: the word is as one that was never seen. Raises WordRefused."""
        key = _key(_checked(word))
        with self._changing() as changes:
            if key in self._words:
                changes[key] = None

    def _decide(self, word: str, decision: Standing) -> None:
        form = _checked(word)
        with self._changing() as changes:
            changes[_key(form)] = self._decided(self._words.get(_key(form)), form, decision)

    def _decided(self, known: _Known | None, form: str, decision: Standing) -> _Known:
        if decision is Standing.TAUGHT:
            return _Known(form, _MOST_LEAD, known.sightings if known else 0, decision, self._clock.now())
        if decision is Standing.BLOCKED:
            return replace(known or _Known(_key(form)), decision=decision, seen_at=self._clock.now())
        return _Known(_key(form), decision=decision, seen_at=self._clock.now())

    # -------------------------------------------------------------- lists

    def import_words(self, content: bytes, name: str) -> ImportReport:
        """Take over a list of words, of this or another keyboard: see `wordlists` for the formats.

        Words are taken as taught or, if the list says how often they were seen, as seen that often. What the user has
        decided here stays. Importing a list again changes nothing.

        Args:
            content: of the file.
            name: of the file.

        Raises:
            WordRefused: the file cannot be read. Nothing is taken over.
        """
        added, known, kept, skipped = 0, 0, [], []
        items = parse(content, name)
        with self._changing() as changes:
            room = MOST_WORDS - len(self._words)
            for item in items:
                try:
                    if isinstance(item, Skipped):
                        raise WordRefused(item.reason)
                    form = _checked(item.text)
                    brought = self._brought(form, item)
                    now = self._current(changes, _key(form))
                    merged = self._merged(now, brought, foreign=not item.standing)
                    if now is None and merged is not None:
                        if not room:
                            raise WordRefused(f"no more than {MOST_WORDS:,} words are kept")
                        room -= 1
                except WordRefused as refusal:
                    skipped.append(Skipped(item.line, item.text, refusal.message))
                    continue
                if merged is not now:
                    changes[_key(form)] = merged
                    added += 1
                elif (
                    now and now.decision in (Standing.BLOCKED, Standing.FORGOTTEN) and brought.decision != now.decision
                ):
                    kept.append(form)
                else:
                    known += 1
        return ImportReport(added, known, tuple(kept), tuple(skipped))

    def export_words(self) -> bytes:
        """All that is kept, as a list that `import_words` takes over without loss, for a file of the user's."""
        with self._lock:
            return to_bytes(
                Entry(0, word.form, word.sightings, word.decision or "seen", word.lead)
                for _, word in sorted(self._words.items())
            )

    def _brought(self, form: str, entry: Entry) -> _Known:
        """What a list says of a word. Raises WordRefused."""
        if not entry.standing and entry.sightings is None:
            return self._decided(None, form, Standing.TAUGHT)
        decision = Standing(entry.standing) if entry.standing in _DECISIONS else None
        if not decision and entry.standing not in ("", "seen"):
            raise WordRefused(f"no word is {entry.standing!r}")
        if not (decision or entry.sightings or entry.lead):
            raise WordRefused("it was never seen")
        form = _key(form) if decision is Standing.FORGOTTEN else form
        lead = min(entry.lead, _MOST_LEAD) if entry.standing else 1
        return _Known(form, lead, entry.sightings or 0, decision, self._clock.now())

    def _merged(self, now: _Known | None, brought: _Known, foreign: bool) -> _Known | None:
        """What is known of a word once a list has brought it: `now` itself if the list has nothing new."""
        if (foreign and _key(brought.form) in self._vocabulary) or (now and now.decision):
            return now
        if now is None:
            return brought
        if brought.decision:
            return brought
        merged = replace(now, sightings=max(now.sightings, brought.sightings))
        if brought.lead > now.lead:
            merged = replace(merged, form=brought.form, lead=brought.lead)
        return now if merged == now else replace(merged, seen_at=brought.seen_at)

    # -------------------------------------------------------------- what follows for suggestions

    def offered(self) -> dict[str, str]:
        """Words that the model does not have and that may be suggested: lower-case, and as the user writes them."""
        with self._lock:
            return {key: word.form for key, word in self._words.items() if self._offers(key, word)}

    def trusted(self) -> frozenset[str]:
        """Lower-case words that are never taken for slips: learned and taught ones."""
        with self._lock:
            return frozenset(key for key, word in self._words.items() if self._trusts(word))

    def blocked(self) -> frozenset[str]:
        """Lower-case words that are never suggested."""
        with self._lock:
            return frozenset(key for key, word in self._words.items() if word.decision is Standing.BLOCKED)

    def forms(self) -> dict[str, str]:
        """How the user writes taught words, and words of the model where that differs from how people do."""
        with self._lock:
            return {key: word.form for key, word in self._words.items() if self._overrides(key, word)}

    def surface(self, word: str) -> str | None:
        """The user's own form of a word in any casing; None where there is none."""
        key = _key(word)
        with self._lock:
            known = self._words.get(key)
            if known is None or known.decision is Standing.FORGOTTEN:
                return None
            return known.form if key not in self._vocabulary or self._overrides(key, known) else None

    def is_own(self, word: str) -> bool:
        """Whether the user brought the word, or its form: written or taught, and not taken back."""
        with self._lock:
            known = self._words.get(_key(word.strip()))
        return known is not None and known.decision in (None, Standing.TAUGHT)

    def is_blocked(self, word: str) -> bool:
        """Whether the word, in any casing, is never suggested."""
        with self._lock:
            known = self._words.get(_key(word.strip()))
        return known is not None and known.decision is Standing.BLOCKED

    def all(self) -> list[PersonalWord]:
        """Every word that was brought or decided on, for a settings screen, in alphabetical order.

        Words of the model are among them if something was decided about them.
        """
        with self._lock:
            words = sorted(self._words.items())
        return [
            PersonalWord(word.form, word.sightings, self._standing(word), word.seen_at)
            for _, word in words
            if word.sightings or word.decision
        ]

    def _standing(self, word: _Known) -> Standing:
        if word.decision:
            return word.decision
        if word.sightings < self._offer_at:
            return Standing.HIDDEN
        return Standing.OFFERED if word.sightings < self._learn_at else Standing.LEARNED

    def _offers(self, key: str, word: _Known) -> bool:
        offers = word.decision is Standing.TAUGHT or (not word.decision and word.sightings >= self._offer_at)
        return offers and key not in self._vocabulary

    def _trusts(self, word: _Known) -> bool:
        return word.decision is Standing.TAUGHT or (not word.decision and word.sightings >= self._learn_at)

    def _overrides(self, key: str, word: _Known) -> bool:
        sure = word.decision is None and word.lead >= _SURE and key in self._vocabulary
        return word.decision is Standing.TAUGHT or sure

    # -------------------------------------------------------------- changes

    def _current(self, changes: _Changes, key: str) -> _Known | None:
        return changes[key] if key in changes else self._words.get(key)

    @contextmanager
    def _changing(self) -> Iterator[_Changes]:
        """Changes to gather in the block; they are made when it ends, in the store and then in memory.

        The store's lock keeps other writers out all the while, so that memory may be read without its own.
        """
        with self._store.transaction():
            changes: _Changes = {}
            yield changes
            self._make_room(changes)
            for key, word in changes.items():
                if word is None:
                    self._store.execute("DELETE FROM personal_words WHERE word = ?", (key,))
                else:
                    self._store.execute(
                        "REPLACE INTO personal_words VALUES (?, ?, ?, ?, ?, ?)",
                        (key, word.form, word.lead, word.sightings, word.decision, word.seen_at),
                    )
            with self._lock:
                for key, word in changes.items():
                    before = self._words.pop(key, None)
                    if word is not None:
                        self._words[key] = word
                    self._revision += self._shown(key, before) != self._shown(key, word)

    def _shown(self, key: str, word: _Known | None) -> tuple[object, ...]:
        """What suggestions depend on."""
        if word is None:
            return False, False, False, None
        offers, overrides = self._offers(key, word), self._overrides(key, word)
        blocks = word.decision is Standing.BLOCKED
        return offers, self._trusts(word), blocks, word.form if offers or overrides else None

    def _make_room(self, changes: _Changes) -> None:
        """Beyond the quota words go until there is room for some more. What was decided stays."""
        size = len(self._words)
        for key, word in changes.items():
            size += (word is not None) - (key in self._words)
        if size > MOST_WORDS:
            words = {**self._words, **changes}
            undecided = ((w.sightings, w.seen_at, key) for key, w in words.items() if w and not w.decision)
            changes.update((key, None) for _, _, key in sorted(undecided)[: size - MOST_WORDS + MOST_WORDS // 20])


def _checked(word: str) -> str:
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
    if not _is_word(_without_marks(word)):
        raise WordRefused(f"{word!r} is not a word", _ADVICE)
    return word


def _is_word(text: str) -> bool:
    """Whether it is one word with a letter in it, or a short number; straight apostrophes and hyphens may be inside."""
    if len(text) > LONGEST or not _WORD.fullmatch(text):
        return False
    return any(map(str.isalpha, text)) or (text.isdecimal() and len(text) <= LONGEST_NUMBER)


def _without_marks(word: str) -> str:
    """The word without signs that belong to the letter before them, as in Arabic or Hindi."""
    return "".join(character for character in word if not unicodedata.category(character).startswith("M"))


def _key(word: str) -> str:
    return unicodedata.normalize("NFC", word.translate(_APOSTROPHES)).lower()
