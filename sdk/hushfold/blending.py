"""How much a user's habits should count beside the model, found out from the user's own messages.

Message after message in order, as if each had just been written: the blend is best that would have given all their
words the highest probability, with a memory of what had come before (prequential likelihood, Dawid 1984, JRSS A 147).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hushfold_format import tokenize

from .memory import ORDER, Blend, NgramMemory, Sighting
from .suggestions import Suggester

CONFIDENCE = 20.0
"""In the defaults: nats by which the likelihood must rise to pay for a parameter that is one unit of its scale away."""
_STEPS = (0.8, 0.4, 0.2, 0.1)  # units, from coarse to fine
_TINY = 1e-12  # of a word that nobody could foresee, whatever the blend


class Evidence(NamedTuple):
    """Words of a user in order, each with what the model and the messages before it said of it.

    `model[words]` are probabilities; the others are those of `Sighting`, stacked.
    """

    model: NDArray[np.float32]
    share: NDArray[np.float32]
    shares: NDArray[np.float32]
    after: NDArray[np.float32]

    @classmethod
    def of(cls, model: Suggester, messages: Iterable[str]) -> Self:
        """Read messages, oldest first.

        Args:
            model: a suggester without a memory, whose lexicon has all words that can be offered.
        """
        memory, lexicon = NgramMemory(), model.habits.lexicon
        probabilities: list[float] = []
        sightings: list[Sighting] = []
        for message in messages:
            tokens = tokenize(message)
            for position, token in enumerate(tokens):
                number = lexicon.number(token.text.lower())
                if token.text[0].isalnum() and number is not None and lexicon.offered[number]:
                    context = [before.text.lower() for before in tokens[:position]]
                    probabilities.append(model.probability(message[: token.start], token.text))
                    sightings.append(memory.sighting(context, number, lexicon))
            memory.add(message)
        return cls(
            np.array(probabilities, np.float32),
            np.array([seen.share for seen in sightings], np.float32),
            np.array([seen.shares for seen in sightings], np.float32),
            np.array([seen.after for seen in sightings], np.float32).reshape(-1, ORDER - 1, 4),
        )


def tuned(evidence: Evidence) -> Blend:
    """The best blend for what was seen, near the defaults: a search along one parameter after the other."""
    origin = best = np.array(_to_scale(Blend()))
    highest = _worth(evidence, best, origin)
    for step in _STEPS:
        improved = True
        while improved:
            improved = False
            for change in (*np.eye(len(best)) * step, *np.eye(len(best)) * -step):
                worth = _worth(evidence, best + change, origin)
                if worth > highest:
                    best, highest, improved = best + change, worth, True
    return _from_scale(best)


def _worth(evidence: Evidence, parameters: NDArray[np.float64], origin: NDArray[np.float64]) -> float:
    probabilities = _from_scale(parameters).probability(*evidence)
    prior = CONFIDENCE * float(np.square(parameters - origin).sum())
    return float(np.log(np.maximum(probabilities, _TINY)).sum()) - prior


def _to_scale(blend: Blend) -> list[float]:
    """Shares as log odds and trust as a logarithm, so that a unit means about as much anywhere."""
    return [float(np.log(share / (1 - share))) for share in (blend.words, blend.discount)] + list(np.log(blend.trust))


def _from_scale(parameters: NDArray[np.float64]) -> Blend:
    words, discount = 1 / (1 + np.exp(-parameters[:2]))
    return Blend(float(words), float(discount), tuple(np.exp(parameters[2:]).tolist()))
