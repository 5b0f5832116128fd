"""SecAgg+ of Flower on the same updates, from the registry and in an environment of its own.

Its packages (protobuf, numpy) are not those of this environment, so a script of it runs in a process of the other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .errors import BenchError, WrongSum
from .setting import UPDATES, Setting

_FOLDER = Path(__file__).parent / "flower"
REQUIREMENTS, _SCRIPT = _FOLDER / "requirements.txt", _FOLDER / "secagg_plus.py"
_UV = Path(".tools/bin/uv")  # where `make setup` puts it


@dataclass(frozen=True, slots=True)
class FlowerFigures:
    """What a round of Flower cost, in processor time; its mean was right."""

    device_seconds: float  # the median of the devices that were measured; what it calls quantisation is in it
    server_seconds: float
    up: int  # bytes of one device's messages
    down: int


def make_environment(folder: Path) -> Path:
    """The Python of Flower's environment, which is made at the first time and after its requirements have changed.

    Raises BenchError if it cannot be made, which is so without a network.
    """
    python, mark = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted and python.exists():
        return python
    uv = str(_UV) if _UV.exists() else shutil.which("uv")
    if uv is None:
        raise BenchError("there is no uv to make Flower's environment with", "`make setup` installs it")
    _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    _run(uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(REQUIREMENTS))
    mark.write_text(wanted)
    return python


def measure_flower(python: Path, setting: Setting, measured: int) -> FlowerFigures:
    """One round with the setting's devices and updates. Raises WrongSum, or BenchError if it fails."""
    with tempfile.TemporaryDirectory(prefix="hushfold-bench-") as name:
        asked, updates, answer = (Path(name) / file for file in ("asked.json", "updates.f32", "answer.json"))
        np.concatenate([setting.update(device) for device in range(UPDATES)]).astype("<f4").tofile(updates)
        shares, threshold = sharing(setting)
        more = {"missing": setting.missing, "measured": measured, "shares": shares, "threshold": threshold}
        asked.write_text(json.dumps(asdict(setting) | more))
        _run(str(python), str(_SCRIPT), str(asked), str(updates), str(answer))
        figures = json.loads(answer.read_text())
    if not figures.pop("correct"):
        raise WrongSum(f"Flower with {setting.devices} devices, {setting.lost} % of them lost: the mean is wrong")
    return FlowerFigures(figures["device_seconds"], figures["server_seconds"], int(figures["up"]), int(figures["down"]))


def sharing(setting: Setting) -> tuple[int | float, int]:
    """How many shares Flower makes of a secret, 1.0 meaning one for each device, and how many open it: as many as here.

    A sparse graph of Flower's has half as many edges as one of ours. There, a device masks towards those who hold its
    shares, whom the server chooses. Here it masks also towards those whose shares it holds, since devices choose.
    """
    graph = setting.plan().cohort.graph(setting.devices)
    if graph.complete:
        return 1.0, graph.threshold
    return (graph.holders + 1) | 1, graph.threshold  # one is its own, and Flower wants an odd number


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    if done.returncode:
        silent = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        last = (done.stderr.strip() or silent).splitlines()[-1]
        raise BenchError(f"{Path(command[0]).name} {command[1]} failed: {last}")
