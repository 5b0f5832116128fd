"""A rehearsal from texts to weights: the devices alone, and both halves, also after an interruption."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from hushfold.device import bundled_model
from hushfold_demo.errors import UsageError
from hushfold_demo.personas import personas
from hushfold_demo.rehearsal import Phones, summary
from hushfold_demo.texts import Person
from hushfold_format import NextWordFiles
from hushfold_protocol.encoding import EncodingParameters, decode_sum
from hushfold_protocol.plan import CohortParameters, ModelReference, Plan, TrainingParameters, UpdateParameters

COMMAND = [sys.executable, "-m", "hushfold_demo.cli", "rehearse"]
TASK = """
[task]
name = "try"
population = "rehearsal"
model = "next_word"
part = "adapter"
[training]
steps = 4
learning_rate = 0.5
max_examples = 100
[cohort]
target = 3
floor = 3
[privacy]
clip_norm = 2.0
noise_multiplier = 1e-6
delta = 1e-6
budget_epsilon = 1e18
[schedule]
rounds = 8
interval_seconds = 3600
[report]
extrapolate_to = 1000
"""


@pytest.fixture(scope="module")
def people():
    return [Person(each.name, each.messages[:12]) for each in personas()[:3]]


def plan_of(files, clip_norm=5.0):
    part = files.manifest.parts["adapter"]
    encoding = EncodingParameters.for_cohort(
        dimension=part.size,
        clip_norm=clip_norm,
        noise_multiplier=0.0,
        bits=32,
        cohort_max=4,
        noise_contributors=4,
        rotation_seed=(3, 4),
    )
    return Plan(
        population="rehearsal",
        task="try",
        round_id=bytes(16),
        round_number=1,
        model=ModelReference("next_word", files.manifest.version, bytes(32), "adapter", bytes(32)),
        training=TrainingParameters(2, files.manifest.batch, files.manifest.time, 0.5, 100, 7),
        update=UpdateParameters(part.size, clip_norm, encoding.scale, 32, 0.0, 3, 4, encoding.beta),
        cohort=CohortParameters(4, 4, 4, 0.0),
        delta=1e-6,
        join_delay_ms=0,
        expires=0,
    )


def test_the_sum_of_all_devices_is_that_of_each_of_them(people, tmp_path):
    """Also of one who has nothing to learn from, and takes part with an update of nothing."""
    files = NextWordFiles.load(bundled_model())
    plan, ticks = plan_of(files), []
    everybody = [*people, Person("silent", ("\u0645\u0631\u062d\u0628\u0627",))]
    with Phones(everybody, tmp_path / "all", 2) as phones:
        total, losses = phones.train(plan, files.weights, lambda: ticks.append(1))
        assert len(set(phones.ids)) == len(ticks) == 4
    alone = []
    for number, person in enumerate(people):
        with Phones([person], tmp_path / str(number), 1) as phone:
            alone.append(decode_sum(phone.train(plan, files.weights, lambda: None)[0], plan.update.encoding()))
    together = decode_sum(total, plan.update.encoding())
    np.testing.assert_allclose(together, sum(alone), atol=3e-3)  # of six roundings on this grid
    assert np.abs(together).max() > 0.05
    assert len(losses) == 3 * 2


def test_updates_are_clipped(people, tmp_path):
    files = NextWordFiles.load(bundled_model())
    plan = plan_of(files, clip_norm=0.01)
    with Phones(people, tmp_path, 1) as phones:
        total, _ = phones.train(plan, files.weights, lambda: None)
    assert 0 < np.linalg.norm(decode_sum(total, plan.update.encoding())) <= 3 * 0.01 * 1.01


def test_devices_are_kept_and_belong_to_their_people(people, tmp_path):
    with Phones(people, tmp_path / "phones", 1) as phones:
        kept = phones.examples
    with Phones(people, tmp_path / "phones", 1) as phones:
        assert phones.examples == kept > 0
    with pytest.raises(UsageError, match="the rehearsal of other people"):
        Phones(people[:2], tmp_path / "phones", 1)


def test_what_is_no_rehearsal_is_left_alone(people, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="something else than a rehearsal"):
        Phones(people, tmp_path, 1)
    with pytest.raises(UsageError, match="no messages that the model can learn from"):
        Phones([Person("silent", ("\u0645",))], tmp_path / "silent", 1)


def rehearse(folder, *arguments):
    command = [*COMMAND, "task.toml", "--texts", "texts.jsonl", "--home", "home", "--threads", "1", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def folder(tmp_path, people):
    (tmp_path / "task.toml").write_text(TASK)
    lines = [json.dumps({"user": each.name, "text": text}) for each in people for text in each.messages]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.slow
@pytest.mark.tff
def test_a_task_is_learned_also_across_an_interruption(folder, people):
    process = rehearse(folder)
    for line in process.stdout:
        if line.startswith("round 2"):
            break
    os.kill(process.pid, signal.SIGINT)
    assert "goes on from here" in process.communicate(timeout=60)[0]
    assert process.returncode == 130
    said, errors = rehearse(folder).communicate(timeout=120)
    assert "round 1 of 8" not in said, errors
    report = json.loads((folder / "home" / "report.json").read_text())
    assert list(summary(report, folder))[-1] == f"Saved: {folder / 'weights.f32'}, {folder / 'report.json'}"
    assert report["people"] == [each.name for each in people]
    assert [(each["number"], each["devices"]) for each in report["rounds"]] == [(number, 3) for number in range(1, 9)]
    first, final = report["rounds"][0], report["rounds"][-1]
    assert 0 < final["loss"] < first["loss"]
    assert 0 < first["epsilon"] < final["epsilon"] == report["epsilon"]
    assert report["extrapolated"]["cohort"] == 1000
    base = NextWordFiles.load(bundled_model())
    one, eight, last = (
        np.fromfile(folder / "home" / name, "<f4") for name in ("rounds/001.f32", "rounds/008.f32", "weights.f32")
    )
    np.testing.assert_array_equal(eight, last)
    start = base.manifest.parts["adapter"].start
    for vector in (one, eight):
        np.testing.assert_array_equal(vector[:start], base.weights[:start])
        assert not np.array_equal(vector[start:], base.weights[start:])
    (folder / "task.toml").write_text(TASK.replace("steps = 4", "steps = 5"))
    process = rehearse(folder)
    assert "holds the rehearsal of another task file" in process.communicate(timeout=120)[1]
    assert process.returncode == 1


@pytest.mark.slow
def test_the_faults_of_a_task_file_are_told(folder):
    (folder / "task.toml").write_text(TASK.replace("steps = 4", "steps = 0"))
    process = rehearse(folder)
    said = process.communicate(timeout=120)[1]
    assert "the task file has 1 fault" in said
    assert "[training] steps" in said
    assert process.returncode == 1
