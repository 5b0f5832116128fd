"""Somebody who types on a phone key by key, takes a word as soon as it is suggested, and is shown what came of it."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Self

from hushfold.errors import HushfoldError
from hushfold.live import LiveSuggestions
from hushfold.suggestions import Suggestion
from hushfold_format import tokenize

from .errors import UsageError
from .narration import Narration
from .phone import Phone

LOOKS = 4  # times that the proof is looked at while messages are typed


class Typist:
    """The user of a phone, at its keyboard. Close it, or use it as a context manager. For one thread.

    The suggestions come as in an app: from a worker beside the one that types, through a queue. This user looks at the
    bar after every key, and takes a word for how it is spelt, whatever its case.
    """

    def __init__(self, phone: Phone) -> None:
        self._keyboard = phone.device.keyboard
        self._bar: SimpleQueue[tuple[str, list[Suggestion]] | Exception] = SimpleQueue()
        self._live = LiveSuggestions(self._keyboard, lambda *answer: self._bar.put(answer), self._bar.put)
        self.keys = 0
        """That typing all of it would have taken: letters, and a space after each word."""
        self.pressed = 0
        """Keys and suggestions that were."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._live.close()

    def write(self, message: str) -> bool:
        """Type a message and send it; whether the keyboard keeps it."""
        for token in tokenize(message):
            text = message[: token.start]
            word = message[token.start : token.end]
            self.keys += len(word) + 1
            self.pressed += self._keys_for(text, word) if word[0].isalnum() else len(word) + 1
        return self._keyboard.learn(message)

    def _keys_for(self, text: str, word: str) -> int:
        for typed in range(len(word)):
            before = text + word[:typed]
            taken = next((s for s in self._seen(before) if s.text.lower() == word.lower()), None)
            if taken is not None:
                self._keyboard.accepted(taken, before)
                return typed + 1
        return len(word) + 1

    def _seen(self, text_before_cursor: str) -> list[Suggestion]:
        """What the bar shows for a text, once it does."""
        self._live.type(text_before_cursor)
        while True:
            match self._bar.get():
                case Exception() as error:
                    raise error
                case (text, suggestions) if text == text_before_cursor:
                    return suggestions


def type_and_prove(phone: Phone, narration: Narration) -> None:
    """The user of `phone` types all their messages; then comes a night, and the proof of what it was good for.

    Raises UsageError if there is nothing to type.
    """
    messages = phone.person.messages
    if not messages:
        raise UsageError(f"{phone.person.name} has written nothing")
    narration.say(f"{phone.name} types {len(messages)} messages and takes what is suggested")
    with Typist(phone) as typist:
        for number, message in enumerate(messages, 1):
            narration.now(f"{number} of {len(messages)}: {message}")
            typist.write(message)
            if number % max(1, len(messages) // LOOKS) == 0 and number < len(messages):
                narration.say(f"after {number} messages: {phone.device.proof()}")
        share = 1 - typist.pressed / typist.keys if typist.keys else 0.0
        narration.say(f"{typist.pressed:,} keys were pressed instead of {typist.keys:,}: {share:.0%} saved")
    with narration.working("The phone lies idle and charges: it trains weights of its user's own and tries them"):
        try:
            phone.device.personalize()
        except HushfoldError as error:
            narration.say(f"Nothing is trained: {error}")
    narration.say(f"The proof: {phone.device.proof()}")
