"""Small learnings, client data, and clients that train in TFF's own runtime.

`simulated_device` is what a device's half comes to, computed by TFF: data in, encoded vector out. A test of the whole
path sends that vector through HTTP and secure aggregation and gives the sum to `Learning.update`.

TFF's runtime is a child process that does not always end with its parent: tests import `tff_runtime` and ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from hushfold_format import FIRST_WORD, Batch
from hushfold_models.config import SMALL, initial_vector, layout
from hushfold_protocol.encoding import EncodingParameters
from hushfold_server.learning.federated_averaging import Adam, ServerOptimizer, Sgd
from hushfold_server.learning.in_process import InProcess, leaf_types
from hushfold_server.learning.task import Learning, LearningState

PARTS = ("whole", "adapter")
CLIENT_LEARNING_RATE = 0.5
OPTIMIZERS: dict[str, ServerOptimizer] = {"whole": Sgd(1.0, momentum=0.9), "adapter": Adam(0.02)}
BITS = {"whole": 28, "adapter": 32}
CLIP_NORM = {"whole": 0.5, "adapter": 4.0}  # updates of `client_batches` are about 1.4 long: one is clipped, one is not


@pytest.fixture(scope="session")
def tff_runtime() -> Iterator[None]:
    """TFF's test execution context, as the default one; its worker ends with the session."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    tff.backends.test.set_sync_test_cpp_execution_context()
    yield
    for child in psutil.Process().children(recursive=True):
        if child.pid not in before and child.name().startswith("worker"):
            child.kill()


def base_vector() -> np.ndarray:
    """Random weights of the small model, with an adapter that is not the identity."""
    vector = initial_vector(SMALL, seed=7)
    adapter = layout(SMALL)[1]["adapter"]
    vector[adapter.start :] = 0.05 * np.random.default_rng(8).standard_normal(adapter.size)
    return vector


def encoding(part: str, *, local_stddev: float = 0.0) -> EncodingParameters:
    """A fine grid, whose scale is no power of two, so that the order of float32 operations matters."""
    return EncodingParameters(
        dimension=layout(SMALL)[1][part].size,
        clip_norm=CLIP_NORM[part],
        scale=50_000_017.0,
        bits=BITS[part],
        local_stddev=local_stddev,
        rotation_seed=(0, 0),
        beta=0.0,  # rounding to nearest cannot be drawn again, so no rounding may be too long
    )


@cache
def deterministic_learning(part: str) -> Learning:
    """One part of the small model, without noise and with rounding to nearest. Built once a process."""
    return Learning(
        SMALL,
        base_vector(),
        part,
        client_learning_rate=CLIENT_LEARNING_RATE,
        server_optimizer=OPTIMIZERS[part],
        encoding=encoding(part),
        rounding="nearest",
    )


def client_batches(client: int, steps: int = 3) -> list[Batch]:
    """Random batches of the small model's shape, with a skewed vocabulary and padding at the end of rows."""
    random = np.random.default_rng(1000 + client)
    batches = []
    for _ in range(steps):
        words = FIRST_WORD + random.zipf(1.4, (SMALL.batch, SMALL.time + 1)) % (SMALL.vocabulary - FIRST_WORD)
        lengths = random.integers(1, SMALL.time + 1, SMALL.batch)
        mask = np.arange(SMALL.time) < lengths[:, None]
        batches.append(Batch(words[:, :-1].astype(np.int32), words[:, 1:].astype(np.int32), mask.astype(np.float32)))
    return batches


def dataset(batches: Sequence[Batch]) -> tf.data.Dataset:
    """A client's data set as the process takes it: one element a step."""
    tokens, targets, mask = (np.stack(column) for column in zip(*batches, strict=True))
    return tf.data.Dataset.from_tensor_slices((tokens, (targets, mask)))


def simulated_device(learning: Learning, state: LearningState, batches: Sequence[Batch]) -> np.ndarray:
    """Trains and encodes in TFF's runtime: the vector uint32[d] that a device would upload. Needs `tff_runtime`."""
    start = InProcess(learning.form.prepare)(learning.tree_of_state(state))
    sent = learning.form.work(dataset(batches), pack(learning.form.work.type_signature.parameter[1], start))
    *empty, (vector, one) = (list(slot) for slot in sent)
    assert empty == [[], [], []]
    assert one == 1
    assert vector.min() >= 0
    assert vector.max() < learning.encoding.modulus
    return vector.astype(np.uint32)


def modular_sum(vectors: Sequence[np.ndarray], bits: int) -> np.ndarray:
    """What secure aggregation gives: the sum modulo 2^bits, uint32[d]."""
    return (np.sum(vectors, axis=0, dtype=np.uint64) % (1 << bits)).astype(np.uint32)


def pack(type_signature: tff.Type, tree: Mapping[str, np.ndarray]) -> Any:
    """Leaves by path as a structure of TFF."""
    return tff.structure.pack_sequence_as(
        _skeleton(type_signature), [tree[path] for path in leaf_types(type_signature)]
    )


def unpack(type_signature: tff.Type, value: Any) -> dict[str, np.ndarray]:
    """A structure of TFF as leaves by path."""
    flat = tff.structure.flatten(tff.structure.from_container(value, recursive=True))
    return {path: np.asarray(leaf) for path, leaf in zip(leaf_types(type_signature), flat, strict=True)}


def _skeleton(type_signature: tff.Type) -> Any:
    if not isinstance(type_signature, tff.StructType):
        return None
    elements = tff.structure.iter_elements(type_signature)
    return tff.structure.Struct([(name, _skeleton(element)) for name, element in elements])
