"""What an app embeds: suggestions, and a memory of what was typed that its user controls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from hushfold_format import FIRST_WORD, NextWordFiles, message_ids, tokenize

from . import savings
from .clock import Clock, SystemClock
from .lexicon import Lexicon
from .memory import NgramMemory
from .model import Vector
from .offensive import OFFENSIVE
from .personal import PersonalWeights, served
from .redaction import redact
from .savings import Savings
from .store import Message, Store
from .suggestions import Suggester, Suggestion
from .word import LEARN_AT
from .words import PersonalWords

_LEARNING = "keyboard_learning"
_ON, _OFF = b"1", b"0"


class Keyboard:
    """Suggestions from a model, and learning from what is typed into an encrypted store.

    Nothing here uses the network or trains: messages are kept for training sessions, which run when the device is
    idle.

    Safe to share between threads, that of the UI, that of training and others. `suggest` takes about a millisecond and
    waits for no more than another `suggest`: weights are exchanged as a whole, between two of them. What concerns
    messages waits for the store, a few milliseconds; once `wipe` or `learning_enabled = False` has returned, no `learn`
    that was under way keeps anything.

    Args:
        files: the model.
        vector: its weights, `[size]`.
        store: where messages are kept.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: NextWordFiles, vector: Vector, store: Store, clock: Clock | None = None) -> None:
        self.incognito = False
        """Set while the user wants nothing to be remembered. Not kept: it ends with the process."""
        self.after_forgetting: Callable[[], None] = lambda: None
        """Called when messages were deleted, to stop serving weights that were trained on them; `Device` sets it."""
        self._store = store
        self._clock = clock or SystemClock()
        self.words = PersonalWords(store, files.vocabulary, self._clock)
        """The user's own words, and what the user decides about words."""
        self._habits = threading.Lock()  # held while they are exchanged; taken after the store's, where both are
        self._suggester: Suggester
        self._suggester = Suggester(files, vector)
        self._words_known = 0  # revision of the words that the lexicon has
        self._remember()

    def serve(self, files: NextWordFiles, vector: Vector, own: PersonalWeights | None = None) -> None:
        """Suggest from another model, or other weights, from now on. Raises ModelError; the old ones stay.

        `own` is what the user's messages have made of these weights: see `personal`.

        Where several threads may call it, the last call wins: see `Device.reload_model`.
        """
        with self._habits:
            habits = self._suggester.habits
            self._suggester = served(files, vector, own, habits)

    @property
    def lexicon(self) -> Lexicon:
        """The words that can be offered to this user."""
        return self._up_to_date().habits.lexicon

    def suggest(self, text_before_cursor: str, count: int = 3) -> list[Suggestion]:
        """At most `count` suggestions, best first, for any text: see `suggestions.Suggester.suggest`."""
        return self._up_to_date().suggest(text_before_cursor, count)

    def probability(self, text_before_cursor: str, word: str) -> float:
        """Probability of a word at this place, 0 for what is not offered: see `suggestions.Suggester.probability`."""
        return self._up_to_date().probability(text_before_cursor, word)

    def accepted(self, suggestion: Suggestion, text_before_cursor: str, private: bool = False) -> int:
        """Count the keys that a suggestion spared which the user has just taken; how many they are.

        Only totals are kept, and none of incognito, of a private field or while learning is switched off.

        Args:
            suggestion: as `suggest` gave it.
            text_before_cursor: that it was given for, before it was put in.
            private: as for `learn`.
        """
        taps = savings.taps_saved(suggestion, text_before_cursor, self._suggester.vocabulary)
        if not (private or self.incognito):
            with self._store.transaction():
                if self.learning_enabled:
                    savings.count(self._store, taps, self._clock.now())
        return taps

    def saved(self) -> Savings:
        """What suggestions that were taken have spared the user so far."""
        return savings.load(self._store)

    @property
    def learning_enabled(self) -> bool:
        """Whether messages are kept to learn from. The user's choice: it is stored and survives a wipe."""
        return self._store.load_setting(_LEARNING) != _OFF

    @learning_enabled.setter
    def learning_enabled(self, enabled: bool) -> None:
        self._store.save_setting(_LEARNING, _ON if enabled else _OFF)

    def learn(self, text: str, private: bool = False) -> bool:
        """Keep a message that was just sent or committed, to learn from it later; whether it was kept.

        Addresses, links, numbers of seven or more digits and what looks like a password are replaced first, see
        `redaction`. A message in which the model knows no word is not kept.

        Args:
            text: the message.
            private: the host's flag that this field is not to be learned from (passwords, private browsing).
        """
        if private or self.incognito:
            return False
        cleaned = redact(text).strip()
        if not any(token_id >= FIRST_WORD for token_id in message_ids(cleaned, self._suggester.vocabulary)):
            return False
        with self._store.transaction():  # so that nothing is kept after learning was switched off
            if not self.learning_enabled:
                return False
            self._store.add_message(cleaned, self._clock.now())
            self._suggester.habits.memory.add(cleaned)
            self.words.observe(cleaned)
        if any(token.text.lower() in OFFENSIVE for token in tokenize(cleaned)):
            self._look_up_words()  # it may be the user's word by now
        return True

    def messages(self, limit: int | None = None) -> list[Message]:
        """What is kept, newest first: exactly what training will read."""
        return self._store.messages(limit)

    def forget(self, text: str) -> int:
        """Delete every message that contains `text` as whole words, whatever its case; how many there were.

        What was trained from them goes too. If `text` is a word of the user's own, it stays forgotten: see
        `words.forget`. Raises ValueError if `text` is blank.
        """
        forgotten = self._store.forget_text(text)
        if self.words.is_own(text):
            self.words.forget(text)
        self._after_deletion()
        return forgotten

    def wipe(self) -> None:
        """Delete everything typed and everything learned from it, for good. Settings and the privacy ledger stay."""
        try:
            self._store.wipe()
        finally:
            self.words.reload()
            self._after_deletion()

    def _up_to_date(self) -> Suggester:
        """What answers, with the words as they stand now."""
        if self.words.revision != self._words_known:
            self._look_up_words()
        return self._suggester

    def _after_deletion(self) -> None:
        self._remember()
        self.after_forgetting()

    def _remember(self) -> None:
        """Count the user's habits anew, from the messages that are there."""
        with self._store.transaction(), self._habits:
            memory = NgramMemory(message.text for message in self._store.messages())
            self._suggester.habits = replace(self._suggester.habits, memory=memory)
        self._look_up_words()

    def _look_up_words(self) -> None:
        """Offer the words as they stand now."""
        with self._habits:
            habits = self._suggester.habits
            self._words_known = self.words.revision
            own, trusted = self.words.offered(), self.words.trusted()
            rude = {word for word in OFFENSIVE - own.keys() - trusted if habits.memory.count(word) < LEARN_AT}
            lexicon = Lexicon(self._suggester.vocabulary, own, self.words.forms(), rude | self.words.blocked())
            self._suggester.habits = replace(habits, lexicon=lexicon, trusted=trusted)
