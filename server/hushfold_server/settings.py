"""The server's folder and its settings.

    home/
      server.toml         settings, see `Settings`; may be absent
      hushfold.db         the database (with -wal and -shm beside it while in use)
      objects/            weights, learner states: files named by their hash
      keys/authority/     the enrolment key, and enrolments.db with the devices that it was used for: for the authority
                          process alone, in production another user's
      keys/plan/          the key that signs plans: for the learner process
      keys/release/       the TUF keys: for the publisher process
      releases/metadata/  the TUF repository that devices read
      releases/targets/
      logs/
      run/                what means something while the server runs: its lock, its processes' word that they are ready
      public/             app.json, which an app embeds, and the public keys authority.pub and plan.pub

Folders are created 0700 and keys 0600, and a key that others can read is refused.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hushfold_protocol.addresses import check_address, is_loopback

from .durable import replace_file
from .errors import ConfigurationError
from .toml_tables import Faults, TomlTable, read

HOME_VARIABLE = "HUSHFOLD_HOME"
_ELSEWHERE = f"Name another folder with --home or {HOME_VARIABLE}"
_KEY_BYTES_LIMIT = 1 << 16

KeyRole = Literal["authority", "plan", "release"]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port, for tests


@dataclass(frozen=True)
class Home:
    """One server's folder. Making the object touches nothing; `create` and `open` look at the disk."""

    path: Path

    @classmethod
    def default(cls) -> Home:
        """The folder that HUSHFOLD_HOME names, else `hushfold-home` in the current folder."""
        return cls(Path(os.environ.get(HOME_VARIABLE) or "hushfold-home").absolute())

    @classmethod
    def create(cls, path: Path) -> Home:
        """The folder with everything in it that is missing; what is there is left as it is.

        Raises ConfigurationError for a folder that holds something else, and where none can be made.
        """
        home = cls(path.absolute())
        try:
            home._refuse_what_is_not_ours()
            for folder in home._folders:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(f"{error.filename} is a file; a folder is needed", _ELSEWHERE) from None
        except FileNotFoundError as error:  # the parents were made: this one is a file system without new folders
            raise ConfigurationError(f"no folder can be made at {error.filename}", _ELSEWHERE) from None
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be used: {error.strerror}", _ELSEWHERE) from None
        return home

    @classmethod
    def open(cls, path: Path) -> Home:
        """The folder of a server that was set up. Raises ConfigurationError if it is none."""
        home = cls(path.absolute())
        if home.path.is_file():
            raise ConfigurationError(f"{home.path} is a file; a folder is needed", _ELSEWHERE)
        set_up = f"Set it up with `{home.command('init')}`, or name another with --home or {HOME_VARIABLE}"
        if not home.path.is_dir():
            raise ConfigurationError(f"there is no folder {home.path}", set_up)
        missing = [folder for folder in home._folders if not folder.is_dir()]
        if missing:
            tops = [str(folder.relative_to(home.path)) for folder in missing if folder.parent not in missing]
            raise ConfigurationError(f"{home.path} is not a server's folder: it has no {', '.join(tops)}", set_up)
        return home

    def command(self, words: str) -> str:
        """`hushfold-server` with `words`, for this folder: what an operator is told to type."""
        elsewhere = "" if self == Home.default() else f" --home {shlex.quote(str(self.path))}"
        return f"hushfold-server {words}{elsewhere}"

    @property
    def has_releases(self) -> bool:
        """Whether a release was ever signed here, for which there must be a database."""
        return (self.release_metadata / "1.root.json").exists()

    def _refuse_what_is_not_ours(self) -> None:
        if not self.path.exists() or self.keys("plan").is_dir() or self.settings_file.exists():
            return
        ours = {folder.relative_to(self.path).parts[0] for folder in self._folders[1:]}  # some of them: a first `init`
        others = sorted({entry.name for entry in self.path.iterdir()} - ours - {"lost+found"})  # that died; a volume
        if others:
            raise ConfigurationError(
                f"{self.path} holds something else than a server, such as {others[0]}",
                f"Name a new or an empty folder with --home or {HOME_VARIABLE}",
            )

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (
            self.path,
            self.objects,
            self.path / "keys",
            *(self.keys(role) for role in ("authority", "plan", "release")),
            self.releases,
            self.release_metadata,
            self.release_targets,
            self.logs,
            self.run,
            self.public,
        )

    @property
    def settings_file(self) -> Path:
        return self.path / "server.toml"

    @property
    def database(self) -> Path:
        return self.path / "hushfold.db"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def keys(self, role: KeyRole) -> Path:
        return self.path / "keys" / role

    @property
    def releases(self) -> Path:
        return self.path / "releases"

    @property
    def release_metadata(self) -> Path:
        return self.releases / "metadata"

    @property
    def release_targets(self) -> Path:
        return self.releases / "targets"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def public(self) -> Path:
        return self.path / "public"

    def read_key(self, role: KeyRole, name: str) -> bytes:
        """A stored key. Raises ConfigurationError if it is missing or if other users can read it."""
        path = self.keys(role) / name
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                secret = file.read(_KEY_BYTES_LIMIT)
        except FileNotFoundError:
            raise ConfigurationError(
                f"the key {path} is missing", "Restore it from a backup; devices trust no other"
            ) from None
        except PermissionError:
            raise ConfigurationError(
                f"the key {path} belongs to another user", f"Start this process as the owner of {path.parent}"
            ) from None
        if mode & 0o077:
            raise ConfigurationError(
                f"other users may read the key {path} (mode {mode:04o})", f"Run `chmod 600 {path}`"
            )
        return secret

    def publish(self, name: str, content: bytes) -> Path:
        """Writes a file for apps to embed into `public/`, whole or not at all."""
        replace_file(self.public / name, content)
        return self.public / name


class Settings(TomlTable):
    """`server.toml`. Every field has a default that suits a server on this machine alone."""

    host: str = "127.0.0.1"  # address that the api and the authority listen on
    api_port: Port = 8470
    authority_port: Port = 8471
    public_url: str | None = None  # where devices reach the api; default: host and port
    public_authority_url: str | None = None  # where devices reach the authority; default: host and port
    tls_certificate: str | None = None  # PEM file with the chain
    tls_key: str | None = None  # PEM file
    tls_proxy: bool = False  # a proxy in front of both services speaks TLS to devices
    certificate_days: Annotated[int, Field(ge=62, le=3650)] = 365  # validity; devices renew it a month before the end
    enrolments_total: Annotated[int, Field(ge=1)] = 1_000_000  # devices that may ever enrol
    enrolments_per_hour: Annotated[int, Field(ge=1)] = 20_000  # devices that may enrol within an hour
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def load(cls, home: Home) -> Self:
        """The settings of `home`; the defaults if it has no server.toml. Raises ConfigurationError."""
        try:
            text = home.settings_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{home.settings_file} cannot be read: {error}") from None
        try:
            return read(cls, text)
        except Faults as faults:
            raise ConfigurationError(
                "\n".join((f"{home.settings_file} has faults:", *(f"  - {fault}" for fault in faults.sentences)))
            ) from None

    def with_ports(self, api: int | None, authority: int | None) -> Self:
        """These settings with other ports, where given: a process listens where the supervisor says."""
        given = {"api_port": api, "authority_port": authority}
        return self.model_copy(update={name: port for name, port in given.items() if port is not None})

    @model_validator(mode="after")
    def _devices_are_reached_over_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or none")
        if not is_loopback(self.host):
            if not (self.tls_certificate or self.tls_proxy):
                raise ValueError(
                    f"host {self.host!r} can be reached from other machines: give tls_certificate and tls_key, "
                    "or set tls_proxy = true if a proxy in front of the server speaks TLS"
                )
            if self.public_url is None or self.public_authority_url is None:
                raise ValueError(
                    f"host {self.host!r} can be reached from other machines: public_url and public_authority_url "
                    "must say by what name devices reach it"
                )
        for name, url in (
            ("public_url", self.public_url),
            ("public_authority_url", self.public_authority_url),
        ):
            if url is None:
                continue
            try:
                check_address(url)  # as devices do
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @property
    def api_url(self) -> str:
        """Where devices reach the api, without a trailing slash."""
        return self._url(self.public_url, self.api_port)

    @property
    def authority_url(self) -> str:
        """Where devices reach the enrolment authority, without a trailing slash."""
        return self._url(self.public_authority_url, self.authority_port)

    def _url(self, given: str | None, port: int) -> str:
        if given is not None:
            return given.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{port}"
