"""`hushfold-demo`: a fleet of simulated phones and a server, on this machine. Mistakes have exit status 2."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hushfold.device import EPSILON_LIMIT, DevicePolicy, bundled_model
from hushfold.errors import HushfoldError
from hushfold_console.command import INTERRUPTED, run_command
from hushfold_format import NextWordFiles

from .errors import UsageError
from .litert import start_quietly
from .narration import Narration
from .personas import personas
from .phone import Phone, StoppableClock
from .rehearsal import Somebody, rehearse, summary
from .scenario import people_for, play
from .speakers import read_speakers
from .task import LOST_OPTION, PHONES_OPTION, ROUNDS_OPTION, SEED_OPTION, FleetTask
from .texts import find, read_people
from .typist import type_and_prove

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hushfold on simulated phones.",
)
_out = Console(width=None if sys.stdout.isatty() else 80)


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


@app.command("type")
def type_messages(
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who types. Default: who has written the most.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help='JSON lines {"user", "text"}, may be gzip. Default: invented personas.')
    ] = None,
) -> None:
    """One person types, key by key, with suggestions; then a night, and the proof of what it was good for."""
    people = read_people(texts) if texts else personas()
    narration = Narration(_out)
    clock = StoppableClock(threading.Event())
    with TemporaryDirectory() as folder:  # nothing of this phone stays
        somebody = find(people, person)
        policy, limit = DevicePolicy(), EPSILON_LIMIT
        start_quietly(NextWordFiles.load(bundled_model()))
        with Phone(somebody.name, somebody, Path(folder), policy=policy, epsilon_limit=limit, clock=clock) as phone:
            try:
                type_and_prove(phone, narration)
            except KeyboardInterrupt:
                narration.say("Stopped: nothing of this phone is kept")
                raise typer.Exit(INTERRUPTED) from None


@app.command("rehearse")
def rehearse_task(
    task: Annotated[Path, typer.Argument(help="A task file. Its schedule's waits are skipped.")],
    texts: Annotated[
        Path | None, typer.Option(help='JSON lines {"user", "text"}, may be gzip: everybody in it has a device.')
    ] = None,
    speech: Annotated[
        Path | None, typer.Option(help="Table file,label,speaker,samples of clips in a tar beside it: likewise.")
    ] = None,
    home: Annotated[
        Path, typer.Option(help="Folder for weights, report and devices; an interrupted rehearsal goes on there.")
    ] = Path("build/federated"),
    threads: Annotated[int, typer.Option(min=1, help="In which devices train.")] = os.cpu_count() or 1,
    models: Annotated[
        Path | None, typer.Option(help="Folder of models to start from, a folder each. Default: the installed ones.")
    ] = None,
) -> None:
    """Learn a task from texts or speech that everybody may read, without network and masks: what would come of it?"""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=_out, transient=True, disable=not _out.is_terminal)

    def watch(what: str, devices: int) -> Callable[[], None]:
        for bar in progress.task_ids:
            progress.remove_task(bar)
        if progress.disable:
            _out.print(what)
        bar = progress.add_task(what, total=devices)
        return lambda: progress.advance(bar)

    if (texts is None) == (speech is None):
        raise UsageError("a rehearsal needs people", "Name their texts with --texts, or their clips with --speech")
    people: Sequence[Somebody] = read_people(texts) if texts else read_speakers(cast(Path, speech))
    try:
        with progress:
            report = rehearse(task, people, home, threads, watch, models)
    except KeyboardInterrupt:
        _out.print("Stopped: the same command goes on from here.")
        raise typer.Exit(INTERRUPTED) from None
    for line in summary(report, home):
        _out.print(line, highlight=False, soft_wrap=True)


def main() -> None:
    """The console script."""
    run_command(app, HushfoldError)


if __name__ == "__main__":
    main()
