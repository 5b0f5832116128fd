"""What the person who runs the demo sees while it works."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.status import Status


class Narration:
    """Sentences with the time since the start and, on a terminal, a last line that says what happens now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._status: Status | None = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line that stays; on a terminal, lines that break between words. Safe across threads."""
        line = f"{self.seconds:5.0f} s  {text}"
        if self._console.is_terminal:
            line = textwrap.fill(
                line,
                self._console.width,
                subsequent_indent=" " * 9,
                break_long_words=False,
                break_on_hyphens=False,
                replace_whitespace=False,
                drop_whitespace=True,
            )
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Something larger, such as a table."""
        self._console.print(renderable)

    def now(self, text: str) -> None:
        """Changes the last line, where there is one."""
        if self._status is not None:
            self._status.update(text)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Says what happens inside the block: as the last line on a terminal, else as a line that stays."""
        if not self._console.is_terminal:
            self.say(f"{text} ...")
            yield
            return
        with self._console.status(text) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None
