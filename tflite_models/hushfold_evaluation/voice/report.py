"""The voice's figures: for programs as JSON, for people as tables that fit into 80 columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ..statistics import Estimate
from .base import LEAST_CLIPS, NOTHING
from .clips import COMMANDS
from .federated import Comparison
from .figures import NO_ESTIMATE, Rate
from .measuring import HUSHFOLD, MFCC, POCKETSPHINX, Results
from .personal import PersonalFigures
from .streaming import Streamed

TITLES = {HUSHFOLD: "Hushfold", MFCC: "MFCC + SVM", POCKETSPHINX: "pocketsphinx"}


def document(results: Results) -> dict[str, Any]:
    """Everything, as JSON values: null stands for what there is not."""
    base = {
        name: {
            "clips": int(each.confusions.sum()),
            "speakers": len(each.by_speaker),
            **{
                figure: asdict(getattr(each, figure)) for figure in ("closest", "accuracy", "foreign", "at_one_percent")
            },
            "missed": each.missed,
            "worst": each.worst,
            "foreign_clips": each.foreign_clips,
            "alone": asdict(each.alone),
            "by_speaker": {speaker: share.percent for speaker, share in each.by_speaker.items()},
            "confusions": {"said": COMMANDS, "heard": (*COMMANDS, NOTHING), "clips": each.confusions.tolist()},
        }
        for name, each in results.base.items()
    }
    finite: dict[str, Any] = _finite(
        {
            "base_words": base,
            "false_alarms": {kind: _rate(rate) for kind, rate in results.alarms.items()},
            "personal_words": {name: [asdict(row) for row in rows] for name, rows in results.personal.items()},
            "digits": [asdict(row) for row in results.digits],
            "stream": None if results.streamed is None else _streamed(results.streamed),
            "not_installed": list(results.missing),
        }
    )
    return finite


def write(path: Path, asked: Mapping[str, Any], results: Results) -> None:
    """Write `document` to a file, with what was asked for."""
    path.write_text(json.dumps({"asked": dict(asked), **document(results)}, indent=2) + "\n")


def tables(results: Results) -> Iterator[Table | str]:
    """Everything for people: each table, and what it means below it."""
    yield _base(results)
    first = next(iter(results.base.values()))
    yield (
        f"{first.confusions.sum():,} clips of {len(COMMANDS)} words by {len(first.by_speaker)} speakers whom the base "
        "was not trained on. closest: the right word is the nearest. accuracy: at the product's threshold. worst: "
        f"speaker with {LEAST_CLIPS} clips or more. foreign: clips of other words that are taken for one of these. "
        "at 1 %: accuracy at the threshold at which 1 % of those are. Below each figure: its 95 % interval, by "
        "resampling speakers."
    )
    yield _alone(results)
    yield "The same clips, their words cut out of the rooms that they were recorded in, and put between silence."
    for name in results.missing:
        yield f"{TITLES[name]} is not installed: `make setup` does that (pip install {name})."
    if results.alarms:
        yield _alarms(results)
        yield "A base word told where none was said. at most: the one-sided 95 % bound of a Poisson process."
    yield _accuracy(results)
    some = results.personal[HUSHFOLD][0]
    yield (
        f"{some.clips:,} clips by {some.speakers} speakers, of words that they taught by 1, 3 or 5 recordings each. "
        "closest: the right word is the nearest. accuracy: at the product's threshold. at 1 %: at the threshold at "
        "which 1 % of foreign clips are accepted. worst: speaker."
    )
    yield _false_accepts(results)
    yield (
        "Clips that are taken for a taught word: base words by strangers (foreign), the same words by others, the "
        "speaker's own words while they are not taught. MFCC + SVM has no threshold of its own: it accepts everything."
    )
    if refused := sum(row.refused for row in results.personal[HUSHFOLD]):
        yield f"{refused} recordings were refused when they were taught."
    yield _digits(results)
    digits = results.digits[0]
    yield (
        f"{digits.clips:,} clips of zero, one, five and eight by {digits.speakers} speakers, before and after they "
        "confirmed or corrected recordings of each. ratio: to the error before. other digits: taken for a base word."
    )
    if results.streamed is not None:
        yield _stream(results.streamed)
        yield (
            "Fed in blocks of 20 ms, with ten taught words. latency: from a command's end, by its level, to the block "
            "in which it was told; prompt: of those found, within 250 ms. alarms: base words where none was said. "
            "memory: beyond what was there before the voice was loaded."
        )


def write_comparison(path: Path, asked: Mapping[str, Any], found: Comparison) -> None:
    """Write federated against central training to a file, with what was asked for."""
    path.write_text(json.dumps({"asked": dict(asked), "federated": _finite(asdict(found))}, indent=2) + "\n")


def comparison(found: Comparison) -> Iterator[Table | str]:
    """Federated against central training, for people."""
    table = _table("base words", "right %", "interval", "over central", "interval")
    table.add_row("[bold]as shipped[/]", _value(found.shipped), _interval(found.shipped))
    table.add_row("[bold]central training[/]", _value(found.central), _interval(found.central))
    table.add_row(
        "[bold]federated[/]",
        _value(found.federated),
        _interval(found.federated),
        _value(found.federated_ratio, 3),
        _interval(found.federated_ratio, 3),
    )
    yield table
    yield (
        f"{found.clips:,} clips by {found.speakers} speakers; {found.phones} others were the phones of the task. What "
        "they said, central training had in one place. Both learned the last layer from nothing and passed over the "
        f"recordings {found.passes} times. right: the most probable base word is it. Central training at a rate of "
        f"{found.rate:g}, the best of several. As shipped: learned from ten times as many other speakers. Intervals "
        "are of 95 %, by resampling speakers."
    )


def _base(results: Results) -> Table:
    table = _table("base words", "closest %", "accuracy %", "missed %", "worst %", "foreign %", "at 1 % %")
    for name, each in results.base.items():
        table.add_row(
            _bold(name),
            _value(each.closest),
            _value(each.accuracy),
            _plain(each.missed),
            _plain(each.worst),
            _value(each.foreign),
            _value(each.at_one_percent),
        )
        intervals = [_interval(figure) for figure in (each.closest, each.accuracy, each.foreign, each.at_one_percent)]
        table.add_row("", *intervals[:2], "", "", *intervals[2:])
    for name in results.missing:
        table.add_row(_bold(name), "not", "installed")
    return table


def _alone(results: Results) -> Table:
    table = _table("without a room", "closest %", "accuracy %", "foreign %")
    for name, each in results.base.items():
        figures = (each.alone.closest, each.alone.accuracy, each.alone.foreign)
        table.add_row(_bold(name), *map(_value, figures))
        table.add_row("", *map(_interval, figures))
    return table


def _alarms(results: Results) -> Table:
    table = _table("false alarms", "hours", "alarms", "per hour", "at most")
    for kind, rate in results.alarms.items():
        table.add_row(
            f"[bold]{kind}[/]", f"{rate.hours:.2f}", str(rate.count), f"{rate.per_hour:.1f}", f"{rate.upper:.1f}"
        )
    return table


def _accuracy(results: Results) -> Table:
    table = _table("taught words", "closest %", "accuracy %", "worst %", "at 1 % %", "worst %")
    for name, row in _taught(results):
        product = name == HUSHFOLD
        table.add_row(
            f"{_bold(name)}, {row.takes}",
            _value(row.closest),
            _value(row.accuracy) if product else "",
            _plain(row.worst) if product else "",
            _value(row.at_one_percent),
            _plain(row.worst_at_one_percent),
        )
        table.add_row(
            "",
            _interval(row.closest),
            _interval(row.accuracy) if product else "",
            "",
            _interval(row.at_one_percent),
        )
    return table


def _false_accepts(results: Results) -> Table:
    table = _table("false accepts, %", "foreign", "others", "untaught", "at 1 %: others", "untaught")
    for name, row in _taught(results):
        figures = [row.foreign, row.others, row.untaught] if name == HUSHFOLD else [NO_ESTIMATE] * 3
        figures += [row.others_at_one_percent, row.untaught_at_one_percent]
        table.add_row(f"{_bold(name)}, {row.takes}", *map(_value, figures))
        table.add_row("", *map(_interval, figures))
    return table


def _taught(results: Results) -> Iterator[tuple[str, PersonalFigures]]:
    return ((name, row) for name, rows in results.personal.items() for row in rows)


def _digits(results: Results) -> Table:
    table = _table("digits", "error %", "ratio", "other digits %")
    for row in results.digits:
        table.add_row(
            f"[bold]after {row.takes}[/]" if row.takes else "[bold]before[/]",
            _value(row.error),
            _value(row.ratio, 2),
            _value(row.others),
        )
        table.add_row("", _interval(row.error), _interval(row.ratio, 2), _interval(row.others))
    return table


def _stream(streamed: Streamed) -> Table:
    table = _table(
        f"stream of {streamed.seconds / 60:.0f} min", "CPU %", "memory", "p50", "p95", "prompt %", "found %", "alarms"
    )
    table.add_row(
        f"[bold]{TITLES[HUSHFOLD]}[/]",
        f"{100 * streamed.share:.1f}",
        f"{streamed.memory / 1e6:.1f} MB",
        *("" if math.isnan(seconds) else f"{1e3 * seconds:.0f} ms" for seconds in (streamed.p50, streamed.p95)),
        _plain(streamed.prompt.percent),
        _plain(streamed.found.percent),
        str(streamed.alarms.count),
    )
    return table


def _rate(rate: Rate) -> dict[str, float]:
    return {"alarms": rate.count, "hours": rate.hours, "per_hour": rate.per_hour, "per_hour_at_most": rate.upper}


def _streamed(streamed: Streamed) -> dict[str, Any]:
    return {
        "seconds": streamed.seconds,
        "cpu_percent": 100 * streamed.share,
        "memory_bytes": streamed.memory,
        "latency_seconds": {"p50": streamed.p50, "p95": streamed.p95},
        "prompt": streamed.prompt.percent,
        "commands": streamed.found.clips,
        "found": streamed.found.percent,
        "false_alarms": _rate(streamed.alarms),
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _bold(name: str) -> str:
    return f"[bold]{TITLES[name]}[/]"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def _value(estimate: Estimate, digits: int = 1) -> str:
    return "" if math.isnan(estimate.value) else f"{estimate.value:.{digits}f}"


def _interval(estimate: Estimate, digits: int = 1) -> str:
    if math.isnan(estimate.low):
        return ""
    return f"[dim]{'-'.join(f'{bound:.{digits if bound < 100 else 0}f}' for bound in (estimate.low, estimate.high))}[/]"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
