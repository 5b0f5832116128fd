"""`hushfold-demo`: a fleet of simulated phones and a server, on this machine. Mistakes have exit status 2."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from hushfold.errors import HushfoldError

from .errors import DemoError, UsageError
from .narration import Narration
from .scenario import people_for, play
from .task import LOST_OPTION, PHONES_OPTION, ROUNDS_OPTION, SEED_OPTION, FleetTask

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit statuses

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hushfold on simulated phones.",
)
_out = Console(width=None if sys.stdout.isatty() else 80)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@app.callback()
def _commands() -> None:
    """Hushfold on simulated phones: real SDK clients, a real server, simulated people."""


def _count(option: str) -> Callable[[str], int]:
    """Reads the value of an option, which `make demo` calls otherwise than this command line."""

    def parse(value: str) -> int:
        try:
            return int(value)
        except ValueError:
            raise UsageError(f"{option} is {value!r}", "It must be a whole number") from None

    return parse


@app.command()
def run(
    phones: Annotated[int, typer.Option(parser=_count(PHONES_OPTION), metavar="NUMBER", help="Simulated phones.")] = 24,
    lost: Annotated[
        int | None,
        typer.Option(
            parser=_count(LOST_OPTION), metavar="NUMBER", help="Phones that disappear in each round. Default: a fifth."
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(parser=_count(ROUNDS_OPTION), metavar="NUMBER", help="Rounds until the model is released."),
    ] = 3,
    texts: Annotated[
        Path | None, typer.Option(help='JSON lines {"user", "text"}, may be gzip. Default: invented personas.')
    ] = None,
    home: Annotated[
        Path,
        typer.Option(
            help="Folder of the run; what an earlier run left there goes, its report when there is a new one."
        ),
    ] = Path("build/demo"),
    seed: Annotated[
        int,
        typer.Option(
            parser=_count(SEED_OPTION), metavar="NUMBER", help="Of who gets a phone, and which ones disappear when."
        ),
    ] = 1,
) -> None:
    """Learn from a fleet of phones and release the model to them."""
    task = FleetTask(phones, phones // 5 if lost is None else lost, rounds)
    people = people_for(task, texts, random.Random(seed))
    narration = Narration(_out)
    report_file = home / "report.json"
    try:
        report = play(task, people, home, seed, narration)
    except KeyboardInterrupt:
        narration.say("Stopped: the server and the phones are closed. The next run starts afresh.")
        if report_file.exists():
            narration.say(f"{report_file} is still that of an earlier run")
        raise typer.Exit(INTERRUPTED) from None
    narration.show(report.tables())
    narration.say(f"All figures, also of each phone: {report_file}")


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
