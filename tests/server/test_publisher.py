"""The publisher: what the database says is what devices get, wherever it is interrupted."""

import hashlib
import json
import subprocess
import sys

import pytest
from eventually import eventually
from small_model import CARD, WEIGHTS, write_model
from sqlalchemy import insert, select, update
from task_files import task_file
from test_releases import Clock, Device

from hushfold_protocol.signing import device_id
from hushfold_server import keys, operations, overview
from hushfold_server.database import Database, Phase, ReleaseStatus, releases, rounds, states, tasks
from hushfold_server.errors import ConfigurationError, NotFound, StateError
from hushfold_server.objects import ObjectStore
from hushfold_server.publisher import Publisher
from hushfold_server.settings import Home, Settings

LEARNED = bytes(len(WEIGHTS))


class Server:
    """A home with a publisher that can be killed and started again."""

    def __init__(self, folder):
        self.folder, self.clock = folder, Clock()
        self.home = Home.create(folder / "home")
        keys.create_missing(self.home)
        self.manifest = write_model(folder / "models")
        self.database = Database(self.home.database)
        self.objects = ObjectStore(self.home.objects)
        with self.database.begin() as connection:
            connection.execute(
                insert(tasks).values(name="words", population="en", spec=task_file(), status="active", created_at=1.0)
            )
            for number in range(4):
                connection.execute(
                    insert(states).values(task="words", number=number, object_sha256="ab", created_at=1.0)
                )

    def publisher(self):
        return Publisher(self.home, self.database, Settings.load(self.home), self.folder / "models", self.clock)

    def start(self):
        publisher = self.publisher()
        publisher.start()
        return publisher

    def device(self):
        app = json.loads((self.home.public / "app.json").read_text())
        folder = self.folder / f"device-{len(list(self.folder.glob('device-*')))}"
        return Device(self.home, folder, json.dumps(app["root"]).encode())

    def learn(self, version, state, weights=LEARNED, **custom):
        """What the learner leaves: a candidate. Gives its number."""
        with self.database.begin() as connection:
            done = connection.execute(
                insert(releases).values(
                    model="next_word", version=version, task="words", state=state,
                    weights_sha256=self.objects.put(weights), status="candidate", custom=custom, created_at=1.0,
                )
            )  # fmt: skip
        return done.inserted_primary_key[0]

    def add_round(self, number, base_state, phase):
        with self.database.begin() as connection:
            connection.execute(
                insert(rounds).values(
                    id=f"{number:032x}", task="words", number=number, base_state=base_state, phase=phase,
                    invitation=b"plan", deadline=1.0, created_at=1.0, updated_at=1.0,
                )
            )  # fmt: skip

    def phases(self):
        with self.database.read() as connection:
            return {row.number: row.phase for row in connection.execute(select(rounds))}

    def statuses(self):
        return {row.number: row.status for row in overview.list_releases(self.database)}


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.database.close()


def newest(device):
    """What a device with every release open to it would take."""
    names = [name for name in offered(device) if name.endswith("/weights.f32")]
    return max((device.read(name) for name in names), key=lambda release: release[1]["release"])


def offered(device):
    device.refresh()
    return json.loads((device.folder / "targets.json").read_text())["signed"]["targets"].keys()


def test_the_first_start_publishes_the_base_model(server):
    server.start()
    device = server.device()
    content, custom = device.read("next_word/1.0.0/weights.f32")
    assert content == WEIGHTS
    salt = custom.pop("salt")
    assert len(bytes.fromhex(salt)) == 16
    assert custom == {
        "model": "next_word",
        "version": "1.0.0",
        "release": 1,
        "rollout_percent": 100,
        "minimum_sdk": "0.1.0",
        "manifest_sha256": hashlib.sha256(server.manifest).hexdigest(),
    }
    card, custom = device.read("next_word/1.0.0/card.json")
    assert custom == {"model": "next_word", "version": "1.0.0", "release": 1}
    assert json.loads(card)["text"] == CARD
    assert server.statuses() == {1: ReleaseStatus.PUBLISHED}


def test_the_service_file_names_the_plan_key_and_the_populations(server):
    publisher = server.start()
    device = server.device()
    service = json.loads(device.read("service.json")[0])
    assert service == {
        "plan_key": keys.public_key(server.home, "plan").hex(), "populations": ["en"], "protocol_version": 1,
    }  # fmt: skip
    with server.database.begin() as connection:
        connection.execute(insert(tasks).values(name="b", population="de", spec="", status="active", created_at=2.0))
    publisher.turn()
    assert json.loads(device.read("service.json")[0])["populations"] == ["de", "en"]


def test_the_file_that_apps_embed(server):
    server.start()
    app = json.loads((server.home.public / "app.json").read_text())
    assert set(app) == {"service_url", "authority_url", "authority_key", "root"}
    assert (app["service_url"], app["authority_url"]) == ("http://127.0.0.1:8470", "http://127.0.0.1:8471")
    assert len(device_id(bytes.fromhex(app["authority_key"]))) == 16
    assert app["root"]["signed"]["_type"] == "root"


def test_a_candidate_is_published_and_its_rounds_are_released(server):
    publisher = server.start()
    device = server.device()
    for number, base_state, phase in ((1, 0, "learned"), (2, 1, "aborted"), (3, 1, "learned"), (4, 2, "summed")):
        server.add_round(number, base_state, phase)
    server.learn("1.1.0", 2, rollout_percent=20, minimum_sdk="0.2.0", metrics={"top3": 0.4})
    publisher.turn()
    content, custom = device.read("next_word/1.1.0/weights.f32")
    assert content == LEARNED
    assert (custom["release"], custom["rollout_percent"], custom["minimum_sdk"]) == (2, 20, "0.2.0")
    assert custom["manifest_sha256"] == hashlib.sha256(server.manifest).hexdigest()
    card = json.loads(device.read("next_word/1.1.0/card.json")[0])
    assert (card["task"], card["rounds"], card["metrics"]) == ("words", 2, {"top3": 0.4})
    assert server.statuses()[2] is ReleaseStatus.PUBLISHED
    assert server.phases() == {1: Phase.RELEASED, 2: Phase.ABORTED, 3: Phase.RELEASED, 4: Phase.SUMMED}


def test_a_round_that_is_learned_after_its_release_was_published_is_released_too(server):
    publisher = server.start()
    server.add_round(1, 0, "summed")
    server.learn("1.1.0", 1)
    publisher.turn()
    with server.database.begin() as connection:
        connection.execute(update(rounds).values(phase="learned"))
    publisher.turn()
    assert server.phases() == {1: Phase.RELEASED}


def test_turns_without_news_touch_nothing(server):
    publisher = server.start()
    before = {path: path.stat().st_mtime_ns for path in server.home.releases.rglob("*")}
    for _ in range(3):
        publisher.turn()
    server.start()
    assert {path: path.stat().st_mtime_ns for path in server.home.releases.rglob("*")} == before


def test_a_rollout_widens_for_the_same_devices(server):
    publisher = server.start()
    device = server.device()
    number = server.learn("1.1.0", 1, rollout_percent=5)
    publisher.turn()
    salt = device.read("next_word/1.1.0/weights.f32")[1]["salt"]
    operations.set_rollout(server.database, number, 50)
    publisher.turn()
    custom = device.read("next_word/1.1.0/weights.f32")[1]
    assert (custom["rollout_percent"], custom["salt"]) == (50, salt)


def test_a_step_back_is_a_newer_release_of_older_weights(server):
    publisher = server.start()
    device = server.device()
    server.learn("1.1.0", 1, rollout_percent=10)
    server.learn("1.2.0", 2, weights=b"\0\0\x80\x3f" * 48)
    publisher.turn()
    assert newest(device)[0] == b"\0\0\x80\x3f" * 48
    assert operations.roll_back(server.database, 1, now=5.0) == 4
    publisher.turn()
    content, custom = newest(device)
    assert content == WEIGHTS
    assert (custom["release"], custom["version"], custom["rollout_percent"]) == (4, "1.0.0-r4", 100)
    assert not {name for name in offered(device) if name.startswith(("next_word/1.1.0/", "next_word/1.2.0/"))}
    assert server.statuses() == {1: "published", 2: "withdrawn", 3: "withdrawn", 4: "published"}
    # ... and forward again, from a withdrawn one
    assert operations.roll_back(server.database, 2, now=6.0) == 5
    publisher.turn()
    assert newest(device)[0] == LEARNED
    assert newest(device)[1]["version"] == "1.1.0-r5"


def test_a_step_back_needs_somewhere_to_go(server):
    publisher = server.start()
    with pytest.raises(StateError, match="newest"):
        operations.roll_back(server.database, 1, now=5.0)
    number = server.learn("1.1.0", 1)
    with pytest.raises(StateError, match="not published yet"):
        operations.roll_back(server.database, number, now=5.0)
    with pytest.raises(NotFound, match="release 77"):
        operations.roll_back(server.database, 77, now=5.0)
    publisher.turn()
    assert server.statuses() == {1: "published", number: "published"}


def test_a_step_back_that_was_taken_is_not_taken_again(server):
    publisher = server.start()
    server.learn("1.1.0", 1)
    publisher.turn()
    assert operations.roll_back(server.database, 1, now=5.0) == 3
    for _ in ("a candidate", "published"):
        with pytest.raises(StateError, match=r"release 3, .* has the weights of release 1 already"):
            operations.roll_back(server.database, 1, now=6.0)
        publisher.turn()
    assert server.statuses() == {1: "published", 2: "withdrawn", 3: "published"}


def test_a_long_version_keeps_within_its_field(server):
    server.start()
    server.learn("1." + "0" * 30, 1)
    server.start()
    server.learn("2.0.0", 2)
    server.start()
    operations.roll_back(server.database, 2, now=5.0)
    versions = [row.version for row in overview.list_releases(server.database)]
    assert versions[0] == "1." + "0" * 27 + "-r4"


@pytest.mark.parametrize(
    ("weights", "said"),
    [(b"", "0 bytes"), (WEIGHTS[4:], "188 bytes"), (b"\0\0\xc0\x7f" + WEIGHTS[4:], "not finite float32")],
)
def test_weights_that_no_device_could_use_are_withdrawn_and_hold_nobody_up(server, weights, said):
    publisher = server.start()
    bad = server.learn("1.1.0", 1, weights=weights)
    good = server.learn("1.2.0", 2)
    publisher.turn()
    assert server.statuses() == {1: "published", bad: "withdrawn", good: "published"}
    assert said in overview.list_releases(server.database)[1].reason
    assert "next_word/1.1.0/weights.f32" not in offered(server.device())


def test_missing_weights_are_withdrawn(server):
    publisher = server.start()
    number = server.learn("1.1.0", 1)
    server.objects.path(hashlib.sha256(LEARNED).hexdigest()).unlink()
    publisher.turn()
    assert server.statuses()[number] is ReleaseStatus.WITHDRAWN


def test_a_new_base_model_is_a_new_release_and_older_ones_keep_their_layout(server):
    server.start()
    server.learn("1.1.0", 1)
    server.start()
    device = server.device()
    old = hashlib.sha256(server.manifest).hexdigest()
    new = hashlib.sha256(write_model(server.folder / "models", "2.0.0", bytes(400))).hexdigest()
    server.start()
    assert newest(device)[1]["version"] == "2.0.0"
    assert newest(device)[1]["manifest_sha256"] == new
    assert device.read("next_word/1.1.0/weights.f32")[1]["manifest_sha256"] == old
    # ... also when they come back after it, and come back again.
    for _ in range(2):
        number = operations.roll_back(server.database, 2, now=5.0)
        server.start()
        content, custom = newest(device)
        assert (content, custom["release"], custom["manifest_sha256"]) == (LEARNED, number, old)
        server.learn(f"3.{number}.0", 2, weights=bytes(400))
        server.start()


def test_without_a_model_there_is_nothing_to_serve(server):
    (server.folder / "models" / "next_word" / "model.json").unlink()
    with pytest.raises(ConfigurationError, match="no model"):
        server.start()


def test_a_changed_model_file_is_refused(server):
    (server.folder / "models" / "next_word" / "weights.f32").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match=r"weights\.f32 is not the file"):
        server.start()


def test_it_refreshes_the_timestamp_in_time(server):
    publisher = server.start()
    timestamp = server.home.release_metadata / "timestamp.json"
    before = timestamp.read_bytes()
    server.clock.now += 11 * 3600
    publisher.turn()
    assert timestamp.read_bytes() == before
    server.clock.now += 2 * 3600
    publisher.turn()
    assert timestamp.read_bytes() != before


def test_it_works_until_it_is_told_to_stop_and_says_when_it_is_ready(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HUSHFOLD_READY_FILE", str(tmp_path / "ready"))
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 1:
            assert (tmp_path / "ready").exists()
            server.learn("1.1.0", 1)
        return len(waits) == 3

    server.publisher().run(wait)
    assert waits == [0.2] * 3
    assert server.statuses()[2] is ReleaseStatus.PUBLISHED


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.mark.parametrize("point", ["put", "publish", "_record", "refresh"])
def test_killed_between_any_two_steps_the_next_one_finishes(server, monkeypatch, point):
    """`point` names the step before which the publisher dies; the whole first start is the case."""
    server.add_round(1, 0, "learned")
    server.learn("1.1.0", 1)

    def die(*_args, **_options):
        raise Killed

    owner = {
        "put": "hushfold_server.objects.ObjectStore",
        "_record": "hushfold_server.publisher.Publisher",
    }.get(point, "hushfold_server.releases.ReleaseRepository")
    with monkeypatch.context() as patch:
        patch.setattr(f"{owner}.{point}", die)
        with pytest.raises(Killed):
            server.start()
    server.start()
    # The learned release came first here, before any base of its model: nothing says what it fits.
    device = server.device()
    assert device.read("next_word/1.0.0/weights.f32")[0] == WEIGHTS
    assert server.statuses() == {1: "withdrawn", 2: "published"}
    server.learn("1.2.0", 1)
    server.start()
    assert newest(device)[0] == LEARNED
    assert server.phases() == {1: Phase.RELEASED}


@pytest.mark.slow
def test_a_publisher_process_that_is_killed_again_and_again_loses_nothing(server):
    """SIGKILL at whatever moment; after each, what devices see is whole."""
    command = [
        sys.executable, "-m", "hushfold_server.publisher",
        "--home", str(server.home.path), "--models", str(server.folder / "models"),
    ]  # fmt: skip
    server.start()
    device = server.device()
    for turn in range(4):
        number = server.learn(f"1.{turn + 1}.0", 1, weights=bytes([turn] * len(WEIGHTS)))
        process = subprocess.Popen(command)
        try:
            eventually(lambda number=number: f"next_word/1.{number - 1}.0/weights.f32" in offered(device), 60)
        finally:
            process.kill()
            process.wait()
        assert newest(device)[0] == bytes([turn] * len(WEIGHTS))
    server.start()
    assert set(server.statuses().values()) == {"published"}
