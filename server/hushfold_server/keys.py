"""The server's Ed25519 keys: made once by `init` or the publisher, each in a file of its own for one process.

    keys/authority/private.pem    vouches for devices; apps pin its public half
    keys/plan/private.pem         signs plans; its public half is a signed release target
    keys/release/root.pem         TUF: names the keys of the other three roles; apps pin it
    keys/release/targets.pem      TUF: signs what devices may install
    keys/release/snapshot.pem     TUF: signs which metadata belong together
    keys/release/timestamp.pem    TUF: signs that they are the latest

A key appears in its folder complete or not at all. Devices trust no successor of a lost key, so a missing key is
made only where nothing shows that there was one before: its public half, or the TUF root, is written after it.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from .durable import sync_folder, write_synced
from .errors import ConfigurationError
from .settings import Home, KeyRole

PRIVATE = "private.pem"
RELEASE_KEYS = ("root", "targets", "snapshot", "timestamp")  # TUF role names, in the order of their trust
PUBLIC_KEY_BYTES = 32

ServiceRole = Literal["authority", "plan"]


def create_missing(home: Home) -> None:
    """Makes the authority's key and the plan key, and publishes their public halves as `public/<role>.pub` (hex).

    Doing it again changes nothing. Raises ConfigurationError if a key is gone whose public half was given out.
    """
    roles: tuple[ServiceRole, ...] = ("authority", "plan")
    for role in roles:
        given_out = _public_file(home, role).exists()
        if not given_out:
            create_key(home, role, PRIVATE)
        key = load_key(home, role, PRIVATE)  # also complains about a lost one
        if not given_out:
            home.publish(f"{role}.pub", key.public_key().public_bytes_raw().hex().encode() + b"\n")


def create_release_keys(home: Home) -> None:
    """Makes those of the TUF keys that are missing. For a repository that has no root yet."""
    for name in RELEASE_KEYS:
        create_key(home, "release", f"{name}.pem")


def create_key(home: Home, role: KeyRole, name: str) -> None:
    """Puts a new key at `name` unless there is one. Two processes that try at once end up with the same key."""
    _check_folder(home, role)
    folder = home.keys(role)
    target = folder / name
    if target.exists():
        return
    secret = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = write_synced(folder, secret)
    try:
        target.hardlink_to(draft)  # unlike a rename, never replaces a key
    except FileExistsError:
        return
    finally:
        draft.unlink()
    sync_folder(folder)


def load_key(home: Home, role: KeyRole, name: str) -> Ed25519PrivateKey:
    """A private key. Raises ConfigurationError if it is missing, no Ed25519 key, or open to other users."""
    _check_folder(home, role)
    secret = home.read_key(role, name)
    try:
        key = load_pem_private_key(secret, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{home.keys(role) / name} is not an Ed25519 private key in PEM", "Restore it from a backup"
        )
    return key


def authority_key(home: Home) -> Ed25519PrivateKey:
    """The key that vouches for devices: for the authority process."""
    return load_key(home, "authority", PRIVATE)


def plan_key(home: Home) -> Ed25519PrivateKey:
    """The key that signs plans: for the learner process."""
    return load_key(home, "plan", PRIVATE)


def public_key(home: Home, role: ServiceRole) -> bytes:
    """The public half of a key, 32 bytes, as every process may know it. Raises ConfigurationError."""
    path = _public_file(home, role)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        raise ConfigurationError(f"the public key {path} is missing", f"Run `{home.command('init')}`") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the public key {path} cannot be read: {error}") from None
    if len(key) != PUBLIC_KEY_BYTES:
        raise ConfigurationError(
            f"the public key {path} has {len(key)} bytes, not {PUBLIC_KEY_BYTES}", "Restore it from a backup"
        )
    return key


def _public_file(home: Home, role: ServiceRole) -> Path:
    return home.public / f"{role}.pub"


def _check_folder(home: Home, role: KeyRole) -> None:
    folder = home.keys(role)
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        raise ConfigurationError(f"there is no folder {folder} for keys", f"Run `{home.command('init')}`") from None
    if mode & 0o077:
        raise ConfigurationError(f"other users may look into {folder} (mode {mode:04o})", f"Run `chmod 700 {folder}`")
