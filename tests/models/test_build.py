"""A tiny model from nothing: training, export, gates, command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hushfold_format import NextWordFiles
from hushfold_models import card, corpus
from hushfold_models.build import build_small
from hushfold_models.cli import app
from hushfold_models.config import SMALL, NextWordConfig

runner = CliRunner()


def test_the_card_names_sources_licences_and_figures() -> None:
    figures: dict[str, card.Measured] = {
        "held-out": {
            "words": 12345,
            "loss": {"value": 4.5678, "low": 4.4, "high": 4.7},
            "top1": {"value": 0.1234, "low": 0.12, "high": 0.13},
            "top3": {"value": 0.25, "low": 0.24, "high": 0.26},
        }
    }
    text = card.model_card(NextWordConfig(), "1.2.3", figures, "loss.png")
    for expected in (
        "version 1.2.3",
        "Schema-Guided Dialogue",
        "CC BY-SA 4.0",
        "Topical-Chat",
        "CDLA-Sharing 1.0",
        "irc-disentanglement",
        "CC BY 4.0",
        "1,412,826 parameters, 576 of them",
        "| held-out | 12,345 | 4.568 (4.400-4.700) | 12.3 (12.0-13.0) | 25.0 (24.0-26.0) |",
        "](loss.png)",
        "made up for this project",
    ):
        assert expected in text


def test_the_committed_card_has_figures(files: NextWordFiles) -> None:
    assert all(f"| {source.title} |" in files.card for source in corpus.SOURCES)


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
    manifest = NextWordFiles.load(tmp_path).manifest
    assert NextWordConfig.of(manifest) == replace(SMALL, vocabulary=manifest.sizes["vocabulary"])
    (tmp_path / "weights.f32").write_bytes(b"")
    assert runner.invoke(app, ["check", str(tmp_path)]).exit_code != 0


@pytest.mark.slow
def test_a_build_is_reproducible(tmp_path: Path) -> None:
    first, second = (build_small(tmp_path / name) for name in ("first", "second"))
    assert first.manifest == second.manifest
