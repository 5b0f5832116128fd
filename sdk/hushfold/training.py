"""A training session: a fixed number of SGD steps on this device's examples, while its conditions hold.

A session stops within one step when a condition is lost and goes on from its checkpoint later, on any start of the
app, with the same result bit for bit as if it had never stopped: plain SGD has no state but the weights, and the
order of the examples follows from the plan's seed alone. The number of steps is the plan's, whatever there is to
learn from, so that time says nothing about data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from hushfold_format import Batch, ModelFiles, WindowBatch
from hushfold_protocol.plan import Plan, TrainingParameters

from .conditions import Gate
from .errors import ConditionsLost, MessagesDeleted, ModelError, NotEligible, StoreError, TrainingDiverged
from .lessons import Example, Lesson, Lessons
from .model import TrainingModel, Vector
from .store import Checkpoint, Store

CHECKPOINT_STEPS = 25  # steps between checkpoints: what a killed process loses at most


class Progress(NamedTuple):
    """How far a session has come. The loss is of this user's examples: show it, never send it."""

    step: int  # steps done
    steps: int  # steps in all
    loss: float  # of the last batch before its step, nats per example


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What a session trains, and how.

    `plan_id` tells one plan from another: a checkpoint of another plan is discarded.
    """

    name: str  # one session of a task at a time
    plan_id: bytes
    part: str  # slice of the vector
    parameters: TrainingParameters

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The device's share of a federated round."""
        return cls(plan.task, plan.hash, plan.model.part, plan.training)


class TrainingSession:
    """One task on this device's examples. Used by one thread.

    Args:
        files: the model that is trained.
        lessons: what it learns from.
        task: what to train.
        start: weights to start from, `[size]`. For a federated round those of its plan, never the personal ones.
        store: for the checkpoint.
        gate: when training may run.
        newest: id of the newest example to learn from; by default all are learned from.
        checkpoint_steps: steps between two checkpoints.
    """

    def __init__(
        self,
        files: ModelFiles,
        lessons: Lessons[Any],
        task: TrainingTask,
        start: Vector,
        store: Store,
        gate: Gate,
        *,
        newest: int | None = None,
        checkpoint_steps: int = CHECKPOINT_STEPS,
    ) -> None:
        manifest, parameters = files.manifest, task.parameters
        if task.part not in manifest.parts:
            raise ModelError(f"task {task.name!r} trains {task.part!r}, which model {manifest.name!r} has not")
        if (parameters.batch, parameters.time) != (manifest.batch, manifest.time):
            raise ModelError(
                f"task {task.name!r} trains batches of {parameters.batch}x{parameters.time}",
                f"The graph of model {manifest.name!r} takes {manifest.batch}x{manifest.time}",
            )
        self._lessons = lessons
        self._task = task
        self._name = lessons.prefix + task.name
        self._part = slice(*manifest.parts[task.part])
        self._start = start
        self._store = store
        self._gate = gate
        self._newest = newest
        self._checkpoint_steps = checkpoint_steps
        self._origin = hashlib.sha256()  # of all that makes a session but its examples
        meaning = ("training", "vocabulary")  # of what is trained on: another one is another session
        files_sha256 = (bytes.fromhex(manifest.files[role].sha256) for role in meaning if role in manifest.files)
        for field in (
            task.plan_id,
            parameters.write_fields(),
            task.part.encode(),
            *files_sha256,
            start.astype("<f4").tobytes(),
        ):
            self._origin.update(hashlib.sha256(field).digest())
        # An interpreter of its own: no other session, and no evaluation, sees weights half trained.
        self._model = TrainingModel(files)

    def run(self, progress: Callable[[Progress], None] | None = None) -> Vector:
        """Train from the start, or from the checkpoint of this very session, to the last step; the update.

        The update is start - end of the part, `[size of the part]`, the sign of TFF's client updates. It is as private
        as the examples: it leaves the device clipped, noised and masked only.

        The checkpoint of a finished session stays until its owner has made use of the update, and a second run
        returns that at once: `store.clear_checkpoint` ends it.

        Args:
            progress: called after each step, in this thread. If it raises, the session stops there, resumable.

        Raises:
            NotEligible: no word to learn.
            ConditionsLost: training may not start, or was stopped; with the reasons. Resumable.
            MessagesDeleted: the user deleted some of what was being learned. The work so far is discarded.
            TrainingDiverged: after the last step, the result is useless. It is discarded.
            ModelError: the weights are not this model's, or the runtime failed.
        """
        examples, done, vector = self._resume() or (self._choose(), 0, self._start)
        if done < self._task.parameters.steps:
            if waiting := self._gate.waiting_for():
                raise ConditionsLost(waiting, "Not started: " + ", ".join(reason.text for reason in waiting))
            vector = self._train(vector, done, examples, progress)
        update: Vector = self._start[self._part] - vector[self._part]
        return update

    def _train(
        self, vector: Vector, done: int, examples: _Examples, progress: Callable[[Progress], None] | None
    ) -> Vector:
        """The weights after all steps, from those after `done` of them."""
        parameters = self._task.parameters
        self._model.load(vector)
        try:
            for batch in self._batches(examples, done):
                self._gate.require()
                loss = self._model.train_step(batch, parameters.learning_rate, self._task.part)
                done += 1
                if progress is not None:
                    progress(Progress(done, parameters.steps, loss))
                if done % self._checkpoint_steps == 0:
                    self._save(done, examples)
        except (ModelError, StoreError, MessagesDeleted):
            raise  # nothing to keep, or nowhere to keep it
        except BaseException:
            self._save(done, examples)
            raise
        vector = self._save(done, examples)
        # Only now: a session that ended early would say by its time that it diverged.
        if not np.isfinite(vector).all():
            self._store.clear_checkpoint(self._name)
            raise TrainingDiverged(
                f"task {self._task.name!r} diverged: its update is discarded",
                "The served model is as it was. Lower the learning rate of the task",
            )
        return vector

    def clear(self) -> None:
        """End the session for good: the next one of its task starts anew."""
        self._store.clear_checkpoint(self._name)

    def require_kept(self) -> None:
        """Raises MessagesDeleted unless the finished update may still be used: nothing behind it was deleted since."""
        checkpoint = self._store.load_checkpoint(self._name)
        if checkpoint is None or checkpoint.identity != self._identity(self._select(checkpoint.newest_message)):
            raise self._deleted()

    def _batches(self, examples: _Examples, done: int) -> Iterator[Batch | WindowBatch]:
        """The batches of the steps after `done`: pass after pass over all examples, each in an order of its own."""
        parameters = self._task.parameters
        for step in range(done, parameters.steps):
            number, position = divmod(step, examples.batches)
            if position == 0 or step == done:
                seed = number << 32 | parameters.seed
                in_order = examples.lesson.in_order(seed)
            yield in_order[position]

    def _choose(self) -> _Examples:
        """The newest examples, as many as the plan takes. What an earlier session of the task left goes."""
        self._store.clear_checkpoint(self._name)
        chosen = self._select(self._newest)
        return self._examples(chosen, newest=max((example.id for example in chosen), default=0))

    def _resume(self) -> tuple[_Examples, int, Vector] | None:
        """Examples, steps done and weights of this session's checkpoint, if there is one and it still holds."""
        checkpoint = self._store.load_checkpoint(self._name)
        if checkpoint is None:
            return None
        # Examples that came since are left out, or a session on a busy phone would start anew each time.
        chosen = self._select(checkpoint.newest_message)
        if checkpoint.identity != self._identity(chosen):
            return None
        vector = self._start.copy()
        vector[self._part] = np.frombuffer(checkpoint.vector, "<f4")
        return self._examples(chosen, checkpoint.newest_message), checkpoint.step, vector

    def _save(self, done: int, examples: _Examples) -> Vector:
        """Keep how far the session came, unless what it learned from was deleted meanwhile; the weights.

        Weights that are not finite are not kept: the session would go on from where they still were.
        """
        vector = self._model.vector()
        if not np.isfinite(vector).all():
            return vector
        trained = vector[self._part].astype("<f4").tobytes()
        with self._store.transaction():
            if self._identity(self._select(examples.newest)) == examples.identity:
                self._store.save_checkpoint(Checkpoint(self._name, examples.identity, examples.newest, done, trained))
                return vector
        raise self._deleted()

    def _deleted(self) -> MessagesDeleted:
        return MessagesDeleted(
            f"some of what task {self._task.name!r} learned from was deleted, so its work was discarded",
            "Run the session again: it learns from what is left",
        )

    def _examples(self, chosen: Sequence[Example], newest: int) -> _Examples:
        """The examples as the graph takes them; NotEligible if it could learn nothing from them."""
        lesson = self._lessons.prepare(chosen)
        if not (count := lesson.batches):
            raise NotEligible(f"task {self._task.name!r} finds nothing to learn in {len(chosen)} examples")
        return _Examples(lesson, count, newest, self._identity(chosen))

    def _select(self, newest: int | None = None) -> Sequence[Example]:
        """The examples that the plan takes, newest first; with `newest`, of those with this id or a lower one."""
        return self._lessons.select(newest, self._task.parameters.max_examples)

    def _identity(self, chosen: Sequence[Example]) -> bytes:
        """What makes a session this one: its plan, its graph, where it starts and its examples; 32 bytes."""
        digest = self._origin.copy()
        for example in chosen:
            digest.update(example.id.to_bytes(8, "big"))  # ids are never given out twice
        return digest.digest()


class _Examples(NamedTuple):
    """What a session learns from."""

    lesson: Lesson
    batches: int  # in one pass over it
    newest: int  # id; later examples are not of this session
    identity: bytes  # of the session
