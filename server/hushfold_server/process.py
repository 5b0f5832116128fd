"""What every process of the server does the same way: its log, its word that it is ready, its end.

The supervisor starts processes with HUSHFOLD_READY_FILE in their environment; a process calls `announce_ready` when
it does its work. A process that cannot start because of a mistake in keys or settings says so in one sentence on
standard error and exits with REFUSED: starting it again would not help.

The log is JSON, one event per line, in `logs/<process>.jsonl`. Nothing that a device sent is in it: an exception
is logged by its type and its place, and with its message only if that was written by us or by the operating system.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import FrameType

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hushfold_format import FormatError
from hushfold_protocol.errors import ProtocolError

from .errors import ServerError
from .settings import Home

READY_FILE = "HUSHFOLD_READY_FILE"
REFUSED = 2  # exit status: a mistake that a person has to mend

_SENTENCES = (ProtocolError, FormatError, ServerError)  # their messages are ours, for people, and hold no payload
_TOLD = (*_SENTENCES, OSError)


def start_logging(home: Home, process: str, level: str) -> None:
    """Sends structlog and the standard library's log records to `logs/<process>.jsonl`."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    handler = WatchedFileHandler(home.logs / f"{process}.jsonl")  # reopens after logrotate
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared[:3], _describe_record],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def describe(error: BaseException) -> list[str]:
    """An exception and its causes, outermost first: type, place in the code, and message if it holds no payload."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(lines) < 100:
        said = f": {cause}" if isinstance(cause, _TOLD) else ""
        lines.append(f"{type(cause).__module__}.{type(cause).__qualname__}{said}")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(cause.__traceback__)
        ]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return lines


def reason_of(error: Exception) -> str:
    """An exception as the reason in a row of the database, which operators and devices read."""
    said = str(error) if isinstance(error, _SENTENCES) else ""
    return said or f"an unexpected {type(error).__name__}; the server's log says where"


def announce_ready() -> None:
    """Tells the supervisor, if one started this process, that it is at work."""
    path = os.environ.get(READY_FILE)
    if path:
        Path(path).touch()


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM or SIGINT sets. For the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


@contextmanager
def refusing() -> Iterator[None]:
    """Turns a ServerError into one sentence on standard error and the exit status REFUSED."""
    try:
        yield
    except ServerError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(REFUSED) from None


def _describe_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Replaces `exc_info`, which the renderer would print with message and locals."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else sys.exc_info()[1]
        if error is not None:
            event["exception"] = describe(error)
    return event


def _describe_record(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """The same for records of libraries."""
    record: logging.LogRecord = event["_record"]
    if record.exc_info and record.exc_info[1] is not None:
        event["exception"] = describe(record.exc_info[1])
    event.pop("exc_info", None)
    record.exc_info, record.exc_text = None, None
    return event
