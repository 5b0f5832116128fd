"""A list of words meets those that a user has: what is taken over, what stays, and a report that leaves out nothing.

Values in, values out: `words` keeps what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hushfold_format import Vocabulary

from .errors import WordRefused
from .word import MOST_LEAD, KnownWord, Standing, checked, decided, key_of
from .wordlists import Entry, Skipped

_DECISIONS = (Standing.TAUGHT, Standing.BLOCKED, Standing.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a list. Every entry is counted once."""

    added: int  # words that are new, or that more is known of now
    known: int  # by the model or the user already; nothing changed
    kept: tuple[str, ...]  # words that the user has blocked or forgotten: they stay so
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Brought:
    """A word that a list brings, in a form that could be kept."""

    line: int  # as in `wordlists.Entry`
    word: KnownWord
    foreign: bool  # from another keyboard, whose list says nothing about words of the model


def brought(items: Iterable[Entry | Skipped], at: float) -> list[Brought | Skipped]:
    """The entries of a list as words, at `at` (unix seconds); those that are none are skipped, with the reason."""
    found: list[Brought | Skipped] = []
    for item in items:
        if isinstance(item, Skipped):
            found.append(item)
            continue
        try:
            found.append(Brought(item.line, _word(item, at), foreign=not item.standing))
        except WordRefused as refusal:
            found.append(Skipped(item.line, item.text, refusal.message))
    return found


def _word(entry: Entry, at: float) -> KnownWord:
    """What a list says of a word. Raises WordRefused."""
    form = checked(entry.text)
    if not entry.standing and entry.sightings is None:
        return decided(None, form, Standing.TAUGHT, at)
    decision = Standing(entry.standing) if entry.standing in _DECISIONS else None
    if not decision and entry.standing not in ("", "seen"):
        raise WordRefused(f"no word is {entry.standing!r}")
    if not (decision or entry.sightings or entry.lead):
        raise WordRefused("it was never seen")
    form = key_of(form) if decision is Standing.FORGOTTEN else form
    lead = min(entry.lead, MOST_LEAD) if entry.standing else 1
    return KnownWord(form, lead, entry.sightings or 0, decision, at)


def merge(
    items: Iterable[Brought | Skipped], known: Mapping[str, KnownWord], model: Vocabulary, most: int
) -> tuple[dict[str, KnownWord], ImportReport]:
    """The words that are to be kept anew, by key, and what became of each entry.

    Args:
        items: of the list.
        known: the user's words, by key.
        model: its words.
        most: words that are kept in all.
    """
    changes: dict[str, KnownWord] = {}
    room, added, unchanged, kept, skipped = most - len(known), 0, 0, [], []
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        key = key_of(item.word.form)
        now = changes.get(key) or known.get(key)
        if item.foreign and key in model:
            merged = now
        elif now is None:
            merged = item.word
        else:
            merged = _merged(now, item.word)
        if merged is None or merged == now:
            if now and now.decision in (Standing.BLOCKED, Standing.FORGOTTEN) and item.word.decision != now.decision:
                kept.append(item.word.form)
            else:
                unchanged += 1
        elif now is None and room <= 0:
            skipped.append(Skipped(item.line, item.word.form, f"no more than {most:,} words are kept"))
        else:
            room -= now is None
            changes[key] = merged
            added += 1
    return changes, ImportReport(added, unchanged, tuple(kept), tuple(skipped))


def _merged(now: KnownWord, word: KnownWord) -> KnownWord:
    """A word that the list knows too. The user's decision stays; a list never says less than is known."""
    if now.decision:
        return now
    if word.decision:
        return word
    merged = replace(now, sightings=max(now.sightings, word.sightings))
    if word.lead > now.lead:
        merged = replace(merged, form=word.form, lead=word.lead)
    return now if merged == now else replace(merged, seen_at=word.seen_at)
