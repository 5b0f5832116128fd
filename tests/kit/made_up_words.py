"""Made-up words, each said in any number of takes: what a person teaches and a device recognises, without recordings.

A word is a string of phones, one letter each; `say("katam", take)` is one take of it. Vowels and nasals are harmonics
of a gliding pitch under formants that move from phone to phone, fricatives are noise in a band, and plosives are a
closure with a burst. From take to take pitch, pace, formants and loudness differ, as they do when somebody repeats a
word; another speaker has another pitch and a vocal tract of another length.
"""

import zlib
from functools import cache

import numpy as np

RATE = 16_000
VOWELS = {  # Hz: the first three formants
    "a": (750, 1250, 2500),
    "e": (500, 1850, 2550),
    "i": (300, 2300, 3000),
    "o": (450, 850, 2500),
    "u": (320, 700, 2300),
}
NASALS = {"m": (250, 1000, 2200), "n": (260, 1500, 2500)}
FRICATIVES = {"s": (4500, 7500, 0.12), "x": (2000, 4500, 0.15), "f": (1000, 7500, 0.03)}  # Hz and loudness
PLOSIVES = {"t": (3000, 6000, 0.2), "k": (1200, 2500, 0.2)}
WORDS = ("katam", "eskau", "atofe", "kimi", "souf", "imax", "sexunex", "nufixuf")
"""Words of which none sounds like another."""
COMMANDS = {"left": "katam", "right": "eskau", "up": "atofe", "down": "kimi"}
"""Of the base, and the words that a base may be trained to take for them."""

_WIDTH = 90.0  # Hz, of a formant
_STEP = 16  # samples for which the formants stay as they are
_CLOSURE = 0.05  # seconds
_BREATH = 0.16  # of the peak: noise that makes two takes as unlike one another as a person's are


@cache
def say(word, take=0, *, pitch=120.0, tract=1.0, around=0.3, floor=-62.0, peak=0.4):
    """One take of a word, the same for the same arguments. float32 samples[n].

    `tract` scales the formants, `around` is the time before and after the word in seconds, and `floor` the level of the
    noise under all of it in dB.
    """
    chance = np.random.default_rng([zlib.crc32(word.encode()), take])
    pace, pitch = chance.uniform(0.88, 1.14), pitch * chance.uniform(0.92, 1.08)
    tract = tract * chance.uniform(0.97, 1.03)
    lengths = [round(RATE * pace * chance.uniform(0.9, 1.1) * _seconds(phone)) for phone in word]
    samples = sum(lengths)
    voiced = _voiced(word, lengths, tract, pitch * np.linspace(1.1, 0.85, samples))
    start = 0
    for phone, length in zip(word, lengths, strict=True):
        if phone in FRICATIVES:
            voiced[start : start + length] += _hiss(length, FRICATIVES[phone], tract, chance)
        if phone in PLOSIVES:
            burst = length - round(_CLOSURE * RATE)
            voiced[start + length - burst : start + length] += _hiss(burst, PLOSIVES[phone], tract, chance)
        start += length
    edge = np.minimum(1, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / (0.02 * RATE))
    voiced = voiced / np.abs(voiced).max() + _BREATH * edge * chance.standard_normal(samples)
    rest = np.zeros(round(around * RATE))
    sound = np.concatenate((rest, peak * chance.uniform(0.7, 1.2) * voiced, rest))
    sound += chance.standard_normal(len(sound)) * 10 ** (floor / 20)
    sound = np.clip(sound, -1, 1).astype(np.float32)
    sound.flags.writeable = False  # it is shared
    return sound


def takes(word, count, first=0, **how):
    """Several takes of a word."""
    return [say(word, first + number, **how) for number in range(count)]


def _seconds(phone):
    return 0.13 if phone in VOWELS else 0.12 if phone in FRICATIVES else 0.09


def _voiced(word, lengths, tract, pitch):
    """The harmonics of all phones, which are silent in those without a voice."""
    time = np.arange(sum(lengths))
    edges = np.concatenate(([0], np.cumsum(lengths)))
    known = [VOWELS.get(phone) or NASALS.get(phone) for phone in word]
    places = [number for number, formants in enumerate(known) if formants]
    centres = (edges[:-1] + np.array(lengths) / 2)[places]
    coarse = time[::_STEP]
    formants = [np.interp(coarse, centres, [known[at][each] * tract for at in places]) for each in range(3)]
    multiples = np.arange(1, int(4000 / pitch.min()))[:, None]
    gains = sum(1 / (1 + ((multiples * pitch[::_STEP] - formant) / _WIDTH) ** 2) for formant in formants)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound, before, now, twice = np.zeros(len(time)), np.zeros(len(time)), np.sin(phase), 2 * np.cos(phase)
    for gain in gains:
        sound += np.repeat(gain, _STEP)[: len(time)] * now
        before, now = now, twice * now - before  # sin((n + 1) x) = 2 cos(x) sin(n x) - sin((n - 1) x)
    loudness = np.repeat([1.0 if phone in VOWELS else 0.35 if phone in NASALS else 0.0 for phone in word], lengths)
    kernel = np.hanning(round(0.025 * RATE))
    return sound * np.convolve(loudness, kernel / kernel.sum(), "same") / np.abs(sound).max()


def _hiss(length, band, tract, chance):
    """Noise in a band, with soft edges."""
    low, high, loudness = band
    spectrum = np.fft.rfft(chance.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    spectrum[(frequency < low * tract) | (frequency > high * tract)] = 0
    sound = np.fft.irfft(spectrum, length)
    return loudness * np.hanning(length) * sound / max(sound.std(), 1e-9)
