"""Debian's presage (https://presage.sourceforge.io), called through the C interface of its library.

Its statistical predictor reads n-gram databases. Here the general one is trained on the public texts by presage's own
`text2ngram`, beside an empty one for the user, which presage fills as it learns; everything else is as Debian ships it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from .errors import EvaluationError
from .predictors import Predictor
from .protocol import SHOWN

PACKAGES = ("presage", "libpresage1v5")
_SHIPPED_CONFIGURATION = Path("/etc/presage.xml")
_ORDER = 3
_CONTRACTED = re.compile(r"[A-Za-z0-9']*'(?=[A-Za-z0-9]*$)")

_Words = ctypes.POINTER(ctypes.c_char_p)
_Callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)


def missing() -> bool:
    """Whether something of presage is not installed."""
    return not (ctypes.util.find_library("presage") and shutil.which("text2ngram") and _SHIPPED_CONFIGURATION.exists())


def train(messages: Iterable[str], path: Path) -> None:
    """Make an n-gram database from messages, which takes minutes.

    Raises:
        EvaluationError: presage's own tool failed.
    """
    with TemporaryDirectory(prefix="hushfold-evaluation-") as folder:
        text = Path(folder, "messages.txt")
        text.write_text("\n".join(messages) + "\n")
        for length in range(1, _ORDER + 1):
            command = ["text2ngram", "-n", str(length), "-l", "-f", "sqlite", "-o", str(path), str(text)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise EvaluationError(f"text2ngram failed: {done.stderr.strip() or done.returncode}")


class Presage(Predictor):
    """Presage with a database made by `train`, and the user's own.

    Raises:
        EvaluationError: presage does not start.
    """

    def __init__(self, database: Path) -> None:
        self._folder = TemporaryDirectory(prefix="hushfold-evaluation-")
        configuration = Path(self._folder.name, "presage.xml")
        configuration.write_bytes(_configuration(database, Path(self._folder.name, "user.db")))
        self._library = ctypes.CDLL(ctypes.util.find_library("presage"))
        self._library.presage_predict.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Words)]
        self._library.presage_free_string_array.argtypes = [_Words]
        self._library.presage_free_string_array.restype = None
        self._library.presage_free.restype = None
        # Presage asks for the text on either side of the cursor; what it is given must stay where it is.
        self._before = ctypes.create_string_buffer(b"")
        self._after = ctypes.create_string_buffer(b"")
        self._callbacks = (
            _Callback(lambda _: ctypes.addressof(self._before)),
            _Callback(lambda _: ctypes.addressof(self._after)),
        )
        self._handle = ctypes.c_void_p()
        before, after = self._callbacks
        started = self._library.presage_new_with_config(
            before, None, after, None, str(configuration).encode(), ctypes.byref(self._handle)
        )
        _require(started, "start")

    def learn(self, message: str) -> None:
        ended = message + "\n"  # or presage takes the last word for one that is still being typed
        _require(self._library.presage_learn(self._handle, ended.encode()), "learn a message")

    def suggest(self, text_before: str) -> Sequence[str]:
        self._before = ctypes.create_string_buffer(text_before.encode())
        found = _Words()
        _require(self._library.presage_predict(self._handle, ctypes.byref(found)), "predict")
        words: list[str] = []
        while (word := found[len(words)]) is not None:
            words.append(word.decode(errors="replace"))
        self._library.presage_free_string_array(found)
        # To presage an apostrophe ends a word: after "don'" it offers "t", and "don't" is what would stand there.
        contracted = _CONTRACTED.search(text_before)
        return [contracted.group() + word for word in words] if contracted else words

    def close(self) -> None:
        self._library.presage_free(self._handle)
        self._folder.cleanup()


def _configuration(database: Path, own: Path) -> bytes:
    """Debian's configuration, but for the databases and what the protocol asks for."""
    tree = ElementTree.parse(_SHIPPED_CONFIGURATION)  # noqa: S314
    for path, value in {
        "Predictors/DefaultSmoothedNgramPredictor/DBFILENAME": str(database),
        "Predictors/UserSmoothedNgramPredictor/DBFILENAME": str(own),
        "Selector/SUGGESTIONS": str(SHOWN),
        "Selector/REPEAT_SUGGESTIONS": "yes",  # the same word again while the text has not changed
        "ContextTracker/ONLINE_LEARNING": "no",  # what is tested is not learned from
    }.items():
        element = tree.find(path)
        if element is None:
            raise EvaluationError(f"{_SHIPPED_CONFIGURATION} has no {path}", "Install presage again")
        element.text = value
    written: bytes = ElementTree.tostring(tree.getroot())
    return written


def _require(code: int, wanted: str) -> None:
    if code:
        raise EvaluationError(f"presage could not {wanted}: error {code}")
