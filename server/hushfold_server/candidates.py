"""What a task has learned becomes a candidate release: a row of the database that the publisher acts on."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select

from .database import Phase, ReleaseStatus, releases, rounds


def offer_learned(
    connection: Connection,
    *,
    task: str,
    state: int,
    model: str,
    base_version: str,
    weights_sha256: str,
    now: float,
) -> None:
    """Adds the release of a task's state, in the caller's transaction, as the model's next version.

    `base_version` is that of the release that the task started from; `weights_sha256` (hex) names the model's whole
    vector in the object store; `now` is unix seconds. What the release says of itself is how many rounds are in it
    and how many updates were in their sums.
    """
    taken = set(connection.scalars(select(releases.c.version).where(releases.c.model == model)))
    contributions = connection.scalar(
        select(func.sum(rounds.c.survivors)).where(
            rounds.c.task == task, rounds.c.phase.in_((Phase.LEARNED, Phase.RELEASED))
        )
    )
    connection.execute(
        insert(releases).values(
            model=model,
            version=next_version(base_version, taken),
            task=task,
            state=state,
            weights_sha256=weights_sha256,
            status=ReleaseStatus.CANDIDATE,
            custom={"metrics": {"rounds": state, "contributions": int(contributions or 0)}},
            created_at=now,
        )
    )


def next_version(base: str, taken: set[str]) -> str:
    """The base's version with the next free middle number: 1.4.2 -> 1.5.0."""
    major, middle = (int(number) for number in [*base.split("-")[0].split("."), "0"][:2])
    while True:
        middle += 1
        version = f"{major}.{middle}.0"
        if version not in taken:
            return version
