"""`hushfold-evaluate`: every predictor on the same people's later messages. Mistakes have exit status 2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hushfold.errors import HushfoldError
from hushfold_console.command import INTERRUPTED, run_command

from .contenders import BASE, BY_NAME, CENTRAL, CONTENDERS, Contender, Prepared, prepare
from .costs import Cost, cost_of
from .errors import UsageError
from .federated import Federated, others_of, with_weights, write_people
from .measuring import measure_all
from .picture import draw
from .protocol import Score
from .report import Report
from .statistics import resamples
from .texts import Person, PublicTexts, choose, read_people

_WIDTH = 80
_DATA = Path(__file__).parents[3] / "shared" / "data"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console(width=_WIDTH, highlight=False)


@app.command()
def evaluate(
    clients: Annotated[
        Path | None,
        typer.Option(help='JSON lines {"user", "time", "text"}, may be gzip. Default: the SMS clients.'),
    ] = None,
    users: Annotated[int, typer.Option(min=0, help="People, chosen by the seed; 0 takes all.")] = 24,
    only: Annotated[list[str] | None, typer.Option(help="Predictors to measure beside the base. Default: all.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="To measure in.")] = min(2, os.cpu_count() or 1),
    output: Annotated[Path, typer.Option(help="Folder for report.json, report.png and what is trained.")] = Path(
        "build/evaluation"
    ),
    seed: Annotated[int, typer.Option(help="Of who is chosen, and of the intervals.")] = 0,
    others: Annotated[
        Path | None,
        typer.Option(help="Write the messages of the people who are not chosen there, and measure nothing."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of `hushfold-demo rehearse`: measure what its task has learned, too."),
    ] = None,
) -> None:
    """Measure what suggestions are worth, on messages that nothing has learned from."""
    data = Path(os.environ.get("HUSHFOLD_DATA") or _DATA)
    contenders = _chosen(only, federated=weights is not None)
    path = clients or data / "text" / "sms-clients.jsonl.gz"
    everybody = read_people(path)
    people = choose(everybody, users, seed)
    if others is not None:
        _write_others(others, everybody, people)
        return
    federated = Federated.read(weights) if weights is not None else None
    if federated is not None:
        federated.require_strangers(people)
    public = PublicTexts.find(data)
    output.mkdir(parents=True, exist_ok=True)
    installed = [contender for contender in contenders if not contender.missing()]
    log = output / "libraries.log"
    log.unlink(missing_ok=True)
    try:
        prepared = prepare(installed, public, output / "trained", _out.print)
        if federated is not None:
            prepared = with_weights(prepared, *federated.prepare(output / "trained", everybody))
            if prepared.central is None:
                _out.print(f"{path.name} has not all of the people that the task learned from: no {CENTRAL}")
                contenders, installed = (
                    [each for each in some if each.name != CENTRAL] for some in (contenders, installed)
                )
        scores = _measure(installed, people, prepared, processes, log)
        costs = _costs(installed, people, prepared, log)
        by_round = _by_round(federated, people, processes, log) if federated else None
    except KeyboardInterrupt:
        _out.print("Stopped: no figures were saved. What was trained is kept.")
        raise typer.Exit(INTERRUPTED) from None
    report = Report.of(contenders, scores, costs, resamples(len(people), seed))
    asked: dict[str, Any] = {"clients": path.name, "users": users, "seed": seed}
    if federated is not None:
        asked["federated"] = {**federated.report, "rounds": by_round}
    report.write(output / "report.json", asked)
    draw(report, output / "report.png", path.name.split(".")[0])
    _show(report, output)


def _chosen(only: list[str] | None, *, federated: bool) -> list[Contender]:
    """What is asked for, and the base; with `federated`, also what a federated task is judged by."""
    if unknown := [name for name in only or [] if name not in BY_NAME]:
        raise UsageError(f"there is no predictor {unknown[0]!r}", f"Choose among {', '.join(BY_NAME)}")
    if not federated and (learned := [name for name in only or [] if BY_NAME[name].federated]):
        raise UsageError(f"{learned[0]} needs what a federated task has learned", "Name its folder with --weights")
    wanted = {*only, BASE} if only else set(BY_NAME)
    return [
        each for each in CONTENDERS if (each.name in wanted and not each.federated) or (federated and each.federated)
    ]


def _write_others(path: Path, everybody: list[Person], chosen: list[Person]) -> None:
    left = others_of(everybody, chosen)
    if not left:
        raise UsageError("everybody was chosen: nobody is left to learn from", "Choose fewer with --users")
    write_people(path, left)
    _out.print(f"{path} has the {len(left)} people who are not measured", soft_wrap=True)


def _by_round(federated: Federated, people: list[Person], processes: int, log: Path) -> list[dict[str, Any]]:
    with _progress() as progress:
        bar = progress.add_task("rounds", total=(len(federated.rounds) + 1) * len(people))
        return federated.by_round(people, processes, log, lambda: progress.advance(bar))


def _measure(
    contenders: list[Contender], people: list[Person], prepared: Prepared, processes: int, log: Path
) -> dict[str, list[Score]]:
    _out.print(f"measuring {len(contenders)} predictors on {len(people)} people")
    with _progress() as progress:
        bar = progress.add_task("measuring", total=len(contenders) * len(people))
        return measure_all(contenders, people, prepared, processes, log, lambda _: progress.advance(bar))


def _costs(contenders: list[Contender], people: list[Person], prepared: Prepared, log: Path) -> dict[str, Cost]:
    """One after the other, on the person who writes most."""
    person = max(people, key=lambda person: len("".join((*person.learned, *person.held_out))))
    costs = {}
    _out.print("timing each of them alone")
    with _progress() as progress:
        for contender in progress.track(contenders, description="timing"):
            costs[contender.name] = cost_of(contender, person, prepared, log)
    return costs


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_out,
        transient=True,
        disable=not _out.is_terminal,
    )


def _show(report: Report, output: Path) -> None:
    quality, cost = report.notes()[:2]
    for renderable in ("", report.figures(), "", quality, "", report.costs(), "", cost, *report.notes()[2:], ""):
        _out.print(renderable)
    _out.print(f"Saved: {output / 'report.json'}, {output / 'report.png'}", soft_wrap=True)


def main() -> None:
    """The console script."""
    run_command(app, HushfoldError)


if __name__ == "__main__":
    main()
