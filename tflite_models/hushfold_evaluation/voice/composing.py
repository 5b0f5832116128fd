"""Streams that are made of clips: what is said in them is known, and when.

Words are cut to where they are loud (`clips.spoken`) and put over a background that changes every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .clips import COMMANDS, RATE, Audio, Clip, spoken

SHORT_GAP = (0.05, 0.4)  # seconds between words of running speech
LONG_GAP = (0.6, 2.0)  # seconds before and after a command
_RUN = (2, 8)  # words of running speech between two commands
_AROUND = 0.2  # seconds of silence around a word that is alone
_EDGE = 320  # samples, 20 ms, kept around a word and faded
_GAIN = (-6.0, 6.0)  # dB, of a word
_BACKGROUND = (-60.0, -35.0)  # dBFS, of what is behind the words
_ALONE = (-40.0, -12.0)  # dBFS, of a noise that is all there is
_LOUDEST = 0.95


class Placed(NamedTuple):
    """A word in a stream; `start` and `end` are seconds since the stream began, estimated by level."""

    word: str
    start: float
    end: float


class Piece(NamedTuple):
    """The next part of a stream, and the words in it."""

    pcm: Audio
    words: tuple[Placed, ...]


def running_speech(clips: Sequence[Clip], noises: Sequence[Audio], minutes: float, seed: int) -> Iterator[Piece]:
    """Shuffled words with gaps of 0.05 to 0.4 s over changing noise, for at least so many minutes."""
    return _composed(_words(clips, np.random.default_rng([seed, 0])), noises, minutes, seed)


def commands(
    spoken_commands: Sequence[Clip], others: Sequence[Clip], noises: Sequence[Audio], minutes: float, seed: int
) -> Iterator[Piece]:
    """Commands, each with silence of 0.6 to 2 s around it, and 2 to 8 words of running speech between them."""
    chance = np.random.default_rng([seed, 1])

    def order() -> Iterator[tuple[Clip, float]]:
        wanted, rest = _words(spoken_commands, chance), _words(others, chance)
        while True:
            command, _ = next(wanted)
            yield command, chance.uniform(*LONG_GAP)
            gap = chance.uniform(*LONG_GAP)
            for _ in range(chance.integers(*_RUN) if others else 0):
                yield next(rest)[0], gap
                gap = chance.uniform(*SHORT_GAP)

    return _composed(order(), noises, minutes, seed)


def noise(noises: Sequence[Audio], minutes: float, seed: int) -> Iterator[Piece]:
    """Noises in changing order, one or two at a time, at -40 to -12 dBFS, for at least so many minutes."""
    chance = np.random.default_rng([seed, 2])
    done = 0
    while done < minutes * 60 * RATE:
        first, second = (noises[at] for at in chance.integers(len(noises), size=2))
        pcm = _at_level(first, chance.uniform(*_ALONE))
        if chance.random() < 0.5:
            length = min(len(pcm), len(second))
            pcm = pcm[:length] + _at_level(second, chance.uniform(*_ALONE))[:length]
        pcm = _within_scale(_faded(pcm))
        done += len(pcm)
        yield Piece(pcm, ())


def _words(clips: Sequence[Clip], chance: np.random.Generator) -> Iterator[tuple[Clip, float]]:
    """Clips with the gap before each, in another order each time round."""
    while True:
        for at in chance.permutation(len(clips)):
            yield clips[at], chance.uniform(*SHORT_GAP)


def _composed(
    order: Iterator[tuple[Clip, float]], noises: Sequence[Audio], minutes: float, seed: int
) -> Iterator[Piece]:
    chance = np.random.default_rng([seed, 3])
    background = _Background(noises, chance)
    done = 0
    while done < minutes * 60 * RATE:
        clip, gap = next(order)
        word, start, end = _cut_out(clip.pcm)
        word *= np.float32(10 ** (chance.uniform(*_GAIN) / 20))
        silence = round(gap * RATE)
        pcm = background.take(silence + len(word))
        pcm[silence:] += word
        at = done + silence
        done += len(pcm)
        yield Piece(_within_scale(pcm), (Placed(clip.word, (at + start) / RATE, (at + end) / RATE),))


def alone(clip: Clip) -> Clip:
    """The word of a clip between two stretches of silence, without the room that it was recorded in: as a microphone
    gives it that suppresses noise."""
    silence = np.zeros(round(_AROUND * RATE), np.float32)
    return Clip(np.concatenate((silence, _cut_out(clip.pcm)[0], silence)), clip.word, clip.speaker)


def _cut_out(pcm: Audio) -> tuple[Audio, int, int]:
    """The word of a clip, softly cut, and where in that it begins and ends."""
    start, end = spoken(pcm)
    first, last = max(0, start - _EDGE), min(len(pcm), end + _EDGE)
    return _faded(pcm[first:last]), start - first, end - first


class _Background:
    """Noise without end: one after the other, each at a level of its own."""

    def __init__(self, noises: Sequence[Audio], chance: np.random.Generator) -> None:
        self._noises, self._chance = noises, chance
        self._rest = np.zeros(0, np.float32)

    def take(self, samples: int) -> Audio:
        while len(self._rest) < samples:
            chosen = self._noises[self._chance.integers(len(self._noises))]
            self._rest = np.concatenate((self._rest, _faded(_at_level(chosen, self._chance.uniform(*_BACKGROUND)))))
        taken, self._rest = self._rest[:samples].copy(), self._rest[samples:]
        return taken


def _at_level(pcm: Audio, level: float) -> Audio:
    """With that root mean square, in dBFS."""
    power = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) + 1e-9
    return pcm * np.float32(10 ** (level / 20) / power)


def _faded(pcm: Audio) -> Audio:
    """With soft ends, so that no cut is heard."""
    edge = min(_EDGE, len(pcm) // 2)
    faded = pcm.copy()
    ramp = np.linspace(0, 1, edge, endpoint=False, dtype=np.float32)
    faded[:edge] *= ramp
    faded[len(pcm) - edge :] *= ramp[::-1]
    return faded


def _within_scale(pcm: Audio) -> Audio:
    """Not louder than a microphone gives."""
    return np.clip(pcm, -_LOUDEST, _LOUDEST)


def foreign(clips: Sequence[Clip]) -> list[Clip]:
    """Those that are no base word."""
    return [clip for clip in clips if clip.word not in COMMANDS]
