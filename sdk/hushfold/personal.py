"""The user's own weights: trained while the device is idle, and served only once they have proven themselves.

The newest messages are not trained on. On them the released weights, those in use and the new ones predict every
word, each as they would be served, quantised and with the user's habits mixed in. New weights must be better than both
others; those in use stay unless the released ones are better. So an update that does not help is dropped, and one that
helped once but no longer does is rolled back by the same test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hushfold_format import ModelFiles, batches, message_ids, tokenize
from hushfold_protocol.plan import TrainingParameters

from .clock import Clock
from .conditions import Gate
from .errors import NotEligible
from .lexicon import Lexicon
from .memory import NgramMemory
from .model import Vector
from .store import Message, Store
from .suggestions import Habits, Suggester
from .training import Progress, TrainingSession, TrainingTask

FEWEST = 40
"""Messages below which there is nothing to prove."""
UNSEEN = 0.2  # share of the messages, the newest, that is kept for the test
MOST_UNSEEN = 100  # messages
MOST_TRAINED = 300  # messages, the newest of the others
PASSES = 3  # over them
LEARNING_RATE = 0.3

_NAME = "personal-weights"
_VERSION = b"hushfold personal weights 1"  # of this procedure: a change of it starts a session anew
_PART = "whole"


@dataclass(frozen=True, slots=True)
class Score:
    """How well a keyboard predicted the words of some messages."""

    words: int
    top1: int  # of them, the first suggestion
    top3: int  # of them, among three suggestions

    @classmethod
    def of(cls, suggester: Suggester, messages: Iterable[str]) -> Self:
        """Predict each word of the messages from what stands before it, compared in lower case."""
        words = top1 = top3 = 0
        for message in messages:
            for token in tokenize(message):
                if token.text[0].isalnum():
                    offered = [found.text.lower() for found in suggester.suggest(message[: token.start], 3)]
                    words += 1
                    top1 += offered[:1] == [token.text.lower()]
                    top3 += token.text.lower() in offered
        return cls(words, top1, top3)


@dataclass(frozen=True)
class PersonalWeights:
    """What the user's own weights add to released ones, and the proof that it helps.

    Attributes:
        change: float16 `[size]`, to be added to the released weights.
        base: SHA-256 (hex) of the released weights that the proof is for.
        before, after: without and with the change, on messages that nothing was trained on.
        proven_at: unix seconds.
    """

    change: NDArray[np.float16]
    base: str
    before: Score
    after: Score
    proven_at: float

    def applied(self, released: Vector) -> Vector:
        """The weights to serve."""
        return released + self.change.astype(np.float32)

    def to_bytes(self) -> bytes:
        proof = {"base": self.base, "before": asdict(self.before), "after": asdict(self.after), "at": self.proven_at}
        return json.dumps(proof).encode() + b"\n" + self.change.astype("<f2").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        head, _, change = content.partition(b"\n")
        proof = json.loads(head)
        before, after = Score(**proof["before"]), Score(**proof["after"])
        return cls(np.frombuffer(change, "<f2").astype(np.float16), proof["base"], before, after, proof["at"])


def load(store: Store, size: int) -> PersonalWeights | None:
    """The personal weights in use, if there are any for a model of `size` parameters."""
    content = store.load_learned(_NAME)
    found = PersonalWeights.from_bytes(content) if content is not None else None
    return found if found is not None and found.change.size == size else None


def clear(store: Store) -> None:
    """Go back to the released weights."""
    store.clear_learned(_NAME)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of training once.

    `released`, `used` and `trained` are the scores of the three on the same unseen messages, `used` only if personal
    weights were in use; `kept` is what is in use now.
    """

    released: Score
    used: Score | None
    trained: Score
    kept: PersonalWeights | None


class Personalization:
    """Trains personal weights and puts them to the test. Used by one thread.

    Args:
        files: the model.
        released: the weights that others have too, `[size]`, and their SHA-256 (hex).
        store: the messages, and the personal weights.
        gate: when the device may work.
        lexicon: the words that can be offered to this user.
    """

    def __init__(
        self, files: ModelFiles, released: tuple[Vector, str], store: Store, gate: Gate, lexicon: Lexicon, clock: Clock
    ) -> None:
        self._files, self._store, self._gate, self._clock = files, store, gate, clock
        self._released, self._base = released
        self._lexicon = lexicon

    def run(self, progress: Callable[[Progress], None] | None = None) -> Trial:
        """Train, try, and keep what is best. Stops when a condition is lost, and goes on where it was at the next call.

        Raises:
            NotEligible: too few messages, or no word in them that the model knows.
            ConditionsLost, MessagesDeleted, TrainingDiverged, ModelError: as `TrainingSession.run` does. What is in
                use stays.
        """
        unseen, seen = self._split(self._store.messages())
        change = self._train(seen, progress)
        habits = Habits(self._lexicon, NgramMemory(message.text for message in seen))
        used = load(self._store, self._released.size)

        def tried(vector: Vector) -> Score:
            self._gate.require()
            return Score.of(Suggester(self._files, vector, habits), (message.text for message in unseen))

        released = tried(self._released)
        trained = tried(self._released + change.astype(np.float32))
        with_used = tried(used.applied(self._released)) if used else None
        kept = None
        if trained.top3 > max(released.top3, with_used.top3 if with_used else 0):
            kept = PersonalWeights(change, self._base, released, trained, self._clock.now())
        elif used and with_used and with_used.top3 >= released.top3:
            kept = PersonalWeights(used.change, self._base, released, with_used, self._clock.now())
        with self._store.transaction():
            self._store.clear_checkpoint(_NAME)
            if kept:
                self._store.save_learned(_NAME, kept.to_bytes())
            else:
                clear(self._store)
        return Trial(released, with_used, trained, kept)

    def _split(self, messages: list[Message]) -> tuple[list[Message], list[Message]]:
        """The newest messages for the test, and the others, newest first."""
        if len(messages) < FEWEST:
            raise NotEligible(
                f"{len(messages)} messages to learn from, {FEWEST} needed", "Come back when there are more"
            )
        in_order = sorted(messages, key=lambda message: message.id, reverse=True)  # ids go up, whatever the clock does
        unseen = min(MOST_UNSEEN, round(UNSEEN * len(messages)))
        return in_order[:unseen], in_order[unseen:]

    def _train(self, seen: list[Message], progress: Callable[[Progress], None] | None) -> NDArray[np.float16]:
        """The change of the weights, as it is kept."""
        manifest = self._files.manifest
        ids = [message_ids(message.text, self._files.vocabulary) for message in seen[:MOST_TRAINED]]
        steps = PASSES * sum(1 for _ in batches(ids, manifest.batch, manifest.time))
        parameters = TrainingParameters(steps, manifest.batch, manifest.time, LEARNING_RATE, MOST_TRAINED, seed=0)
        session = TrainingSession(
            self._files,
            TrainingTask(_NAME, _VERSION, _PART, parameters),
            self._released,
            self._store,
            self._gate,
            newest=seen[0].id,
        )
        return (-session.run(progress)).astype(np.float16)
