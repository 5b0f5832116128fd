"""From messages to the static batches of a training graph.

One window of a message per row: rows never share state, so the recurrent state of a row is that of one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tokens import tokenize
from .vocabulary import BEGIN, FIRST_WORD, PAD, Vocabulary

OVERLAP = 4
"""A later window of a long message starts with 1/OVERLAP of its length as context that was predicted before."""


class Batch(NamedTuple):
    """Inputs of `train` and `evaluate`: `tokens[b, t]` and `targets[b, t]` int32, `mask[b, t]` float32 (0 or 1)."""

    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    mask: NDArray[np.float32]


def message_ids(text: str, vocabulary: Vocabulary) -> list[int]:
    """Ids of the tokens of one message, without `BEGIN`."""
    return vocabulary.encode([token.text for token in tokenize(text)])


def windows(ids: Sequence[int], time: int) -> Iterator[Batch]:
    """Cut one message into rows `[time]`; every token is a target exactly once, unless it is special.

    A row starts with `BEGIN`. Special tokens (unknown words, placeholders) and padding are masked as targets.
    """
    start, context = 0, 0
    while start + context < len(ids):
        targets = np.full(time, PAD, np.int32)
        taken = np.asarray(ids[start : start + time], np.int32)
        targets[: len(taken)] = taken
        tokens = np.concatenate(([BEGIN], targets[:-1])).astype(np.int32)
        mask = (targets >= FIRST_WORD).astype(np.float32)
        mask[:context] = 0
        yield Batch(tokens, targets, mask)
        context = time // OVERLAP
        start += time - context


def batches(messages: Sequence[Sequence[int]], batch: int, time: int, *, seed: int | None = None) -> Iterator[Batch]:
    """Rows of all messages in batches `[batch, time]`; the last one is filled up with masked rows.

    Args:
        messages: token ids of each message, without `BEGIN`.
        batch: rows per batch.
        time: tokens per row.
        seed: shuffles the rows, the same way for the same seed; None keeps their order.

    Raises:
        ValueError: a batch needs at least one row, and a row at least `OVERLAP` tokens.
    """
    if batch < 1 or time < OVERLAP:
        raise ValueError(f"batch {batch} x time {time} is too small: at least 1 x {OVERLAP} is needed")
    rows = [row for ids in messages for row in windows(ids, time) if row.mask.any()]
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(rows))
        rows = [rows[position] for position in order]
    for first in range(0, len(rows), batch):
        chosen = rows[first : first + batch]
        padded = Batch(
            np.full((batch, time), PAD, np.int32),
            np.full((batch, time), PAD, np.int32),
            np.zeros((batch, time), np.float32),
        )
        for target, columns in zip(padded, zip(*chosen, strict=True), strict=True):
            target[: len(chosen)] = columns
        yield padded
