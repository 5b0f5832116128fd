"""One task from its file to its released model, with canaries among its devices.

The server's half is `hushfold_server.rehearsal`: task file, signed plans, ledger, the learner with TFF's process. The
devices encode by the SDK's protocol, with noise from the operating system, and the sum goes through secure aggregation.

The devices whose collusion the plan tolerates are there, too, and do their worst: they send nothing and add no noise.
So a sum has the noise that the ledger charges for, and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from hushfold_protocol import encoding
from hushfold_protocol.messages import Invitation
from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import Plan
from hushfold_protocol.signing import open_invitation
from hushfold_server import keys
from hushfold_server.errors import ServerError
from hushfold_server.instance import open_database, single_instance
from hushfold_server.overview import TaskOverview
from hushfold_server.process import start_logging
from hushfold_server.rehearsal import Rehearsal
from hushfold_server.settings import Home
from hushfold_server.shipped_models import ShippedModels, shipped_models

from .canaries import Canaries, Vector
from .cohort import Cohort
from .errors import AuditError
from .seen import SeenRound, SeenTask
from .setting import MODEL, PART, Setting
from .typists import Typists


def dimension() -> int:
    """Values in an update of an audited task."""
    return ShippedModels(shipped_models()).manifest(MODEL).parts[PART].size


def run_task(
    setting: Setting, canaries: Canaries, typists: Typists, home: Path, advance: Callable[[], None] = lambda: None
) -> SeenTask:
    """Runs the task in an empty folder. `advance` is called STEPS times for each device and round.

    Raises AuditError if the server refuses something.
    """
    folder = Home.create(home)
    start_logging(folder, "rehearsal", "info")
    keys.create_missing(folder)
    plan_key = keys.public_key(folder, "plan")
    cohort, seen, values = Cohort(setting.devices), [], []
    try:
        with single_instance(folder), closing(open_database(folder)) as database:
            rehearsal = Rehearsal(folder, database, setting.task_file, shipped_models())
            while (opened := rehearsal.open_round()) is not None:
                plan = open_invitation(Invitation.decode(opened.invitation), plan_key)
                values.append(np.frombuffer(rehearsal.part_values(opened), "<f4").astype(np.float32))
                vectors = _encoded(plan, setting, canaries, typists, values[-1])
                total, uploads = cohort.secure_sum(plan, vectors, advance)
                rehearsal.take_sum(opened, total.astype("<u4").tobytes(), cohort.ids)
                seen.append(SeenRound(plan, uploads[: setting.canaries], total))
            overview: TaskOverview = rehearsal.overview()
            whole = np.frombuffer(rehearsal.learned(), "<f4").astype(np.float32)
    except ServerError as error:
        raise AuditError(f"the server ended the task: {error}") from error
    part = ShippedModels(shipped_models()).manifest(MODEL).parts[PART]
    return SeenTask(seen, values[0], whole[part.start : part.stop], overview.epsilon, overview.delta)


def _encoded(plan: Plan, setting: Setting, canaries: Canaries, typists: Typists, values: Vector) -> list[EncodedVector]:
    """What every device hands to secure aggregation: canaries first, then ordinary devices, then colluders."""
    parameters = plan.update.encoding()
    updates = [canaries.update(number, parameters.clip_norm) for number in range(setting.canaries)]
    updates += typists.updates(plan, values)
    silent = np.zeros(parameters.dimension, np.uint32)
    return [encoding.encode(update, parameters) for update in updates] + [silent] * setting.colluders
