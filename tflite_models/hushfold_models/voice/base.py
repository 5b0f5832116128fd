"""The base of the voice model: from recordings and made-up speech to weights and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hushfold_format.logmel import log_mel

from ..corpus import CorpusError
from ..curve import draw
from ..pretraining import Point
from . import clips, synthesis
from .config import COMMANDS, CONFIGS, LABELS, UNKNOWN
from .pictures import draw_confusion
from .pretraining import Example, Schedule, pretrain
from .quality import Figures, measure

WEIGHTS, FIGURES, CURVE, CONFUSION = "weights.f32", "figures.json", "loss.png", "confusion.png"
_WORDS = "words.json"


def train(data: Path, words: Sequence[str], work: Path, schedule: Schedule, report: Callable[[Point], None]) -> Figures:
    """Train the base and leave what `build` needs in the folder `work`; its figures.

    Args:
        data: folder of the data sets.
        words: English words by falling frequency, for made-up speakers.
        work: for speech, checkpoints and results.
        schedule: how long and how fast.
        report: told now and then how far it is.

    Raises:
        CorpusError: a set is missing in the folder `data`, a synthesiser is not installed, or `work` holds a run with
            other words.
    """
    recorded = clips.read(clips.COMMANDS.file, data)
    noises = clips.read(clips.NOISE.file, data)
    chosen = synthesis.choose(words, synthesis.WORDS, schedule.seed)
    spelt = synthesis.pronounce(sorted({*chosen, *COMMANDS, *synthesis.UNTAUGHT}))
    chosen = synthesis.unmistakable(chosen, spelt)
    work.mkdir(parents=True, exist_ok=True)
    _require_same(work / _WORDS, [chosen, synthesis.COMMAND_VOICES])
    heard_phonemes = sorted({phoneme for word in (*chosen, *COMMANDS) for phoneme in spelt[word]})
    numbers = {phoneme: number for number, phoneme in enumerate(heard_phonemes)}

    def phonemes(word: str) -> tuple[int, ...]:
        return tuple(numbers[phoneme] for phoneme in spelt[word])

    said = work / "said"
    others = synthesis.say([word for word in chosen for _ in range(synthesis.VOICES)], said, schedule.seed)
    synthetic = [Example(u.pcm, UNKNOWN, phonemes(u.word)) for u in others if u]
    repeated = [word for word in COMMANDS for _ in range(synthesis.COMMAND_VOICES)]
    commands = synthesis.say(repeated, said, schedule.seed, foreigners=0)
    synthetic += [Example(u.pcm, LABELS.index(u.word), phonemes(u.word)) for u in commands if u]
    learned = [Example(c.pcm, LABELS.index(c.label), phonemes(c.label)) for c in recorded if not clips.held_out(c)]
    unseen = [clip for clip in recorded if clips.held_out(clip)]
    heard = [noise.pcm for noise in noises if not clips.held_out(noise)]
    config = CONFIGS["default"]
    held_out = (
        np.stack([log_mel(clip.pcm) for clip in unseen]),
        np.array([LABELS.index(clip.label) for clip in unseen], np.int32),
    )
    vector, history = pretrain(config, learned, synthetic, heard, len(numbers), held_out, work, schedule, report)
    figures = measure(config, vector, unseen, [noise.pcm for noise in noises if clips.held_out(noise)])
    (work / WEIGHTS).write_bytes(vector.astype("<f4").tobytes())
    (work / CURVE).write_bytes(draw(history, unit="nats per window", unseen="held-out speakers"))
    (work / CONFUSION).write_bytes(draw_confusion(figures))
    (work / FIGURES).write_text(json.dumps(asdict(figures), indent=1))
    return figures


def _require_same(path: Path, said: object) -> None:
    """A run can go on only with what made-up speakers said when it began: the layer of its phonemes is in its
    checkpoints."""
    content = json.dumps(said)
    if path.exists() and path.read_text() != content:
        raise CorpusError(f"{path.parent} holds a run with other words: remove it, or name another folder")
    path.write_text(content)
