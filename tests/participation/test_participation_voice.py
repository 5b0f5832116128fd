"""The same rounds for the other model: what the voice learns from, and that the two never meet."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from service_in_process import COHORT, POLICY

from hushfold.participation import LONG_PAUSE, OutcomeKind, Participation
from hushfold.voice.recordings import Kind
from hushfold_protocol.plan import ModelReference
from hushfold_server.database import Phase


@pytest.fixture
def speak(service, population):
    """Gives a phone recordings, and its part in the rounds of the voice model."""

    def speak(phone, recordings):
        chance = np.random.default_rng(phone.id[0])
        for number in range(recordings):
            features = (chance.standard_normal((60, 40)) * 2 - 5).astype(np.float32)
            word, kind = ("left", Kind.CORRECTED) if number % 2 else (None, Kind.REJECTED)
            phone.device.voice.recordings.add(word, kind, features)
        phone.participation = Participation(phone.device, service.address, population, model="voice")
        return phone

    return speak


@pytest.fixture
def voice_plan(service, population):
    """A plan that trains the shipped voice model, with the population and the device's model of this test."""

    def voice_plan(phone):
        model = phone.device.model("voice")
        manifest, weights = model.files.manifest, model.files.weights.astype("<f4").tobytes()
        part = manifest.parts["adapter"]
        content = bytes.fromhex(service.objects.put(weights[4 * part.start : 4 * part.stop]))
        plan = service.plan(
            population,
            update={"dimension": part.size},
            training={"batch": manifest.batch, "time": manifest.time},
        )
        reference = ModelReference("voice", "1.0.0", hashlib.sha256(weights).digest(), "adapter", content)
        return replace(plan, model=reference)

    return voice_plan


def test_a_whole_round_of_the_voice_model(service, population, make_phone, speak, voice_plan):
    """From recordings alone: these phones have typed nothing."""
    cohort = [speak(make_phone(sayings=[]), recordings=4) for _ in range(COHORT)]
    plan = service.open_round(voice_plan(cohort[0]))
    outcomes = service.clock.together(*(phone.run_once for phone in cohort))
    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [(OutcomeKind.CONTRIBUTED, "")] * COHORT
    row = service.row(plan)
    assert (row.phase, row.survivors) == (Phase.SUMMED, COHORT)
    for phone in cohort:
        assert phone.spent == plan.curve().epsilon(POLICY.max_delta)
        assert phone.device.store.execute("SELECT task FROM training_sessions") == []  # used once
        assert len(phone.device.voice.recordings.all()) == 4


@pytest.mark.parametrize("recordings", [0, 2])
def test_with_too_few_recordings_a_phone_does_not_even_check_in(service, make_phone, speak, voice_plan, recordings):
    phone = speak(make_phone(), recordings)  # its four messages are nothing to the voice
    phone.device.voice.recordings.add("lumos", Kind.TAUGHT, np.zeros((60, 40), np.float32))  # nor is a taught word
    service.open_round(voice_plan(phone))
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.NOT_ELIGIBLE, LONG_PAUSE)
    assert outcome.reason == f"{recordings} recordings to learn from, 3 needed"
    assert service.api.exchanges == []


def refused(phone):
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.REFUSED, LONG_PAUSE)
    assert set(phone.sent) <= {"CheckIn"}
    assert phone.contributions == []
    return outcome.reason


def test_a_plan_for_the_other_model_is_refused_by_both(service, population, make_phone, speak, voice_plan):
    speaking, typing = speak(make_phone(), recordings=4), make_phone()
    service.open_round(voice_plan(typing))
    reason = refused(typing)
    assert "of model 'voice'" in reason
    assert "this device does not have" in reason
    service.close_rounds()
    plan = service.plan(population, task=f"{population}-text")
    service.open_round(plan)
    assert "of model 'next_word'" in refused(speaking)


@pytest.mark.parametrize("name", ["voice/commands", "/", "a/b"])
def test_a_task_with_a_slash_in_its_name_is_refused(service, population, make_phone, speak, voice_plan, name):
    """What a session keeps under such a name would go with something else than what it learned from."""
    speaking, typing = speak(make_phone(), recordings=4), make_phone()
    service.open_round(replace(voice_plan(speaking), task=f"{population}{name}"))
    assert "has no slash" in refused(speaking)
    service.close_rounds()
    service.open_round(replace(service.plan(population, task=f"{population}-text"), task=f"{population}-text{name}"))
    assert "has no slash" in refused(typing)


def test_switching_learning_off_in_a_round_keeps_the_update_at_home(service, make_phone, speak, voice_plan):
    cohort = [speak(make_phone(), recordings=4) for _ in range(COHORT)]
    changed = cohort[0]

    def switch_off(step):
        if step == "upload":
            changed.device.voice.learning_enabled = False

    changed.participation = Participation(
        changed.device, service.address, changed.population, model="voice", progress=switch_off
    )
    plan = service.open_round(voice_plan(changed))
    outcome, *others = service.clock.together(*(phone.run_once for phone in cohort))
    assert [other.kind for other in others] == [OutcomeKind.CONTRIBUTED] * 2
    assert outcome.kind is OutcomeKind.LEFT
    assert "deleted" in outcome.reason
    assert changed.sent == ["CheckIn", "Join", "Shares"]
    assert changed.contributions == []
    assert service.row(plan).survivors == 2
