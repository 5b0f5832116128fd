"""Who learns and who is measured are never the same; and what a rehearsal has left is read, judged and shown."""

import hashlib
import json
import sys

import numpy as np
import pytest

from hushfold.device import bundled_model
from hushfold_console.command import MISUSED
from hushfold_evaluation.cli import main
from hushfold_evaluation.contenders import BASE, BY_NAME, CENTRAL, FEDERATED, Prepared
from hushfold_evaluation.errors import UsageError
from hushfold_evaluation.federated import Federated, others_of, with_weights, write_people
from hushfold_evaluation.texts import choose, read_people
from hushfold_format import NextWordFiles


@pytest.fixture(scope="module")
def base():
    return NextWordFiles.load(bundled_model())


@pytest.fixture
def rehearsed(tmp_path, base, people):
    """Of two rounds on the first three people, the last of which has moved the bias of words."""
    folder = tmp_path / "rehearsal"
    (folder / "rounds").mkdir(parents=True)
    weights = base.weights.copy()
    adapter = base.manifest.parts["adapter"]
    weights[adapter.stop - 384 : adapter.stop] -= np.linspace(-3, 3, 384, dtype=np.float32)
    content = weights.astype("<f4").tobytes()
    for name in ("weights.f32", "rounds/001.f32", "rounds/002.f32"):
        (folder / name).write_bytes(base.weights.astype("<f4").tobytes() if name == "rounds/001.f32" else content)
    report = {
        "people": [person.name for person in people[:3]],
        "rounds": [{"number": number, "devices": 3, "loss": 5.0, "epsilon": 1.0} for number in (1, 2)],
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "base_weights_sha256": hashlib.sha256(base.weights.astype("<f4").tobytes()).hexdigest(),
    }
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_nobody_is_measured_whom_the_task_learned_from(rehearsed, people):
    federated = Federated.read(rehearsed)
    federated.require_strangers(people[3:])
    with pytest.raises(UsageError, match=r"learned from 1 of the people to be measured, such as p3"):
        federated.require_strangers(people[2:])


@pytest.mark.parametrize("seed", range(5))
def test_others_and_chosen_are_everybody_once(people, seed, tmp_path):
    chosen = choose(people, 2, seed)
    others = others_of(people, chosen)
    assert not {each.name for each in others} & {each.name for each in chosen}
    assert sorted(each.name for each in [*others, *chosen]) == sorted(each.name for each in people)
    write_people(tmp_path / "new" / "others.jsonl", others)
    assert read_people(tmp_path / "new" / "others.jsonl") == [each for each in others if each.messages]


def test_the_command_line_refuses_to_measure_them_too(rehearsed, people, tmp_path, monkeypatch, capsys):
    write_people(tmp_path / "all.jsonl", people)
    for arguments, said in (
        (["--weights", rehearsed, "--users", "0"], "learned from 3 of the people to be measured"),
        (["--weights", tmp_path, "--users", "0"], "there is no"),
        (["--only", FEDERATED], "federated needs what a federated task has learned"),
        (["--others", tmp_path / "o.jsonl", "--users", "0"], "everybody was chosen"),
    ):
        monkeypatch.setattr(
            sys, "argv", ["hushfold-evaluate", "--clients", str(tmp_path / "all.jsonl"), *map(str, arguments)]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == MISUSED
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("report.json", None, "there is no .*report.json"),
        ("report.json", b"{", "is no report of a rehearsal"),
        ("report.json", b"[]", "is no report of a rehearsal"),
        ("report.json", b'{"people": [1], "rounds": []}', "is no report of a rehearsal"),
        ("weights.f32", None, "weights.f32 cannot be read"),
        ("weights.f32", b"1234", "is not the file that report.json describes"),
    ],
)
def test_a_folder_that_is_no_finished_rehearsal_is_told_in_a_sentence(rehearsed, name, content, said):
    path = rehearsed / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        Federated.read(rehearsed)


def test_weights_of_another_base_are_refused(rehearsed):
    path = rehearsed / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_weights_sha256": "0" * 64}))
    with pytest.raises(UsageError, match="another base than the one that is installed"):
        Federated.read(rehearsed)


def test_its_contenders_serve_the_learned_weights_and_count_its_people(rehearsed, people, base, tmp_path):
    federated = Federated.read(rehearsed)
    model, central = federated.prepare(tmp_path / "trained", people)
    prepared = with_weights(Prepared(tmp_path), model, central)
    learned = np.fromfile(rehearsed / "weights.f32", "<f4")
    np.testing.assert_array_equal(NextWordFiles.load(model).weights, learned)
    predictors = {name: BY_NAME[name].make(prepared) for name in (BASE, FEDERATED, CENTRAL)}
    asked = ("we ", "see you at the ", "it was ")
    suggested = {name: [list(each.suggest(text)) for text in asked] for name, each in predictors.items()}
    assert suggested[FEDERATED] != suggested[BASE]
    assert predictors[CENTRAL].suggest("see you at the ")[0] in {"harbour", "station"}
    for each in predictors.values():
        each.close()


def test_there_is_no_central_trigram_where_its_people_are_not_at_hand(rehearsed, people, tmp_path):
    assert Federated.read(rehearsed).prepare(tmp_path, people[1:])[1] is None


def test_rounds_are_measured_from_the_base_to_the_last(rehearsed, people, tmp_path):
    ticks = []
    rows = Federated.read(rehearsed).by_round(people[3:5], 1, tmp_path / "log", lambda: ticks.append(1))
    assert len(ticks) == 6
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert rows[0]["top3"] == rows[1]["top3"] != rows[2]["top3"]  # the first round had the base's weights
    assert rows[1]["loss"] == 5.0
