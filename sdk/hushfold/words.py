"""The words of a user that the model does not know, and what the user decides about words.

A ladder keeps slips of the finger out: a word is hidden at its first sighting, offered from the second on, and learned,
never taken for a slip again, from the third. Unlike messages, words do not expire.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from enum import StrEnum

from hushfold_format import Vocabulary, tokenize

from .clock import Clock
from .errors import WordRefused
from .redaction import redact
from .store import Store

OFFER_AT, LEARN_AT = 2, 3  # sightings
LONGEST = 48  # characters
MOST_WORDS = 20_000  # beyond it those go that were seen least, and of these the oldest

_WORD = re.compile(r"(?=.*[^\W\d_])[^\W_]+(?:['\u2019][^\W_]+)*['\u2019]?")  # with a letter in it
_SENTENCE_ENDS = '.!?:;"-('


class Standing(StrEnum):
    """What is decided about a word."""

    SEEN = "seen"  # nothing: its sightings count
    TAUGHT = "taught"  # offered, and never corrected
    BLOCKED = "blocked"  # never offered
    FORGOTTEN = "forgotten"  # as if it had never been written, now and later


@dataclass(frozen=True, slots=True)
class PersonalWord:
    """A word as a settings screen shows it."""

    form: str  # as the user writes it; lower-case for one that was forgotten
    sightings: int
    standing: Standing
    seen_at: float  # unix seconds


class PersonalWords:
    """One user's words, in the store and in memory. Safe to share between threads.

    Args:
        store: where they are kept.
        vocabulary: the model's words, which are no user's own.
        offer_at, learn_at: rungs of the ladder, in sightings.
    """

    def __init__(
        self, store: Store, vocabulary: Vocabulary, clock: Clock, *, offer_at: int = OFFER_AT, learn_at: int = LEARN_AT
    ) -> None:
        self._store, self._vocabulary, self._clock = store, vocabulary, clock
        self._offer_at, self._learn_at = offer_at, learn_at
        self._lock = threading.Lock()  # taken after the store's, where both are
        self._words: dict[str, PersonalWord] = {}
        self._revision = 0
        self.reload()

    @property
    def revision(self) -> int:
        """Grows whenever `offered`, `trusted` or `blocked` may have changed."""
        return self._revision

    def reload(self) -> None:
        """Read the words from the store again, after a wipe for one."""
        with self._store.transaction(), self._lock:
            rows = self._store.execute("SELECT word, form, sightings, standing, seen_at FROM personal_words")
            self._words = {word: PersonalWord(form, n, Standing(s), at) for word, form, n, s, at in rows}
            self._revision += 1

    # -------------------------------------------------------------- what is typed

    def observe(self, message: str) -> None:
        """Count the words of a message that was kept, once for each time that they are written."""
        with self._store.transaction(), self._lock:
            starts = True  # of a sentence: its capital says nothing about the word
            for token in tokenize(message):
                written = message[token.start : token.end]
                if _WORD.fullmatch(written) and len(written) <= LONGEST and token.text not in self._vocabulary:
                    self._count(written, keep_case=not starts and not message.isupper())
                starts = token.text[-1] in _SENTENCE_ENDS
            self._drop_surplus()

    def _count(self, written: str, keep_case: bool) -> None:
        key = _key(written)
        known = self._words.get(key, PersonalWord(key, 0, Standing.SEEN, 0.0))
        if known.standing in (Standing.FORGOTTEN, Standing.BLOCKED):
            return
        form = _straight(written) if keep_case else known.form
        self._put(key, replace(known, form=form, sightings=known.sightings + 1, seen_at=self._clock.now()))

    def _drop_surplus(self) -> None:
        surplus = len(self._words) - MOST_WORDS
        if surplus > 0:
            seen = [(w.sightings, w.seen_at, key) for key, w in self._words.items() if w.standing is Standing.SEEN]
            for _, _, key in sorted(seen)[:surplus]:
                del self._words[key]
                self._store.execute("DELETE FROM personal_words WHERE word = ?", (key,))

    # -------------------------------------------------------------- what the user decides

    def teach(self, word: str) -> None:
        """Offer the word from now on, as it is written here, and never correct it. Raises WordRefused."""
        self._decide(word, Standing.TAUGHT)

    def block(self, word: str) -> None:
        """Never offer the word, the model's or not; it may be typed all the same. Raises WordRefused."""
        self._decide(word, Standing.BLOCKED)

    def forget(self, word: str) -> None:
        """Drop the user's own word for good: written again, it is not learned again, but it can be taught.

        Raises WordRefused.
        """
        self._decide(word, Standing.FORGOTTEN)

    def reset(self, word: str) -> None:
        """Take back whatever was decided: the word is as one that was never seen. Raises WordRefused."""
        key = _key(_checked(word))
        with self._store.transaction(), self._lock:
            self._store.execute("DELETE FROM personal_words WHERE word = ?", (key,))
            self._words.pop(key, None)
            self._revision += 1

    def _decide(self, word: str, standing: Standing) -> None:
        form = _straight(_checked(word))
        key = _key(form)
        with self._store.transaction(), self._lock:
            form = key if standing is Standing.FORGOTTEN else form
            self._put(key, PersonalWord(form, 0, standing, self._clock.now()))

    def _put(self, key: str, word: PersonalWord) -> None:
        before = self._words.get(key)
        self._store.execute(
            "REPLACE INTO personal_words VALUES (?, ?, ?, ?, ?)",
            (key, word.form, word.sightings, word.standing.value, word.seen_at),
        )
        self._words[key] = word
        rungs = (self._offer_at, self._learn_at)
        if (
            before is None
            or before.standing is not word.standing
            or before.form != word.form
            or word.sightings in rungs
        ):
            self._revision += 1

    # -------------------------------------------------------------- what follows for suggestions

    def offered(self) -> dict[str, str]:
        """Words that the model does not have and that may be suggested: lower-case, and as the user writes them."""
        with self._lock:
            return {
                key: word.form
                for key, word in self._words.items()
                if key not in self._vocabulary
                and (word.standing is Standing.TAUGHT or self._climbed(word, self._offer_at))
            }

    def trusted(self) -> frozenset[str]:
        """Lower-case words that are never taken for slips: learned and taught ones."""
        with self._lock:
            return frozenset(
                key
                for key, word in self._words.items()
                if word.standing is Standing.TAUGHT or self._climbed(word, self._learn_at)
            )

    def blocked(self) -> frozenset[str]:
        """Lower-case words that are never suggested."""
        with self._lock:
            return frozenset(key for key, word in self._words.items() if word.standing is Standing.BLOCKED)

    def is_own(self, word: str) -> bool:
        """Whether the user brought the word: written or taught, and not taken back."""
        with self._lock:
            known = self._words.get(_key(word.strip()))
        return known is not None and known.standing in (Standing.SEEN, Standing.TAUGHT)

    def forms(self) -> dict[str, str]:
        """How taught words are written, the model's words among them."""
        with self._lock:
            return {key: word.form for key, word in self._words.items() if word.standing is Standing.TAUGHT}

    def all(self) -> list[PersonalWord]:
        """Every word that is kept, for a settings screen, in alphabetical order."""
        with self._lock:
            return [word for _, word in sorted(self._words.items())]

    @staticmethod
    def _climbed(word: PersonalWord, rung: int) -> bool:
        return word.standing is Standing.SEEN and word.sightings >= rung


def _checked(word: str) -> str:
    """The word without spaces around it. Raises WordRefused for what is not one word."""
    word = word.strip()
    advice = f"Give one word of letters, digits and apostrophes, at most {LONGEST} characters"
    if not word:
        raise WordRefused("there is no word", advice)
    if len(word) > LONGEST:
        raise WordRefused(f"a word of {len(word)} characters", advice)
    if redact(word) != word:
        raise WordRefused("an address, a link, a long number or a password is not kept as a word", advice)
    if not _WORD.fullmatch(word):
        raise WordRefused(f"{word!r} is not one word", advice)
    return word


def _straight(word: str) -> str:
    return word.replace("\u2019", "'")


def _key(word: str) -> str:
    return _straight(word).lower()
