"""The committed model on the device's runtime, against the formula of the model in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from hushfold_format import BEGIN, FIRST_WORD, Batch, NextWordFiles, patch

MEGABYTES = 9


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _probabilities(files: NextWordFiles, vector: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """`[B, T, V]` by the formula in the docstring of hushfold_models.next_word, in float64."""
    p = {name: value.astype(float) for name, value in files.manifest.split(vector).items()}
    h, c = np.zeros((len(tokens), p["projection"].shape[1])), np.zeros((len(tokens), p["projection"].shape[0]))
    widths = np.diff([*files.manifest.bucket_starts, files.manifest.sizes["vocabulary"]])
    results = []
    for x in p["embedding"][tokens].transpose(1, 0, 2):
        f, g, o = np.split(np.concatenate([x, h], axis=1) @ p["kernel"] + p["bias"], 3, axis=1)
        c = _sigmoid(f) * c + (1 - _sigmoid(f)) * np.tanh(g)
        h = (_sigmoid(o) * np.tanh(c)) @ p["projection"]
        out = h * (1 + p["output_scale"]) + p["output_shift"]
        scores = np.exp(out @ p["embedding"].T + np.repeat(p["bucket_bias"], widths))
        results.append(scores / scores.sum(axis=1, keepdims=True))
    return np.stack(results, axis=1)


def _with_adapter(files: NextWordFiles, scale: float) -> np.ndarray:
    vector = files.weights.copy()
    start, stop = files.manifest.parts["adapter"]
    vector[start:stop] = np.random.default_rng(5).standard_normal(stop - start) * scale
    return vector


def _stream(files: NextWordFiles, interpreter: Interpreter, tokens: list[int]) -> np.ndarray:
    step = interpreter.get_signature_runner("step")
    h = np.zeros((1, files.manifest.sizes["embedding"]), np.float32)
    c = np.zeros((1, files.manifest.sizes["units"]), np.float32)
    results = []
    for token in tokens:
        result = step(token=np.array([token], np.int32), h=h, c=c)
        h, c = result["h"], result["c"]
        results.append(result["probs"][0])
    return np.array(results)


def _patched(files: NextWordFiles, vector: np.ndarray) -> Interpreter:
    m = files.manifest
    content = patch(files.inference, m.patches, m.split(vector), m.bucket_starts, m.sizes["vocabulary"])
    return Interpreter(model_content=content)


def test_the_files_are_small(files: NextWordFiles) -> None:
    assert sum(entry.size for entry in files.manifest.files.values()) < MEGABYTES * 2**20


def test_the_base_has_the_identity_for_an_adapter(files: NextWordFiles) -> None:
    start, stop = files.manifest.parts["adapter"]
    assert not files.weights[start:stop].any()
    assert stop - start <= 2000


def test_variables_start_at_zero(files: NextWordFiles) -> None:
    fresh = Interpreter(model_content=files.training).get_signature_runner("get_weights")()["weights"]
    assert fresh.shape == files.weights.shape
    assert not fresh.any()


def test_weights_come_back_as_they_were_set(files: NextWordFiles, trainer: Interpreter) -> None:
    assert np.array_equal(trainer.get_signature_runner("get_weights")()["weights"], files.weights)


def test_evaluate_is_the_formula(files: NextWordFiles, random_batch: Batch) -> None:
    vector = _with_adapter(files, 0.2)
    interpreter = Interpreter(model_content=files.training)
    interpreter.get_signature_runner("set_weights")(weights=vector)
    result = interpreter.get_signature_runner("evaluate")(**random_batch._asdict())

    probabilities = _probabilities(files, vector, random_batch.tokens)
    chosen = np.take_along_axis(probabilities, random_batch.targets[..., None], axis=2)
    rank = (probabilities[..., FIRST_WORD:] > chosen).sum(axis=2)
    mask = random_batch.mask
    assert result["count"] == mask.sum()
    assert result["loss_sum"] == pytest.approx(-(np.log(chosen[..., 0]) * mask).sum(), rel=1e-4)
    assert result["top1"] == ((rank < 1) * mask).sum()
    assert result["top3"] == ((rank < 3) * mask).sum()


def test_steps_are_the_formula(files: NextWordFiles) -> None:
    vector = _with_adapter(files, 0.2)
    interpreter = Interpreter(model_content=files.training)
    interpreter.get_signature_runner("set_weights")(weights=vector)
    tokens = [BEGIN, 40, 300, 2, 9999, 12]
    streamed = _stream(files, interpreter, tokens)
    assert np.allclose(streamed, _probabilities(files, vector, np.array([tokens]))[0], atol=1e-5)


@pytest.mark.parametrize(("signature", "part"), [("train", "whole"), ("train_adapter", "adapter")])
def test_training_lowers_the_loss_and_changes_its_part_alone(
    files: NextWordFiles, trainer: Interpreter, random_batch: Batch, signature: str, part: str
) -> None:
    train = trainer.get_signature_runner(signature)
    losses = [float(train(**random_batch._asdict(), learning_rate=np.float32(0.1))["loss"]) for _ in range(6)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.01
    changed = np.flatnonzero(trainer.get_signature_runner("get_weights")()["weights"] != files.weights)
    start, stop = files.manifest.parts[part]
    assert start <= changed.min()
    assert changed.max() < stop
    assert len(changed) > 0.9 * (stop - start) * (part == "adapter")


def test_a_batch_without_targets_changes_nothing(
    files: NextWordFiles, trainer: Interpreter, random_batch: Batch
) -> None:
    empty = random_batch._replace(mask=np.zeros_like(random_batch.mask))
    for signature in ("train", "train_adapter"):
        result = trainer.get_signature_runner(signature)(**empty._asdict(), learning_rate=np.float32(0.5))
        assert result["loss"] == 0
    assert np.array_equal(trainer.get_signature_runner("get_weights")()["weights"], files.weights)


def test_both_trainings_move_the_adapter_the_same_way(files: NextWordFiles, random_batch: Batch) -> None:
    """One step from the same weights: the adapter's gradient does not depend on what else is trained."""
    ends = []
    for signature in ("train", "train_adapter"):
        interpreter = Interpreter(model_content=files.training)
        interpreter.get_signature_runner("set_weights")(weights=_with_adapter(files, 0.1))
        interpreter.get_signature_runner(signature)(**random_batch._asdict(), learning_rate=np.float32(0.5))
        start, stop = files.manifest.parts["adapter"]
        ends.append(interpreter.get_signature_runner("get_weights")()["weights"][start:stop])
    assert np.allclose(*ends, atol=1e-7)


def test_the_int8_model_serves_a_small_change_of_a_bucket(files: NextWordFiles) -> None:
    """The output bias is float32 in the template: int8 must not swallow what an adapter learns."""
    vector = files.weights.copy()
    files.manifest.split(vector)["bucket_bias"][5] += 1e-3
    (before,), (after,) = (_stream(files, _patched(files, v), [BEGIN]) for v in (files.weights, vector))
    word = files.manifest.bucket_starts[5]
    assert after[word] / before[word] == pytest.approx(np.exp(1e-3), rel=2e-4)


def test_the_int8_model_follows_the_adapter(files: NextWordFiles) -> None:
    vector = _with_adapter(files, 0.2)
    tokens = [BEGIN, 40, 300, 12]
    exact = _probabilities(files, vector, np.array([tokens]))[0]
    served = _stream(files, _patched(files, vector), tokens)
    identity = _stream(files, _patched(files, files.weights), tokens)
    assert np.abs(served - exact).sum(axis=1).max() < 0.3 * np.abs(identity - exact).sum(axis=1).min()
