"""A long stream of sound, fed in blocks of 20 ms as a microphone gives them.

    share      processor seconds of feeding over seconds of sound: of one core, on this machine
    memory     the most that was resident while listening, beyond what was there before the voice was loaded, with
               Python, numpy, the LiteRT runtime and the clips
    latency    seconds of sound from a word's end to the end of the block in which the word was told, for commands that
               were told as what they are; `prompt` are those with 250 ms or less. Where a word ends is estimated by its
               level (`clips.spoken`)
    found      percent of the commands that were told as what they are
    alarms     base words that were told where no command was said

The stream has commands, by speakers whom the base was not trained on (`measuring`), among running speech and noise, and
words are taught before it begins, so that they are compared, too.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import psutil  # type: ignore[import-untyped]

from .clips import COMMANDS, RATE
from .composing import Piece, Placed
from .figures import Rate, Share
from .recognisers import Listening, Told

BLOCK = 320  # samples, 20 ms
PROMPT = 0.25  # seconds
_LOOKED_AT = 250  # blocks between two looks at the memory
_TOLERANCE = 0.25  # seconds by which what was told may lie beside the word


@dataclass(frozen=True, slots=True)
class Streamed:
    """What came of a stream. Seconds, bytes; `share` is a fraction. NaN where no word was found."""

    seconds: float
    share: float
    memory: int
    p50: float
    p95: float
    prompt: Share
    found: Share
    alarms: Rate


def measure(listening: Listening, stream: Iterable[Piece], resident_before: int) -> Streamed:
    """Listen to all of a stream."""
    placed: list[Placed] = []
    told: list[tuple[Told, float]] = []
    blocks = 0
    spent, most = 0.0, resident()
    rest = np.zeros(0, np.float32)
    for piece in stream:
        placed += piece.words
        rest = np.concatenate((rest, piece.pcm))
        whole = len(rest) // BLOCK
        for block in rest[: whole * BLOCK].reshape(whole, BLOCK):
            began = time.process_time()
            found = listening.feed(block)
            spent += time.process_time() - began
            blocks += 1
            told += [(each, blocks * BLOCK / RATE) for each in found]
            if blocks % _LOOKED_AT == 0:
                most = max(most, resident())
        rest = rest[whole * BLOCK :]
    seconds = blocks * BLOCK / RATE
    told += [(each, seconds) for each in listening.flush()]
    latencies, found_words, alarms = match(placed, told)
    p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (math.nan, math.nan)
    return Streamed(
        seconds=seconds,
        share=spent / seconds,
        memory=max(0, most - resident_before),
        p50=float(p50),
        p95=float(p95),
        prompt=Share.of([latency <= PROMPT for latency in latencies]),
        found=found_words,
        alarms=Rate(alarms, seconds / 3600),
    )


def match(placed: Sequence[Placed], told: Sequence[tuple[Told, float]]) -> tuple[list[float], Share, int]:
    """Latencies of the commands that were found, how many were, and how many were told where none was said.

    What was told belongs to a command if their times overlap, give or take a quarter of a second; a command that is
    told as another word is neither found nor an alarm.
    """
    commands = [word for word in placed if word.word in COMMANDS]
    starts, ends = (np.array([getattr(word, name) for word in commands]) for name in ("start", "end"))
    latencies: dict[int, float] = {}
    alarms = 0
    for each, at in told:
        first = int(np.searchsorted(ends, each.start - _TOLERANCE))
        last = int(np.searchsorted(starts, each.end + _TOLERANCE, side="right"))
        alarms += first >= last and not each.own
        for index in range(first, last):
            if commands[index].word == each.word:
                latencies.setdefault(index, at - commands[index].end)
    return list(latencies.values()), Share(len(latencies), len(commands)), alarms


def resident() -> int:
    """Bytes."""
    now: int = psutil.Process(os.getpid()).memory_info().rss
    return now
