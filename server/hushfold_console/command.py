"""How a command ends, tells its mistakes, and shows how far it is."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .errors import CommandError, UsageError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit statuses

stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def run_command(app: typer.Typer, *failures: type[Exception]) -> None:
    """Run a command to the end of the process.

    SIGTERM interrupts it as Ctrl-C does. UsageError has the exit status MISUSED, any other CommandError and the
    `failures` have FAILED; both are told as a sentence.
    """
    told: tuple[type[Exception], ...] = (CommandError, *failures)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except told as error:
        stderr.print("Error:", style="bold red", end=" ")
        stderr.print(str(error))
        sys.exit(MISUSED if isinstance(error, UsageError) else FAILED)


@contextmanager
def progress(doing: str, total: int | None, what: str = "") -> Iterator[Callable[[], None]]:
    """A bar while something of `total` steps is done; gives what is called after each. None: nobody knows how many.

    Where there is no terminal, one line says what is being done.
    """
    if not stderr.is_terminal:
        stderr.print(f"{doing}: {what or f'{total} jobs'}")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as shown:
        bar = shown.add_task(what or doing, total=total)
        yield lambda: shown.advance(bar)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
