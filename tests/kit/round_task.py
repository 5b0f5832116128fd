"""A task with one open round in a server's database, for tests below the learner."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from hushfold_protocol.signing import sign_plan
from hushfold_server.database import Phase, TaskStatus, rounds, states, tasks

TASK = """
[task]
name = "test"
population = "keyboard-en"
model = "next_word"
part = "adapter"
[training]
steps = 10
learning_rate = 0.1
max_examples = 100
[cohort]
target = 8
maximum = 8
floor = 4
gamma = 0.1
[privacy]
clip_norm = 1.0
noise_multiplier = 1.0
delta = 1e-6
budget_epsilon = {budget}
[schedule]
rounds = 3
step_seconds = 30
training_seconds = 600
come_back_seconds = 7
"""


def open_round(database, plan, now, budget=1000.0):
    """Writes the task and its round, with the plan signed by a key that nobody needs."""
    spec = TASK.format(budget=budget)
    with database.begin() as c:
        c.execute(
            insert(tasks).values(
                name=plan.task,
                population=plan.population,
                spec=spec,
                status=TaskStatus.ACTIVE,
                reason="",
                created_at=now,
            )
        )
        c.execute(insert(states).values(task=plan.task, number=0, object_sha256="00", created_at=now))
    open_next_round(database, plan, now)


def open_next_round(database, plan, now):
    """Writes another round of a task, from the same state as its first one."""
    with database.begin() as c:
        c.execute(
            insert(rounds).values(
                id=plan.round_id.hex(),
                task=plan.task,
                number=plan.round_number,
                base_state=0,
                phase=Phase.OPEN,
                invitation=sign_plan(Ed25519PrivateKey.generate(), plan).encode(),
                deadline=now + 600,
                created_at=now,
                updated_at=now,
            )
        )
