"""`hushfold-demo`: a fleet of simulated phones and a server, on this machine. Mistakes have exit status 2."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from hushfold.errors import HushfoldError

from .errors import DemoError, UsageError
from .narration import Narration
from .scenario import people_for, play
from .task import FleetTask

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit statuses

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hushfold on simulated phones.",
)
_out = Console(width=None if sys.stdout.isatty() else 120)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@app.callback()
def _commands() -> None:
    """Hushfold on simulated phones: real SDK clients, a real server, simulated people."""


@app.command()
def run(
    phones: Annotated[int, typer.Option(help="Simulated phones.")] = 24,
    lost: Annotated[int | None, typer.Option(help="Phones that disappear in each round. Default: a fifth.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds until the model is released.")] = 3,
    texts: Annotated[
        Path | None, typer.Option(help='JSON lines {"user", "text"}, may be gzip. Default: invented personas.')
    ] = None,
    home: Annotated[Path, typer.Option(help="Folder of the run; what an earlier run left there goes.")] = Path(
        "build/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of who gets a phone, and which ones disappear when.")] = 1,
) -> None:
    """Learn from a fleet of phones and release the model to them."""
    task = FleetTask(phones, phones // 5 if lost is None else lost, rounds)
    people = people_for(task, texts, random.Random(seed))
    narration = Narration(_out)
    try:
        report = play(task, people, home, seed, narration)
    except KeyboardInterrupt:
        narration.say("Stopped: the server and the phones are closed. The next run starts afresh.")
        raise typer.Exit(INTERRUPTED) from None
    narration.show(report.table())
    narration.say(f"All figures, also of each phone: {home / 'report.json'}")


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except UsageError as error:
        sys.exit(_fail(error, MISUSED))
    except (DemoError, HushfoldError) as error:
        sys.exit(_fail(error, FAILED))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(error: Exception, status: int) -> int:
    _err.print("Error:", style="bold red", end=" ")
    _err.print(str(error))
    return status


if __name__ == "__main__":
    main()
