"""The release channel: a TUF repository (The Update Framework, specification 1.0) in a folder.

    metadata/1.root.json ...         whose keys sign what; apps embed the first one
    metadata/7.targets.json          the files that devices may install, with length, hash and custom fields
    metadata/9.snapshot.json         which targets.json belongs to it
    metadata/timestamp.json          which snapshot.json is the latest: the one file that is ever replaced
    targets/<folder>/<sha256>.<name> the files

What devices see changes in one step, when `timestamp.json` is replaced; everything that it leads to is on the disk by
then. A publisher that is killed before leaves files that nothing refers to, and the next one writes over them. A device
never has asked for them, since it learns a version's number from the timestamp only.

Every role has a key of its own and a threshold of one signature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar, cast

from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from .durable import DRAFT, lock, replace_file, sync_folder
from .errors import ConfigurationError, NotFound, StateError
from .keys import RELEASE_KEYS, create_release_keys, load_key
from .settings import Home

S = TypeVar("S", Root, Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long metadata are good, and when they are signed again."""

    valid: timedelta  # from signing
    renew: timedelta  # before the end


# A device whose server is dead or cut off notices after `timestamp`; a thief of a key has until its role expires.
LIFETIMES: Mapping[str, Lifetime] = {
    "root": Lifetime(timedelta(days=365), timedelta(days=90)),
    "targets": Lifetime(timedelta(days=90), timedelta(days=30)),
    "snapshot": Lifetime(timedelta(days=14), timedelta(days=7)),
    "timestamp": Lifetime(timedelta(days=1), timedelta(hours=12)),
}

_TARGET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_SERIALIZER = JSONSerializer(compact=True, validate=True)


@dataclass(frozen=True, slots=True)
class Target:
    """A file to publish: its name, what it holds, and fields that are signed with it."""

    name: str  # path with forward slashes, such as next_word/1.0.0/weights.f32
    content: bytes | None  # None: what is published under this name already
    custom: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not _TARGET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a release file")


@dataclass(frozen=True)
class _Latest:
    """What devices are led to now."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


class ReleaseRepository:
    """The repository of one home. One process at a time changes it, see `exclusive`."""

    def __init__(self, home: Home, now: Callable[[], float]) -> None:
        """`now` gives unix seconds."""
        self._home, self._now = home, now
        self._metadata, self._files = home.release_metadata, home.release_targets
        self._known: _Latest | None = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes from changing the repository. Raises StateError if one does so already."""
        try:
            held = lock(self._home.releases / ".lock")
        except BlockingIOError:
            raise StateError(
                f"another publisher works on {self._home.releases}", "Stop it before you start a second one"
            ) from None
        with held:
            yield

    def initialise(self) -> None:
        """Loads the repository, and makes keys, root and an empty first version where they are missing.

        Raises ConfigurationError for damaged files and lost keys: no successor would be trusted.
        """
        for left_over in self._home.releases.rglob(f"{DRAFT}*"):
            left_over.unlink()
        if not (self._metadata / "1.root.json").exists():
            create_release_keys(self._home)
            self._write(self._sign(self._first_root()))
        root = self._load_root()
        if (self._metadata / "timestamp.json").exists():
            self._known = self._load(root)
        elif (self._metadata / "2.snapshot.json").exists():
            raise self._damaged("timestamp.json", "it is missing")
        else:
            self._known = self._commit(root, self._sign(Targets(version=1)), 1, 1)

    def root(self) -> bytes:
        """The first root's JSON, which apps embed."""
        return (self._metadata / "1.root.json").read_bytes()

    def targets(self) -> dict[str, TargetFile]:
        """The published files by name, as devices see them."""
        return deepcopy(self._latest.targets.signed.targets)

    def publish(self, targets: Iterable[Target] = (), *, remove: Iterable[str] = ()) -> bool:
        """Adds or replaces files and removes others, in one step for devices; False if that changes nothing.

        Custom fields are part of the comparison: publishing the same file with another rollout changes the release.
        Raises NotFound for a target without content that is not there.
        """
        before = self._latest.targets.signed
        removed = set(remove)
        after = {name: target for name, target in before.targets.items() if name not in removed}
        for target in targets:
            if target.content is not None:
                file = TargetFile.from_data(target.name, target.content, ["sha256"])
                self._store(file, target.content)
            elif target.name in after:
                file = deepcopy(after[target.name])
            else:
                raise NotFound(f"there is no release file {target.name}")
            file.unrecognized_fields["custom"] = dict(target.custom)
            after[target.name] = file
        if after == before.targets:
            return False
        self._supersede(self._sign(Targets(version=before.version + 1, targets=after)))
        return True

    def refresh(self) -> bool:
        """Signs again what expires soon, so that devices go on trusting it; False if nothing does."""
        latest = self._latest
        if root_is_due := self._expires_soon(latest.root):
            root = deepcopy(latest.root.signed)
            root.version += 1
            self._write(self._sign(root))
            self._known = latest = replace(latest, root=self._load_root())
        if self._expires_soon(latest.targets):
            targets = latest.targets.signed
            self._supersede(self._sign(Targets(version=targets.version + 1, targets=targets.targets)))
        elif self._expires_soon(latest.snapshot):
            self._supersede(latest.targets)
        elif self._expires_soon(latest.timestamp):
            timestamp = self._timestamp(latest.timestamp.signed.version + 1, latest.snapshot.signed.version)
            self._write(timestamp)
            self._known = replace(latest, timestamp=timestamp)
        else:
            return root_is_due
        return True

    @property
    def _latest(self) -> _Latest:
        if self._known is None:
            raise RuntimeError("call initialise() first")
        return self._known

    def _supersede(self, targets: Metadata[Targets]) -> None:
        latest = self._latest
        versions = latest.snapshot.signed.version + 1, latest.timestamp.signed.version + 1
        self._known = self._commit(latest.root, targets, *versions)

    def _commit(
        self, root: Metadata[Root], targets: Metadata[Targets], snapshot_version: int, timestamp_version: int
    ) -> _Latest:
        """Writes new metadata, the timestamp last. An error on the way leaves devices where they were."""
        self._write(targets)
        meta = {"targets.json": MetaFile(targets.signed.version)}
        snapshot = self._sign(Snapshot(version=snapshot_version, meta=meta))
        self._write(snapshot)
        timestamp = self._timestamp(timestamp_version, snapshot_version)
        self._write(timestamp)
        return _Latest(root, targets, snapshot, timestamp)

    # ---------------------------------------------------------------- signatures

    def _timestamp(self, version: int, snapshot_version: int) -> Metadata[Timestamp]:
        return self._sign(Timestamp(version=version, snapshot_meta=MetaFile(snapshot_version)))

    def _first_root(self) -> Root:
        root = Root(version=1)
        for role in RELEASE_KEYS:
            root.add_key(self._signer(role).public_key, role)
        return root

    def _sign(self, signed: S) -> Metadata[S]:
        """`signed` with an expiry from now and the signature of its role."""
        lifetime = LIFETIMES[signed.type]
        signed.expires = datetime.fromtimestamp(self._now(), UTC).replace(microsecond=0) + lifetime.valid
        metadata = Metadata(signed)
        metadata.sign(self._signer(signed.type))
        return metadata

    def _signer(self, role: str) -> CryptoSigner:
        return CryptoSigner(load_key(self._home, "release", f"{role}.pem"))

    def _expires_soon(self, metadata: Metadata[Any]) -> bool:
        signed = metadata.signed
        return bool(signed.is_expired(datetime.fromtimestamp(self._now(), UTC) + LIFETIMES[signed.type].renew))

    # ---------------------------------------------------------------- the disk

    def _write(self, metadata: Metadata[Any]) -> None:
        signed = metadata.signed
        name = "timestamp.json" if signed.type == "timestamp" else f"{signed.version}.{signed.type}.json"
        replace_file(self._metadata / name, metadata.to_bytes(_SERIALIZER))

    def _store(self, file: TargetFile, content: bytes) -> None:
        path = self._files / _hashed(file)
        if path.exists():  # a name with its hash never changes its content
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content)
        for folder in path.parent.relative_to(self._files).parents:
            sync_folder(self._files / folder)

    def _load_root(self) -> Metadata[Root]:
        versions = [int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json")]
        return self._read(f"{max(versions)}.root.json", Root)

    def _load(self, root: Metadata[Root]) -> _Latest:
        timestamp = self._read("timestamp.json", Timestamp)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        targets = self._read(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        signed: tuple[Metadata[Any], ...] = (root, timestamp, snapshot, targets)
        for metadata in signed:
            role = metadata.signed.type
            try:
                root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            except RepositoryError as error:
                raise self._damaged(role, error) from None
        return _Latest(root, targets, snapshot, timestamp)

    def _read(self, name: str, kind: type[S]) -> Metadata[S]:
        try:
            metadata: Metadata[Any] = Metadata.from_file(str(self._metadata / name))
        except (RepositoryError, StorageError) as error:
            raise self._damaged(name, error) from None
        if not isinstance(metadata.signed, kind):
            raise self._damaged(name, f"it is {metadata.signed.type} metadata")
        return cast("Metadata[S]", metadata)

    def _damaged(self, name: str, reason: object) -> ConfigurationError:
        return ConfigurationError(
            f"the release metadata {name} in {self._metadata} cannot be used: {reason}",
            "Restore the folder from a backup; devices refuse anything older than what they have seen",
        )


def _hashed(target: TargetFile) -> PurePosixPath:
    """Where a consistent snapshot keeps a file (TUF specification 1.0.33, section 6.2): its hash before its name."""
    name = PurePosixPath(target.path)
    return name.with_name(f"{target.hashes['sha256']}.{name.name}")
