"""The benchmark's command line, up to a small round from end to end."""

import json
import os
import subprocess
import sys

import pytest

from hushfold_bench.cli import main
from hushfold_console.command import MISUSED


def run(folder, *arguments):
    """Without a uv to be found: Flower's environment cannot be made."""
    return subprocess.run(
        [sys.executable, "-m", "hushfold_bench.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": str(folder)},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "12", "--lost", "50"], "of 12 devices 6 are left when 50 % are lost, and the sum needs 7."),
        (["--devices", "12", "--lost", "0", "--measured", "13"], "13 of 12 devices cannot be measured. Lower"),
        (["--devices", "100", "--lost", "0", "--devices", "32", "--lost", "60"], "of 100 devices 40 are left"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hushfold-bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == MISUSED
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("arguments", [["--devices", "1"], ["--devices", "1001"], ["--lost", "100"], ["--bits", "7"]])
def test_values_out_of_range_are_refused(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hushfold-bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == MISUSED
    assert f"'{arguments[0]}'" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def test_small_rounds_are_measured_and_the_figures_saved(tmp_path):
    done = run(
        tmp_path, "--devices", 8, "--devices", 9, "--lost", 10, "--dimension", 60, "--measured", 1, "--seed", 5,
        "--output", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 100 for line in done.stdout.splitlines() if "Saved" not in line)
    assert "measuring: 9 devices, 10 % lost" in done.stderr
    assert "measuring" not in done.stdout
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [each["figures"]["setting"] for each in written["results"]] == [
        {"devices": devices, "lost": 10, "dimension": 60, "bits": 16, "seed": 5} for devices in (8, 9)
    ]
    assert written["results"][0]["figures"]["device_masks"] == 8
    assert (tmp_path / "out" / "bench.md").read_text().startswith(written["machine"])
    # Without Flower it goes on, and says so where it is read.
    assert all(each["flower"] is None for each in written["results"])
    assert written["remarks"] == [
        "Flower was not measured: there is no uv to make Flower's environment with. `make setup` installs it."
    ]
    assert written["remarks"][0] in " ".join(done.stdout.split())
