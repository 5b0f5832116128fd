"""The protocol: which words are targets, what counts as a hit, and how many keys a suggestion saves.

Words are runs of letters, digits and apostrophes, compared lower-case; placeholders such as `<url>` are no targets.
Suggestions are asked for with everything that stands before the cursor in the message. A word is top-k if it is among
the first k suggestions before its first letter. KSR@3, the keystroke savings rate with three suggestions, is the share
of keys saved, letters and one space per word, if a word is taken as soon as it is among the first three: taking it
costs one key and spares the space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from .predictors import Predictor
from .texts import Person

SHOWN = 3
"""Suggestions that a person sees."""
PERPLEXITY_WORDS = 30
"""Of one person at most, evenly spaced: each needs the whole distribution."""
_LEAST_PROBABILITY = 1e-9  # what a word gets that the predictor holds impossible

_TOKEN = re.compile(r"<[a-z]+>|[A-Za-z0-9']+|[^\sA-Za-z0-9']")


def tokens(text: str) -> list[str]:
    """Words, placeholders and punctuation of a text, lower-case."""
    return [match.group().lower() for match in _TOKEN.finditer(text)]


def is_word(token: str) -> bool:
    """Whether a token can be a target."""
    return token[0].isalnum() or (token[0] == "'" and len(token) > 1)


@dataclass(frozen=True, slots=True)
class Target:
    """A word that somebody wrote, and the message up to it."""

    before: str
    word: str


def targets(messages: Iterable[str]) -> Iterator[Target]:
    """Every word of some messages."""
    for message in messages:
        for match in _TOKEN.finditer(message):
            if is_word(match.group()):
                yield Target(message[: match.start()], match.group())


@dataclass(frozen=True, slots=True)
class Score:
    """How one predictor did on one person.

    Attributes:
        top1, top3: of every target in turn, whether it was hit.
        keys: that typing everything takes.
        saved: keys that suggestions spare.
        nats: negative log-likelihood of the `scored` words; 0 of 0 where there are no probabilities.
        seconds: that learning took.
    """

    top1: tuple[bool, ...]
    top3: tuple[bool, ...]
    keys: int
    saved: int
    nats: float = 0.0
    scored: int = 0
    seconds: float = 0.0


def measure(predictor: Predictor, person: Person, vocabulary: Collection[str] = ()) -> Score:
    """Score of a predictor on a person's later messages. It has learned before.

    Args:
        vocabulary: lower-case words among which perplexity is measured. For each target that is one of them, the
            probability is that of the word among these alone, so that predictors of different vocabularies compare.
    """
    top1, top3, keys, saved = [], [], 0, 0
    asked = list(targets(person.held_out))
    for target in asked:
        suggested = _suggested(predictor, target.before)
        word = target.word.lower()
        top1.append(suggested[:1] == [word])
        top3.append(word in suggested)
        keys += len(word) + 1
        saved += len(word) + 1 - _pressed(predictor, target, top3[-1])
    nats, scored = _likelihood(predictor, [target for target in asked if target.word.lower() in vocabulary])
    return Score(tuple(top1), tuple(top3), keys, saved, nats, scored)


def _suggested(predictor: Predictor, before: str) -> list[str]:
    return [word.lower() for word in predictor.suggest(before)[:SHOWN]]


def _pressed(predictor: Predictor, target: Target, offered: bool) -> int:
    """Keys until the word and the space after it are there."""
    if offered:
        return 1
    word = target.word
    for typed in range(1, len(word)):
        if word.lower() in _suggested(predictor, target.before + word[:typed]):
            return typed + 1
    return len(word) + 1


def _likelihood(predictor: Predictor, known: list[Target]) -> tuple[float, int]:
    nats, scored = 0.0, 0
    for target in known[:: math.ceil(len(known) / PERPLEXITY_WORDS) or 1]:
        probability = predictor.probability(target.before, target.word.lower())
        if probability is None:
            return 0.0, 0
        nats -= math.log(max(probability, _LEAST_PROBABILITY))
        scored += 1
    return nats, scored
