"""Keys that suggestions have spared the user, as totals: no word, and no time but that of the first."""

from __future__ import annotations

from dataclasses import dataclass

from hushfold_format import Vocabulary, context_ids

from .reading import tail
from .store import Store
from .suggestions import Kind, Suggestion


@dataclass(frozen=True, slots=True)
class Savings:
    """What suggestions that were taken have spared, since counting began."""

    taps: int = 0  # keys
    taken: int = 0  # suggestions
    since: float | None = None  # unix seconds; None if none was ever taken


def taps_saved(suggestion: Suggestion, text_before_cursor: str, vocabulary: Vocabulary) -> int:
    """Keys spared by taking a suggestion for a text: the letters that were not typed.

    Typing a word takes its letters and a space, taking it is one key: what `docs/evaluation.md` calls KSR, for one
    word. The keys that would have taken back a slip are not counted.
    """
    typed = 0
    if suggestion.kind is not Kind.NEXT_WORD:
        typed = len(context_ids(tail(text_before_cursor), vocabulary).partial)
    return max(0, len(suggestion.text) - typed)


def count(store: Store, taps: int, at: float) -> None:
    """Add a suggestion that was taken at `at` and spared `taps` keys."""
    store.execute(
        "INSERT INTO savings VALUES (1, ?, 1, ?) "
        "ON CONFLICT DO UPDATE SET taps = taps + excluded.taps, taken = taken + 1",
        (taps, at),
    )


def load(store: Store) -> Savings:
    """The totals."""
    rows = store.execute("SELECT taps, taken, since FROM savings")
    return Savings(*rows[0]) if rows else Savings()
