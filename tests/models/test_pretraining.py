"""Training a tiny model from nothing, and measuring it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hushfold_format import Batch, message_ids
from hushfold_models import corpus
from hushfold_models.config import SMALL, initial_vector
from hushfold_models.phrases import PHRASES

VOCABULARY = corpus.build_vocabulary(PHRASES, SMALL.vocabulary)
CONFIG = replace(SMALL, vocabulary=len(VOCABULARY))
MESSAGES = [message_ids(text, VOCABULARY) for text in PHRASES]

pytestmark = pytest.mark.slow  # TensorFlow takes its time to start


def _pretrain(folder: Path, epochs: int = 3, stop_at: int | None = None) -> tuple[np.ndarray, list]:
    from hushfold_models.pretraining import Point, Schedule, pretrain

    def report(progress: Point) -> None:
        if progress.step == stop_at:
            raise KeyboardInterrupt

    schedule = Schedule(epochs=epochs, rate=2e-2, warmup=10)
    return pretrain(CONFIG, lambda _: MESSAGES * 20, MESSAGES, folder, schedule, report)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    from hushfold_models import pretraining

    monkeypatch.setattr(pretraining, "_SAVE_EVERY", 5)
    monkeypatch.setattr(pretraining, "_REPORT_EVERY", 4)


def test_it_learns(tmp_path: Path) -> None:
    from hushfold_models.quality import measure

    before = measure(CONFIG, initial_vector(CONFIG, 7), MESSAGES)
    vector, history = _pretrain(tmp_path, epochs=20)
    after = measure(CONFIG, vector, MESSAGES)
    assert before.loss.value == pytest.approx(np.log(CONFIG.vocabulary), abs=0.3)
    assert after.loss.value < before.loss.value / 2
    assert after.top3.value > 0.5
    assert [point.epochs for point in history if point.held_out is not None] == list(range(1, 21))


@pytest.mark.usefixtures("often")
def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, history = _pretrain(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _pretrain(tmp_path / "cut", stop_at=history[len(history) // 2].step)
    again, its_history = _pretrain(tmp_path / "cut")
    assert np.allclose(again, whole, atol=1e-6)
    assert [point.step for point in its_history] == [point.step for point in history]
    assert np.array_equal(_pretrain(tmp_path / "cut")[0], again)  # a finished run has nothing left to do


def test_hidden_words_are_inputs_only_and_special_tokens_stay() -> None:
    from hushfold_format import BEGIN, FIRST_WORD, UNKNOWN
    from hushfold_models.pretraining import _hidden

    tokens = np.tile(np.array([BEGIN, 3, FIRST_WORD, FIRST_WORD + 1], np.int32), (500, 1))
    batch = Batch(tokens, tokens.copy(), np.ones(tokens.shape, np.float32))
    hidden = _hidden(batch, 0.25, np.random.default_rng(0))
    assert np.array_equal(hidden.targets, batch.targets)
    assert np.array_equal(hidden.tokens[:, :2], tokens[:, :2])
    assert abs(np.mean(hidden.tokens[:, 2:] == UNKNOWN) - 0.25) < 0.05


def test_measuring_agrees_with_the_exported_evaluation() -> None:
    import tensorflow as tf

    from hushfold_format import batches
    from hushfold_models import gradients
    from hushfold_models.config import split
    from hushfold_models.quality import measure

    vector = initial_vector(CONFIG, 3)
    figures = measure(CONFIG, vector, MESSAGES)
    parameters = {name: tf.constant(value) for name, value in split(CONFIG, vector).items()}
    sums = {"loss_sum": 0.0, "count": 0.0, "top1": 0.0, "top3": 0.0}
    for batch in batches(MESSAGES, 8, 32):
        for name, value in gradients.evaluate(parameters, *map(tf.constant, batch)).items():
            sums[name] += float(value)
    assert figures.words == sums["count"]
    assert figures.loss.value == pytest.approx(sums["loss_sum"] / sums["count"], rel=1e-5)
    assert figures.top1.value == pytest.approx(sums["top1"] / sums["count"])
    assert figures.top3.value == pytest.approx(sums["top3"] / sums["count"])


def test_intervals_narrow_with_more_messages() -> None:
    from hushfold_models.quality import Figures

    chance = np.random.default_rng(0)
    hits = chance.random((4000, 1)) < 0.3
    sums = np.concatenate([np.ones((4000, 1)), np.full((4000, 1), 2.0), hits, hits], axis=1)
    wide, narrow = Figures.of(sums[:100]).top1, Figures.of(sums).top1
    assert wide.low < wide.value < wide.high
    assert narrow.low < 0.3 < narrow.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_nothing_to_measure_is_said() -> None:
    from hushfold_models.quality import measure

    with pytest.raises(ValueError, match="no messages"):
        measure(CONFIG, initial_vector(CONFIG, 3), [])


def test_the_curve_is_a_picture_and_the_same_each_time() -> None:
    from hushfold_models.curve import draw
    from hushfold_models.pretraining import Point

    history = [Point(50, 0.5, 6.0), Point(100, 1.0, 5.0), Point(100, 1.0, 5.5, 5.2)]
    picture = draw(history)
    assert picture.startswith(b"\x89PNG")
    assert picture == draw(history)
