"""`hushfold-evaluate-voice`: base words, personal words and false alarms. Mistakes have exit status 2."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hushfold.errors import HushfoldError
from hushfold_console.command import INTERRUPTED, progress, run_command, stderr

from . import federated
from .measuring import Asked, Results, jobs_of, measure, unheard_commands
from .report import comparison, tables, write, write_comparison

_WIDTH = 80
_DATA = Path(__file__).parents[4] / "shared" / "data"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console(width=_WIDTH, highlight=False)


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
    choosing: Annotated[
        bool, typer.Option("--choosing", help="Measure the speakers by whom thresholds were chosen, not the others.")
    ] = False,
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
    asked = Asked(data, speakers, minutes, seed, model, choosing)
    jobs = jobs_of(asked)
    output.mkdir(parents=True, exist_ok=True)
    log = output / "libraries.log"
    log.unlink(missing_ok=True)
    try:
        results = _measured(asked, jobs, processes, log)
    except KeyboardInterrupt:
        stderr.print("Interrupted: no figures were saved.")
        raise typer.Exit(INTERRUPTED) from None
    from .picture import draw  # matplotlib takes seconds to load, and the measuring processes need none

    question = {"speakers": speakers, "minutes": minutes, "seed": seed, "choosing": choosing}
    write(output / "report.json", question, results)
    pictures = draw(results, output)
    _show(tables(results), output / "report.json", *pictures)


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
    _show(comparison(found), output / "federated.json")


def _show(renderables: Iterable[Table | str], *saved: Path) -> None:
    for renderable in renderables:
        _out.print("", renderable, sep="\n") if not isinstance(renderable, str) else _out.print(renderable)
    _out.print()
    _out.print(f"Saved: {', '.join(map(str, saved))}", soft_wrap=True)


def _measured(asked: Asked, jobs: list[tuple[str, ...]], processes: int, log: Path) -> Results:
    with progress("measuring", len(jobs) + (asked.minutes > 0)) as advance:
        return measure(asked, jobs, processes, log, advance)


def main() -> None:
    """The console script."""
    run_command(app, HushfoldError)


if __name__ == "__main__":
    main()
