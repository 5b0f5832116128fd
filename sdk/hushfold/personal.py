"""What is the user's own beside their words: made while the device is idle, and served only once it has proven itself.

Three things are learned from the messages in the store: a change of the model's weights, by training; by how much
each word's probability is off for this user, see `marginals`; and how much the user's habits count, see `blending`.

The newest messages are not learned from. On them the released model, what is in use, and what is new with the change
of the weights and without it predict every word, each as it would be served, quantised and with the user's habits mixed
in. The best is served, of equals what is in use and then the released model. So an update that does not help is
dropped, and one that helped once but no longer does is rolled back by the same test.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hushfold_format import NextWordFiles, batches, message_ids, tokenize
from hushfold_protocol.plan import TrainingParameters

from . import blending, marginals
from .blending import Evidence
from .clock import Clock
from .conditions import Gate
from .errors import NotEligible
from .lessons import MessageLessons
from .lexicon import Lexicon
from .memory import Blend, NgramMemory
from .model import SuggestionModel, Vector
from .offensive import OFFENSIVE
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

_NAME = "personal-layer"
_VERSION = b"hushfold personal layer 1"  # of this procedure: a change of it starts a session anew
_PART = "whole"
_LEAST_PROBABILITY = 1e-7  # of a word that cannot be offered


@dataclass(frozen=True, slots=True)
class Score:
    """How well a keyboard predicted the words of some messages."""

    words: int
    top1: int  # of them, the first suggestion
    top3: int  # of them, among three suggestions
    nats: float = 0.0  # negative log-likelihood of them all

    @classmethod
    def of(cls, suggester: Suggester, messages: Iterable[str]) -> Self:
        """Predict each word of the messages from what stands before it, compared in lower case."""
        words = top1 = top3 = 0
        nats = 0.0
        for message in messages:
            for token in tokenize(message):
                if token.text[0].isalnum():
                    before = message[: token.start]
                    offered = [found.text.lower() for found in suggester.suggest(before, 3)]
                    nats -= math.log(max(suggester.probability(before, token.text), _LEAST_PROBABILITY))
                    words += 1
                    top1 += offered[:1] == [token.text.lower()]
                    top3 += token.text.lower() in offered
        return cls(words, top1, top3, nats)

    @property
    def rank(self) -> tuple[int, float]:
        """The higher, the better: words among three suggestions and, as these are few, the likelihood of all."""
        return self.top3, -self.nats


@dataclass(frozen=True)
class Layer:
    """What a night makes of released weights, from the user's messages.

    Attributes:
        size: parameters of the model that it is for.
        change: float16 `[size]`, to be added to the released weights; None if they are better as they are.
        scales: float32 `[vocabulary]`, by which the model's probability of each token is multiplied.
        blend: how much the user's habits count.
    """

    size: int
    change: NDArray[np.float16] | None
    scales: NDArray[np.float32]
    blend: Blend

    def applied(self, released: Vector) -> Vector:
        """The weights to serve."""
        return released if self.change is None else released + self.change.astype(np.float32)


@dataclass(frozen=True)
class PersonalWeights(Layer):
    """A layer, and the proof that it helps.

    Attributes:
        base: SHA-256 (hex) of the released weights that the proof is for.
        before, after: without and with it, on messages that nothing was learned from.
        proven_at: unix seconds.
    """

    base: str
    before: Score
    after: Score
    proven_at: float

    def to_bytes(self) -> bytes:
        head = {
            "size": self.size,
            "changed": self.change is not None,
            "scales": self.scales.size,
            "blend": asdict(self.blend),
            "base": self.base,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "at": self.proven_at,
        }
        change = b"" if self.change is None else self.change.astype("<f2").tobytes()
        return json.dumps(head).encode() + b"\n" + self.scales.astype("<f4").tobytes() + change

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        line, _, values = content.partition(b"\n")
        head = json.loads(line)
        scales = np.frombuffer(values, "<f4", head["scales"]).astype(np.float32)
        change = np.frombuffer(values, "<f2", offset=scales.nbytes).astype(np.float16) if head["changed"] else None
        blend = Blend(head["blend"]["words"], head["blend"]["discount"], tuple(head["blend"]["trust"]))
        before, after = Score(**head["before"]), Score(**head["after"])
        return cls(head["size"], change, scales, blend, head["base"], before, after, head["at"])


def served(files: NextWordFiles, released: Vector, own: Layer | None, habits: Habits) -> Suggester:
    """Suggestions as the user gets them, with or without what is their own. Raises ModelError."""
    if own is None:
        return Suggester(files, released, replace(habits, blend=Blend(), scales=None))
    return Suggester(files, own.applied(released), replace(habits, blend=own.blend, scales=own.scales))


def load(store: Store, size: int) -> PersonalWeights | None:
    """What is in use, or waits for its proof on other weights; None if there is nothing for a model of `size`."""
    content = store.load_learned(_NAME)
    found = PersonalWeights.from_bytes(content) if content is not None else None
    return found if found is not None and found.size == size else None


def clear(store: Store) -> None:
    """Go back to the released weights."""
    store.clear_learned(_NAME)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of training once.

    All scores are on the same unseen messages.

    Attributes:
        unlearned: of the released weights, knowing nothing of the user.
        released: of the released weights, with the user's words and habits, as the others.
        used: of what was in use, if anything was.
        trained: of what is new, with a change of the weights.
        tuned: of what is new, without such a change.
        kept: what is in use now.
    """

    unlearned: Score
    released: Score
    used: Score | None
    trained: Score
    tuned: Score
    kept: PersonalWeights | None


class Personalization:
    """Makes what is the user's own, and puts it to the test. Used by one thread.

    Args:
        files: the model.
        released: the weights that others have too, `[size]`, and their SHA-256 (hex).
        store: the messages, and what is in use.
        gate: when the device may work.
        lexicon: the words that can be offered to this user.
    """

    def __init__(
        self,
        files: NextWordFiles,
        released: tuple[Vector, str],
        store: Store,
        gate: Gate,
        lexicon: Lexicon,
        clock: Clock,
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
        session = self._session(seen)
        change = (-session.run(progress)).astype(np.float16)
        habits = Habits(self._lexicon, NgramMemory(message.text for message in seen))

        def tried(own: Layer | None, habits: Habits = habits) -> Score:
            suggester = served(self._files, self._released, own, habits)
            return Score.of(suggester, self._while_it_may(unseen))

        def proven(own: Layer) -> PersonalWeights:
            proof = (self._base, released, tried(own), self._clock.now())
            return PersonalWeights(own.size, own.change, own.scales, own.blend, *proof)

        unlearned = tried(None, Habits(Lexicon(self._files.vocabulary, hidden=OFFENSIVE)))
        released = tried(None)
        trained = proven(self._made(change, seen))
        in_use = load(self._store, self._released.size)
        used = proven(in_use) if in_use else None
        tuned = proven(self._made(None, seen))
        candidates = [used, None, tuned, trained] if used else [None, tuned, trained]
        kept = max(candidates, key=lambda own: (own.after if own else released).rank)  # of equals the first
        with self._store.transaction():
            session.require_kept()
            session.clear()
            if kept:
                self._store.save_learned(_NAME, kept.to_bytes())
            else:
                clear(self._store)
        return Trial(unlearned, released, used.after if used else None, trained.after, tuned.after, kept)

    def _while_it_may(self, messages: list[Message]) -> Iterator[str]:
        """Raises ConditionsLost between two of them."""
        for message in messages:
            self._gate.require()
            yield message.text

    def _made(self, change: NDArray[np.float16] | None, seen: list[Message]) -> Layer:
        """What goes with a change of the weights, or without one, after some messages."""
        self._gate.require()
        vector = self._released if change is None else self._released + change.astype(np.float32)
        in_order = [message.text for message in reversed(seen)]
        vocabulary = self._files.vocabulary
        ids = [message_ids(text, vocabulary) for text in in_order]
        scales = marginals.scales(SuggestionModel(self._files, vector), ids, len(vocabulary))
        evidence = Evidence.of(Suggester(self._files, vector, Habits(self._lexicon, scales=scales)), in_order)
        return Layer(self._released.size, change, scales, blending.tuned(evidence))

    def _split(self, messages: list[Message]) -> tuple[list[Message], list[Message]]:
        """The newest messages for the test, and the others, newest first."""
        if len(messages) < FEWEST:
            raise NotEligible(
                f"{len(messages)} messages to learn from, {FEWEST} needed", "Come back when there are more"
            )
        in_order = sorted(messages, key=lambda message: message.id, reverse=True)  # ids go up, whatever the clock does
        unseen = min(MOST_UNSEEN, round(UNSEEN * len(messages)))
        return in_order[:unseen], in_order[unseen:]

    def _session(self, seen: list[Message]) -> TrainingSession:
        """Training on the newest of the messages."""
        manifest = self._files.manifest
        ids = [message_ids(message.text, self._files.vocabulary) for message in seen[:MOST_TRAINED]]
        steps = PASSES * sum(1 for _ in batches(ids, manifest.batch, manifest.time))
        parameters = TrainingParameters(steps, manifest.batch, manifest.time, LEARNING_RATE, MOST_TRAINED, seed=0)
        task = TrainingTask(_NAME, _VERSION, _PART, parameters)
        lessons = MessageLessons(self._files, self._store)
        return TrainingSession(self._files, lessons, task, self._released, self._store, self._gate, newest=seen[0].id)
