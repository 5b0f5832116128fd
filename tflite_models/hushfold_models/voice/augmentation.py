"""What rooms, microphones and manners of speaking do to a clip: the same word, as somebody else might send it.

All draws come from a generator that the caller seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hushfold_format.logmel import BANDS, SAMPLE_RATE

Sound = NDArray[np.float32]

_SLOWEST, _FASTEST = 0.85, 1.18  # speed; the pitch goes along, as that of a larger or smaller speaker
_SHIFT = 1_600  # samples, of a clip that fills the window
_TILT, _TILTED = 0.6, 0.4  # a first-order filter: microphones differ in their highs
_ECHO, _ECHOED = 0.4, 0.3  # of the direct sound
_CLIPPED = 0.1  # share of the clips whose peaks are cut
_QUIETEST = -1.6  # power of ten of the peak
_NOISY, _WORST_SNR, _BEST_SNR = 0.7, 0.0, 30.0  # share of the clips in noise, dB
_EARLIEST, _LATEST = 0.35, 0.65  # where words are cut to be spliced, of their length
_FADE = 80  # samples
_LOUD = 0.1  # of the peak
_GATED = 0.35  # share of the clips with nothing around the word
_KEPT = (320, 2_400)  # samples around it that are left, with soft ends of at most `_SOFT`
_SOFT = 320
_MASKED, _WIDEST_MASK = 0.3, 6  # share of the windows with bands masked (Park et al. 2019, arXiv:1904.08779), bands


def disturb(clip: Sound, noises: Sequence[Sound], chance: np.random.Generator) -> Sound:
    """A second of the clip at another speed, place, level and tone, with an echo, in noise."""
    if chance.random() < _GATED:
        clip = _gated(clip, chance)
    sound = _placed(_at_speed(clip, chance.uniform(_SLOWEST, _FASTEST)), chance)
    if chance.random() < _TILTED:
        sound[1:] += np.float32(chance.uniform(-_TILT, _TILT)) * sound[:-1]
    if chance.random() < _ECHOED:
        delay = int(chance.integers(200, 1_500))
        sound[delay:] += np.float32(chance.uniform(0.1, _ECHO)) * sound[:-delay]
    sound *= np.float32(10 ** chance.uniform(_QUIETEST, 0) / max(float(np.abs(sound).max()), 1e-6))
    if chance.random() < _NOISY:
        loudness = 10 ** (-chance.uniform(_WORST_SNR, _BEST_SNR) / 20)
        sound += _background(noises, chance) * np.float32(loudness * sound.std())
    sound += _hiss(chance)
    if chance.random() < _CLIPPED:
        limit = 0.3 * np.abs(sound).max()
        sound = np.clip(sound, -limit, limit)
    return sound


def splice(one: Sound, other: Sound, chance: np.random.Generator) -> Sound:
    """The beginning of one word and the end of another: by real people, and no word at all."""
    first, second = _word(one), _word(other)
    beginning = first[: int(len(first) * chance.uniform(_EARLIEST, _LATEST))]
    end = second[int(len(second) * chance.uniform(_EARLIEST, _LATEST)) :]
    fade = min(_FADE, len(beginning), len(end))
    rising = np.linspace(0, 1, fade, dtype=np.float32)
    seam = beginning[len(beginning) - fade :] * (1 - rising) + end[:fade] * rising
    return np.concatenate((beginning[: len(beginning) - fade], seam, end[fade:]))


def silence(noises: Sequence[Sound], chance: np.random.Generator) -> Sound:
    """A second in which nobody speaks."""
    return _background(noises, chance) * np.float32(10 ** chance.uniform(-3.5, -0.7)) + _hiss(chance)


def mask(features: NDArray[np.float32], chance: np.random.Generator) -> None:
    """Hide some neighbouring bands of some windows `[b, t, bands]`, in place."""
    for window in features:
        if chance.random() < _MASKED:
            width = int(chance.integers(1, _WIDEST_MASK))
            first = int(chance.integers(0, BANDS - width))
            window[:, first : first + width] = window.mean()


def _word(clip: Sound) -> Sound:
    """From where a clip first is loud to where it last is."""
    first, last = _loud(clip)
    return clip[first:last]


def _loud(clip: Sound) -> tuple[int, int]:
    """Where a clip first is loud, and past where it last is."""
    loud = np.flatnonzero(np.abs(clip) >= _LOUD * np.abs(clip).max())
    return int(loud[0]), int(loud[-1]) + 1


def _gated(clip: Sound, chance: np.random.Generator) -> Sound:
    """The clip without what is around its word, as a microphone gives it that suppresses noise.

    Recorded words come with the sound of a room around them, and made-up ones, spliced ones and pieces without: to hear
    no room must not be to hear no command. A word that begins or ends with its clip is softened a little, as by a gate.
    """
    first, last = _loud(clip)
    first, last = max(0, first - int(chance.integers(*_KEPT))), min(len(clip), last + int(chance.integers(*_KEPT)))
    gated = np.zeros_like(clip)
    gated[first:last] = clip[first:last]
    soft = min(_SOFT, (last - first) // 2)
    ramp = np.linspace(0, 1, soft, endpoint=False, dtype=np.float32)
    gated[first : first + soft] *= ramp
    gated[last - soft : last] *= ramp[::-1]
    return gated


def _at_speed(clip: Sound, speed: float) -> Sound:
    at = np.linspace(0, len(clip) - 1, int(len(clip) / speed))
    return np.interp(at, np.arange(len(clip)), clip).astype(np.float32)


def _placed(clip: Sound, chance: np.random.Generator) -> Sound:
    """A second with the clip somewhere in it."""
    sound = np.zeros(SAMPLE_RATE, np.float32)
    slack = SAMPLE_RATE - len(clip)
    # What fills the window has its word about the middle; it is moved a little, and its ends may be lost.
    start = (
        int(chance.integers(0, slack + 1))
        if slack > 2 * _SHIFT
        else slack // 2 + int(chance.integers(-_SHIFT, _SHIFT + 1))
    )
    taken = clip[max(0, -start) : SAMPLE_RATE - start]
    sound[max(0, start) : max(0, start) + len(taken)] = taken
    return sound


def _background(noises: Sequence[Sound], chance: np.random.Generator) -> Sound:
    """A second of noise with a mean power of one."""
    noise = noises[int(chance.integers(len(noises)))]
    start = int(chance.integers(0, len(noise) - SAMPLE_RATE + 1))
    piece = noise[start : start + SAMPLE_RATE]
    return piece / np.float32(max(float(piece.std()), 1e-4))


def _hiss(chance: np.random.Generator) -> Sound:
    return (chance.standard_normal(SAMPLE_RATE) * 10 ** chance.uniform(-5, -3)).astype(np.float32)
