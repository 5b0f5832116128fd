"""A tiny voice model from nothing: sizes, export, gates, card, command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hushfold_format import ArtifactError, ModelManifest, Part, VoiceFiles
from hushfold_models.gates import GateError, constants_found, partitions
from hushfold_models.quality import Estimate
from hushfold_models.voice import gates
from hushfold_models.voice.build import build, build_small
from hushfold_models.voice.card import voice_card
from hushfold_models.voice.cli import app
from hushfold_models.voice.clips import SOURCES
from hushfold_models.voice.config import (
    ADAPTER,
    CONFIGS,
    LABELS,
    SILENCE,
    SMALL,
    UNKNOWN,
    VoiceConfig,
    initial_vector,
    layout,
    parameter_shapes,
    split,
)
from hushfold_models.voice.quality import Figures

runner = CliRunner()

FIGURES = Figures(
    clips=612,
    accuracy=Estimate(0.9412, 0.9251, 0.9558),
    speakers=[0.5, 0.6, *[0.9] * 8, *[1.0] * 12],
    confusion=[[50 if said == heard else 1 for heard in range(len(LABELS))] for said in range(12)],
    noise_hours=0.5,
    alarms=3,
    alarms_per_hour_at_most=17.5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, built by the command; only to be read."""
    folder = tmp_path_factory.mktemp("voice")
    result = runner.invoke(app, ["build", "--config", "small", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def files(folder: Path) -> VoiceFiles:
    """The small model with other weights, in which no scale is one and no shift zero: a mistake would show."""
    files = VoiceFiles.load(folder)
    noise = np.random.default_rng(1).standard_normal(files.weights.shape).astype(np.float32)
    return replace(files, weights=files.weights + np.float32(0.2) * noise)


class TestConfig:
    @pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
    def test_the_adapter_is_the_end_of_the_vector(self, config: VoiceConfig) -> None:
        parameters, parts = layout(config)
        assert tuple(p.name for p in parameters if p.offset >= parts["adapter"].start) == ADAPTER
        assert parts["adapter"].stop == parts["whole"].stop == sum(p.size for p in parameters)
        assert {p.name: p.shape for p in parameters} == parameter_shapes(config)
        assert {name: value.shape for name, value in split(config, initial_vector(config, 0)).items()} == (
            parameter_shapes(config)
        )

    def test_the_default_is_small_and_a_task_can_afford_its_adapter(self) -> None:
        _, parts = layout(VoiceConfig())
        assert 60_000 < parts["whole"].size < 80_000
        assert parts["adapter"].size < 2_000

    def test_weights_start_at_random_with_scales_of_one(self) -> None:
        config = VoiceConfig()
        first, same, other = (split(config, initial_vector(config, seed)) for seed in (1, 1, 2))
        for name, value in first.items():
            assert np.array_equal(value, same[name])
            if value.ndim == 2:
                assert value.std() == pytest.approx((2 / value.shape[0]) ** 0.5, rel=0.1)
                assert not np.array_equal(value, other[name])
            else:
                assert (value == name.endswith("_scale")).all()

    def test_two_labels_are_no_command(self) -> None:
        assert (LABELS[UNKNOWN], LABELS[SILENCE]) == ("unknown", "silence")
        assert len(set(LABELS)) == VoiceConfig().labels

    def test_a_configuration_comes_back_from_its_manifest(self) -> None:
        assert VoiceConfig.of(_manifest(SMALL)) == SMALL
        assert VoiceConfig.of(ModelManifest.from_bytes(_manifest(SMALL).to_bytes())) == SMALL

    def test_a_size_that_the_manifest_lacks_is_named(self) -> None:
        sizes = {name: value for name, value in SMALL.sizes.items() if name not in ("stem", "kernel")}
        with pytest.raises(ArtifactError, match=r"'voice' states no stem, kernel; install it again"):
            VoiceConfig.of(replace(_manifest(SMALL), sizes=sizes))


def _manifest(config: VoiceConfig) -> ModelManifest:
    parameters, parts = layout(config)
    files = json.loads((Path(__file__).parents[2] / "tflite_models/artifacts/next_word/model.json").read_text())[
        "files"
    ]
    document = {
        "format": "hushfold-model/1",
        "name": "voice",
        "version": "1",
        "sizes": config.sizes,
        "parameters": [asdict(p) for p in parameters],
        "parts": parts,
        "batch": config.batch,
        "time": config.frames,
        "files": files,
        "patches": [],
    }
    return ModelManifest.from_bytes(json.dumps(document).encode())


class TestCard:
    def test_it_names_sources_licences_and_figures(self) -> None:
        text = voice_card(VoiceConfig(), "1.2.3", FIGURES, ("confusion.png", "loss.png"))
        for expected in (
            "version 1.2.3",
            "12 English commands (right, left,",
            "76,654 parameters, 574 of them",
            *(f"- {source.title} ({source.credit}), {source.licence}" for source in SOURCES),
            "about 3,000, in 4 voices each",
            "| accuracy on 612 clips of speakers that nothing was trained on, % | 94.1 (92.5-95.6) |",
            "| median of the 22 speakers with three clips and more, % | 100.0 |",
            "| mean of the worst tenth of them, % | 55.0 |",
            "| false alarms in 30 minutes of noise that was held out | 3 (at most 18 an hour) |",
            "](confusion.png)",
            "](loss.png)",
        ):
            assert expected in text
        assert "{" not in text

    def test_an_untrained_model_claims_nothing(self) -> None:
        text = voice_card(SMALL, "0.0.1", None)
        assert "None: this is an untrained model for tests." in text
        assert "Nothing: the weights are random." in text
        assert not any(word in text for word in ("Warden", "espeak", "accuracy", "!["))

    def test_lines_stay_readable(self) -> None:
        """But for tables, whose lines cannot be broken."""
        lines = voice_card(VoiceConfig(), "1.0.0", FIGURES, ("loss.png",)).splitlines()
        assert max(len(line) for line in lines if not line.startswith("|")) <= 120


class TestCommand:
    def test_a_missing_training_run_is_named(self, tmp_path: Path) -> None:
        result = runner.invoke(app, ["build", "--work", str(tmp_path), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert "hushfold-models voice train" in result.output
        assert not (tmp_path / "out").exists()

    def test_a_configuration_that_is_none(self, tmp_path: Path) -> None:
        result = runner.invoke(app, ["build", "--config", "huge", "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert "default, small" in result.output

    def test_weights_of_another_configuration_replace_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="7818 weights instead of 76654: train the model again"):
            build(tmp_path / "out", VoiceConfig(), initial_vector(SMALL, 0), version="1.0.0")
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        result = runner.invoke(app, ["check", str(tmp_path)])
        assert isinstance(result.exception, ArtifactError)

    def test_training_without_data_says_what_is_missing(self, tmp_path: Path) -> None:
        result = runner.invoke(app, ["train", "--data", str(tmp_path), "--work", str(tmp_path / "work")])
        assert "commands.csv is missing: set $HUSHFOLD_DATA" in str(result.exception)
        assert not (tmp_path / "work").exists()


@pytest.mark.slow
class TestBuild:
    def test_the_command_builds_a_small_model(self, folder: Path) -> None:
        files = VoiceFiles.load(folder)
        assert VoiceConfig.of(files.manifest) == SMALL
        assert files.labels == LABELS
        assert files.manifest.parts == layout(SMALL)[1]
        assert "untrained" in files.card
        assert ModelManifest.from_bytes(files.manifest.to_bytes()) == files.manifest

    def test_the_command_checks_it(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        result = runner.invoke(app, ["check", str(folder)])
        assert result.exit_code == 0
        assert [line.split(":")[0] for line in result.output.splitlines()] == [
            "builtins only",
            "patch manifest",
            "XNNPACK partitions",
            "inference file",
            "int8 against float",
            "int8 against float",
            "parity with TensorFlow",
        ]
        monkeypatch.setattr(gates, "LARGEST", 1000)
        result = runner.invoke(app, ["check", str(folder)])
        assert result.exit_code == 1
        assert "gate failed: the inference file has" in result.output

    def test_a_build_is_reproducible(self, tmp_path: Path, folder: Path) -> None:
        assert build_small(tmp_path).manifest == VoiceFiles.load(folder).manifest

    def test_the_results_of_training_become_a_model_that_passes(self, tmp_path: Path) -> None:
        work = tmp_path / "work"
        work.mkdir()
        vector = initial_vector(VoiceConfig(), 3)
        (work / "weights.f32").write_bytes(vector.tobytes())
        (work / "figures.json").write_text(json.dumps(asdict(FIGURES)))
        for name in ("confusion.png", "loss.png"):
            (work / name).write_bytes(name.encode())
        arguments = ["--work", str(work), "--out", str(tmp_path / "out"), "--version", "2.3.4"]
        result = runner.invoke(app, ["build", *arguments])
        assert result.exit_code == 0, result.output
        files = VoiceFiles.load(tmp_path / "out")
        assert files.manifest.version == "2.3.4"
        assert np.array_equal(files.weights, vector)
        assert "94.1 (92.5-95.6)" in files.card
        for role, name in (("confusion", "confusion.png"), ("curve", "loss.png")):
            assert files.manifest.files[role].name == name
            assert (tmp_path / "out" / name).read_bytes() == name.encode()
            assert f"({name})" in files.card
        # Kernels of this size are quantised in both signatures: each has a scale of its own, which must be patched.
        assert max(len(entry.scale_offsets) for entry in files.manifest.patches) == 2


def _exchanged(files: VoiceFiles, one: str, other: str) -> VoiceFiles:
    """The manifest writes two parameters in each other's place."""
    places = {entry.parameter: entry.offset for entry in files.manifest.patches}
    swap = {one: places[other], other: places[one]}
    patches = tuple(replace(e, offset=swap.get(e.parameter, e.offset)) for e in files.manifest.patches)
    return replace(files, manifest=replace(files.manifest, patches=patches))


@pytest.mark.slow
class TestGates:
    def test_a_model_of_any_weights_passes(self, files: VoiceFiles) -> None:
        assert len(list(gates.check_all(files))) == 7

    @pytest.mark.parametrize("signature", gates.PARTITIONS)
    def test_too_many_partitions(self, files: VoiceFiles, signature: str) -> None:
        fewer = gates.PARTITIONS | {signature: gates.PARTITIONS[signature] - 1}
        with pytest.raises(GateError, match=f"'{signature}' is cut into"):
            partitions(files, fewer, gates.INFERENCE_PARTITIONS)

    def test_too_many_partitions_of_inference(self, files: VoiceFiles) -> None:
        with pytest.raises(GateError, match="inference is cut into"):
            partitions(files, gates.PARTITIONS, gates.INFERENCE_PARTITIONS - 1)

    def test_a_large_inference_file(self, files: VoiceFiles) -> None:
        padding = bytes(gates.LARGEST - len(files.inference))
        assert gates.small(replace(files, inference=files.inference + padding))
        with pytest.raises(GateError, match="150,001 bytes, at most 150,000"):
            gates.small(replace(files, inference=files.inference + padding + b"\0"))

    def test_a_parameter_without_a_place(self, files: VoiceFiles) -> None:
        patches = tuple(entry for entry in files.manifest.patches if entry.parameter != "head_bias")
        with pytest.raises(GateError, match="no place for head_bias"):
            constants_found(replace(files, manifest=replace(files.manifest, patches=patches)))

    @pytest.mark.parametrize("gate", [gates.quantised_agrees, gates.frames_agree])
    def test_two_parameters_in_each_other_s_place(self, files: VoiceFiles, gate: Callable[[VoiceFiles], str]) -> None:
        """Every byte is written and read back; only what the model gives shows it."""
        swapped = _exchanged(files, "block2_second_scale", "block2_second_shift")
        assert constants_found(swapped)
        with pytest.raises(GateError, match="from the float model's"):
            gate(swapped)

    def test_labels_in_another_order(self, files: VoiceFiles) -> None:
        vector = files.weights.copy()
        for name in ADAPTER:
            parameter = files.manifest.split(vector)[name]
            parameter[...] = np.roll(parameter, 1, axis=-1)
        other = files.manifest.patched(files.inference, vector)
        with pytest.raises(GateError, match="probabilities are up to"):
            gates.quantised_agrees(replace(files, inference=other, manifest=replace(files.manifest, patches=())))

    def test_frames_of_other_weights(self, files: VoiceFiles) -> None:
        vector = files.weights.copy()
        files.manifest.split(vector)["block1_first"][:] *= -1
        other = files.manifest.patched(files.inference, vector)
        with pytest.raises(GateError, match="frames are"):
            gates.frames_agree(replace(files, inference=other, manifest=replace(files.manifest, patches=())))

    def test_a_graph_that_trains_another_part(self, files: VoiceFiles) -> None:
        start, stop = files.manifest.parts["adapter"]
        head_alone = files.manifest.parts | {"adapter": Part(stop - SMALL.labels, stop)}
        assert start < stop - SMALL.labels
        with pytest.raises(GateError, match="'train_adapter' differs from TensorFlow"):
            gates.parity(replace(files, manifest=replace(files.manifest, parts=head_alone)), steps=1)

    def test_a_graph_of_another_layout(self, files: VoiceFiles) -> None:
        """Two parameters of one shape, exchanged in the vector: the graph would train the one as the other."""
        names = {"block2_first_scale": "block2_second_scale", "block2_second_scale": "block2_first_scale"}
        parameters = tuple(replace(p, name=names.get(p.name, p.name)) for p in files.manifest.parameters)
        with pytest.raises(GateError, match="'train' differs from TensorFlow"):
            gates.parity(replace(files, manifest=replace(files.manifest, parameters=parameters)), steps=1)
