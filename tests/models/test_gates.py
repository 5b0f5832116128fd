"""The build gates: the committed model passes them, and each refuses the fault it is for."""

from __future__ import annotations

from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from hushfold_format import NextWordFiles
from hushfold_models import gates
from hushfold_models.flatbuffer import zero_by_operator


def _rewritten(content: bytes, change) -> bytes:
    """A .tflite after `change` of its object form."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("gate", [gates.builtins_only, gates.constants_found, gates.partitions, gates.quantised_agrees])
def test_the_committed_model_passes(files: NextWordFiles, gate) -> None:
    assert gate(files)


def test_a_foreign_operator(files: NextWordFiles) -> None:
    def change(model) -> None:
        model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
        model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        model.operatorCodes[0].customCode = b"FlexTensorListPopBack"

    with pytest.raises(gates.GateError, match="inference graph uses FlexTensorListPopBack"):
        gates.builtins_only(replace(files, inference=_rewritten(files.inference, change)))


def test_a_parameter_without_a_place(files: NextWordFiles) -> None:
    patches = tuple(entry for entry in files.manifest.patches if entry.parameter != "output_shift")
    with pytest.raises(gates.GateError, match="no place for output_shift"):
        gates.constants_found(replace(files, manifest=replace(files.manifest, patches=patches)))


def test_a_parameter_in_the_wrong_place(files: NextWordFiles) -> None:
    patches = tuple(
        replace(entry, offset=entry.offset + 4) if entry.parameter == "output_shift" else entry
        for entry in files.manifest.patches
    )
    with pytest.raises(gates.GateError, match="where the template has no constant"):
        gates.constants_found(replace(files, manifest=replace(files.manifest, patches=patches)))


def test_two_parameters_in_each_other_s_place(files: NextWordFiles) -> None:
    """Every byte is written and read back; only what the model predicts shows it."""
    places = {entry.parameter: entry.offset for entry in files.manifest.patches}
    swap = {"output_shift": places["output_scale"], "output_scale": places["output_shift"]}
    patches = tuple(replace(e, offset=swap.get(e.parameter, e.offset)) for e in files.manifest.patches)
    swapped = replace(files, manifest=replace(files.manifest, patches=patches))
    assert gates.constants_found(swapped)
    with pytest.raises(gates.GateError, match="top three"):
        gates.quantised_agrees(swapped)


def test_a_scale_that_stays_behind(files: NextWordFiles) -> None:
    """The row that the embedding's GATHER looks up has a scale of its own, equal to the embedding's."""
    patches = tuple(replace(entry, scale_offsets=entry.scale_offsets[:1]) for entry in files.manifest.patches)
    assert patches != files.manifest.patches
    stale = replace(files, manifest=replace(files.manifest, patches=patches))
    with pytest.raises(gates.GateError, match="keeps its scale"):
        gates.constants_found(stale)


def test_weights_in_the_training_graph(files: NextWordFiles) -> None:
    def change(model) -> None:
        buffer = schema.BufferT()
        buffer.data = np.ones(96, "<f4").view(np.uint8)
        model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = b"frozen", np.array([96], np.int32), schema.TensorType.FLOAT32
        tensor.buffer = len(model.buffers) - 1
        model.subgraphs[0].tensors.append(tensor)

    with pytest.raises(gates.GateError, match="frozen"):
        gates.constants_found(replace(files, training=_rewritten(files.training, change)))


def test_too_many_partitions(files: NextWordFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gates.PARTITIONS, "train", gates.PARTITIONS["train"] - 1)
    with pytest.raises(gates.GateError, match="'train' is cut into"):
        gates.partitions(files)


def test_an_int8_model_of_other_weights(files: NextWordFiles) -> None:
    """The manifest swaps the gates of the kernel: every byte is in place, the model is another one."""
    vector = files.weights.copy()
    kernel = files.manifest.split(vector)["kernel"]
    kernel[:] = kernel[:, ::-1].copy()
    wrong = gates._patched(files, vector)
    with pytest.raises(gates.GateError, match="top three"):
        gates.quantised_agrees(replace(files, inference=wrong, manifest=replace(files.manifest, patches=())))


def test_zeros_alone_are_replaced(files: NextWordFiles) -> None:
    """The converter's constant initial values: refused unless they are zero."""

    def change(model) -> None:
        for graph in model.subgraphs:
            for operator in graph.operators:
                if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.ASSIGN_VARIABLE:
                    buffer = schema.BufferT()
                    buffer.data = np.ones(1, "<f4").view(np.uint8)
                    model.buffers.append(buffer)
                    graph.tensors[operator.inputs[1]].buffer = len(model.buffers) - 1

    with pytest.raises(ValueError, match="other than zero"):
        zero_by_operator(_rewritten(files.training, change))


@pytest.mark.slow
class TestParity:
    def test_the_committed_model_passes(self, files: NextWordFiles) -> None:
        assert gates.parity(files)

    @pytest.mark.parametrize(("renamed", "to"), [("train_adapter", "train"), ("train", "train_adapter")])
    def test_a_graph_that_trains_another_part(self, files: NextWordFiles, renamed: str, to: str) -> None:
        def change(model) -> None:
            by_key = {definition.signatureKey: definition for definition in model.signatureDefs}
            by_key[to.encode()].subgraphIndex = by_key[renamed.encode()].subgraphIndex
            for ours, theirs in ((by_key[to.encode()], by_key[renamed.encode()]),):
                ours.inputs, ours.outputs = theirs.inputs, theirs.outputs

        with pytest.raises(gates.GateError, match=f"{to!r} differs from TensorFlow"):
            gates.parity(replace(files, training=_rewritten(files.training, change)), steps=1)
