"""LiteRT's greeting on stderr, kept away from the line that says what happens now."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hushfold.model import SuggestionModel
from hushfold_format import BEGIN, NextWordFiles


def start_quietly(files: NextWordFiles) -> None:
    """Starts the process's first interpreter, which reports its delegate on stderr; there is no other switch.

    While it does, nothing of the whole process reaches stderr: call it before there are other threads.
    """
    with _no_stderr():
        model = SuggestionModel(files, files.weights)
        model.step(BEGIN, model.initial_state())


@contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
