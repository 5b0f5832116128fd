"""The committed voice model on the device's runtime: what it promises, and what it must not do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from hushfold_format import VoiceFiles
from hushfold_format.logmel import BANDS, SAMPLE_RATE, log_mel
from hushfold_models import gates as every_model
from hushfold_models.voice import gates
from hushfold_models.voice.clips import SOURCES
from hushfold_models.voice.config import ADAPTER, COMMANDS, LABELS, VoiceConfig

ARTIFACTS = Path(__file__).parents[2] / "tflite_models" / "artifacts" / "voice"
KILOBYTES = 150
RIGHT = 90.0  # percent of the clips of people that nothing was trained on

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def voice() -> VoiceFiles:
    return VoiceFiles.load(ARTIFACTS)


@pytest.fixture
def trainer(voice: VoiceFiles) -> Interpreter:
    """An interpreter of the training graph that holds the released weights."""
    interpreter = Interpreter(model_content=voice.training)
    interpreter.get_signature_runner("set_weights")(weights=voice.weights)
    return interpreter


@pytest.fixture(scope="module")
def batch(voice: VoiceFiles) -> Batch:
    """Words of another language: each of four labels is a tone, in slightly different pitches. Some are masked."""
    rows = voice.manifest.batch
    labels = (np.arange(rows) % 4).astype(np.int32)
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    pitches = 300 * 2.0**labels * np.random.default_rng(3).uniform(0.95, 1.05, rows)
    tones = 0.3 * np.sin(2 * np.pi * pitches[:, None] * time) * np.hanning(SAMPLE_RATE)
    features = np.stack([log_mel(tone.astype(np.float32)) for tone in tones])
    return {"features": features, "labels": labels, "mask": (np.arange(rows) % 5 > 0).astype(np.float32)}


def _classify(interpreter: Interpreter, features: np.ndarray) -> np.ndarray:
    """Probabilities of the labels, `[windows, labels]`."""
    runner = interpreter.get_signature_runner("classify")
    return np.concatenate([runner(features=window[None])["probabilities"] for window in features])


def _served(voice: VoiceFiles, vector: np.ndarray) -> Interpreter:
    return Interpreter(model_content=voice.manifest.patched(voice.inference, vector))


@pytest.mark.parametrize(
    "gate", [every_model.builtins_only, every_model.constants_found, gates.small, gates.quantised_agrees]
)
def test_it_passes_the_gates(voice: VoiceFiles, gate) -> None:
    assert gate(voice)


def test_the_delegate_takes_it_in_few_pieces(voice: VoiceFiles) -> None:
    assert every_model.partitions(voice, gates.PARTITIONS, gates.INFERENCE_PARTITIONS)


@pytest.mark.slow
@pytest.mark.parametrize("gate", [gates.frames_agree, gates.parity])
def test_it_passes_the_gates_that_need_tensorflow(voice: VoiceFiles, gate) -> None:
    assert gate(voice)


def test_it_is_small(voice: VoiceFiles) -> None:
    assert len(voice.inference) <= KILOBYTES * 1000
    assert sum(entry.size for entry in voice.manifest.files.values()) < 2**20


def test_it_is_the_model_of_the_code(voice: VoiceFiles) -> None:
    assert voice.manifest.name == "voice"
    assert VoiceConfig.of(voice.manifest) == VoiceConfig()
    assert voice.labels == LABELS


def test_every_file_is_in_the_manifest(voice: VoiceFiles) -> None:
    listed = {entry.name for entry in voice.manifest.files.values()} | {"model.json"}
    assert {path.name for path in ARTIFACTS.iterdir()} == listed


class TestCard:
    def test_it_has_sources_and_figures(self, voice: VoiceFiles) -> None:
        assert f"version {voice.manifest.version}" in voice.card
        assert all(f"- {source.title} ({source.credit}), {source.licence}" in voice.card for source in SOURCES)
        assert re.search(
            r"\| false alarms in \d+ minutes of noise that was held out \| \d+ \(at most \d+ an hour\) \|", voice.card
        )

    def test_it_recognises_most_of_what_strangers_say(self, voice: VoiceFiles) -> None:
        found = re.search(r"\| accuracy on (\d+) clips .* \| ([\d.]+) \(([\d.]+)-([\d.]+)\) \|", voice.card)
        assert found
        clips, accuracy, low, high = map(float, found.groups())
        assert clips > 400
        assert low < accuracy < high
        assert accuracy > RIGHT

    def test_its_pictures_are_there(self, voice: VoiceFiles) -> None:
        shown = set(re.findall(r"!\[.*?\]\((.*?)\)", voice.card))
        assert shown == {voice.manifest.files[role].name for role in ("curve", "confusion")}
        assert all((ARTIFACTS / name).read_bytes().startswith(b"\x89PNG") for name in shown)


class TestRecognition:
    @pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.1, 0.5])
    def test_noise_is_no_command(self, voice: VoiceFiles, level: float) -> None:
        chance = np.random.default_rng(0)
        noise = [np.clip(level * chance.standard_normal(SAMPLE_RATE), -1, 1).astype(np.float32) for _ in range(8)]
        probabilities = _classify(_served(voice, voice.weights), np.stack([log_mel(sound) for sound in noise]))
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)
        assert probabilities[:, : len(COMMANDS)].max() < 0.5

    def test_words_are_compared_by_frames_of_40_ms(self, voice: VoiceFiles) -> None:
        sizes = voice.manifest.sizes
        embed = _served(voice, voice.weights).get_signature_runner("embed")
        chance = np.random.default_rng(0)
        frames = embed(features=chance.normal(-5, 4, (1, sizes["longest"], BANDS)).astype(np.float32))["frames"]
        assert frames.shape == (1, sizes["longest"] // 4, sizes["width2"])
        assert np.isfinite(frames).all()
        assert (np.linalg.norm(frames, axis=-1) > 0).all()

    def test_the_int8_model_serves_a_small_change_of_the_adapter(self, voice: VoiceFiles, batch: Batch) -> None:
        """The head is float32 in the template: int8 must not swallow what an adapter learns."""
        vector = voice.weights.copy()
        voice.manifest.split(vector)["head_bias"][3] += 1e-3
        before, after = (_classify(_served(voice, v), batch["features"][:1])[0] for v in (voice.weights, vector))
        odds = [p[3] / p[COMMANDS.index("cat")] for p in (before, after)]
        assert odds[1] / odds[0] == pytest.approx(np.exp(1e-3), rel=2e-4)


class TestTraining:
    def test_variables_start_at_zero(self, voice: VoiceFiles) -> None:
        fresh = Interpreter(model_content=voice.training).get_signature_runner("get_weights")()["weights"]
        assert fresh.shape == voice.weights.shape
        assert not fresh.any()

    def test_weights_come_back_as_they_were_set(self, voice: VoiceFiles, trainer: Interpreter) -> None:
        assert np.array_equal(trainer.get_signature_runner("get_weights")()["weights"], voice.weights)

    def test_evaluate_counts_what_classify_says(self, voice: VoiceFiles, trainer: Interpreter, batch: Batch) -> None:
        result = trainer.get_signature_runner("evaluate")(**batch)
        probabilities = _classify(trainer, batch["features"]).astype(float)
        chosen = probabilities[np.arange(len(probabilities)), batch["labels"]]
        assert result["count"] == batch["mask"].sum()
        assert result["top1"] == ((probabilities.max(axis=1) == chosen) * batch["mask"]).sum()
        assert result["loss"] == pytest.approx(-(np.log(chosen) * batch["mask"]).sum(), rel=1e-3)

    @pytest.mark.parametrize(("signature", "part"), [("train", "whole"), ("train_adapter", "adapter")])
    def test_training_lowers_the_loss_and_changes_its_part_alone(
        self, voice: VoiceFiles, trainer: Interpreter, batch: Batch, signature: str, part: str
    ) -> None:
        train = trainer.get_signature_runner(signature)
        losses = [float(train(**batch, learning_rate=np.float32(0.01))["loss"]) for _ in range(6)]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < 0.7 * losses[0]
        changed = np.flatnonzero(trainer.get_signature_runner("get_weights")()["weights"] != voice.weights)
        start, stop = voice.manifest.parts[part]
        assert start <= changed.min()
        assert changed.max() < stop
        assert len(changed) > 0.5 * (stop - start)

    def test_a_batch_without_windows_changes_nothing(
        self, voice: VoiceFiles, trainer: Interpreter, batch: Batch
    ) -> None:
        empty = batch | {"mask": np.zeros_like(batch["mask"])}
        for signature in ("train", "train_adapter"):
            result = trainer.get_signature_runner(signature)(**empty, learning_rate=np.float32(0.5))
            assert result["loss"] == 0
        assert np.array_equal(trainer.get_signature_runner("get_weights")()["weights"], voice.weights)

    def test_both_trainings_move_the_adapter_the_same_way(self, voice: VoiceFiles, batch: Batch) -> None:
        """One step from the same weights: the adapter's gradient does not depend on what else is trained."""
        ends = []
        for signature in ("train", "train_adapter"):
            interpreter = Interpreter(model_content=voice.training)
            interpreter.get_signature_runner("set_weights")(weights=voice.weights)
            interpreter.get_signature_runner(signature)(**batch, learning_rate=np.float32(0.5))
            start, stop = voice.manifest.parts["adapter"]
            ends.append(interpreter.get_signature_runner("get_weights")()["weights"][start:stop])
        assert np.allclose(*ends, atol=1e-6)
        assert tuple(p.name for p in voice.manifest.parameters if p.offset >= start) == ADAPTER
