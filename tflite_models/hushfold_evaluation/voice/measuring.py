"""All that is measured of the voice, in parallel over processes; the long stream alone, since it is timed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import UsageError
from ..measuring import workers
from . import alarms, base, composing, digits, personal, streaming
from .base import Base
from .clips import COMMANDS, Audio, Clip, by_speaker, chosen_by, digest, held_out, read, table
from .digits import DigitFigures, DigitTrial
from .figures import Rate
from .ours import OwnVoice, OwnWords
from .peers import Mfcc, Pocketsphinx, pocketsphinx_missing
from .personal import PersonalFigures, PersonalTrial
from .recognisers import Commands, Teachable
from .streaming import Streamed

HUSHFOLD, MFCC, POCKETSPHINX = "hushfold", "mfcc-svm", "pocketsphinx"
COMMANDS_SET, PERSONAL_SET, DIGITS_SET, NOISE_SET = "commands", "personal-words", "digits", "noise"
SPEECH, NOISE = "running speech", "noise"
FOREIGN = 3_000
"""Clips of other words that every recogniser of base words hears, at most."""
_OTHERS = "Give other recordings"
_TAUGHT = 3  # takes of the words that are known in the long stream


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure.

    Attributes:
        data: folder of the recordings.
        speakers: whose personal words are measured, chosen by the seed; 0 takes all.
        minutes: of each stream; 0 for none.
        seed: of who is chosen, what is composed, and the intervals.
        model: folder of the voice model's files; None for the shipped one.
        choosing: measure those by whom the product's thresholds were chosen, and what they say as foreign words; not
            the others. In the streams, commands and noises are then those of the base's training.
    """

    data: Path
    speakers: int
    minutes: float
    seed: int
    model: Path | None = None
    choosing: bool = False

    def asks(self, speaker: str) -> bool:
        """Whether a speaker of taught words, or of foreign ones, is among those who are measured."""
        return chosen_by(speaker) == self.choosing


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured; `base` and `personal` by recogniser. `missing`: recognisers that are not installed."""

    base: Mapping[str, Base]
    personal: Mapping[str, Sequence[PersonalFigures]]
    digits: Sequence[DigitFigures]
    alarms: Mapping[str, Rate]
    streamed: Streamed | None
    missing: tuple[str, ...]


def jobs_of(asked: Asked) -> list[tuple[str, ...]]:
    """What is to be done, but for the long stream: what is measured, then of what or whom. The longest come first.

    Raises:
        UsageError: recordings are missing, or there are fewer speakers.
    """
    tables = {name: table(name, asked.data) for name in (COMMANDS_SET, PERSONAL_SET, DIGITS_SET, NOISE_SET)}
    everybody = {name: list(dict.fromkeys(row["speaker"] for row in rows)) for name, rows in tables.items()}
    speakers = _choose([speaker for speaker in everybody[PERSONAL_SET] if asked.asks(speaker)], asked)
    recognisers = [HUSHFOLD, MFCC, *([] if pocketsphinx_missing() else [POCKETSPHINX])]
    return [
        *[("alarms", kind) for kind in (SPEECH, NOISE) if asked.minutes],
        *[("personal", speaker) for speaker in speakers],
        *[("base", name) for name in recognisers],
        *[("digits", speaker) for speaker in everybody[DIGITS_SET]],
    ]


def measure(
    asked: Asked, jobs: Sequence[tuple[str, ...]], processes: int, log: Path, advance: Callable[[], None]
) -> Results:
    """Do the jobs, and then the long stream.

    Args:
        log: where libraries write what they have to say.
        advance: called when a job is done; once more after the stream.

    Raises:
        EvaluationError: a process ended before its time.
    """
    done: dict[tuple[str, ...], Any] = {}
    streamed = None
    # The folder is this process's, so that others can be ended at any moment and leave nothing behind.
    with TemporaryDirectory(prefix="hushfold-evaluation-") as folder:
        with _workers(processes, log) as pool:
            with _no_interrupt():
                futures = {pool.submit(_do, job, asked, folder): job for job in jobs}
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                advance()
        if asked.minutes:
            with _workers(1, log) as pool:
                with _no_interrupt():
                    stream = pool.submit(_do, ("stream",), asked, folder)
                streamed = stream.result()
            advance()
    in_order = {job: done[job] for job in jobs}  # whoever was done first: intervals are drawn over this order
    return _results(asked, in_order, streamed)


@contextmanager
def _workers(processes: int, log: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ended in the middle of their work if this one is interrupted."""
    with workers(processes, log) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is on its way
            for child in multiprocessing.active_children():
                child.terminate()
            raise


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes that are started within do not hear Ctrl-C, which a terminal sends to all of them: this one does, a
    moment later, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _results(asked: Asked, done: Mapping[tuple[str, ...], Any], streamed: Streamed | None) -> Results:
    trials = [trials for (kind, *_), trials in done.items() if kind == "personal"]
    return Results(
        base={name: done["base", name] for name in (HUSHFOLD, MFCC, POCKETSPHINX) if ("base", name) in done},
        personal={
            name: [
                personal.figures([trial for each in trials for trial in each[name] if trial.takes == takes], asked.seed)
                for takes in personal.TAKES
            ]
            for name in (HUSHFOLD, MFCC)
        },
        digits=digits.figures(
            [trial for (kind, *_), each in done.items() if kind == "digits" for trial in each], asked.seed
        ),
        alarms={kind: done["alarms", kind] for kind in (SPEECH, NOISE) if ("alarms", kind) in done},
        streamed=streamed,
        missing=(POCKETSPHINX,) if ("base", POCKETSPHINX) not in done else (),
    )


def _do(job: tuple[str, ...], asked: Asked, folder: str) -> Any:
    """Do one job, in a process of its own: what it takes is read once for all jobs there. Files go to the folder."""
    tempfile.tempdir = folder
    kind, *of = job
    return _KINDS[kind](asked, *of)


def _base(asked: Asked, name: str) -> Base:
    clips = unheard_commands(asked.data)
    others = base.sample(foreign(asked), FOREIGN, asked.seed)
    if name == HUSHFOLD:
        with closing(OwnVoice(asked.model)) as own:
            return base.measure(own, clips, others, asked.seed)
    recogniser: Commands = Pocketsphinx() if name == POCKETSPHINX else _trained(asked.data)
    return base.measure(recogniser, clips, others, asked.seed)


def _trained(data: Path) -> Commands:
    """A support-vector machine that has learned from the speakers the base has learned from."""
    clips = trained_commands(data)
    return Mfcc().teach({word: [clip for clip in clips if clip.word == word] for word in COMMANDS})


def _alarms(asked: Asked, kind: str) -> Rate:
    noises = _noises(asked)
    stream = (
        composing.running_speech(foreign(asked), noises, asked.minutes, asked.seed)
        if kind == SPEECH
        else composing.noise(noises, asked.minutes, asked.seed)
    )
    with closing(OwnVoice(asked.model)) as own:
        return alarms.count(own.listen(), stream)


def _personal(asked: Asked, speaker: str) -> dict[str, list[PersonalTrial]]:
    everybody = by_speaker(_set(PERSONAL_SET, asked.data))
    said = everybody[speaker]
    chance = random.Random(f"{asked.seed}/{speaker}")
    rest = [
        clip
        for other, takes in everybody.items()
        if other != speaker and asked.asks(other)
        for word in said
        for clip in takes.get(word, [])[personal.FIRST_TESTED :]
    ]
    others = chance.sample(rest, min(personal.OTHERS, len(rest)))
    commands = unheard_commands(asked.data)
    strangers = chance.sample(commands, min(personal.FOREIGN, len(commands)))
    recognisers: dict[str, Teachable] = {HUSHFOLD: OwnWords(asked.model), MFCC: _mfcc()}
    return {
        name: [personal.measure(each, speaker, said, strangers, others, takes) for takes in personal.TAKES]
        for name, each in recognisers.items()
    }


def _digits(asked: Asked, speaker: str) -> list[DigitTrial]:
    with closing(OwnVoice(asked.model)) as own:
        return digits.measure(own, speaker, by_speaker(_set(DIGITS_SET, asked.data))[speaker])


def _stream(asked: Asked) -> Streamed:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    commands = trained_commands(asked.data) if asked.choosing else unheard_commands(asked.data)
    everybody = by_speaker(_set(PERSONAL_SET, asked.data))
    taught = next(takes for speaker, takes in everybody.items() if asked.asks(speaker))
    stream = composing.commands(commands, foreign(asked), _noises(asked), asked.minutes, asked.seed)
    with closing(OwnVoice(asked.model)) as own:
        before = streaming.resident()
        for word, takes in taught.items():
            own.teach(word, takes[:_TAUGHT])
        return streaming.measure(own.listen(), stream, before)


_KINDS: dict[str, Callable[..., Any]] = {
    "base": _base,
    "alarms": _alarms,
    "personal": _personal,
    "digits": _digits,
    "stream": _stream,
}


def _choose(speakers: Sequence[str], asked: Asked) -> list[str]:
    if not speakers:
        raise UsageError(f"in {PERSONAL_SET} there is no speaker to be measured", _OTHERS)
    if asked.speakers > len(speakers):
        raise UsageError(
            f"--speakers is {asked.speakers}; {len(speakers)} are there to be measured",
            f"Ask for {len(speakers)} or fewer; 0 takes all",
        )
    chosen = set(random.Random(asked.seed).sample(speakers, asked.speakers)) if asked.speakers else set(speakers)
    return [speaker for speaker in speakers if speaker in chosen]


@cache
def _set(name: str, data: Path) -> list[Clip]:
    return read(name, data)


@cache
def unheard_commands(data: Path) -> list[Clip]:
    """Base words by speakers whom the base was not trained on. Raises UsageError where there are none."""
    clips = read(COMMANDS_SET, data, lambda row: row["label"] in COMMANDS and held_out(row["speaker"]))
    if not clips:
        raise UsageError(f"in {COMMANDS_SET} there is no speaker whom the base was not trained on", _OTHERS)
    return clips


@cache
def trained_commands(data: Path) -> list[Clip]:
    """Base words by speakers whom the base was trained on. Raises UsageError where there are none."""
    clips = read(COMMANDS_SET, data, lambda row: row["label"] in COMMANDS and not held_out(row["speaker"]))
    if not clips:
        raise UsageError(f"in {COMMANDS_SET} there is no speaker whom the base was trained on", _OTHERS)
    return clips


def _noises(asked: Asked) -> list[Audio]:
    """Those that the base was not trained on; while choosing, those that it was."""
    noises = [clip.pcm for clip in _set(NOISE_SET, asked.data) if held_out(digest(clip.pcm)) != asked.choosing]
    if not noises:
        was = "was" if asked.choosing else "was not"
        raise UsageError(f"in {NOISE_SET} there is no sound that the base {was} trained on", _OTHERS)
    return noises


def foreign(asked: Asked) -> list[Clip]:
    """Words that are no base words, by those who are measured."""
    both = [*_set(PERSONAL_SET, asked.data), *_set(DIGITS_SET, asked.data)]
    return composing.foreign([clip for clip in both if asked.asks(clip.speaker)])


@cache
def _mfcc() -> Mfcc:
    return Mfcc()
