"""A tiny model from nothing: training, export, gates, command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hushfold_format import ModelFiles, message_ids
from hushfold_models import card, corpus
from hushfold_models.build import build_small, config_of
from hushfold_models.cli import app
from hushfold_models.config import SMALL, NextWordConfig
from hushfold_models.phrases import PHRASES

runner = CliRunner()


def test_the_card_names_sources_licences_and_figures() -> None:
    figures = {"held-out": {"loss": 4.5678, "top1": 0.1234, "top3": 0.25, "words": 12345}}
    text = card.model_card(NextWordConfig(), "1.2.3", figures)
    for expected in (
        "version 1.2.3",
        "Schema-Guided Dialogue",
        "CC BY-SA 4.0",
        "Topical-Chat",
        "CDLA-Sharing 1.0",
        "irc-disentanglement",
        "CC BY 4.0",
        "1,412,826 parameters, 576 of them",
        "| held-out | 12,345 | 4.568 | 12.3% | 25.0% |",
    ):
        assert expected in text


def test_the_committed_card_has_figures(files: ModelFiles) -> None:
    assert "| held-out public text |" in files.card


def test_a_missing_training_run_is_named(tmp_path: Path) -> None:
    result = runner.invoke(app, ["build", "--work", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "hushfold-models train" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_builds_and_checks_a_small_model(tmp_path: Path) -> None:
    result = runner.invoke(app, ["build", "--config", "small", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "parity with TensorFlow" in result.output
    manifest = ModelFiles.load(tmp_path).manifest
    assert config_of(manifest) == replace(SMALL, vocabulary=manifest.sizes["vocabulary"])
    (tmp_path / "weights.f32").write_bytes(b"")
    assert runner.invoke(app, ["check", str(tmp_path)]).exit_code != 0


@pytest.mark.slow
def test_a_build_is_reproducible(tmp_path: Path) -> None:
    first, second = (build_small(tmp_path / name) for name in ("first", "second"))
    assert first.manifest == second.manifest


@pytest.mark.slow
class TestPretraining:
    VOCABULARY = corpus.build_vocabulary(PHRASES, SMALL.vocabulary)
    CONFIG = replace(SMALL, vocabulary=len(VOCABULARY))

    def _pretrain(self, folder: Path, epochs: int = 3) -> np.ndarray:
        from hushfold_models.pretraining import Schedule, pretrain

        messages = [message_ids(text, self.VOCABULARY) for text in PHRASES] * 20
        return pretrain(self.CONFIG, messages, messages[:36], folder, Schedule(epochs=epochs, rate=2e-2, warmup=10))

    def test_it_learns(self, tmp_path: Path) -> None:
        from hushfold_models.config import initial_vector
        from hushfold_models.pretraining import measure

        messages = [message_ids(text, self.VOCABULARY) for text in PHRASES]
        before = measure(self.CONFIG, initial_vector(self.CONFIG, 7), messages)
        after = measure(self.CONFIG, self._pretrain(tmp_path, epochs=20), messages)
        assert before.loss == pytest.approx(np.log(self.CONFIG.vocabulary), abs=0.3)
        assert after.loss < before.loss / 2
        assert after.top3 > 0.5

    def test_a_stopped_run_goes_on_where_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from hushfold_models import pretraining

        whole = self._pretrain(tmp_path / "whole")
        monkeypatch.setattr(pretraining, "_SAVE_EVERY", 5)
        saved = 0

        def power_cut(*_: object) -> None:
            nonlocal saved
            saved += 1
            if saved == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(pretraining._log, "info", power_cut)
            with pytest.raises(KeyboardInterrupt):
                self._pretrain(tmp_path / "cut")
        assert np.allclose(self._pretrain(tmp_path / "cut"), whole, atol=1e-6)
