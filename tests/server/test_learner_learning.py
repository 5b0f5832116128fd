"""One task's learning against TFF's own `process.next`."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

from learning_fixtures import (
    CLIENT_LEARNING_RATE,
    OPTIMIZERS,
    PARTS,
    base_vector,
    client_batches,
    dataset,
    deterministic_learning,
    encoding,
    modular_sum,
    pack,
    simulated_device,
    tff_runtime,  # noqa: F401
    unpack,
)

from hushfold_models.config import SMALL, layout
from hushfold_protocol.encoding import decode_sum
from hushfold_server.errors import Corrupt, StateError
from hushfold_server.learning.federated_averaging import Sgd
from hushfold_server.learning.task import Learning, LearningDiverged, LearningState

pytestmark = [pytest.mark.tff, pytest.mark.slow]

CLIENTS = 4


def assert_equal(first: LearningState, second: LearningState) -> None:
    assert first.fingerprint == second.fingerprint
    assert first.leaves.keys() == second.leaves.keys()
    for path, value in first.leaves.items():
        assert value.dtype == second.leaves[path].dtype, path
        np.testing.assert_array_equal(value, second.leaves[path], err_msg=path)


def some_total(learning: Learning, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).integers(-5_000_000, 5_000_000, learning.encoding.dimension)
    return (steps % learning.encoding.modulus).astype(np.uint32)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("tff_runtime")
def test_summed_outside_tff_the_state_equals_that_of_process_next(part: str) -> None:
    learning = deterministic_learning(part)
    state_type = learning.process.next.type_signature.parameter[0].member
    theirs = learning.process.initialize()
    ours = learning.state_from_tree(unpack(state_type, theirs))
    wrapped = 0
    for number in range(2):
        data = [client_batches(10 * number + client) for client in range(CLIENTS)]
        theirs = learning.process.next(theirs, [dataset(batches) for batches in data]).state
        vectors = [simulated_device(learning, ours, batches) for batches in data]
        before = learning.part_values(ours)
        wrapped += int((np.sum(vectors, axis=0, dtype=np.uint64) >= learning.encoding.modulus).sum())
        ours = learning.update(ours, modular_sum(vectors, learning.encoding.bits), CLIENTS)
        assert_equal(ours, learning.state_from_tree(unpack(state_type, theirs)))
        assert not np.array_equal(learning.part_values(ours), before)
    assert wrapped > 0, "no coordinate wrapped: the modulus was not tested"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("tff_runtime")
def test_the_graphs_give_in_process_what_tff_gives(part: str) -> None:
    learning = deterministic_learning(part)
    state = learning.initial_state()
    tree = learning.tree_of_state(state)
    prepare, update = learning.form.prepare, learning.form.update
    sent = unpack(prepare.type_signature.result, prepare(pack(prepare.type_signature.parameter, tree)))
    start = learning.prepare(state)
    trained = [value.ravel() for path, value in sent.items() if path.startswith("0/trainable/")]
    np.testing.assert_array_equal(start.part_values, np.concatenate(trained))
    np.testing.assert_array_equal(start.rotation_seed, sent["1"])

    total = some_total(learning)
    arguments = {f"0/{path}": value for path, value in tree.items()}
    arguments |= {"1/3/0": total.astype(np.int64), "1/3/1": np.array(3, np.int32)}
    theirs = update(*pack(update.type_signature.parameter, arguments))
    expected = learning.state_from_tree(unpack(update.type_signature.result["state"], theirs["state"]))
    assert_equal(learning.update(state, total, 3), expected)


@pytest.mark.parametrize("part", PARTS)
def test_it_starts_from_the_base(part: str) -> None:
    learning = deterministic_learning(part)
    start, stop = layout(SMALL)[1][part]
    state = learning.initial_state()
    np.testing.assert_array_equal(learning.part_values(state), base_vector()[start:stop])
    np.testing.assert_array_equal(learning.prepare(state).part_values, base_vector()[start:stop])


def test_sgd_moves_against_the_mean_update() -> None:
    learning = deterministic_learning("whole")
    state, total, survivors = learning.initial_state(), some_total(learning), 5
    start = learning.prepare(state)
    used = dataclasses.replace(learning.encoding, rotation_seed=start.rotation_seed)
    mean = decode_sum(total, used) / np.float32(survivors)
    after = learning.part_values(learning.update(state, total, survivors))
    # Not bit-equal: TensorFlow turns the rotation's division by a constant into a multiplication.
    np.testing.assert_allclose(after, start.part_values - mean, rtol=0, atol=1e-6)


def test_every_round_has_its_own_rotation() -> None:
    learning = deterministic_learning("adapter")
    state, seeds = learning.initial_state(), set()
    for number in range(3):
        seeds.add(learning.prepare(state).rotation_seed)
        state = learning.update(state, some_total(learning, number), 2)
    assert len(seeds) == 3


@pytest.mark.parametrize("part", PARTS)
def test_a_state_survives_storage(part: str) -> None:
    learning = deterministic_learning(part)
    state = learning.update(learning.initial_state(), some_total(learning), 2)
    content = state.to_bytes()
    read = LearningState.from_bytes(content)
    assert_equal(read, state)
    assert read.to_bytes() == content
    assert_equal(learning.update(read, some_total(learning, 1), 3), learning.update(state, some_total(learning, 1), 3))


def test_a_stored_adapter_does_not_hold_the_frozen_model() -> None:
    learning = deterministic_learning("adapter")
    assert len(learning.initial_state().to_bytes()) < layout(SMALL)[1]["whole"].size


def test_the_state_of_another_task_is_refused() -> None:
    whole, adapter = deterministic_learning("whole"), deterministic_learning("adapter")
    state = whole.initial_state()
    for step in (
        lambda: adapter.prepare(state),
        lambda: adapter.part_values(state),
        lambda: adapter.update(state, some_total(adapter), 1),
    ):
        with pytest.raises(StateError, match="belongs to the learning"):
            step()


def test_what_is_no_state_is_refused() -> None:
    content = deterministic_learning("adapter").initial_state().to_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    other_format = content.replace(
        "hushfold-learning-state/1".encode("utf-32-le"), "hushfold-learning-state/9".encode("utf-32-le")
    )
    for broken in (b"", b"not a zip", content[:-40], content[40:], bytes(flipped), other_format):
        with pytest.raises(Corrupt):
            LearningState.from_bytes(broken)


def test_sums_that_cannot_be_are_refused() -> None:
    learning = deterministic_learning("whole")
    state, total = learning.initial_state(), some_total(learning)
    too_large = total.copy()
    too_large[3] = learning.encoding.modulus
    for wrong, survivors, reason in (
        (total.astype(np.int64), 3, "uint32"),
        (total[:-1], 3, "uint32"),
        (too_large, 3, "reduce it"),
        (total, 0, "0 devices"),
        (total, 1 << 16, "65536 devices"),
    ):
        with pytest.raises(ValueError, match=reason):
            learning.update(state, wrong, survivors)


def test_the_fingerprint_tells_settings_apart_and_nothing_else() -> None:
    same = Learning(
        SMALL,
        base_vector(),
        "adapter",
        client_learning_rate=CLIENT_LEARNING_RATE,
        server_optimizer=OPTIMIZERS["adapter"],
        encoding=dataclasses.replace(encoding("adapter"), rotation_seed=(5, 6)),
    )
    fingerprints = {learning().fingerprint for learning in (reckless_learning, lambda: deterministic_learning("whole"))}
    assert len(fingerprints | {same.fingerprint}) == 3
    assert same.fingerprint == deterministic_learning("adapter").fingerprint


@cache
def reckless_learning() -> Learning:
    return Learning(
        SMALL,
        base_vector(),
        "adapter",
        client_learning_rate=CLIENT_LEARNING_RATE,
        server_optimizer=Sgd(3e38),
        encoding=encoding("adapter"),
    )


def test_a_step_to_weights_that_are_not_finite_is_an_error() -> None:
    reckless = reckless_learning()
    total = np.full(reckless.encoding.dimension, reckless.encoding.modulus // 2, np.uint32)
    with pytest.raises(LearningDiverged, match="not finite"):
        reckless.update(reckless.initial_state(), total, 1)
