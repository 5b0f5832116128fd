"""Verified model updates: from a TUF repository to the model in use.

`ReleaseChannel` finds and fetches releases. Whatever it returns was verified by python-tuf against the root of trust
that the app shipped: signed by enough keys, fresh, and not older than what this device has seen
(https://theupdateframework.github.io/specification/latest/). `ActiveModel` switches to a release, and back.

    release = channel.refresh()
    if release is not None and active.wants(release):
        active.activate(release, channel.download(release))

Without the server, or with one that lies, the channel raises and the active model stays.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from tuf.api import exceptions
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
from urllib3.exceptions import HTTPError

from hushfold_protocol.addresses import check_address

from .durable import replace_file
from .errors import ModelError, Refusal, ReleaseRefused, ReleaseUnavailable
from .releases import Installation, Release

MAX_RELEASE_BYTES = 64 << 20
MAX_JSON_BYTES = 64 << 10


class ReleaseChannel:
    """The releases of one model, for one installation. Not for several threads or processes at once.

    Args:
        folder: for the metadata that this device has seen. It protects against replays: keep it between runs.
        root_json: the root metadata that the app shipped.
        metadata_url, targets_url: of the repository; https, or http to this machine.
        installation: decides which releases are eligible.
        fetcher: how to download; over HTTP by default.
        max_bytes: of a release.
    """

    def __init__(
        self,
        folder: Path | str,
        root_json: bytes,
        metadata_url: str,
        targets_url: str,
        installation: Installation,
        *,
        fetcher: FetcherInterface | None = None,
        max_bytes: int = MAX_RELEASE_BYTES,
    ) -> None:
        for url in (metadata_url, targets_url):
            check_address(url)
        self._metadata = Path(folder) / "metadata"
        self._targets = Path(folder) / "targets"
        self._root = root_json
        self._urls = (metadata_url, targets_url)
        self._installation = installation
        self._fetcher = fetcher
        self._max_bytes = max_bytes
        self._verified: Updater | None = None  # the last one that refreshed; each refreshes only once

    def refresh(self) -> Release | None:
        """Fetch and verify the metadata; the newest release that this installation is eligible for, if there is one.

        Raises:
            ReleaseUnavailable: the repository cannot be reached.
            ReleaseRefused: the metadata fails verification, or describes a release that makes no sense.
        """
        with _reported("the release metadata"):
            updater = self._updater()
            updater.refresh()
            self._verified = updater
            # The updater lists no targets. The file that it has just verified and stored does, but only the names are
            # taken from there; what is said about them comes from the verified metadata in memory.
            names = Metadata[Targets].from_file(str(self._metadata / "targets.json")).signed.targets
            found = [(name, updater.get_targetinfo(name)) for name in names]
        releases = [Release.from_target(name, target) for name, target in found if target is not None]
        return self._installation.newest(release for release in releases if release is not None)

    def download(self, release: Release) -> Path:
        """The verified weights of a release that `refresh` returned. An interrupted download leaves nothing behind.

        Raises:
            ReleaseUnavailable: the transfer broke off, or the release has been withdrawn.
            ReleaseRefused: the bytes are not those that were signed, or too many.
        """
        target = self._target(release.target, self._max_bytes)
        if target.hashes.get("sha256") != release.sha256:
            raise ReleaseUnavailable(f"release {release.target} has been replaced", "Refresh and take the newest")
        return self._fetch(target)

    def fetch_json(self, name: str) -> dict[str, Any]:
        """The content of a small signed target: a JSON object such as `service.json`.

        Raises ReleaseUnavailable and ReleaseRefused as `download` does.
        """
        path = self._fetch(self._target(name, MAX_JSON_BYTES))
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            document = None
        finally:
            path.unlink()
        if not isinstance(document, dict):
            raise ReleaseRefused(Refusal.MALFORMED, f"{name} is signed but is not a JSON object")
        return document

    def _updater(self) -> Updater:
        for folder in (self._metadata, self._targets):
            folder.mkdir(parents=True, exist_ok=True)
        metadata_url, targets_url = self._urls
        return Updater(
            str(self._metadata),
            metadata_url,
            str(self._targets),
            targets_url,
            self._fetcher,
            UpdaterConfig(app_user_agent="hushfold"),
            bootstrap=self._root,
        )

    def _target(self, name: str, limit: int) -> TargetFile:
        if self._verified is None:
            self.refresh()
        with _reported(name):
            target = cast(Updater, self._verified).get_targetinfo(name)
        if target is None:
            raise ReleaseUnavailable(f"the repository has no {name}", "Refresh and take the newest release")
        if target.length > limit:
            raise ReleaseRefused(
                Refusal.TOO_LARGE, f"{name} has {target.length} bytes, this device accepts at most {limit}"
            )
        return target

    def _fetch(self, target: TargetFile) -> Path:
        updater = cast(Updater, self._verified)
        with _reported(target.path):
            path = Path(updater.find_cached_target(target) or updater.download_target(target))
            for other in self._targets.iterdir():  # downloads that were never activated
                if other != path:
                    other.unlink()
        return path


@dataclass(frozen=True, slots=True)
class _Pointer:
    """Which release is in use; None stands for the model that the app shipped."""

    active: Release | None = None
    previous: Release | None = None
    held_back: int = 0  # the user went back from this number: do not offer it, or an older one, again

    @classmethod
    def read(cls, path: Path) -> _Pointer:
        try:
            document = json.loads(path.read_bytes())
            active, previous = (
                None if document[key] is None else Release(**document[key]) for key in ("active", "previous")
            )
            return cls(active, previous, int(document["held_back"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} cannot be read: {error!r}", "Delete it to go back to the model that the app shipped"
            ) from error


class ActiveModel:
    """The weights in use, in a folder of their own: those of a release, or those that the app shipped.

    `manifest_sha256` is the hash of the installed model.json. A release that fits another one, because the app was
    updated and ships another graph, counts as absent. Safe to share between threads, and against a crash at any point.
    """

    def __init__(self, folder: Path | str, manifest_sha256: str) -> None:
        self._folder = Path(folder)
        self._manifest_sha256 = manifest_sha256
        self._pointer_file = self._folder / "active.json"
        self._lock = threading.Lock()  # from reading the pointer to changing it, or to reading what it points to

    @property
    def active(self) -> Release | None:
        """The release in use; None for the model that the app shipped."""
        return self._fitting(_Pointer.read(self._pointer_file).active)

    @property
    def previous(self) -> Release | None:
        """Where `roll_back` goes; None for the model that the app shipped."""
        return self._fitting(_Pointer.read(self._pointer_file).previous)

    def wants(self, release: Release) -> bool:
        """Whether to activate it unasked: it is newer than the active one and than what the user went back from."""
        pointer = _Pointer.read(self._pointer_file)
        active = self._fitting(pointer.active)
        return release.number > max(pointer.held_back, 0 if active is None else active.number)

    def activate(self, release: Release, weights: Path) -> None:
        """Switch to a release. `weights` is moved here.

        Raises:
            ModelError: the release is for another graph, or the file does not hold its weights. Nothing was changed.
        """
        if self._fitting(release) is None:
            raise ModelError(f"release {release.target} does not fit the installed model.json", "Update the app")
        content = _read_weights(weights, release)
        with self._lock:
            pointer = _Pointer.read(self._pointer_file)
            active = self._fitting(pointer.active)
            previous = pointer.previous if active == release else active
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._file(release), content)
            self._point(_Pointer(release, previous, pointer.held_back))
        weights.unlink(missing_ok=True)

    def roll_back(self) -> Release | None:
        """Go back to the previous release, or to the model that the app shipped; the one now in use.

        Raises ModelError if the shipped model is in use already.
        """
        with self._lock:
            pointer = _Pointer.read(self._pointer_file)
            active = self._fitting(pointer.active)
            if active is None:
                raise ModelError("the model that the app shipped is in use: there is nothing to go back to")
            back = self._fitting(pointer.previous)
            self._point(_Pointer(back, None, max(active.number, pointer.held_back)))
        return back

    def weights(self) -> bytes | None:
        """The active weights, little-endian float32; None if those that the app shipped are in use.

        Raises ModelError if they are missing or not what was activated.
        """
        with self._lock:
            active = self.active
            return None if active is None else _read_weights(self._file(active), active)

    def _fitting(self, release: Release | None) -> Release | None:
        return release if release is not None and release.manifest_sha256 == self._manifest_sha256 else None

    def _file(self, release: Release) -> Path:
        return self._folder / f"{release.number}.f32"

    def _point(self, pointer: _Pointer) -> None:
        """The switch itself, then what can be done again after a crash: delete weights that nothing points to, and what
        a process that was killed had begun to write."""
        replace_file(self._pointer_file, json.dumps(asdict(pointer), indent=1).encode())
        kept = {self._file(release) for release in (pointer.active, pointer.previous) if release is not None}
        for file in (*self._folder.glob("*.f32"), *self._folder.glob(".*")):
            if file not in kept:
                file.unlink(missing_ok=True)


def _read_weights(path: Path, release: Release) -> bytes:
    advice = "Go back to the previous model, or download the release again"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", advice) from error
    if hashlib.sha256(content).hexdigest() != release.sha256:
        raise ModelError(f"{path} does not hold the weights of release {release.target}", advice)
    return content


# The first class that matches names the reason; any other RepositoryError is MALFORMED.
_REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (exceptions.UnsignedMetadataError, Refusal.SIGNATURE),
    (exceptions.BadVersionNumberError, Refusal.REPLAYED),
    (exceptions.ExpiredMetadataError, Refusal.EXPIRED),
    (exceptions.LengthOrHashMismatchError, Refusal.TAMPERED),
    (exceptions.DownloadLengthMismatchError, Refusal.TAMPERED),
    (exceptions.RepositoryError, Refusal.MALFORMED),
)


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """python-tuf's errors as the SDK's: what was offered but failed is refused, what did not come unavailable."""
    try:
        yield
    except RecursionError:
        raise ReleaseRefused(
            Refusal.MALFORMED, f"{what} was refused ({Refusal.MALFORMED}): JSON that is nested too deep"
        ) from None
    except (exceptions.RepositoryError, exceptions.DownloadError, HTTPError, OSError) as error:
        for kind, reason in _REFUSALS:
            if isinstance(error, kind):
                raise ReleaseRefused(
                    reason,
                    f"{what} was refused ({reason}): {error}",
                    "Check the device's clock" if reason is Refusal.EXPIRED else "The active model stays",
                ) from error
        cause = error.__cause__ or error
        raise ReleaseUnavailable(
            f"{what} could not be fetched: {cause or type(cause).__name__}", "Try again later; the active model stays"
        ) from error
