"""`hushfold-evaluate-voice`: base words, personal words and false alarms. Mistakes have exit status 2."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hushfold.errors import HushfoldError

from ..errors import EvaluationError, UsageError
from . import federated
from .measuring import Asked, Results, jobs_of, measure, unheard_commands
from .report import comparison, tables, write, write_comparison

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit statuses

_WIDTH = 80
_DATA = Path(__file__).parents[4] / "shared" / "data"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console(width=_WIDTH, highlight=False)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@app.command()
def evaluate(
    speakers: Annotated[int, typer.Option(min=0, help="Whose taught words are measured, by the seed; 0 for all.")] = 8,
    minutes: Annotated[float, typer.Option(min=0, help="Of each composed stream; 0 for none.")] = 60,
    processes: Annotated[int, typer.Option(min=1, help="To measure in.")] = min(2, os.cpu_count() or 1),
    output: Annotated[Path, typer.Option(help="Folder for report.json and the pictures.")] = Path(
        "build/evaluation-voice"
    ),
    seed: Annotated[int, typer.Option(help="Of who is chosen, what is composed, and of the intervals.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Folder of a voice model. Default: the shipped one.")] = None,
    others: Annotated[
        Path | None,
        typer.Option(
            help="Write the clips of half of the unheard speakers to FILE.csv, and a model beside it that is to learn."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of `hushfold-demo rehearse --speech`: measure what its task has learned, alone."),
    ] = None,
) -> None:
    """Measure what the voice is worth, on speakers whom nothing has learned from."""
    data = Path(os.environ.get("HUSHFOLD_DATA") or _DATA)
    if others is not None:
        _write_others(others, data, seed)
        return
    if weights is not None:
        _compare(weights, data, seed, output)
        return
    asked = Asked(data, speakers, minutes, seed, model)
    jobs = jobs_of(asked)
    output.mkdir(parents=True, exist_ok=True)
    log = output / "libraries.log"
    log.unlink(missing_ok=True)
    try:
        results = _measured(asked, jobs, processes, log)
    except KeyboardInterrupt:
        _err.print("Interrupted: no figures were saved.")
        raise typer.Exit(INTERRUPTED) from None
    from .picture import draw  # matplotlib takes seconds to load, and the measuring processes need none

    write(output / "report.json", {"speakers": speakers, "minutes": minutes, "seed": seed}, results)
    pictures = draw(results, output)
    for renderable in tables(results):
        _out.print("", renderable, sep="\n") if not isinstance(renderable, str) else _out.print(renderable)
    _out.print()
    _out.print(f"Saved: {', '.join(map(str, (output / 'report.json', *pictures)))}", soft_wrap=True)


def _write_others(table: Path, data: Path, seed: int) -> None:
    teaching, measured = federated.halves(unheard_commands(data), seed)
    federated.write_clips(table, teaching)
    federated.write_unlearned(table.parent / "models")
    who = (len({clip.speaker for clip in clips}) for clips in (teaching, measured))
    _out.print("{} has {} speakers; {} others are left to be measured".format(table, *who), soft_wrap=True)


def _compare(folder: Path, data: Path, seed: int, output: Path) -> None:
    found = federated.compare(folder, unheard_commands(data), seed)
    output.mkdir(parents=True, exist_ok=True)
    write_comparison(output / "federated.json", {"seed": seed}, found)
    for renderable in comparison(found):
        _out.print("", renderable, sep="\n") if not isinstance(renderable, str) else _out.print(renderable)
    _out.print()
    _out.print(f"Saved: {output / 'federated.json'}", soft_wrap=True)


def _measured(asked: Asked, jobs: list[tuple[str, ...]], processes: int, log: Path) -> Results:
    total = len(jobs) + (asked.minutes > 0)
    if not _err.is_terminal:
        _err.print(f"measuring: {total} jobs")
    with Progress(
        TextColumn("measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_err,
        transient=True,
        disable=not _err.is_terminal,
    ) as progress:
        bar = progress.add_task("", total=total)
        return measure(asked, jobs, processes, log, lambda: progress.advance(bar))


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except UsageError as error:
        sys.exit(_fail(error, MISUSED))
    except (EvaluationError, HushfoldError) as error:
        sys.exit(_fail(error, FAILED))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(error: Exception, status: int) -> int:
    _err.print("Error:", style="bold red", end=" ")
    _err.print(str(error))
    return status


if __name__ == "__main__":
    main()
