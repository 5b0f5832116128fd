"""The base model: from the texts to a vocabulary, weights and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from hushfold_format import Vocabulary, message_ids

from . import corpus
from .config import CONFIGS
from .curve import draw
from .mixture import Mixture
from .pretraining import Point, Schedule, pretrain
from .quality import Figures, measure

VOCABULARY, WEIGHTS, FIGURES, CURVE = "vocabulary.json", "weights.f32", "figures.json", "loss.png"
_FOREIGN = "sms-public"  # measured, never trained on
_FOREIGN_TITLE = "Text messages that nothing was trained on: NUS SMS Corpus (Chen and Kan 2013)"


def train(data: Path, work: Path, schedule: Schedule, report: Callable[[Point], None]) -> dict[str, Figures]:
    """Train the base and leave what `build` needs in the folder `work`; its figures by the name of the texts.

    Raises:
        CorpusError: a text file is missing in the folder `data`.
    """
    texts = corpus.read_sources(data)
    foreign = corpus.read(_FOREIGN, data)  # before the hours of training
    mixture = Mixture(
        {source: [text for text in each if not corpus.held_out(text)] for source, each in texts.items()}, schedule.seed
    )
    vocabulary = corpus.build_vocabulary(mixture.epoch(0), CONFIGS["default"].vocabulary)
    config = replace(CONFIGS["default"], vocabulary=len(vocabulary))

    def ids(messages: list[str]) -> list[list[int]]:
        return [message_ids(text, vocabulary) for text in messages]

    held_out = {source.title: ids([text for text in each if corpus.held_out(text)]) for source, each in texts.items()}
    unseen = [message for messages in held_out.values() for message in messages]
    work.mkdir(parents=True, exist_ok=True)
    _require_same(work / VOCABULARY, vocabulary)
    vector, history = pretrain(config, lambda epoch: ids(mixture.epoch(epoch)), unseen, work, schedule, report)
    tested = {**held_out, _FOREIGN_TITLE: ids(foreign)}
    figures = {title: measure(config, vector, messages) for title, messages in tested.items()}
    (work / WEIGHTS).write_bytes(vector.astype("<f4").tobytes())
    (work / CURVE).write_bytes(draw(history))
    (work / FIGURES).write_text(json.dumps({title: asdict(each) for title, each in figures.items()}, indent=1))
    return figures


def _require_same(path: Path, vocabulary: Vocabulary) -> None:
    """A run can go on only with the words that it began with."""
    if path.exists() and path.read_bytes() != vocabulary.to_bytes():
        raise corpus.CorpusError(f"{path.parent} holds a run on other texts: remove it, or name another folder")
    path.write_bytes(vocabulary.to_bytes())
