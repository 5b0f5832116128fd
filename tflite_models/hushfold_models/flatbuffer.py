"""Look inside a .tflite file, and change what the converter cannot be told. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_OP_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_DTYPES = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.INT32: np.dtype("<i4"),
}


class Constant(NamedTuple):
    """A constant tensor of a file; its offset is in bytes. `scales` is empty unless it is quantised."""

    name: str
    values: NDArray[Any]
    offset: int
    scales: NDArray[np.float32]
    scale_axis: int

    def dequantised(self) -> NDArray[np.float32]:
        """The values as the interpreter sees them."""
        if not len(self.scales):
            return self.values
        shape = [1] * self.values.ndim
        shape[self.scale_axis] = -1
        scales = self.scales.reshape(shape) if len(self.scales) > 1 else self.scales[0]
        return self.values.astype(np.float32) * scales


def operators(content: bytes) -> dict[str, bool]:
    """Names of the operators that a file uses, and whether each is a builtin of the runtime."""
    model = schema.Model.GetRootAs(content, 0)
    found = {}
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        # Files of older converters keep codes below 127 in the deprecated field.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = code.CustomCode()
        found[custom.decode() if custom else _OP_NAMES[builtin]] = builtin != schema.BuiltinOperator.CUSTOM
    return found


def constants(content: bytes) -> Iterator[Constant]:
    """Every distinct constant buffer of float32, int8 or int32 values."""
    model = schema.Model.GetRootAs(content, 0)
    seen = set()
    for tensor in _tensors(model):
        number = tensor.Buffer()
        buffer = model.Buffers(number)
        dtype = _DTYPES.get(tensor.Type())
        if number in seen or dtype is None or not buffer.DataLength():
            continue
        seen.add(number)
        raw = buffer.DataAsNumpy()
        shape = tuple(tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        values, axis = _scales(tensor), 0
        if len(values):
            axis = tensor.Quantization().QuantizedDimension()
        offset = _offset(content, raw)
        yield Constant(tensor.Name().decode(), raw.view(dtype).reshape(shape), offset, values, axis)


def scales(content: bytes) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Offset and values of the scales of every quantised tensor, constant or not."""
    for tensor in _tensors(schema.Model.GetRootAs(content, 0)):
        values = _scales(tensor)
        if len(values):
            yield _offset(content, values), values


def _tensors(model: Any) -> Iterator[Any]:
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        yield from (graph.Tensors(index) for index in range(graph.TensorsLength()))


def _scales(tensor: Any) -> NDArray[np.float32]:
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return np.array([], np.float32)
    return quantization.ScaleAsNumpy()


def _offset(content: bytes, view: NDArray[Any]) -> int:
    """Where in a file the memory of a view of it starts, in bytes."""
    return view.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data


def zero_by_operator(content: bytes) -> bytes:
    """Replace constant initial values of variables by a FILL with zero, so that the file holds no weights.

    The converter freezes the initial value of each variable into the file, zeros included.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    fill = _fill_code(model)
    replaced = set()  # variables of one shape share a buffer, so these are emptied last
    for graph in model.subgraphs:
        operators: list[Any] = []
        for operator in graph.operators:
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.ASSIGN_VARIABLE:
                value = graph.tensors[operator.inputs[1]]
                data = model.buffers[value.buffer].data
                if data is not None and len(data):
                    if np.any(data):
                        raise ValueError(f"variable {value.name!r} has an initial value other than zero")
                    operators.append(_fill(model, graph, operator, value, fill))
                    replaced.add(value.buffer)
            operators.append(operator)
        graph.operators = operators
    for buffer in replaced:
        model.buffers[buffer].data = None
    return _pack(model, len(content))


def _fill_code(model: Any) -> int:
    """Index of the FILL operator among the file's operator codes."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FILL
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _fill(model: Any, graph: Any, assign: Any, value: Any, opcode: int) -> Any:
    """A FILL operator whose output replaces the constant that `assign` reads."""

    def tensor(name: str, shape: list[int], kind: int, data: NDArray[Any] | None) -> int:
        buffer = schema.BufferT()
        buffer.data = None if data is None else data.view(np.uint8)
        model.buffers.append(buffer)
        added = schema.TensorT()
        added.name, added.shape, added.type = name.encode(), np.array(shape, np.int32), kind
        added.buffer = len(model.buffers) - 1
        graph.tensors.append(added)
        return len(graph.tensors) - 1

    name = value.name.decode()
    shape = np.asarray(value.shape, "<i4")
    operator = schema.OperatorT()
    operator.opcodeIndex = opcode
    operator.builtinOptionsType = schema.BuiltinOptions.FillOptions
    operator.builtinOptions = schema.FillOptionsT()
    operator.inputs = np.array(
        [
            tensor(f"{name}/shape", [len(shape)], schema.TensorType.INT32, shape),
            tensor(f"{name}/zero", [], schema.TensorType.FLOAT32, np.zeros(1, "<f4")),
        ],
        np.int32,
    )
    filled = tensor(f"{name}/filled", list(shape), value.type, None)
    operator.outputs = np.array([filled], np.int32)
    assign.inputs = np.array([assign.inputs[0], filled], np.int32)
    return operator


def with_primary(content: bytes, signature: str) -> bytes:
    """The same model with a signature's graph first: the one that an interpreter lists the nodes of."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    chosen = next(s.subgraphIndex for s in model.signatureDefs if s.signatureKey.decode() == signature)
    moved = {0: chosen, chosen: 0}
    model.subgraphs[0], model.subgraphs[chosen] = model.subgraphs[chosen], model.subgraphs[0]
    for definition in model.signatureDefs:
        definition.subgraphIndex = moved.get(definition.subgraphIndex, definition.subgraphIndex)
    for graph in model.subgraphs:
        for operator in graph.operators:
            options = operator.builtinOptions
            if isinstance(options, schema.CallOnceOptionsT):
                options.initSubgraphIndex = moved.get(options.initSubgraphIndex, options.initSubgraphIndex)
    return _pack(model, len(content))


def _pack(model: Any, size: int) -> bytes:
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
