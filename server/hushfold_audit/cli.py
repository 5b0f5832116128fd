"""`hushfold-audit`: whether a task keeps the epsilon that its ledger claims, and whether bugs would be noticed.

Exit status 0 if all is as it should be, 1 if a claim is refuted, a planted bug is not, or the audit failed, 2 for
mistakes of whoever called it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from hushfold_console.command import FAILED, INTERRUPTED, progress, run_command, stderr

from .canaries import Canaries
from .cohort import STEPS
from .errors import UsageError
from .planted import PLANTED
from .report import CONFIDENCE, Audited, Report
from .setting import Setting

_WIDTH = 110

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console(width=_WIDTH, highlight=False)


@app.command()
def audit(
    devices: Annotated[int, typer.Option(min=2, max=400, help="In every round, most of them canaries.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Of the task.")] = 3,
    epsilon: Annotated[float, typer.Option(min=0.1, max=20, help="That the task may cost a device.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the canaries; noise, keys and masks are always fresh.")] = 0,
    bug: Annotated[
        list[str] | None,
        typer.Option(help=f"To plant, one after another: {', '.join(PLANTED)}, or none. Default: all."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for audit.json.")] = Path("build/audit"),
) -> None:
    """Run a task with canaries among its devices, and hold what observers find out against what its ledger claims."""
    setting = Setting(devices, rounds, epsilon)
    bugs = _chosen(bug)
    try:
        report = Report(setting, seed, tuple(_audited(setting, seed, bugs)))
    except KeyboardInterrupt:
        stderr.print("Interrupted: nothing was saved.")
        raise typer.Exit(INTERRUPTED) from None
    saved = report.write(output)
    _out.print(report.table())
    _out.print(
        f"{setting.canaries} canaries, {setting.typists} ordinary devices and {setting.colluders} colluders; "
        f"{rounds} rounds; epsilon at delta {report.audited[0].delta:g}; confidence {CONFIDENCE:.0%} for each task",
        soft_wrap=True,
    )
    _out.print(f"Saved: {saved}", soft_wrap=True)
    if not report.as_it_should:
        raise typer.Exit(FAILED)


def _chosen(bugs: Sequence[str] | None) -> list[str]:
    for bug in bugs or ():
        if bug not in (*PLANTED, "none"):
            raise UsageError(f"there is no bug {bug!r} to plant", f"There are {', '.join(PLANTED)}, and none")
    return [bug for bug in PLANTED if bugs is None or bug in bugs]


def _audited(setting: Setting, seed: int, bugs: Sequence[str]) -> Iterator[Audited]:
    # The server and the SDK take long to import, and TensorFlow says much that is of no use here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from .rehearsed import dimension, run_task
    from .typists import Typists

    with (
        tempfile.TemporaryDirectory(prefix="hushfold-audit-") as folder,
        Typists(setting.typists, Path(folder) / "phones") as typists,
    ):
        for number, planted in enumerate((None, *bugs)):
            canaries = Canaries.draw(setting.canaries, dimension(), np.random.default_rng([seed, number]))
            steps = STEPS * setting.rounds * setting.devices
            with (
                PLANTED[planted]() if planted else nullcontext(),
                progress("auditing", steps, f"with a bug: {planted}" if planted else "as it is") as advance,
            ):
                task = run_task(setting, canaries, typists, Path(folder) / str(number), advance)
            yield Audited.of(planted, task, canaries)


def main() -> None:
    """The console script."""
    run_command(app)


if __name__ == "__main__":
    main()
