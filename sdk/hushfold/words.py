"""The words of a user that the model does not know, and what the user decides about words: in the store and in memory.

How a word climbs from a first sighting to a learned one is in `word`, how a list is taken over in `merging`. Unlike
messages, words do not expire.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike

from hushfold_format import Vocabulary, tokenize

from .clock import Clock
from .merging import ImportReport, brought, merge
from .store import Store
from .word import LEARN_AT, OFFER_AT, KnownWord, Ladder, Standing, checked, decided, is_word, key_of
from .wordlists import Entry, parse, to_bytes

MOST_WORDS = 20_000  # beyond it those go that were seen least, and of these the oldest

_Changes = dict[str, KnownWord | None]  # by key; None for a word that goes


@dataclass(frozen=True, slots=True)
class PersonalWord:
    """A word as a settings screen shows it."""

    form: str  # as the user writes it; lower-case for one that was forgotten
    sightings: int
    standing: Standing
    seen_at: float  # unix seconds, when it was last written or decided on


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
        self._store, self._clock = store, clock
        self._ladder = Ladder(vocabulary, offer_at, learn_at)
        self._lock = threading.Lock()  # held while memory is read or changed; taken after the store's, where both are
        self._words: dict[str, KnownWord] = {}
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
                    key: KnownWord(form, lead, sightings, Standing(decision) if decision else None, at)
                    for key, form, lead, sightings, decision, at in rows
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
                form = unicodedata.normalize("NFC", text.strip("'") if text.startswith("'") else text)
                if is_word(form):
                    key = key_of(form)
                    known = changes[key] if key in changes else self._words.get(key)
                    now = self._ladder.observed(known, form, telling, self._clock.now())
                    if now is not known:
                        changes[key] = now
                before, ended = token.text, token.end

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
        key = key_of(checked(word))
        with self._changing() as changes:
            known = self._words.get(key)
            if known and known.decision is Standing.BLOCKED:
                changes[key] = self._ladder.unblocked(known)

    def forget(self, word: str) -> None:
        """Drop the user's own word for good: written again, it is not learned again, but it can be taught.

        Raises WordRefused.
        """
        self._decide(word, Standing.FORGOTTEN)

    def reset(self, word: str) -> None:
        """Take back whatever was decided: the word is as one that was never seen. Raises WordRefused."""
        key = key_of(checked(word))
        with self._changing() as changes:
            if key in self._words:
                changes[key] = None

    def _decide(self, word: str, decision: Standing) -> None:
        form = checked(word)
        key = key_of(form)
        with self._changing() as changes:
            changes[key] = decided(self._words.get(key), form, decision, self._clock.now())

    # -------------------------------------------------------------- lists

    def import_words(self, content: bytes, name: str | PathLike[str]) -> ImportReport:
        """Take over a list of words, of this or another keyboard: see `wordlists` for the formats.

        Words are taken as taught or, if the list says how often they were seen, as seen that often. What the user has
        decided here stays. Importing a list again changes nothing. Takes a second for the longest lists, for most of
        which it holds up nobody.

        Args:
            content: of the file.
            name: of the file, or its path: for messages, and for the ending `.dic`.

        Raises:
            WordRefused: the file cannot be read, or is too long. Nothing is taken over.
        """
        items = brought(parse(content, str(name)), self._clock.now())
        with self._changing() as changes:
            merged, report = merge(items, self._words, self._ladder.vocabulary, MOST_WORDS)
            changes.update(merged)
        return report

    def export_words(self) -> bytes:
        """All that is kept, as a list that `import_words` takes over without loss, for a file of the user's."""
        with self._lock:
            return to_bytes(
                Entry(0, word.form, word.sightings, word.decision or "seen", word.lead)
                for _, word in sorted(self._words.items())
            )

    # -------------------------------------------------------------- what follows for suggestions

    def offered(self) -> dict[str, str]:
        """Words that the model does not have and that may be suggested: lower-case, and as the user writes them."""
        with self._lock:
            return {key: word.form for key, word in self._words.items() if self._ladder.offers(word)}

    def trusted(self) -> frozenset[str]:
        """Lower-case words that are never taken for slips: learned and taught ones."""
        with self._lock:
            return frozenset(key for key, word in self._words.items() if self._ladder.trusts(word))

    def blocked(self) -> frozenset[str]:
        """Lower-case words that are never suggested."""
        with self._lock:
            return frozenset(key for key, word in self._words.items() if word.decision is Standing.BLOCKED)

    def forms(self) -> dict[str, str]:
        """How the user writes taught words, and words of the model where that differs from how people do."""
        with self._lock:
            return {key: word.form for key, word in self._words.items() if self._ladder.overrides(word)}

    def is_own(self, word: str) -> bool:
        """Whether the user brought the word, or its form: written or taught, and not taken back."""
        with self._lock:
            known = self._words.get(key_of(word.strip()))
        return known is not None and known.decision in (None, Standing.TAUGHT)

    def is_blocked(self, word: str) -> bool:
        """Whether the word, in any casing, is never suggested."""
        with self._lock:
            known = self._words.get(key_of(word.strip()))
        return known is not None and known.decision is Standing.BLOCKED

    def all(self) -> list[PersonalWord]:
        """Every word that was brought or decided on, for a settings screen, in alphabetical order.

        Words of the model are among them if something was decided about them.
        """
        with self._lock:
            words = sorted(self._words.items())
        return [
            PersonalWord(word.form, word.sightings, self._ladder.standing(word), word.seen_at)
            for _, word in words
            if word.sightings or word.decision
        ]

    # -------------------------------------------------------------- changes

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
                    self._revision += self._ladder.shown(before) != self._ladder.shown(word)

    def _make_room(self, changes: _Changes) -> None:
        """Beyond the quota words go until there is room for some more. What was decided stays."""
        size = len(self._words)
        for key, word in changes.items():
            size += (word is not None) - (key in self._words)
        if size > MOST_WORDS:
            words = {**self._words, **changes}
            undecided = ((w.sightings, w.seen_at, key) for key, w in words.items() if w and not w.decision)
            changes.update((key, None) for _, _, key in sorted(undecided)[: size - MOST_WORDS + MOST_WORDS // 20])
