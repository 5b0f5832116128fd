"""The release channel, through the eyes of a device's TUF client."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater

from hushfold_server import durable
from hushfold_server.errors import ConfigurationError, NotFound, StateError
from hushfold_server.releases import LIFETIMES, ReleaseRepository, Target
from hushfold_server.settings import Home

DAY = 86_400.0


class Clock:
    """Begins now: the TUF client takes the time from the operating system."""

    def __init__(self):
        self.now = datetime.now(UTC).timestamp()

    def __call__(self):
        return self.now


class Folder(FetcherInterface):
    """Serves the repository's folder, as the api process does."""

    def __init__(self, home):
        self._home = home

    def _fetch(self, url):
        path = self._home.releases / urlsplit(url).path.lstrip("/")
        if not path.is_file():
            raise exceptions.DownloadHTTPError(f"{url} is missing", 404)
        yield path.read_bytes()


class Device:
    """Keeps what it has seen, as a device does."""

    def __init__(self, home, folder, root):
        self.home, self.folder, self.root = home, Path(folder), root
        (self.folder / "targets").mkdir(parents=True)

    def refresh(self):
        updater = Updater(
            str(self.folder),
            "http://localhost/metadata",
            str(self.folder / "targets"),
            "http://localhost/targets",
            Folder(self.home),
            bootstrap=self.root,
        )
        updater.refresh()
        return updater

    def read(self, name):
        updater = self.refresh()
        target = updater.get_targetinfo(name)
        if target is None:
            return None
        return Path(updater.download_target(target)).read_bytes(), target.custom


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def home(tmp_path):
    return Home.create(tmp_path / "home")


@pytest.fixture
def repository(home, clock):
    repository = ReleaseRepository(home, clock)
    repository.initialise()
    return repository


@pytest.fixture
def device(home, repository, tmp_path):
    return Device(home, tmp_path / "device", repository.root())


def weights(version, content=b"weights", **custom):
    return Target(f"next_word/{version}/weights.f32", content, {"release": 1, **custom})


def test_a_device_gets_what_was_published(repository, device):
    assert device.read("next_word/1.0.0/weights.f32") is None
    assert repository.publish([weights("1.0.0", b"one"), Target("service.json", b"{}", {})])
    assert device.read("next_word/1.0.0/weights.f32") == (b"one", {"release": 1})
    assert device.read("service.json") == (b"{}", {})


def test_files_are_replaced_removed_and_kept(repository, device):
    repository.publish([weights("1.0.0", b"one"), weights("1.1.0", b"two"), Target("service.json", b"{}", {})])
    assert device.read("next_word/1.1.0/weights.f32")
    repository.publish([weights("1.0.0", b"changed")], remove=["next_word/1.1.0/weights.f32"])
    assert device.read("next_word/1.0.0/weights.f32")[0] == b"changed"
    assert device.read("next_word/1.1.0/weights.f32") is None
    assert device.read("service.json")


def test_custom_fields_change_without_the_file(repository, device):
    repository.publish([weights("1.0.0", b"one", rollout_percent=10)])
    assert repository.publish([weights("1.0.0", None, rollout_percent=50)])
    assert device.read("next_word/1.0.0/weights.f32") == (b"one", {"release": 1, "rollout_percent": 50})
    with pytest.raises(NotFound):
        repository.publish([weights("2.0.0", None)])


def test_publishing_the_same_again_changes_nothing(repository, home):
    repository.publish([weights("1.0.0")])
    before = contents(home)
    assert not repository.publish([weights("1.0.0")])
    assert contents(home) == before


def test_each_role_has_a_key_of_its_own_and_files_are_private(repository, home):
    root = json.loads(repository.root())["signed"]
    assert root["consistent_snapshot"] is True
    roles = root["roles"]
    assert {name: role["threshold"] for name, role in roles.items()} == dict.fromkeys(LIFETIMES, 1)
    assert len({role["keyids"][0] for role in roles.values()}) == len(root["keys"]) == 4
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_metadata_are_good_for_as_long_as_said(repository, home, clock):
    for name in ("1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"):
        signed = json.loads((home.release_metadata / name).read_bytes())["signed"]
        left = datetime.fromisoformat(signed["expires"]) - datetime.fromtimestamp(clock.now, UTC)
        assert abs(left - LIFETIMES[signed["_type"]].valid) <= timedelta(seconds=1)


def test_nothing_is_signed_again_too_early(repository, home, clock):
    before = contents(home)
    clock.now += DAY / 2 - 60
    assert not repository.refresh()
    assert contents(home) == before


@pytest.mark.slow
def test_looked_after_twice_a_day_a_repository_never_expires(repository, home, clock):
    """Some 400 days on one clock: whatever a device reads is good for a while each time."""
    repository.publish([weights("1.0.0")])
    for _ in range(800):
        clock.now += DAY / 2
        repository.refresh()
        for signed in latest(home):
            left = datetime.fromisoformat(signed["expires"]) - datetime.fromtimestamp(clock.now, UTC)
            assert left > LIFETIMES[signed["_type"]].renew - timedelta(seconds=1)
    versions = {signed["_type"]: signed["version"] for signed in latest(home)}
    assert versions["root"] == 2
    assert versions["targets"] == 2 + 400 // 60  # ours, and each 60 days: valid for 90, renewed 30 before
    assert versions["timestamp"] > 800


def test_a_device_follows_renewed_roots(repository, device, clock):
    repository.publish([weights("1.0.0", b"one")])
    device.refresh()
    clock.now += 300 * DAY
    assert repository.refresh()
    assert device.read("next_word/1.0.0/weights.f32")[0] == b"one"
    assert json.loads((device.folder / "root.json").read_bytes())["signed"]["version"] == 2


def test_an_expired_timestamp_is_refused_until_it_is_refreshed(home, clock, tmp_path):
    clock.now -= 2 * DAY
    repository = ReleaseRepository(home, clock)
    repository.initialise()
    device = Device(home, tmp_path / "device", repository.root())
    with pytest.raises(exceptions.ExpiredMetadataError):
        device.refresh()
    clock.now += 2 * DAY
    assert repository.refresh()
    device.refresh()


def test_a_replayed_repository_is_refused(repository, device, home):
    old = (home.release_metadata / "timestamp.json").read_bytes()
    repository.publish([weights("1.0.0")])
    device.refresh()
    (home.release_metadata / "timestamp.json").write_bytes(old)
    with pytest.raises(exceptions.BadVersionNumberError):
        Device.refresh(device)


def test_a_tampered_file_is_refused(repository, device, home):
    repository.publish([weights("1.0.0", b"one")])
    (file,) = (path for path in home.release_targets.rglob("*.weights.f32"))
    file.write_bytes(b"two")
    with pytest.raises(exceptions.RepositoryError):
        device.read("next_word/1.0.0/weights.f32")


def test_another_servers_repository_is_refused(device, tmp_path, clock):
    other = Home.create(tmp_path / "other")
    ReleaseRepository(other, clock).initialise()
    device.home = other
    with pytest.raises(exceptions.UnsignedMetadataError):
        device.refresh()


class Killed(BaseException):
    """In place of SIGKILL: nothing after it runs in the repository."""


def kill_at(monkeypatch, step):
    """Stops everything at the `step`-th rename: before it, files are written but not in place."""
    replace, count = Path.replace, [0]

    def counted(self, target):
        count[0] += 1
        if count[0] == step:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", counted)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process removes no file either
    return lambda: monkeypatch.undo()


@pytest.mark.parametrize("step", range(1, 6))
def test_killed_at_any_step_devices_see_the_old_or_the_new_and_the_next_run_finishes(
    repository, home, clock, device, monkeypatch, step
):
    wanted = [weights("1.1.0", b"two"), Target("next_word/1.1.0/card.json", b"card", {})]
    repository.publish([weights("1.0.0", b"one")])
    device.refresh()
    revive = kill_at(monkeypatch, step)
    with pytest.raises(Killed):  # two files, targets, snapshot, timestamp: five renames
        repository.publish(wanted)
    revive()
    assert device.read("next_word/1.0.0/weights.f32")[0] == b"one"
    assert device.read("next_word/1.1.0/weights.f32") is None
    again = ReleaseRepository(home, clock)
    again.initialise()
    assert again.publish(wanted)
    assert device.read("next_word/1.1.0/weights.f32")[0] == b"two"
    assert device.read("next_word/1.1.0/card.json")[0] == b"card"
    assert not list(home.releases.rglob(".incoming-*"))


@pytest.mark.parametrize("step", range(1, 5))
def test_killed_while_it_is_made_a_repository_is_finished_by_the_next_run(home, clock, monkeypatch, tmp_path, step):
    revive = kill_at(monkeypatch, step)
    with pytest.raises(Killed):
        ReleaseRepository(home, clock).initialise()
    revive()
    again = ReleaseRepository(home, clock)
    again.initialise()
    again.publish([weights("1.0.0", b"one")])
    assert Device(home, tmp_path / "device", again.root()).read("next_word/1.0.0/weights.f32")[0] == b"one"


def test_an_error_on_the_way_is_not_taken_for_success(repository, device, monkeypatch):
    monkeypatch.setattr(durable, "sync_folder", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        repository.publish([weights("1.0.0", b"one")])
    monkeypatch.undo()
    assert repository.publish([weights("1.0.0", b"one")])
    assert device.read("next_word/1.0.0/weights.f32")[0] == b"one"


def test_one_publisher_at_a_time(repository, home, clock):
    with repository.exclusive(), pytest.raises(StateError, match="another publisher"):
        ReleaseRepository(home, clock).exclusive().__enter__()
    with ReleaseRepository(home, clock).exclusive():
        pass


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json", "1.root.json"])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_damaged_metadata_are_named_and_never_replaced(repository, home, clock, name, content):
    repository.publish([weights("1.0.0")])
    file = home.release_metadata / name
    if content is None:
        signed = json.loads(file.read_bytes())
        signed["signed"]["version"] += 1  # not what was signed
        content = json.dumps(signed).encode()
    file.write_bytes(content)
    again = ReleaseRepository(home, clock)
    with pytest.raises(ConfigurationError, match="backup"):
        again.initialise()
    assert file.read_bytes() == content


def test_a_lost_timestamp_is_not_started_anew(repository, home, clock):
    repository.publish([weights("1.0.0")])
    (home.release_metadata / "timestamp.json").unlink()
    with pytest.raises(ConfigurationError, match="missing"):
        ReleaseRepository(home, clock).initialise()


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/../b", "", ".x", "a/.b", "a b", "a\\b"])
def test_names_stay_inside_the_repository(name):
    with pytest.raises(ValueError, match="no name"):
        Target(name, b"", {})


def contents(home):
    return {path: path.read_bytes() for path in home.releases.rglob("*") if path.is_file()}


def latest(home):
    """The signed parts of what a device would read."""

    def signed(name):
        return json.loads((home.release_metadata / name).read_bytes())["signed"]

    timestamp = signed("timestamp.json")
    snapshot = signed(f"{timestamp['meta']['snapshot.json']['version']}.snapshot.json")
    targets = signed(f"{snapshot['meta']['targets.json']['version']}.targets.json")
    roots = [int(path.name.split(".")[0]) for path in home.release_metadata.glob("*.root.json")]
    return [signed(f"{max(roots)}.root.json"), targets, snapshot, timestamp]
