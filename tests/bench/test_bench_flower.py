"""Flower's environment, and a round in it where there is one."""

import stat
import sys
from pathlib import Path

import pytest

from hushfold_bench import peer
from hushfold_bench.errors import BenchError
from hushfold_bench.peer import REQUIREMENTS, make_environment, measure_flower, sharing
from hushfold_bench.setting import Setting

MADE = Path(__file__).parents[2] / "build" / "bench" / "flower"


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """A uv that notes what it is asked and makes a Python; with a file `broken` beside it, it fails."""
    tool = tmp_path / "uv"
    tool.write_text(
        f"""#!{sys.executable}
import pathlib, sys
home = pathlib.Path({str(tmp_path)!r})
if (home / "broken").exists():
    print("first line", file=sys.stderr)
    sys.exit("error: no network")
with (home / "asked").open("a") as asked:
    asked.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "venv":
    folder = pathlib.Path(sys.argv[-1]) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python").touch()
"""
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(peer, "_UV", tool)
    return tmp_path


def test_the_environment_is_made_once_for_its_requirements(uv, monkeypatch, tmp_path):
    python = make_environment(uv / "env")
    assert python == uv / "env" / "bin" / "python"
    asked = (uv / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["venv", "pip"]
    assert str(REQUIREMENTS) in asked[1]
    assert make_environment(uv / "env") == python
    assert (uv / "asked").read_text().splitlines() == asked
    other = tmp_path / "requirements.txt"
    other.write_text("flwr==2.0\n")
    monkeypatch.setattr(peer, "REQUIREMENTS", other)
    make_environment(uv / "env")
    assert len((uv / "asked").read_text().splitlines()) == 4


def test_an_environment_that_cannot_be_made_is_told_and_not_taken_for_one(uv):
    (uv / "broken").touch()
    with pytest.raises(BenchError, match=r"^uv venv failed: error: no network$"):
        make_environment(uv / "env")
    (uv / "broken").unlink()
    make_environment(uv / "env")
    assert (uv / "asked").exists()


def test_a_process_that_was_killed_is_told_by_its_signal(tmp_path):
    with pytest.raises(BenchError, match=r"sh -c failed: signal 9$"):
        peer._run("/bin/sh", "-c", "kill -9 $$")


def test_requirements_are_pinned():
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in lines)
    assert any(line.startswith("flwr==") for line in lines)


@pytest.mark.parametrize(
    ("devices", "shares", "threshold"),
    [(100, 1.0, (100 + 5) // 2 + 1), (1000, 79, 26)],  # 78 others hold shares here, too, and 26 of them open a secret
)
def test_flower_shares_its_secrets_among_as_many_as_open_one_here(devices, shares, threshold):
    given = sharing(Setting(devices, 0))
    assert given == (shares, threshold)
    assert isinstance(given[0], type(shares))  # 1.0 and 1 are not the same to Flower


@pytest.mark.slow
@pytest.mark.skipif(not (MADE / "requirements.sha256").exists(), reason="`make bench` has not made its environment")
@pytest.mark.parametrize("lost", [0, 20])
def test_flower_gives_the_mean_of_the_same_updates(lost):
    setting = Setting(devices=10, lost=lost, dimension=500)
    figures = measure_flower(make_environment(MADE), setting, 2)
    assert figures.up > 8 * setting.dimension  # eight bytes a value
    assert figures.up < 8 * setting.dimension + 50_000
