"""Sounds for tests: what a detector takes for a voice, and what it should not."""

import numpy as np

RATE = 16_000
_FORMANTS = ((500, 80), (1500, 120), (2500, 160))  # Hz: centre and bandwidth, of a neutral vowel


def voice(seconds, peak=0.5, pitch=120.0):
    """A neutral vowel: the harmonics of a gliding pitch under three formants, with soft edges. float32 samples[n]."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))) / RATE
    sound = np.zeros(len(time))
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in _FORMANTS)
        sound += gain * np.sin(harmonic * phase)
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    sound *= edge
    return (peak * sound / np.abs(sound).max()).astype(np.float32)


def noise(seconds, dbfs, seed=0):
    """White noise of that RMS. float32 samples[n]."""
    generator = np.random.default_rng(seed)
    sound = generator.standard_normal(round(seconds * RATE)) * 10 ** (dbfs / 20)
    return np.clip(sound, -1, 1).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


def placed(length, *sounds, floor=-70.0):
    """A stream of `length` seconds with sounds at (second, samples), over white noise."""
    stream = noise(length, floor)
    for second, sound in sounds:
        start = round(second * RATE)
        stream[start : start + len(sound)] += sound
    return np.clip(stream, -1, 1)
