"""Made-up speakers who say other words, too: what a command is not, and how speech sounds in general.

Twelve words by real people teach neither. Two free synthesisers say some thousand English words, in many voices and at
many speeds. Their sound is poor; what is asked of it is only that other words sound like other words. They say the
commands too: or else to be synthetic would be all that a model has to hear in an unknown word.
"""

from __future__ import annotations

import io
import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from hushfold_format.logmel import SAMPLE_RATE

from ..corpus import CorpusError
from .config import COMMANDS

WORDS, VOICES = 3_000, 4  # how many words are said for the training of a base, and how often each
COMMAND_VOICES = 150  # how often each command is said by made-up speakers
_DIGITS = "zero one two three four five six seven eight nine"
_PERSONAL = "speech speaker signal process print open close project"
UNTAUGHT = frozenset(f"{_DIGITS} {_PERSONAL}".split())
"""Words that people's own words are measured with: no base may have heard them, but for the commands."""

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")
_LANGUAGES = ("de", "es", "fr", "it", "cmn", "hi", "pl", "tr", "nl", "pt-br", "sv", "id", "vi")  # read the words oddly
_NUMBERED = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3"
_NAMED = (
    "adam Alex Andrea Andy Annie antonio belinda benjamin boris caleb david ed grandma grandpa Jacky john Lee linda "
    "Mario max Michael Mike norbert pablo paul quincy rob robert steph travis victor"
)
_VARIANTS = f"{_NUMBERED} {_NAMED}".split()
_FLITE = ("awb", "rms", "slt", "kal16")
_AT_ONCE = 4
_PEAK = 0.8
_MARGIN = 400  # samples kept around a word
_LONGEST = 15_500  # samples
_STRESS = str.maketrans("", "", "\u02c8\u02cc")


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """A synthetic word: `pcm` is int16 at 16 kHz, without the silence around it."""

    pcm: NDArray[np.int16]
    word: str


def choose(words: Sequence[str], count: int, seed: int) -> list[str]:
    """Words to be said: the most frequent ones and a draw of the others, none of them a command or `UNTAUGHT`."""
    fit = [w for w in words if w.isascii() and w.isalpha() and 3 <= len(w) <= 12 and w not in {*COMMANDS, *UNTAUGHT}]
    frequent = fit[: count // 8]
    rest = fit[count // 8 :]
    return frequent + random.Random(seed).sample(rest, min(count - len(frequent), len(rest)))


def unmistakable(words: Sequence[str], phonemes: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Those of the words that sound like no command and like no word of `UNTAUGHT`: not "won", not "too".

    Args:
        words: from `choose`.
        phonemes: how they, the commands and the words of `UNTAUGHT` are pronounced.
    """
    reserved = {phonemes[word] for word in (*COMMANDS, *UNTAUGHT)}
    return [word for word in words if phonemes[word] and phonemes[word] not in reserved]


def pronounce(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The phonemes of each word in American English, in IPA without stress. Raises CorpusError without espeak-ng."""
    text = _run(["espeak-ng", "-q", "--ipa", "--sep= ", "-v", "en-us"], "\n".join(words)).decode()
    listed = text.strip("\n").split("\n")
    if len(listed) != len(words):
        raise CorpusError(f"espeak-ng pronounced {len(listed)} of {len(words)} words: use version 1.51 or later")
    phonemes = ([phoneme.translate(_STRESS) for phoneme in line.split()] for line in listed)
    return {word: tuple(p for p in each if p) for word, each in zip(words, phonemes, strict=True)}


def say(words: Sequence[str], folder: Path, seed: int, *, foreigners: float = 0.25) -> Iterator[Utterance | None]:
    """Have each word, of letters alone, said by a voice drawn for it; None for what came out empty or too long.

    A share of espeak-ng's voices, `foreigners`, reads as if the word were of another language. What was said before is
    taken from `folder`.

    Raises:
        CorpusError: espeak-ng or flite is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def utter(number: int) -> Utterance | None:
        file = folder / f"{seed}-{number:05}-{words[number]}.wav"  # what another run said is not taken for this one's
        if not file.exists():
            _speak(words[number], file, random.Random(f"{seed}/{number}"), foreigners)
        pcm = _trimmed(file.read_bytes())
        return None if pcm is None else Utterance(pcm, words[number])

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # each waits for a process
        yield from pool.map(utter, range(len(words)))


def _speak(word: str, file: Path, chance: random.Random, foreigners: float) -> None:
    draft = file.with_suffix(".unfinished")
    if chance.random() < 0.2:
        stretch, pitch = chance.uniform(0.75, 1.3), chance.uniform(80, 240)
        voice = ["-voice", chance.choice(_FLITE)]
        manner = ["--setf", f"duration_stretch={stretch:.2f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
        _run(["flite", *voice, *manner, "-t", word, "-o", str(draft)])
    else:
        language = chance.choice(_ACCENTS if chance.random() < 1 - foreigners else _LANGUAGES)
        manner = ["-s", str(chance.randint(110, 210)), "-p", str(chance.randint(15, 85))]
        _run(["espeak-ng", "-v", f"{language}+{chance.choice(_VARIANTS)}", *manner, "-w", str(draft), word])
    draft.replace(file)


def _trimmed(content: bytes) -> NDArray[np.int16] | None:
    if not content:
        return None
    wave, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    pcm = wave[:, 0]
    if len(pcm) < _MARGIN or not np.abs(pcm).max():
        return None
    pcm = soxr.resample(pcm, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else pcm
    pcm = pcm / np.abs(pcm).max()
    loud = np.flatnonzero(np.abs(pcm) > 0.02)
    pcm = pcm[max(0, loud[0] - _MARGIN) : loud[-1] + 2 * _MARGIN]
    return (pcm * _PEAK * 32_767).astype(np.int16) if len(pcm) <= _LONGEST else None


def _run(command: list[str], text: str = "") -> bytes:
    try:
        return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout  # noqa: S603 - no shell
    except OSError as error:
        raise CorpusError(f"{command[0]} is not installed: run make system-deps, or install it") from error
    except subprocess.CalledProcessError as error:
        raise CorpusError(f"{command[0]} failed: {error.stderr.decode(errors='replace').strip()}") from error
