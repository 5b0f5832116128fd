"""What the figures come to: ratios, goals, documents."""

import json

import pytest

from hushfold_bench.children import STEPS
from hushfold_bench.peer import FlowerFigures
from hushfold_bench.report import Report, Result, machine, terminal_tables
from hushfold_bench.rounds import ENCODE, RoundFigures
from hushfold_bench.setting import WHOLE_MODEL, Setting
from hushfold_bench.timing import Seconds
from hushfold_bench.yardsticks import AES, Yardstick, measure_yardsticks

MASK = 2 * WHOLE_MODEL  # bytes of one mask of the whole model


def figures(devices, lost, *, device=0.02, server=0.2, dimension=WHOLE_MODEL, up=5_300_000, memory=100_000_000):
    return RoundFigures(
        setting=Setting(devices, lost, dimension),
        measured=3,
        device={**dict.fromkeys(STEPS, Seconds(device, 9.0)), ENCODE: Seconds(0.3, 9.0)},
        device_memory=50_000_000,
        server=dict.fromkeys(STEPS, Seconds(server, 9.0)),
        server_memory=memory,
        up=up,
        down=40_000,
        plaintext=5_242_880,
        holders=devices,
        threshold=devices // 2,
        device_masks=devices,
        server_masks=10 * devices,
    )


def report(*results, dimension=WHOLE_MODEL):
    # Plain AES makes one mask in a millisecond.
    yardsticks = (
        Yardstick(AES, "AES", 10 * MASK, 0.010, 1.0),
        Yardstick("noise", "noise for 1,412,826 values", 4 * WHOLE_MODEL, 0.0204, 0.3),
    )
    return Report(Setting(100, 0, dimension), "a processor, 2 cores", yardsticks, results, ("One remark.",))


def table(made, title):
    return next((head, rows) for name, head, rows in made.tables() if name == title)


def test_ratios_are_to_plain_aes_to_the_packed_vector_and_to_flower():
    peer = FlowerFigures(device_seconds=4.0, server_seconds=150.0, up=10_600_000, down=9)
    made = report(Result(figures(100, 10), peer), Result(figures(1000, 0), None))
    assert made.aes_seconds(7) == pytest.approx(0.007)
    head, rows = table(made, "Ratios")
    assert len(head) == len(rows[0]) == len(rows[1])
    # A device takes 5 x 0.02 s for 100 masks of 1 ms; the server 5 x 0.2 s for 1,000 of them.
    # Flower's device quantises in its 4 s, so that our 0.3 s of encoding count too.
    assert rows[0] == ["100", "10 %", "1.0", "1.0", "1.011", "10.0", "150", "2.0"]
    assert rows[1] == ["1,000", "0 %", "0.1", "0.1", "1.011", "", "", ""]


def test_goals_are_those_of_the_sizes_that_were_measured():
    made = report(
        Result(figures(100, 0, device=0.0241, server=0.05), None),
        Result(figures(100, 10, server=0.2401), None),
        Result(figures(1000, 10, server=2.3, memory=251_000_000, up=5_345_400), None),
        Result(figures(32, 10), None),
    )
    met = {goal.what: goal.met for goal in made.goals()}
    assert met == {
        "device, 100 devices, 0 % lost": False,
        "server, 100 devices, 0 % lost": True,
        "upload, 100 devices, 0 % lost": True,
        "device, 100 devices, 10 % lost": True,
        "server, 100 devices, 10 % lost": False,
        "upload, 100 devices, 10 % lost": True,
        "server, 1000 devices, 10 % lost": True,
        "server's memory, 1000 devices, 10 % lost": False,
        "upload, 1000 devices, 10 % lost": False,
        "upload, 32 devices, 10 % lost": True,
        "noise for 1,412,826 values": False,
    }


def test_updates_of_another_size_have_no_goals():
    made = report(Result(figures(100, 0, dimension=1000), None), dimension=1000)
    assert made.goals() == []
    assert "### Goals" not in made.markdown()
    assert [shown.title for shown in terminal_tables(made)] == ["Ratios", "Rounds", "Building blocks"]


def test_document_and_file_have_everything(tmp_path):
    made = report(Result(figures(100, 30), FlowerFigures(4.0, 150.0, 10_600_000, 9)))
    written, document = made.write(tmp_path / "new")
    figures_read = json.loads(written.read_text())
    assert figures_read["results"][0]["figures"]["device"]["share"] == {"cpu": 0.02, "wall": 9.0}
    assert figures_read["results"][0]["flower"]["server_seconds"] == 150.0
    assert [goal["met"] for goal in figures_read["goals"]] == [goal.met for goal in made.goals()]
    lines = document.read_text().splitlines()
    assert lines[0].startswith("a processor, 2 cores.")
    assert [line for line in lines if line.startswith("#")] == [
        "### Ratios", "### Rounds", "### Building blocks", "### Goals",
    ]  # fmt: skip
    assert "| 100 | 30 % | 100 ms | 300 ms | 1.00 s | 5.30 MB | 40 KB | 100 MB | 50 MB |" in lines
    assert "| noise for 1,412,826 values | 20.4 ms | 0.28 GB/s | 0.30 |" in lines
    assert lines[-1] == "One remark."


def test_building_blocks_are_held_against_aes_of_the_same_turn():
    turns = []
    measured = {
        each.name: each for each in measure_yardsticks(Setting(10, 0, dimension=3000), 3, lambda: turns.append(1))
    }
    assert len(turns) == 3
    assert {"copy", AES, "masks", "noise", "rotation", "encoding", "packing", "adding"} == set(measured)
    assert measured[AES].aes == 1.0
    assert measured["masks"].handled == 64 * 2 * 3000
    assert measured["noise"].handled == 4 * 3000
    for each in measured.values():
        assert each.rate == pytest.approx(each.handled / each.seconds / 1e9)


def test_the_machine_is_told_by_its_processor_alone():
    assert "core" in machine()
