"""The same round with the other model: phones learn how their users say commands, and adopt what all have learned.

A real server (four processes), real phones (SDK, encrypted store, LiteRT, HTTP), the shipped voice model.
"""

import threading

import numpy as np
import pytest
from phones import Phone, fleet_lives
from test_round import launch, released, service_of

from hushfold.voice.recordings import Kind
from hushfold_server.database import Phase, charges, releases, rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COUNT = 6


def phone_of(folder, service, number):
    """A phone whose user has corrected it: features of made-up sounds, another speaker's on each."""
    phone = Phone.make(folder / str(number), service, population="voice-en", model="voice")
    chance = np.random.default_rng(number)
    for word in ("left", "right", "up", None):
        for _ in range(2):
            features = (chance.standard_normal((90, 40)) * 2 - 5).astype(np.float32)
            kind = Kind.REJECTED if word is None else Kind.CORRECTED
            phone.device.voice.recordings.add(word, kind, features)
    return phone


def test_phones_learn_commands_together(server, tmp_path):
    phones = [phone_of(tmp_path / "phones", service_of(server), number) for number in range(COUNT)]
    launch(
        server,
        name="commands",
        population="voice-en",
        model="voice",
        count=COUNT,
        floor=4,
        rounds=2,
        training=20,
    )
    stop = threading.Event()
    join = fleet_lives(phones, stop)
    try:
        server.until(lambda: released(server), 200)
    finally:
        join()
    server.until(lambda: not server.rows(rounds, rounds.c.phase == Phase.LEARNED))
    done = server.rows(rounds, rounds.c.phase == Phase.RELEASED)
    assert len(done) == 2
    assert {row.round for row in server.rows(charges)} == {row.id for row in done}
    (learned,) = server.rows(releases, releases.c.task.is_not(None))
    assert learned.model == "voice"
    for phone in phones:
        shipped = phone.device.model("voice").files.weights
        assert phone.participation.update_model() == learned.version
        weights = phone.device.model("voice").weights()
        start, stop_at = phone.device.model("voice").files.manifest.parts["adapter"]
        assert np.array_equal(weights[:start], shipped[:start])  # only the part that the task trains has moved
        assert not np.array_equal(weights[start:stop_at], shipped[start:stop_at])
        # What is served are the new weights, and the keyboard's model is as it was.
        assert phone.device.model().active.active is None
        assert phone.device.budget.spent("voice-en") > 0
