"""`hushfold-server`: set up, run and operate a server. Mistakes are told in a sentence, with exit status 2."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DatabaseError

from . import keys, listing, operations, overview
from .database import Database
from .errors import ConfigurationError, ServerError
from .instance import open_database, running_server, single_instance
from .launcher import end_with
from .overview import ReleaseOverview, TaskOverview
from .process import REFUSED, stop_on_signals
from .settings import HOME_VARIABLE, Home, Settings
from .shipped_models import shipped_models

BIND_AGAIN_FOR = 3.0  # seconds; children of a killed server may hold its ports for a moment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run and operate a Hushfold server.",
)
task = typer.Typer(no_args_is_help=True, help="What is learned: create, list, pause, resume and finish tasks.")
release = typer.Typer(no_args_is_help=True, help="What devices get: list releases, widen a rollout, go back.")
app.add_typer(task, name="task")
app.add_typer(release, name="release")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help=f"The server's folder. Default: {HOME_VARIABLE}, else ./hushfold-home."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ModelsOption = Annotated[
    Path | None, typer.Option("--models", help="A folder of base models, instead of the installed ones.")
]

# Paths and reasons must survive a narrow terminal, a pipe, and brackets in them: nothing is wrapped or is markup.
_WIDTH = 10_000
_out = Console(highlight=False, markup=False, soft_wrap=True, width=_WIDTH)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, width=_WIDTH)


@app.command()
def init(home: HomeOption = None) -> None:
    """Make the server's folder and its keys; what is there is left as it is."""
    folder = _create(home)
    _say(f"{folder.path} is ready. Start the server with `{folder.command('up')}`.")


@app.command()
def up(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Of the device API.")] = None,
    authority_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Of the enrolment authority.")] = None,
    models: ModelsOption = None,
    parent: Annotated[
        int | None, typer.Option(help="Stop when this process ends; the one that starts the server (Linux).")
    ] = None,
) -> None:
    """Run the server until Ctrl-C; the folder is set up on the first start."""
    from .supervisor import Supervisor, server_children

    stop = stop_on_signals()
    if parent is not None:
        end_with(parent, signal.SIGTERM)
    with ExitStack() as stack:
        with _before_the_start():
            folder = Home.create(home or Home.default().path)
            killed = stack.enter_context(single_instance(folder))
            if killed:
                _say("The last server here was killed; this one goes on where it was.")
            _create(folder.path)
            settings = Settings.load(folder).with_ports(port, authority_port)
            patience = BIND_AGAIN_FOR if killed else 0.0
            api = stack.enter_context(closing(_listen(settings.host, settings.api_port, "device API", patience)))
            authority = stack.enter_context(
                closing(_listen(settings.host, settings.authority_port, "enrolment authority", patience))
            )
        settings = settings.with_ports(api.getsockname()[1], authority.getsockname()[1])
        children = server_children(folder, api, authority, models)
        supervisor = Supervisor(folder, children, tell=_say, wait=stop.wait)
        _say(f"Starting {', '.join(child.name for child in children)} ...")
        supervisor.run(on_ready=lambda: _welcome(folder, settings))
        _say("Stopped.")


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show whether the server runs, tasks with their rounds and privacy, and releases."""
    with _home(home) as (folder, database):
        tasks, releases = overview.list_tasks(database), overview.list_releases(database)
    process = running_server(folder)
    if as_json:
        _print_json({"process": process, "tasks": _plain(tasks), "releases": _plain(releases)})
        return
    if process is None:
        _say(f"The server is not running. Start it with `{folder.command('up')}`.")
    else:
        _say(f"The server runs, process {process}.")
    _print_tasks(folder, tasks)
    _print_releases(folder, releases)


@task.command("create")
def create_task(
    file: Annotated[Path, typer.Argument(help="A task file (TOML).")],
    home: HomeOption = None,
    models: ModelsOption = None,
) -> None:
    """Launch the task that FILE describes."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"the task file {file} cannot be read: {reason}") from None
    with _home(home) as (folder, database):
        terms = operations.launch_task(database, text, models or shipped_models(), time.time())
    for warning in terms.warnings:
        _err.print("Warning:", style="bold yellow", end=" ")
        _err.print(warning)
    _say(f"Task {terms.spec.name} is launched for the devices of {terms.spec.task.population}: {terms}.")
    _say_what_waits(folder, "rounds open")


@task.command("list")
def list_tasks(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every task."""
    with _home(home) as (folder, database):
        tasks = overview.list_tasks(database)
    if as_json:
        _print_json(_plain(tasks))
    else:
        _print_tasks(folder, tasks)


@task.command("pause")
def pause_task(name: str, home: HomeOption = None) -> None:
    """Open no more rounds of a task; a round that is under way ends as it would have."""
    with _home(home) as (_, database):
        operations.pause_task(database, name)
    _say(f"Task {name} is paused.")


@task.command("resume")
def resume_task(name: str, home: HomeOption = None) -> None:
    """Open rounds of a paused task again."""
    with _home(home) as (folder, database):
        operations.resume_task(database, name)
    _say(f"Task {name} is active.")
    _say_what_waits(folder, "rounds open")


@task.command("finish")
def finish_task(name: str, home: HomeOption = None) -> None:
    """End a task before its last round; what it has learned is released."""
    with _home(home) as (folder, database):
        operations.finish_task(database, name)
    _say(f"Task {name} opens no more rounds; what it learned becomes a release when the round under way has ended.")
    _say_what_waits(folder, "the task ends")


@release.command("list")
def list_releases(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every release, newest first."""
    with _home(home) as (folder, database):
        releases = overview.list_releases(database)
    if as_json:
        _print_json(_plain(releases))
    else:
        _print_releases(folder, releases)


@release.command("rollout")
def rollout(number: int, percent: Annotated[int, typer.Argument(min=0, max=100)], home: HomeOption = None) -> None:
    """Offer a release to PERCENT of the devices."""
    with _home(home) as (folder, database):
        operations.set_rollout(database, number, percent)
    _say(f"Release {number} goes to {percent} % of the devices.")
    _say_what_waits(folder, "devices are told")


@release.command("rollback")
def rollback(number: int, home: HomeOption = None) -> None:
    """Offer the weights of release NUMBER again, and withdraw what came after it."""
    with _home(home) as (folder, database):
        new = operations.roll_back(database, number, time.time())
    _say(f"The weights of release {number} go out again as release {new}.")
    _say_what_waits(folder, "devices get it")


def main() -> None:
    """The console script."""
    try:
        app()
    except ServerError as error:
        _fail(error.message, error.advice)
    except DatabaseError as error:
        _fail(f"the database cannot be used: {error.orig}", "See whether the disk is full, or try again")
    except OSError as error:
        _fail(f"{error.filename or 'the operating system'}: {error.strerror}")


def _fail(message: str, advice: str = "") -> None:
    _err.print("Error:", style="bold red", end=" ")
    _err.print(message)
    if advice:
        _err.print(advice)
    sys.exit(REFUSED)


def _say(text: str) -> None:
    _out.print(text)


def _say_what_waits(folder: Home, what: str) -> None:
    """Tells that an operation is in the database and no more, where no server acts on it."""
    if running_server(folder) is None:
        _say(f"The server does not run now; {what} when it does. Start it with `{folder.command('up')}`.")


def _print_json(document: object) -> None:
    _out.print(json.dumps(document, indent=2))


def _plain(rows: list[TaskOverview] | list[ReleaseOverview]) -> list[dict[str, object]]:
    return [dataclasses.asdict(row) for row in rows]


@contextmanager
def _home(path: Path | None) -> Iterator[tuple[Home, Database]]:
    folder = Home.open(path or Home.default().path)
    with closing(open_database(folder)) as database:
        yield folder, database


@contextmanager
def _before_the_start() -> Iterator[None]:
    """Whatever is at fault, what it means is that no server runs."""
    try:
        yield
    except ServerError as error:
        raise ConfigurationError(f"the server does not start: {error.message}", error.advice) from None


def _create(home: Path | None) -> Home:
    folder = Home.create(home or Home.default().path)
    keys.create_missing(folder)
    open_database(folder).close()  # makes the tables before four processes want them
    return folder


def _listen(host: str, port: int, what: str, patience: float) -> socket.socket:
    from .serving import listen  # imports the web server, which no other command needs

    deadline = time.monotonic() + patience
    while True:
        try:
            return listen(host, port, what)
        except ConfigurationError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


def _welcome(home: Home, settings: Settings) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_row("  device API", settings.api_url)
    table.add_row("  authority", settings.authority_url)
    table.add_row("  for the app", str(home.public / "app.json"))
    table.add_row("  logs", str(home.logs))
    _say(f"Hushfold is up, process {os.getpid()}. Ctrl-C stops it.")
    _out.print(table)


def _print_tasks(folder: Home, tasks: list[TaskOverview]) -> None:
    if not tasks:
        _say(f"There are no tasks. Launch one with `{folder.command('task create FILE')}`.")
        return
    _out.print(listing.task_table(tasks))
    for note in listing.task_notes(tasks):
        _say(note)


def _print_releases(folder: Home, releases: list[ReleaseOverview]) -> None:
    if not releases:
        _say(f"There are no releases. The first one is the base model, on the first `{folder.command('up')}`.")
        return
    _out.print(listing.release_table(releases))
    for note in listing.release_notes(releases):
        _say(note)


if __name__ == "__main__":
    main()
