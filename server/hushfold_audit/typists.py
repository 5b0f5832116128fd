"""Ordinary devices: each is the SDK's, keeps what a person wrote and trains on it as in any round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hushfold import Device, KeyFile
from hushfold.conditions import SimulatedConditions
from hushfold.device import MODEL
from hushfold.errors import NotEligible, TrainingDiverged
from hushfold.released import ReleasedModel
from hushfold.training import TrainingTask
from hushfold_demo.personas import personas
from hushfold_protocol.plan import Plan

from .canaries import Vector

MESSAGES = 12  # of one person


class Typists:
    """`count` devices of the people that come with the demo, in `folder`. A context manager."""

    def __init__(self, count: int, folder: Path) -> None:
        people = personas()
        with ExitStack() as stack:
            self._models = []
            for number in range(count):
                home = folder / f"{number:04}"
                device = stack.enter_context(
                    Device(home, KeyFile(home / "key"), conditions=SimulatedConditions(), dwell=0.0)
                )
                for message in people[number % len(people)].messages[:MESSAGES]:
                    device.keyboard.learn(message)
                self._models.append(device.model(MODEL))
            self._stack = stack.pop_all()

    def __enter__(self) -> Typists:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def updates(self, plan: Plan, part_values: Vector) -> Sequence[Vector]:
        """What each device has learned for a plan that starts from these values, float32[d] each."""
        return [self._update(model, plan, part_values) for model in self._models]

    def _update(self, model: ReleasedModel[Any], plan: Plan, part_values: Vector) -> Vector:
        start = model.files.weights.copy()
        start[slice(*model.files.manifest.parts[plan.model.part])] = part_values
        with suppress(NotEligible, TrainingDiverged):
            session = model.training_session(TrainingTask.of(plan), start)
            update = session.run()
            session.clear()
            return update
        return np.zeros(plan.update.dimension, np.float32)
