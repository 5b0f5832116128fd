"""`hushfold-bench`: rounds of secure aggregation at full size. Mistakes have exit status 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hushfold_console.command import INTERRUPTED, progress, run_command, stderr
from hushfold_protocol.encoding import MAX_DIMENSION
from hushfold_protocol.packing import MAX_BITS, MIN_BITS
from hushfold_protocol.plan import MAX_COHORT

from .errors import BenchError, UsageError
from .peer import FlowerFigures, make_environment, measure_flower
from .report import Report, Result, machine, terminal_tables
from .rounds import encoded_updates, measure_round
from .setting import BITS, WHOLE_MODEL, Setting
from .yardsticks import measure_yardsticks

_WIDTH = 100
_DEVICES, _LOST, _QUICK_DEVICES, _QUICK_LOST = (32, 100, 1000), (0, 10, 30), (32,), (10,)
_TURNS, _QUICK_TURNS = 9, 3

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console(width=_WIDTH, highlight=False)


@app.command()
def bench(
    devices: Annotated[
        list[int] | None, typer.Option(min=2, max=MAX_COHORT, help="In a round. Default: 32, 100 and 1000.")
    ] = None,
    lost: Annotated[
        list[int] | None,
        typer.Option(min=0, max=99, help="Percent of them that never upload. Default: 0, 10 and 30."),
    ] = None,
    dimension: Annotated[int, typer.Option(min=1, max=MAX_DIMENSION, help="Values in an update.")] = WHOLE_MODEL,
    bits: Annotated[int, typer.Option(min=MIN_BITS, max=MAX_BITS, help="Of the modulus.")] = BITS,
    measured: Annotated[int, typer.Option(min=1, help="Devices that are measured; the figures are medians.")] = 3,
    flower: Annotated[
        int, typer.Option(min=0, help="Measure Flower, too, in rounds of up to so many devices; 0 for not at all.")
    ] = 100,
    quick: Annotated[bool, typer.Option(help="32 devices, 10 % lost, without Flower: a minute or two.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md, and Flower's environment.")] = Path(
        "build/bench"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of updates, keys and noise.")] = 0,
) -> None:
    """Measure devices, server and building blocks of the secure sum, each in processor time."""
    settings = [
        Setting(number, percent, dimension, bits, seed)
        for number in devices or (_QUICK_DEVICES if quick else _DEVICES)
        for percent in lost or (_QUICK_LOST if quick else _LOST)
    ]
    for setting in settings:
        _require_possible(setting, measured)
    try:
        report = _measured(settings, measured, 0 if quick else flower, _QUICK_TURNS if quick else _TURNS, output)
    except KeyboardInterrupt:
        stderr.print("Interrupted: no figures were saved.")
        raise typer.Exit(INTERRUPTED) from None
    saved = report.write(output)
    for table in terminal_tables(report):
        _out.print("", table, sep="\n")
    for remark in ("", *report.remarks):
        _out.print(remark)
    _out.print(f"{report.machine}. Saved: {', '.join(map(str, saved))}", soft_wrap=True)


def _require_possible(setting: Setting, measured: int) -> None:
    """Raises UsageError for a round that cannot end in a sum, before anything is measured."""
    needed = setting.plan().cohort.consents(setting.devices)
    if setting.survivors < needed:
        raise UsageError(
            f"of {setting.devices} devices {setting.survivors} are left when {setting.lost} % are lost, and the sum "
            f"needs {needed}",
            "Lose fewer with --lost",
        )
    if measured > setting.survivors:
        raise UsageError(f"{measured} of {setting.survivors} devices cannot be measured", "Lower --measured")


def _measured(settings: list[Setting], measured: int, flower: int, turns: int, output: Path) -> Report:
    remarks: list[str] = []
    python = None
    if any(setting.devices <= flower for setting in settings):
        try:
            python = make_environment(output / "flower")
        except BenchError as error:
            remarks.append(f"Flower was not measured: {error}.")
            stderr.print(remarks[-1])
    largest = max(settings, key=lambda setting: setting.devices)  # its devices share the noise among most
    with progress("measuring", turns, "building blocks") as advance:
        yardsticks = measure_yardsticks(largest, turns, advance)
    results = []
    for setting in settings:
        name = f"{setting.devices} devices, {setting.lost} % lost"
        with progress("measuring", 5 * setting.devices, name) as advance:
            figures = measure_round(setting, measured, encoded_updates(setting), advance)
        peer: FlowerFigures | None = None
        if python is not None and setting.devices <= flower:
            with progress("measuring", None, f"Flower, {name}"):
                peer = measure_flower(python, setting, measured)
        results.append(Result(figures, peer))
    return Report(largest, machine(), tuple(yardsticks), tuple(results), tuple(remarks))


def main() -> None:
    """The console script."""
    run_command(app)


if __name__ == "__main__":
    main()
