"""What the SDK keeps in memory: little while suggestions are given, and no more after a night of training."""

import subprocess
import sys

import pytest

from hushfold.heap import give_back, keep_large_apart

LIMIT = 20e6  # bytes of its own; pages of the runtime's code are the runtime's

NIGHT = """
import pathlib, re
from importlib import import_module
import_module("ai_edge_litert.interpreter")
from hushfold import Device, KeyFile, SimulatedConditions
for module in ("device", "keyboard", "personal", "training"):
    import_module("hushfold." + module)
def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1])
before = resident()
folder = pathlib.Path("phone")
device = Device(folder, KeyFile(folder / "key"), conditions=SimulatedConditions(), dwell=0)
print(len(device.keyboard.suggest("see you tomor")), resident() - before)
for number in range(60):
    device.keyboard.learn(f"wat r u doin at da park {number % 7}")
device.personalize()
print(len(device.keyboard.suggest("see you tomor")), resident() - before)
"""


def test_it_may_be_called_at_any_time():
    give_back()
    assert give_back() in (True, False)


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_MMAP_THRESHOLD_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536")]
)
def test_what_the_app_has_set_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not keep_large_apart()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_a_device_stays_small_by_day_and_after_a_night(tmp_path):
    done = subprocess.run([sys.executable, "-c", NIGHT], capture_output=True, text=True, check=True, cwd=tmp_path)
    for line in done.stdout.splitlines():
        suggestions, resident = map(int, line.split())
        assert suggestions
        assert resident < LIMIT, done.stdout
