"""The key that opens the store, and the key that the device signs with.

The store's key is 32 random bytes that a `KeyProvider` keeps outside the store: the operating system's keyring
where there is one, else a file that only its owner can read, chosen explicitly. The device's signing key lives
inside the store, under that protection.
"""

from __future__ import annotations

import importlib
import os
import secrets
import stat
from pathlib import Path
from typing import Protocol, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .durable import sync_folder, write_synced
from .errors import KeyUnavailable
from .store import KEY_BYTES, Store

_DEVICE_KEY = "device_key"


class KeyProvider(Protocol):
    """Keeps the store's key."""

    def key(self) -> bytes:
        """The key, 32 bytes: made on the first call, the same ever after. Raises KeyUnavailable."""
        ...


class KeyFile:
    """The key in a file of its own, readable by its owner alone (mode 0600).

    Weaker than a keyring: whoever can read the user's files can read it. Keep it out of the store's folder if that
    folder is backed up or synchronised.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def key(self) -> bytes:
        try:
            if not self.path.exists():
                self._create()
            return self._read()
        except OSError as error:
            raise KeyUnavailable(
                f"the key file {self.path} cannot be used: {error.strerror or error}",
                "Name a file in a folder that this user can write, on a local disk",
            ) from error

    def _create(self) -> None:
        """Write a new key so that the file is never there in part. If two processes race, the first key stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = write_synced(self.path.parent, self.path.name, secrets.token_bytes(KEY_BYTES))
        try:
            os.link(draft, self.path)  # unlike a rename, a link does not replace
        except FileExistsError:
            return
        finally:
            draft.unlink()
        sync_folder(self.path.parent)

    def _read(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if os.name == "posix":
                if status.st_uid != os.geteuid():
                    raise KeyUnavailable(
                        f"the key file {self.path} belongs to user {status.st_uid}, not to this one",
                        "Run as its owner, or name another file",
                    )
                if mode := stat.S_IMODE(status.st_mode) & 0o077:
                    raise KeyUnavailable(
                        f"the key file {self.path} is open to other users (mode bits {mode:03o})",
                        f"Close it with: chmod 600 '{self.path}'",
                    )
            content = file.read(KEY_BYTES + 1)
        if len(content) != KEY_BYTES:
            raise KeyUnavailable(
                f"the key file {self.path} does not hold {KEY_BYTES} bytes: it is damaged or is another file",
                "Restore it from a backup. Without it the store cannot be read; delete both to start anew",
            )
        return content


class KeyringBackend(Protocol):
    """What is used of the `keyring` package, or of anything that can keep a password."""

    def get_password(self, service: str, username: str, /) -> str | None: ...

    def set_password(self, service: str, username: str, password: str, /) -> None: ...


class Keyring:
    """The key in the operating system's keyring (Secret Service, macOS Keychain, Windows Credential Locker).

    Needs the extra `hushfold[keyring]`. `service` names the app. Ask for the key once before starting further
    processes: keyrings have no way to create an entry only if there is none.
    """

    def __init__(self, service: str, username: str = "store", *, backend: KeyringBackend | None = None) -> None:
        self._service = service
        self._username = username
        self._backend = backend

    def key(self) -> bytes:
        backend = self._backend or _system_keyring()
        try:
            if backend.get_password(self._service, self._username) is None:
                backend.set_password(self._service, self._username, secrets.token_hex(KEY_BYTES))
            stored = backend.get_password(self._service, self._username)
        except Exception as error:  # backends raise whatever their operating system does
            raise KeyUnavailable(
                f"the keyring cannot be used: {type(error).__name__}: {error}",
                "Unlock it, or, where there is none (no desktop session), use KeyFile instead",
            ) from error
        try:
            key = bytes.fromhex(stored or "")
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise KeyUnavailable(
                f"the keyring's entry {self._service!r}/{self._username!r} is not a key of this SDK",
                "Use another service name, or restore the entry: without it the store cannot be read",
            )
        return key


def _system_keyring() -> KeyringBackend:
    try:
        return cast(KeyringBackend, importlib.import_module("keyring"))
    except ImportError as error:
        raise KeyUnavailable(
            "the package keyring is not installed", "Install hushfold[keyring], or use KeyFile instead"
        ) from error


def device_key(store: Store) -> Ed25519PrivateKey:
    """The key that this device is enrolled with and signs with: made once, kept in the store, also by a wipe."""
    private = store.setting_or(_DEVICE_KEY, lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(private)
