"""The main job, with nothing replaced: phones learn, a secure sum is formed, the next model is published and adopted.

A real server (four processes), real phones (SDK, encrypted store, LiteRT, HTTP), the shipped model.
"""

import random
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from canaries import disguises, files_of, search, windows
from live_server import RecordingProxy
from phones import Phone, fleet_lives

from hushfold import participation
from hushfold.device import bundled_model
from hushfold.ledger import ContributionState
from hushfold.participation import OutcomeKind
from hushfold.service import Service
from hushfold_protocol.messages import Invitation
from hushfold_protocol.packing import pack
from hushfold_protocol.plan import Plan
from hushfold_server.database import Phase, ReleaseStatus, charges, participations, releases, rounds, sums

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

TASK = """
[task]
name = "{name}"
population = "{population}"
model = "{model}"
part = "adapter"
[training]
steps = 4
learning_rate = 0.5
max_examples = 50
[cohort]
target = {count}
maximum = {count}
floor = {floor}
gamma = 0.05
[privacy]
clip_norm = 0.3
noise_multiplier = 1.0
delta = 1e-6
budget_epsilon = 500.0
[schedule]
rounds = {rounds}
training_seconds = {training}
step_seconds = 6
join_delay_seconds = 0.5
come_back_seconds = 1
"""

CANARIES = [f"zyxq{letter}wvut{letter}blorptang" for letter in "abcdefghijklmnopqrstuvwx"]


def make_phones(folder, service, count, **options):
    return [
        Phone.make(
            folder / str(n),
            service,
            [f"my secret word is {CANARIES[n]} and i like it", "see you at the station", "are you coming home"] * 3,
            **options,
        )
        for n in range(count)
    ]


def service_of(server, port=None):
    service = Service.from_json((server.home / "public" / "app.json").read_bytes())
    return service if port is None else replace(service, service_url=f"http://127.0.0.1:{port}")


def launch(server, **values):
    file = server.home.parent / "task.toml"
    file.write_text(TASK.format(**{"population": "keyboard-en", "model": "next_word", **values}))
    server.command("task", "create", str(file))


def released(server):
    """What tasks have learned and is published; base models are released, too."""
    return server.rows(releases, (releases.c.status == ReleaseStatus.PUBLISHED) & releases.c.task.is_not(None))


def test_24_phones_of_which_some_vanish(server, tmp_path, monkeypatch):
    """Round one loses 5 phones at random steps and is summed; round two loses too many and opens nothing; round three
    goes well. Then the release is out, verified and adopted, and no canary is anywhere but on the phones."""
    unmasked = []  # what no server may ever see: updates before masking
    encode = participation.encode

    def recording(update, parameters):
        vector = encode(update, parameters)
        unmasked.extend([update.astype("<f4").tobytes(), vector.astype("<u4").tobytes(), pack(vector, parameters.bits)])
        return vector

    monkeypatch.setattr(participation, "encode", recording)
    proxy = RecordingProxy(server.ports[0])
    phones = make_phones(tmp_path / "phones", service_of(server, proxy.port), 24)
    rng = random.Random(7)
    steps = ["join", "share", "upload", "agree", "unmask"]
    shuffled = rng.sample(phones, 24)
    for phone, step in zip(shuffled, steps, strict=False):
        phone.vanish[1] = step
    for phone in shuffled[5:19]:
        phone.vanish[2] = rng.choice(["share", "upload"])
    launch(server, name="words", count=24, floor=14, rounds=2, training=25)
    stop = threading.Event()
    join = fleet_lives(phones, stop)
    try:
        server.until(lambda: released(server), 240)
    finally:
        join()
    server.until(lambda: not server.rows(rounds, rounds.c.phase == Phase.LEARNED))

    first, second, third = sorted(server.rows(rounds), key=lambda row: row.number)[:3]
    assert (first.phase, second.phase, third.phase) == (Phase.RELEASED, Phase.ABORTED, Phase.RELEASED)
    gone_in_first = [step for phone in phones for step in phone.gone[:1] if 1 in phone.vanish]
    assert sorted(gone_in_first) == sorted(steps)
    # Whoever was lost before its upload is not in the sum; whoever was lost after it, is. The phone that was lost
    # before it joined is switched on again, and in time if it is quick.
    assert first.joined >= 23
    assert (first.sharers, first.survivors) == (first.joined - 1, first.joined - 2)
    assert "needed" in second.reason or "floor" in second.reason
    assert {row.round for row in server.rows(charges)} == {first.id, third.id}
    assert server.rows(sums) == []
    # Nothing was charged on a device for the aborted round unless its upload had left.
    plan = Plan.decode(Invitation.decode(second.invitation).plan)
    for phone in phones:
        for contribution in phone.device.budget.contributions():
            if contribution.round_id == plan.round_id:
                assert contribution.state is not ContributionState.MAYBE_OPENED

    for phone in phones:
        assert phone.participation.update_model() == "1.1.0"
        assert phone.device.active_model.active.version == "1.1.0"
    weights = {phone.device.weights().tobytes() for phone in phones}
    assert len(weights) == 1
    assert weights != {phones[0].device.files.weights.tobytes()}

    server.stop()
    proxy.close()
    public = [path.read_bytes() for path in bundled_model().iterdir()] + list(weights)
    needles = {form for word in CANARIES for form in disguises(word)}
    needles |= {window for content in unmasked for window in windows(content)}
    assert len(unmasked) >= 3 * 40
    places = [*files_of(server.home, skip=public), ("traffic", bytes(proxy.sent))]
    assert search(places, needles) == []
    # The same search does find: a canary in a log, one in the database's bytes, a window of an update in a file.
    planted = [
        ("log", b'{"event": "' + CANARIES[3].encode() + b'"}'),
        ("column", np.frombuffer(CANARIES[5].encode("utf-16-le"), np.uint8).tobytes()),
        ("object", b"\0" * 7 + unmasked[-2] + b"\0"),
    ]
    assert search(planted, needles) == ["log", "column", "object"]
    for phone in phones:
        phone.device.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_ends_in_the_middle_of_a_round_goes_on_with_it(server, tmp_path, how):
    """When the first phone has uploaded, the whole server ends; when it is back, the same round is summed, once."""
    ended = threading.Event()
    lock = threading.Lock()

    def on_step(phone, step):
        if step == "agree":  # everyone has uploaded
            with lock:
                if not ended.is_set():
                    ended.set()
                    getattr(server, how)()
                    server.start()

    phones = make_phones(tmp_path / "phones", service_of(server), 6, on_step=on_step)
    launch(server, name="words", count=6, floor=5, rounds=1, training=40)
    stop = threading.Event()
    join = fleet_lives(phones, stop)
    try:
        server.until(lambda: released(server), 200)
    finally:
        join()
    assert ended.is_set()
    (only,) = server.rows(rounds)
    assert only.survivors == 6
    assert len(server.rows(charges)) == 1
    assert len(server.rows(participations)) == 6
    contributed = [o for phone in phones for o in phone.outcomes if o.kind is OutcomeKind.CONTRIBUTED]
    assert len(contributed) == 6
    for phone in phones:
        assert len(phone.device.budget.contributions()) == 1
        assert phone.participation.update_model() == "1.1.0"
        with closing(phone.device):
            assert phone.device.keyboard.suggest("are you ")
