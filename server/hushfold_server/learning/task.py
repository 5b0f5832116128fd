"""One task's learning: from a state what devices need for a round, and from a round's sum the next state.

    learning = Learning(config, base, part, client_learning_rate=..., server_optimizer=..., encoding=...)
    state = learning.initial_state()
    start = learning.prepare(state)                  # goes into the plan and the round's model
    ...                                              # devices train; secure aggregation gives total and survivors
    state = learning.update(state, total, survivors)

Everything runs in this process (`in_process`); the state that it leads to is the one that TFF's own `process.next`
would have led to, bit for bit. Each step is a function of its arguments: a step that is cut off can be run again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from hushfold_protocol.encoding import EncodingParameters

from ..errors import Corrupt, ServerError, StateError
from .aggregator import COUNT_MODULUS, Rounding, build_aggregator
from .federated_averaging import ServerOptimizer, assert_only_secure_slots, build_process, compile_process
from .in_process import Array, InProcess, Tree
from .model import ModelConfig, functional_model

FORMAT = "hushfold-learning-state/1"

_TRAINABLE = "global_model_weights/trainable/"
_FROZEN = "global_model_weights/non_trainable/"
_AGGREGATOR = "aggregator/"
_SEED = (np.dtype(np.int64), (2,))  # the only leaf of this type that an aggregator has: the rotation's seed


class LearningDiverged(ServerError):
    """A step led to values that are not finite. The state before it is still good."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningState:
    """Where a task's learning stands: the trained weights, the optimizer's memory, the rotation's seed.

    `leaves` are the values by path, without the frozen weights, which the task knows. `fingerprint` says which
    task's learning they belong to (hexadecimal).
    """

    fingerprint: str
    leaves: Mapping[str, Array]

    def to_bytes(self) -> bytes:
        """An uncompressed .npz: the same state gives the same bytes."""
        buffer = io.BytesIO()
        header = {"format": np.array(FORMAT), "fingerprint": np.array(self.fingerprint)}
        np.savez(buffer, **header, **{f"leaf/{path}": value for path, value in self.leaves.items()})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Reads what `to_bytes` wrote. Raises Corrupt for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                values = {name: archive[name] for name in archive.files}
            found, fingerprint = str(values.pop("format")), str(values.pop("fingerprint"))
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise Corrupt(
                f"these {len(content)} bytes are no learning state ({error})", "Take the state before"
            ) from error
        if found != FORMAT:
            raise Corrupt(f"a learning state of format {found!r}, not {FORMAT!r}", "Use the server that wrote it")
        return cls(fingerprint, {name.removeprefix("leaf/"): value for name, value in values.items()})


@dataclass(frozen=True, slots=True, eq=False)
class RoundStart:
    """What a round's devices must know of its state."""

    part_values: npt.NDArray[np.float32]  # [d]: the trained slice of the model's vector
    rotation_seed: tuple[int, int]  # of this round's rotation


class Learning:
    """Builds and compiles one task's learning process, which takes seconds, and steps it.

    Args:
        config: sizes of the model and of a batch.
        base: the released vector that the task starts from, float32[N].
        part: name of the slice that is trained.
        client_learning_rate: of the devices' SGD.
        server_optimizer: what the mean update feeds.
        encoding: how updates become integers; its rotation seed has no meaning here, each round has its own.
        rounding: of simulated clients.

    Raises:
        ValueError: the arguments do not fit each other.
        InsecureSlot: the process would have devices send more than the encoded update.
    """

    def __init__(
        self,
        config: ModelConfig,
        base: npt.NDArray[np.float32],
        part: str,
        *,
        client_learning_rate: float,
        server_optimizer: ServerOptimizer,
        encoding: EncodingParameters,
        rounding: Rounding = "stochastic",
    ) -> None:
        self.encoding = encoding
        self.process = build_process(
            functional_model(config, base, part),
            client_learning_rate=client_learning_rate,
            server_optimizer=server_optimizer,
            aggregator=build_aggregator(encoding, rounding=rounding),
        )
        self.form = compile_process(self.process)
        assert_only_secure_slots(self.form, encoding)
        self._initialize = InProcess(
            tff.backends.mapreduce.get_state_initialization_computation(self.process.initialize)
        )
        self._prepare = InProcess(self.form.prepare)
        self._update = InProcess(self.form.update)
        self._frozen = {path: value for path, value in self._initialize({}).items() if path.startswith(_FROZEN)}
        self.fingerprint = _fingerprint(
            {
                "config": asdict(config),
                "base": hashlib.sha256(base.astype("<f4").tobytes()).hexdigest(),
                "part": part,
                "client_learning_rate": client_learning_rate,
                "server_optimizer": {type(server_optimizer).__name__: asdict(server_optimizer)},
                "encoding": {key: value for key, value in asdict(encoding).items() if key != "rotation_seed"},
                "state": {path: str(leaf) for path, leaf in self._initialize.result.items()},
            }
        )

    def initial_state(self) -> LearningState:
        """The state before the first round: the base, and a new seed for the rotation."""
        return self.state_from_tree(self._initialize({}))

    def prepare(self, state: LearningState) -> RoundStart:
        """What devices need for the round that starts from this state."""
        tree = self.tree_of_state(state)
        broadcast = self._prepare(tree)
        part_values = np.concatenate([v.ravel() for path, v in broadcast.items() if "/trainable/" in f"/{path}"])
        seeds = _rotation_seeds(broadcast)
        # The broadcast is a tuple whose order TFF does not promise; the state has names.
        held = _rotation_seeds({path: value for path, value in tree.items() if path.startswith(_AGGREGATOR)})
        if len(seeds) != 1 or seeds != held or not np.array_equal(part_values, self.part_values(state)):
            raise ServerError(
                "what the process would send to devices is not what its state holds",
                "This version of TFF lays the broadcast out in another way: use the locked one",
            )
        return RoundStart(part_values, seeds[0])

    def update(self, state: LearningState, total: npt.NDArray[np.uint32], survivors: int) -> LearningState:
        """The state after a round.

        Args:
            state: the one that the round was prepared from: its rotation is undone.
            total: the sum modulo 2^b of the survivors' encoded updates, uint32[d].
            survivors: how many devices are in the sum.

        Raises:
            ValueError: this cannot be the sum of a round of this task.
            LearningDiverged: the new state is not finite.
        """
        if total.dtype != np.uint32 or total.shape != (self.encoding.dimension,):
            raise ValueError(f"a sum is uint32 of ({self.encoding.dimension},), not {total.dtype} of {total.shape}")
        if int(total.max()) >= self.encoding.modulus:
            raise ValueError(f"a value of the sum is not below 2^{self.encoding.bits}: reduce it first")
        if not 1 <= survivors < COUNT_MODULUS:
            raise ValueError(f"{survivors} devices in a sum: it must be 1 to {COUNT_MODULUS - 1}")
        arguments = {f"0/{path}": value for path, value in self.tree_of_state(state).items()}
        vector_slot, count_slot = (path for path in self._update.parameter if path.startswith("1/"))
        arguments |= {vector_slot: total.astype(np.int64), count_slot: np.array(survivors, np.int32)}
        output = self._update(arguments)
        new = {path.removeprefix("state/"): value for path, value in output.items() if path.startswith("state/")}
        finite = all(np.isfinite(value).all() for value in new.values() if value.dtype.kind == "f")
        # TFF keeps the old state, without a word, if the mean update is not finite.
        if not finite or output["metrics/finalizer/update_non_finite"]:
            raise LearningDiverged(
                "the round's sum leads to weights that are not finite",
                "Finish the task with what it learned before; a new one may have a lower learning rate of the server",
            )
        return self.state_from_tree(new)

    def part_values(self, state: LearningState) -> npt.NDArray[np.float32]:
        """The trained slice of the model's vector, float32[d]."""
        tree = self.tree_of_state(state)
        return np.concatenate([value.ravel() for path, value in tree.items() if path.startswith(_TRAINABLE)])

    def state_from_tree(self, tree: Tree) -> LearningState:
        """The state of TFF's server state, given as leaves by path."""
        leaves = {path: value for path, value in tree.items() if path not in self._frozen}
        return LearningState(self.fingerprint, leaves)

    def tree_of_state(self, state: LearningState) -> dict[str, Array]:
        """TFF's server state as leaves by path, in TFF's order. Raises StateError for a state of another task."""
        if state.fingerprint != self.fingerprint:
            raise StateError(
                f"the state belongs to the learning {state.fingerprint[:12]}, this is {self.fingerprint[:12]}: the "
                "model, part, optimizer or encoding differ",
                "Continue a task with the settings that it was started with, or start a new task",
            )
        leaves = {**self._frozen, **state.leaves}
        return {path: leaves[path] for path in self._initialize.result}


def _rotation_seeds(leaves: Tree) -> list[tuple[int, int]]:
    return [(int(v[0]), int(v[1])) for v in leaves.values() if (v.dtype, v.shape) == _SEED]


def _fingerprint(identity: Mapping[str, object]) -> str:
    content = json.dumps({"format": FORMAT, **identity}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
