"""The key that opens the store, and the key that the device signs with.

The store's key is 32 random bytes that a `KeyProvider` keeps outside the store: the operating system's keyring
where there is one, else a file that only its owner can read, chosen explicitly. The device's signing key lives
inside the store, under that protection.

Both providers are a `Witness`, too: beside the key they keep what privacy was spent, so that a store that comes back
from a backup does not bring a budget back with it.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .durable import replace_file, sync_folder, write_synced
from .errors import KeyUnavailable
from .store import KEY_BYTES, Store

_DEVICE_KEY = "device_key"


class KeyProvider(Protocol):
    """Keeps the store's key."""

    def key(self) -> bytes:
        """The key, 32 bytes: made on the first call, the same ever after. Raises KeyUnavailable."""
        ...


@runtime_checkable
class Witness(Protocol):
    """What a `KeyProvider` may be besides: a place for what was spent that does not go back in time with the store.

    It keeps one value for each population, the whole of what was spent on it. Several processes may use one store; two
    stores under one key must not be charged at the same moment, or the witness may miss one of the charges. A provider
    that is no witness is accepted; a store that is restored from a backup then forgets what was spent since.
    """

    def load_spent(self, population: str) -> bytes | None:
        """What was saved last; None if nothing was. Raises KeyUnavailable."""
        ...

    def save_spent(self, population: str, spent: bytes) -> None:
        """Keeps `spent`, about 900 bytes, durably before it returns. Raises KeyUnavailable."""
        ...


class KeyFile:
    """The key in a file of its own, readable by its owner alone (mode 0600), and what was spent in another beside it.

    Weaker than a keyring: whoever can read the user's files can read it. Keep it out of the store's folder if that
    folder is backed up or synchronised: what was spent since a backup is not forgotten only if the backup does not
    have this file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._spent = self.path.with_name(f"{self.path.name}.spent")

    def key(self) -> bytes:
        try:
            if not self.path.exists():
                self._create()
            return self._read()
        except PermissionError as error:
            raise KeyUnavailable(
                f"the key file {self.path} cannot be used: {error.strerror}",
                "Let this user read it, and write the folder that it is in; or name another file",
            ) from error
        except OSError as error:
            raise KeyUnavailable(
                f"the key file {self.path} cannot be used: {error.strerror or error}",
                "Name a file in a folder that this user can write, on a local disk",
            ) from error

    def load_spent(self, population: str) -> bytes | None:
        return self._read_spent().get(population)

    def save_spent(self, population: str, spent: bytes) -> None:
        everything = {**self._read_spent(), population: spent}
        document = {name: base64.b64encode(value).decode() for name, value in everything.items()}
        try:
            replace_file(self._spent, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise self._unusable_spent(error) from error

    def _read_spent(self) -> dict[str, bytes]:
        try:
            document = json.loads(self._spent.read_bytes())
            return {name: base64.b64decode(value, validate=True) for name, value in document.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise self._unusable_spent(error) from error

    def _unusable_spent(self, error: Exception) -> KeyUnavailable:
        return KeyUnavailable(
            f"{self._spent}, which says what privacy was spent, cannot be used: {error}",
            "Until it can be, nothing is sent; to start anew, delete it together with the key and the store",
        )

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
    """The key in the operating system's keyring (Secret Service, macOS Keychain, Windows Credential Locker), and what
    was spent in further entries, one for each population.

    Needs the extra `hushfold[keyring]`. `service` names the app. Ask for the key once before starting further
    processes: keyrings have no way to create an entry only if there is none.
    """

    def __init__(self, service: str, username: str = "store", *, backend: KeyringBackend | None = None) -> None:
        self._service = service
        self._username = username
        self._backend = backend

    def key(self) -> bytes:
        if self._get(self._username) is None:
            self._set(self._username, secrets.token_hex(KEY_BYTES))
        stored = self._get(self._username)
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

    def load_spent(self, population: str) -> bytes | None:
        stored = self._get(self._spent_entry(population))
        try:
            return None if stored is None else base64.b64decode(stored, validate=True)
        except ValueError as error:
            raise KeyUnavailable(
                f"the keyring's entry {self._spent_entry(population)!r} does not say what privacy was spent: {error}",
                "Until it does, nothing is sent; to start anew, delete it together with the key and the store",
            ) from error

    def save_spent(self, population: str, spent: bytes) -> None:
        # In base64: Windows takes 1,280 characters.
        self._set(self._spent_entry(population), base64.b64encode(spent).decode())

    def _spent_entry(self, population: str) -> str:
        return f"{self._username}/spent/{population}"

    def _get(self, username: str) -> str | None:
        backend = self._backend or _system_keyring()
        try:
            return backend.get_password(self._service, username)
        except Exception as error:  # backends raise whatever their operating system does
            raise _unusable_keyring(error) from error

    def _set(self, username: str, password: str) -> None:
        backend = self._backend or _system_keyring()
        try:
            backend.set_password(self._service, username, password)
        except Exception as error:
            raise _unusable_keyring(error) from error


def _unusable_keyring(error: Exception) -> KeyUnavailable:
    return KeyUnavailable(
        f"the keyring cannot be used: {type(error).__name__}: {error}",
        "Unlock it, or, where there is none (no desktop session), use KeyFile instead",
    )


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
