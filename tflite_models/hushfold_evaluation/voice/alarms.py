"""False alarms: how often a base word is told in streams in which none is said.

The streams are composed (`composing`), for as long as is asked: running speech, of words that are no base words, by
speakers of other sets; and noise, of sounds that the base was not trained on. They come again and again, each time with
other neighbours and at another level, so the hours say how this speech and this noise are taken, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .clips import RATE
from .composing import Piece
from .figures import Rate
from .recognisers import Listening

BLOCK = 1600  # samples, 0.1 s


def count(listening: Listening, stream: Iterable[Piece]) -> Rate:
    """Words that are told in a stream, none of which was said."""
    told = samples = 0
    for piece in stream:
        samples += len(piece.pcm)
        for block in np.split(piece.pcm, range(BLOCK, len(piece.pcm), BLOCK)):
            told += len(listening.feed(block))
    return Rate(told + len(listening.flush()), samples / RATE / 3600)
