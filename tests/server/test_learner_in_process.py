"""TFF's graphs without TFF's runtime."""

from __future__ import annotations

import collections
from typing import Any, NoReturn

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

import tensorflow as tf
import tensorflow_federated as tff
from learning_fixtures import CLIENT_LEARNING_RATE, OPTIMIZERS, base_vector, encoding

from hushfold_models.config import SMALL
from hushfold_server.learning.in_process import InProcess, leaf_types
from hushfold_server.learning.task import Learning

pytestmark = pytest.mark.tff


class NoRuntime(tff.framework.SyncContext):
    """A TFF context in which nothing can be run."""

    def invoke(self, comp: Any, arg: Any) -> NoReturn:
        raise AssertionError(f"TFF's runtime was asked to run {comp.type_signature}")


@pytest.mark.slow
def test_learning_never_asks_for_the_runtime_of_tff() -> None:
    with tff.framework.get_context_stack().install(NoRuntime()):
        learning = Learning(
            SMALL,
            base_vector(),
            "adapter",
            client_learning_rate=CLIENT_LEARNING_RATE,
            server_optimizer=OPTIMIZERS["adapter"],
            encoding=encoding("adapter", local_stddev=2.0),
        )
        state = learning.initial_state()
        learning.prepare(state)
        learning.update(state, np.ones(learning.encoding.dimension, np.uint32), 1)
        with pytest.raises(AssertionError, match="runtime was asked"):
            learning.process.initialize()


def test_leaves_are_named_by_their_path_in_the_order_of_the_type() -> None:
    @tff.tensorflow.computation(collections.OrderedDict(z=np.int32, a=(np.float32, tff.TensorType(np.float32, [2]))))
    def swap(x: Any) -> Any:
        return collections.OrderedDict(second=x["a"][1], first=collections.OrderedDict(y=x["z"], b=x["a"][0]))

    graph = InProcess(swap)
    assert list(graph.parameter) == ["z", "a/0", "a/1"]
    assert list(graph.result) == ["second", "first/y", "first/b"]
    # The order of the mapping that is given does not matter.
    result = graph({"a/1": np.float32([4, 5]), "z": np.array(7, np.int32), "a/0": np.array(3, np.float32)})
    np.testing.assert_array_equal(result["second"], [4, 5])
    assert (result["first/y"], result["first/b"]) == (7, 3)


def test_a_lone_tensor_has_the_empty_path() -> None:
    @tff.tensorflow.computation(tff.TensorType(np.int64, [3]))
    def total(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x)

    assert InProcess(total)({"": np.int64([1, 2, 3])}) == {"": 6}


def test_variables_start_afresh_at_every_call() -> None:
    @tff.tensorflow.computation(np.int32)
    def add(x: tf.Tensor) -> tf.Tensor:
        counter = tf.Variable(10)
        with tf.control_dependencies([counter.assign_add(x)]):
            return counter.read_value()

    graph = InProcess(add)
    for _ in range(3):
        assert graph({"": np.array(5, np.int32)}) == {"": 15}


def test_leaves_that_do_not_fit_are_refused() -> None:
    @tff.tensorflow.computation(collections.OrderedDict(a=np.int32, b=tff.TensorType(np.float32, [2])))
    def first(x: Any) -> tf.Tensor:
        return x["a"]

    graph = InProcess(first)
    good = {"a": np.array(1, np.int32), "b": np.float32([1, 2])}
    assert graph(good) == {"": 1}
    for wrong, reason in (
        ({"a": good["a"]}, "differ in: b"),
        ({**good, "c": good["a"]}, "differ in: c"),
        ({**good, "a": np.array(1, np.int64)}, "'a' is int64"),
        ({**good, "b": np.float32([1, 2, 3])}, "'b' is float32"),
    ):
        with pytest.raises(ValueError, match=reason):
            graph(wrong)


def test_data_sets_have_no_place_on_the_server() -> None:
    @tff.tensorflow.computation(tff.SequenceType(np.int32))
    def count(data: tf.data.Dataset) -> tf.Tensor:
        return data.reduce(0, lambda total, _: total + 1)

    with pytest.raises(TypeError, match="not a tensor"):
        InProcess(count)


def test_what_is_not_compiled_is_refused() -> None:
    @tff.federated_computation(np.int32)
    def same(x: Any) -> Any:
        return x

    with pytest.raises(TypeError, match="compile the process first"):
        InProcess(same)


def test_a_federated_value_is_not_a_leaf() -> None:
    with pytest.raises(TypeError, match="not a tensor"):
        leaf_types(tff.FederatedType(np.int32, tff.SERVER))
