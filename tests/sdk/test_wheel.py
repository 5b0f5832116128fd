"""The SDK as an app installs it: the wheel alone, in an environment of its own, without TensorFlow."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OFFLINE = ("Temporary failure in name resolution", "NewConnectionError", "ConnectTimeoutError", "No route to host")

SUGGEST = """
from hushfold.device import Device
from hushfold.keys import KeyFile

with Device("phone", KeyFile("key")) as device:
    for suggestion in device.keyboard.suggest("we went to the "):
        print(suggestion.text, suggestion.kind, round(suggestion.probability, 3))
    device.keyboard.learn("see you at the park")
    print([message.text for message in device.keyboard.messages()])
"""

TRAIN = """
import importlib.util, sys
from hushfold.conditions import SimulatedConditions
from hushfold.device import Device
from hushfold.keys import KeyFile
from hushfold.training import TrainingTask
from hushfold_protocol.plan import TrainingParameters

with Device("phone", KeyFile("key"), conditions=SimulatedConditions(), dwell=0) as device:
    for number in range(5):
        device.keyboard.learn(f"see you at the park at {number}")
    shape = device.files.manifest
    parameters = TrainingParameters(3, shape.batch, shape.time, 0.1, 100, 1)
    task = TrainingTask("words", b"local", "adapter", parameters)
    losses = []
    update = device.training_session(task, device.weights()).run(lambda now: losses.append(now.loss))
    assert len(losses) == 3, losses
    assert losses[-1] < losses[0], losses
    assert (update != 0).any()

assert "tensorflow" not in sys.modules
assert importlib.util.find_spec("tensorflow") is None
assert importlib.util.find_spec("hushfold_server") is None
print("trained")
"""


def run(*command, cwd):
    """The finished command, with its output as text; the caller's Python settings do not reach it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )


def succeeded(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of its sources so that nothing built before gets into it."""
    copy = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    for folder in ("sdk", "tflite_models/artifacts"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    succeeded(run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy, "sdk", cwd=copy))
    [built] = copy.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of a fresh environment with the wheel and what it depends on."""
    environment = tmp_path_factory.mktemp("environment")
    succeeded(run(sys.executable, "-m", "venv", environment, cwd=environment))
    interpreter = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    installed = run(interpreter, "-m", "pip", "install", "--quiet", wheel, cwd=environment)
    if installed.returncode and os.environ.get("CI") != "true":
        for sign in OFFLINE:
            if sign in installed.stderr:
                pytest.skip(f"the package registry cannot be reached: {sign}")
    succeeded(installed)
    return interpreter


def test_the_wheel_holds_the_device_packages_and_the_model_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"hushfold", "hushfold_format", "hushfold_protocol", "hushfold_artifacts"}
    model = {file.name for file in (ROOT / "tflite_models/artifacts/next_word").iterdir()}
    assert {name.split("/")[-1] for name in names if name.startswith("hushfold_artifacts/next_word/")} == model
    sources = {
        str(file.relative_to(ROOT / "sdk"))
        for package in ("hushfold", "hushfold_format", "hushfold_protocol")
        for file in (ROOT / "sdk" / package).rglob("*.py")
    }
    assert sources <= set(names)


def test_ten_lines_give_suggestions(python, tmp_path):
    lines = succeeded(run(python, "-c", SUGGEST, cwd=tmp_path)).splitlines()
    assert len(lines) == 4
    assert all(line.split()[1] == "next_word" for line in lines[:3])
    assert lines[3] == "['see you at the park']"


def test_it_trains_without_tensorflow(python, tmp_path):
    assert succeeded(run(python, "-c", TRAIN, cwd=tmp_path)) == "trained\n"
