"""The encrypted store: everything that the SDK keeps about its user, in one SQLCipher file.

Every page is AES-256 under a 32-byte key, the write-ahead log included; the schema and times are hidden too. The
key is given raw, which spares the 256,000 hash iterations that a passphrase would need at each start.

One connection serves all threads of a process, one writer at a time; other processes may open the same file. Every
method is atomic, and `transaction` makes several of them so together. Times come from the caller.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self, cast

from sqlcipher3 import dbapi2

from .errors import StoreCorrupt, StoreError, StoreLocked, StoreMismatch, WrongKey
from .schema import MIGRATIONS

KEY_BYTES = 32
BUSY_TIMEOUT = 5.0  # seconds that a writer waits for another process
RETENTION = 90 * 86_400.0  # seconds
MAX_MESSAGES = 10_000
VOICE = "voice/"
"""Training sessions and learned entries whose name begins with it come from recordings, all others from messages."""

_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_CORRUPT, _SQLITE_NOTADB = 5, 6, 11, 26
_SQLITE_READONLY, _SQLITE_FULL, _SQLITE_CANTOPEN = 8, 13, 14


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was typed here."""

    id: int
    text: str
    typed_at: float  # unix seconds


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a training session came. One for each task."""

    task: str
    identity: bytes  # 32 bytes, hash of what the session trains, from where and on which messages
    newest_message: int  # id; later messages are not of this session
    step: int  # SGD steps done
    vector: bytes  # the trained part after those steps, little-endian float32


class Store:
    """The store in the file `path`, which is made if there is none.

    Args:
        path: of the file; `-wal` and `-shm` files appear beside it while it is open.
        key: 32 bytes, see `keys`.
        retention: seconds that a message is kept.
        max_messages: above it the oldest messages go.

    Raises:
        WrongKey: the key does not open the file.
        StoreMismatch: a newer SDK wrote it.
        StoreCorrupt: it is damaged.
        StoreLocked: another process holds it.
    """

    def __init__(
        self, path: Path | str, key: bytes, *, retention: float = RETENTION, max_messages: int = MAX_MESSAGES
    ) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the store's key has {KEY_BYTES} bytes, not {len(key)}")
        self.path = Path(path)
        self.retention = retention
        self.max_messages = max_messages
        self._lock = threading.RLock()
        self._depth = 0  # of nested transactions
        self._closed = False
        with self._reported(opening=True):
            self._connection = _connect(self.path, key)
        try:
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Further calls raise StoreError; closing again does nothing."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def require_open(self) -> None:
        """Raises StoreError once the store is closed."""
        if self._closed:
            raise StoreError(f"the device is closed, and with it {self.path}", "Open a new Device")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that happens in the block, or nothing if it raises. Blocks may be nested. Keep them short."""
        with self._lock:
            name = f"nested_{self._depth}"
            begin, commit, undo = (
                (f"SAVEPOINT {name}", f"RELEASE {name}", f"ROLLBACK TO {name}")
                if self._depth
                else ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
            )
            self.execute(begin)
            self._depth += 1
            try:
                yield
                self.execute(commit)
            except BaseException:
                # SQLite itself ends the transaction after some errors, a full disk for one.
                if self._connection.in_transaction:
                    self.execute(undo)
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """A transaction after which not even the key brings back what was deleted in it: the log is emptied, too.

        It is not inside another transaction, nor while another process reads: then the next such block empties it.
        """
        # The lock around the transaction: inside one the log cannot be emptied.
        with self._lock:
            with self.transaction():
                changes = self._connection.total_changes
                yield
            if self._connection.total_changes != changes and not self._depth:
                self._truncate_log()

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. For the SDK's own modules; the tables are in `schema`."""
        with self._lock, self._reported():
            self.require_open()
            return cast(list[tuple[Any, ...]], self._connection.execute(statement, values).fetchall())

    # Messages

    def add_message(self, text: str, at: float) -> int:
        """Keep a message that was typed at `at`; its id. Messages past retention or quota go at the same time."""
        with self.transaction():
            rows = self.execute("INSERT INTO messages (text, typed_at) VALUES (?, ?) RETURNING id", (text, at))
            self.execute("DELETE FROM messages WHERE typed_at < ?", (at - self.retention,))
            self.execute(
                "DELETE FROM messages WHERE id IN "
                "(SELECT id FROM messages ORDER BY typed_at DESC, id DESC LIMIT -1 OFFSET ?)",
                (self.max_messages,),
            )
        return int(rows[0][0])

    def messages(self, limit: int | None = None) -> list[Message]:
        """Messages, at most `limit` of them, newest first."""
        rows = self.execute(
            "SELECT id, text, typed_at FROM messages ORDER BY typed_at DESC, id DESC LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Message(*row) for row in rows]

    def forget_text(self, text: str) -> int:
        """Delete every message that contains `text` as whole words, whatever its case; how many there were.

        Checkpoints and what is learned from messages go too, since they may have been trained on it. Contributions that
        left the device stay in the ledger.
        """
        if not text.strip():
            raise ValueError("name the text to forget")
        pattern = re.compile(rf"(?<!\w){re.escape(text.strip())}(?!\w)", re.IGNORECASE)
        with self.forgetting():
            found = [message.id for message in self.messages() if pattern.search(message.text)]
            for message_id in found:
                self.execute("DELETE FROM messages WHERE id = ?", (message_id,))
            if found:
                self.forget_trained(voice=False)
        return len(found)

    def wipe(self) -> None:
        """Delete everything typed, spoken and learned from it, for good: not even the key brings it back.

        The settings, the device's identity and the ledger stay: privacy that was spent is not given back.
        Raises StoreLocked, with all of it deleted but traces left in the log, if another process keeps reading.
        """
        with self._lock:
            if self._depth:
                raise RuntimeError("a wipe cannot be part of a transaction: it must not be undone")
            with self.transaction():
                for table in ("messages", "recordings", "training_sessions", "learned", "personal_words", "savings"):
                    self.execute(f"DELETE FROM {table}")  # noqa: S608 (a constant)
            emptied = self._truncate_log()
        if not emptied:
            raise StoreLocked(
                f"everything in {self.path} is deleted, but another process keeps old pages in its log",
                "Close that process and wipe again",
            )

    def _truncate_log(self) -> bool:
        """Bring the log into the file, where deleted content is overwritten, and empty it; False if it is in use."""
        return not self.execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]

    # Training

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep how far a session came, in place of what was kept for its task."""
        self.execute("REPLACE INTO training_sessions VALUES (?, ?, ?, ?, ?)", astuple(checkpoint))

    def load_checkpoint(self, task: str) -> Checkpoint | None:
        rows = self.execute("SELECT * FROM training_sessions WHERE task = ?", (task,))
        return Checkpoint(*rows[0]) if rows else None

    def clear_checkpoint(self, task: str) -> None:
        self.execute("DELETE FROM training_sessions WHERE task = ?", (task,))

    def save_learned(self, name: str, value: bytes) -> None:
        """Keep what was trained and is in use; it goes when anything of its kind is forgotten: see `VOICE`."""
        self.execute("REPLACE INTO learned VALUES (?, ?)", (name, value))

    def load_learned(self, name: str) -> bytes | None:
        rows = self.execute("SELECT value FROM learned WHERE name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def clear_learned(self, name: str) -> None:
        self.execute("DELETE FROM learned WHERE name = ?", (name,))

    def forget_trained(self, voice: bool) -> None:
        """Delete what was trained on recordings, or what was trained on messages; checkpoints too."""
        for table, name in (("training_sessions", "task"), ("learned", "name")):
            self.execute(f"DELETE FROM {table} WHERE ({name} GLOB ?) = ?", (f"{VOICE}*", voice))  # noqa: S608 (constants)

    # Settings

    def save_setting(self, name: str, value: bytes) -> None:
        """Keep what is chosen or made once; it survives a wipe. Nothing that was typed belongs here."""
        self.execute("REPLACE INTO settings VALUES (?, ?)", (name, value))

    def load_setting(self, name: str) -> bytes | None:
        rows = self.execute("SELECT value FROM settings WHERE name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def setting_or(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The setting, made and kept first if there is none: of several callers, one makes it."""
        with self.transaction():
            if (value := self.load_setting(name)) is None:
                value = make()
                self.save_setting(name, value)
            return value

    def _migrate(self) -> None:
        with self.transaction():
            version = int(self.execute("PRAGMA user_version")[0][0])
            if version > len(MIGRATIONS):
                raise StoreMismatch(
                    f"{self.path} has schema version {version}, this SDK knows versions up to {len(MIGRATIONS)}: "
                    "a newer SDK wrote it",
                    "Update the app",
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self.execute(statement)
            if version < len(MIGRATIONS):
                self.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _reported(self, opening: bool = False) -> Iterator[None]:
        """The driver's errors as the SDK's. While opening, a file that is no database is one under another key."""
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(
                f"{self.path.parent} is no folder", "Name a folder, or one that is not there yet"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be opened: {error.strerror}", "Name a file that this user can write"
            ) from error
        except dbapi2.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (_SQLITE_BUSY, _SQLITE_LOCKED):
                raise StoreLocked(
                    f"{self.path} is held by another process for more than {BUSY_TIMEOUT:g} seconds",
                    "Try again later",
                ) from error
            if code == _SQLITE_NOTADB and opening:
                raise WrongKey(
                    f"the key does not open {self.path}, or the start of the file is damaged",
                    "Use the key it was made with; without it the content is lost: delete the file and start anew",
                ) from error
            if code in (_SQLITE_CORRUPT, _SQLITE_NOTADB):
                raise StoreCorrupt(
                    f"{self.path} is damaged: {error}", "Restore it from a backup, or delete it to start anew"
                ) from error
            if code == _SQLITE_FULL:
                raise StoreError(
                    f"there is no room left for {self.path}: {error}",
                    "Make room on the disk; what was kept is still there",
                ) from error
            if code in (_SQLITE_READONLY, _SQLITE_CANTOPEN):
                raise StoreError(
                    f"{self.path} cannot be written: {error}",
                    "Let this user write the file and the folder that it is in",
                ) from error
            raise StoreError(f"{self.path}: {error}") from error


def _connect(path: Path, key: bytes) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite would create the file readable to all; its -wal and -shm files inherit the mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = dbapi2.connect(
        str(path),
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=0,  # a statement that is kept keeps its values, weights among them
    )
    pragmas = (
        "cipher_log_level = NONE",  # a wrong key is reported by exception, not on stderr
        f"key = \"x'{key.hex()}'\"",
        "secure_delete = ON",  # deleted content is overwritten
        # FULL syncs the log at every commit. With NORMAL, WAL may lose the last transactions in a power failure:
        # a budget charge could vanish after the update has left the device.
        "synchronous = FULL",
        "trusted_schema = OFF",
        "cache_size = -1000",  # KiB of pages in memory: trained weights pass through once a night, at 3 MB
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        _write_ahead(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: Any) -> None:
    """Switch to a write-ahead log, which is durable. Unlike other statements, this one does not wait for its turn."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except dbapi2.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != _SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
