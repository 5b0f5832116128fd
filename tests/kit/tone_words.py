"""A language of tones: each word is a frequency. Recordings of it, files of them, and what always recognises it."""

import csv
import io
import tarfile

import numpy as np
import soundfile

from hushfold_evaluation.voice.clips import COMMANDS, RATE, Clip
from hushfold_evaluation.voice.recognisers import Guess, Told

LOWEST, STEP = 300.0, 1.08  # Hz, from one word to the next
OTHERS = ("open", "close", "print", "speech", "signal", "process")
WORDS = (*COMMANDS, *OTHERS, "two", "three")
_EXACT = 1.01  # ratio of frequencies up to which it is the same word
_TONAL = 0.3  # share of the power that is near the peak, of a word


def frequency(word):
    return LOWEST * STEP ** WORDS.index(word)


def tone(word, seconds=0.4, around=0.2, loudness=0.3, detune=1.0):
    """A recording of a word, with digital silence before and after it."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = loudness * np.sin(2 * np.pi * frequency(word) * detune * time)
    rest = np.zeros(round(around * RATE))
    return np.concatenate((rest, sound, rest)).astype(np.float32)


def clip(word, speaker="anna", **how):
    return Clip(tone(word, **how), word, speaker)


def pitch(pcm):
    """The frequency of a tone; None where there is none."""
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)), 1 << 16)) ** 2
    peak = int(power.argmax())
    near = power[max(0, peak - 40) : peak + 41].sum()
    return peak * RATE / (1 << 16) if power.sum() > 0 and near / power.sum() > _TONAL else None


def named(pcm, words=COMMANDS):
    """The word in a recording, of those that are known."""
    heard = pitch(pcm)
    if heard is None:
        return None
    nearest = min(words, key=lambda word: abs(np.log(heard / frequency(word))))
    return nearest if abs(np.log(heard / frequency(nearest))) < np.log(_EXACT) else None


class ToneCommands:
    """Recognises base words: the nearest in pitch, `accepted` up to a ratio of 1.01."""

    def recognise(self, recording):
        return named(recording.pcm)

    def guess(self, recording):
        return ToneWords({word: frequency(word) for word in COMMANDS}).guess(recording)


class ToneWords:
    """Learns words by their pitch; `accepted` up to a ratio of 1.01."""

    def __init__(self, pitches=None):
        self._pitches = pitches or {}

    refused = 0

    def teach(self, takes):
        return ToneWords({word: np.mean([pitch(each.pcm) for each in clips]) for word, clips in takes.items()})

    def guess(self, recording):
        heard = pitch(recording.pcm)
        distances = {word: abs(np.log(heard / known)) for word, known in self._pitches.items()}
        word = min(distances, key=distances.__getitem__)
        return Guess(word, distances[word], distances[word] < np.log(_EXACT))

    def without(self, word):
        return ToneWords({other: known for other, known in self._pitches.items() if other != word})


class ToneListening:
    """Tells a word as soon as its tone has been over for `patience` seconds."""

    def __init__(self, patience=0.1, words=COMMANDS):
        self._patience, self._words = round(patience * RATE), words
        self._heard, self._place, self._last = [], 0, None
        self._start = 0
        self.blocks = []

    def feed(self, block):
        self.blocks.append(len(block))
        loud = np.abs(block) > 0.1
        if loud.any():
            if self._last is None:
                self._start = self._place + int(loud.argmax())
            self._last = self._place + int(np.flatnonzero(loud)[-1]) + 1
            self._heard.append(block)
        self._place += len(block)
        if self._last is not None and self._place - self._last >= self._patience:
            return self.flush()
        return []

    def flush(self):
        if self._last is None:
            return []
        word = named(np.concatenate(self._heard), self._words)
        told = [] if word is None else [Told(word, self._start / RATE, self._last / RATE, own=False)]
        self._heard, self._last = [], None
        return told


def write_set(folder, name, clips):
    """The files of a set, as the evaluation reads them; digits are named by figures."""
    speech = folder / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    with (
        tarfile.open(speech / f"{name}.tar", "w") as tar,
        (speech / f"{name}.csv").open("w", newline="") as table,
    ):
        rows = csv.writer(table)
        rows.writerow(("file", "label", "speaker", "samples"))
        for number, each in enumerate(clips):
            content = io.BytesIO()
            soundfile.write(content, each.pcm, RATE, format="FLAC", subtype="PCM_24")
            member = tarfile.TarInfo(f"{number:05}.ogg")
            member.size = len(content.getvalue())
            tar.addfile(member, io.BytesIO(content.getvalue()))
            rows.writerow((member.name, each.word, each.speaker, len(each.pcm)))
