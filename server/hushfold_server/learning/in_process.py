"""Running a compiled TFF computation in this very process.

TFF's own runtime starts a `worker_binary` that listens on every interface, asks nobody who they are and runs any graph
it is sent. A server needs none of that: what it computes between rounds are plain TensorFlow graphs, which are
imported and called here. The results are those of the worker, bit for bit.

Values travel as trees flattened by path: a leaf's path is its names or positions from the root, joined by `/`, as in
`global_model_weights/trainable/0`; a lone tensor has the path ``. The order of the leaves is that of the TFF type.
(`tf.nest` would sort the keys of dictionaries, and with them the leaves.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

Array = npt.NDArray[Any]
Tree = Mapping[str, Array]


def leaf_types(type_signature: tff.Type | None) -> dict[str, tff.TensorType]:
    """The tensors of a type by path, in the type's order. Raises TypeError for anything that is not a tensor."""
    return {} if type_signature is None else dict(_leaves(type_signature, ()))


def _leaves(type_signature: tff.Type, path: tuple[str, ...]) -> Iterator[tuple[str, tff.TensorType]]:
    if isinstance(type_signature, tff.StructType):
        for position, (name, element) in enumerate(tff.structure.iter_elements(type_signature)):
            yield from _leaves(element, (*path, name or str(position)))
    elif isinstance(type_signature, tff.TensorType):
        yield "/".join(path), type_signature
    else:
        raise TypeError(f"{type_signature} at {'/'.join(path)!r} is not a tensor: it has no place on the server")


class InProcess:
    """A TFF computation of tensors, as a function from tree to tree.

    `parameter` and `result` are the types of the leaves that it takes and gives. Variables of the graph start afresh
    at every call. Raises TypeError for a computation that is not a TensorFlow graph of tensors.
    """

    def __init__(self, computation: tff.framework.ConcreteComputation) -> None:
        self.parameter = leaf_types(computation.type_signature.parameter)
        self.result = leaf_types(computation.type_signature.result)
        serialised = tff.framework.serialize_computation(computation)
        if serialised.WhichOneof("computation") != "tensorflow":
            raise TypeError(f"{computation.type_signature} is not compiled to TensorFlow: compile the process first")
        program = serialised.tensorflow
        graph_def = tf.compat.v1.GraphDef()
        if not program.graph_def.Unpack(graph_def):
            raise TypeError(f"{computation.type_signature} holds no TensorFlow graph")
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        inputs = _tensor_names(program.parameter) if program.HasField("parameter") else []
        element = wrapped.graph.as_graph_element
        self._function = wrapped.prune(
            [element(name) for name in inputs], [element(name) for name in _tensor_names(program.result)]
        )
        self._initialize = wrapped.prune([], element(program.initialize_op)) if program.initialize_op else None

    def __call__(self, tree: Tree) -> dict[str, Array]:
        """Runs the graph. Raises ValueError for leaves that are not those of `parameter`."""
        if tree.keys() != self.parameter.keys():
            different = ", ".join(sorted(tree.keys() ^ self.parameter.keys()))
            raise ValueError(f"the leaves given are not those that the graph takes; they differ in: {different}")
        for path, expected in self.parameter.items():
            if (tree[path].dtype, tree[path].shape) != (expected.dtype, tuple(expected.shape)):
                raise ValueError(f"leaf {path!r} is {tree[path].dtype} of {tree[path].shape}, not {expected}")
        if self._initialize is not None:
            self._initialize()
        outputs = self._function(*(tf.constant(tree[path]) for path in self.parameter))
        return {path: output.numpy() for path, output in zip(self.result, outputs, strict=True)}


def _tensor_names(binding: Any) -> list[str]:
    """Names of the graph's tensors for the leaves of a parameter or result, in the type's order."""
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        return [binding.tensor.tensor_name]
    if kind == "struct":
        return [name for element in binding.struct.element for name in _tensor_names(element)]
    raise TypeError(f"a binding of kind {kind!r} is not a tensor")
