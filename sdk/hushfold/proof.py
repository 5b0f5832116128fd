"""What learning has done for a user, in figures that the user can see and a sentence that says them.

Measured on the user's newest messages, which nothing was trained on: the words among three suggestions, once for the
released model that knows nothing of the user, once as the keyboard is served. `personal` decides by the same messages
which weights those are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from . import personal, savings
from .personal import FEWEST, Score, Trial
from .savings import Savings
from .store import Store

_NAME = "personal-proof"


class Verdict(StrEnum):
    """What the last trial has said of weights of the user's own."""

    UNTRIED = "untried"  # there was none, or messages that it was about were deleted since
    BETTER = "better"  # they are in use
    NO_BETTER = "no better"  # they are not in use; words and habits are
    SWITCHED_OFF = "switched off"  # they were in use, and no longer helped
    WAITING = "waiting"  # for a trial on a model that was released since; until then they are not in use


@dataclass(frozen=True, slots=True)
class Proof:
    """What learning has done for the user. `str` says it in English; an app says it in its own words from the figures.

    Attributes:
        verdict: on weights of the user's own.
        messages: that are kept to learn from.
        needed: messages from which on anything can be proven.
        before: how well the released model predicts the user, knowing nothing of them; None if untried.
        now: how well the keyboard does as it is served since the trial, on the same words; None if untried.
        tried_at: when (unix seconds); None if untried.
        switched_off_at: when weights that no longer helped were switched off, unless others are in use since.
        saved: keys that suggestions have spared the user.
    """

    verdict: Verdict
    messages: int
    needed: int
    before: Score | None
    now: Score | None
    tried_at: float | None
    switched_off_at: float | None
    saved: Savings

    def __str__(self) -> str:
        return f"{self._prediction()}; {self._taps()}"

    def _prediction(self) -> str:
        if self.before is None or self.now is None or self.tried_at is None:
            if self.messages < self.needed:
                return f"{self.needed} messages are needed to prove anything; {self.messages} so far"
            return "nothing is proven yet: it is tried while the device is idle and charging"
        if not self.before.words:
            return "nothing is proven: the newest messages have no words to predict"
        return (
            f"top-3 right: {_percent(self.before)} before, {_percent(self.now)} now "
            f"(of {self.now.words:,} words that nothing was trained on, {_day(self.tried_at)}){self._remark()}"
        )

    def _remark(self) -> str:
        if self.verdict is Verdict.SWITCHED_OFF and self.switched_off_at is not None:
            day = _day(self.switched_off_at)
            return f"; weights trained here were no longer better than the released model: switched off on {day}"
        if self.verdict is Verdict.NO_BETTER:
            return "; weights trained here would not add to that, and are not in use"
        if self.verdict is Verdict.WAITING:
            return "; a new model came since: weights trained here are off until they have been tried on it"
        return ""

    def _taps(self) -> str:
        if self.saved.since is None:
            return "no taps counted yet"
        return f"{self.saved.taps:,} {'tap' if self.saved.taps == 1 else 'taps'} saved since {_day(self.saved.since)}"


def record(store: Store, trial: Trial, base: str, at: float) -> None:
    """Keep what came of a trial on released weights with the SHA-256 `base` (hex), at `at` (unix seconds)."""
    kept = trial.kept
    with store.transaction():
        last = _last(store)
        switched_off_at = last["switched_off_at"] if last and not kept else None
        if trial.used and not kept:
            switched_off_at = at
        now = kept.after if kept else trial.released
        document = {
            "before": asdict(trial.unlearned),
            "now": asdict(now),
            "kept": kept is not None,
            "base": base,
            "at": at,
            "switched_off_at": switched_off_at,
        }
        store.save_learned(_NAME, json.dumps(document).encode())


def load(store: Store, base: str, size: int) -> Proof:
    """What can be said now, where weights with the SHA-256 `base` (hex) and of `size` parameters are released."""
    with store.transaction():
        last, own = _last(store), personal.load(store, size)
        (messages,) = store.execute("SELECT count(*) FROM messages")[0]
        saved = savings.load(store)
    if last is None or last["kept"] != (own is not None):
        return Proof(Verdict.UNTRIED, messages, FEWEST, None, None, None, None, saved)
    if own is not None:
        verdict = Verdict.BETTER if own.base == base else Verdict.WAITING
    else:
        verdict = Verdict.SWITCHED_OFF if last["switched_off_at"] is not None else Verdict.NO_BETTER
    before, now = Score(**last["before"]), Score(**last["now"])
    return Proof(verdict, messages, FEWEST, before, now, last["at"], last["switched_off_at"], saved)


def _last(store: Store) -> dict[str, Any] | None:
    content = store.load_learned(_NAME)
    return json.loads(content) if content is not None else None


def _percent(score: Score) -> str:
    return f"{100 * score.top3 / score.words:.0f} %" if score.words else "nothing"


def _day(at: float) -> str:
    return date.fromtimestamp(at).isoformat()
