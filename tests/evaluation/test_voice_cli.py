"""The voice's command line, up to the whole: recordings in, tables, file and pictures out."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from eventually import eventually
from tone_words import OTHERS, clip, write_set

from hushfold_console.command import MISUSED
from hushfold_evaluation.voice import composing, streaming
from hushfold_evaluation.voice.cli import main
from hushfold_evaluation.voice.clips import COMMANDS, RATE, Clip, chosen_by, digest, held_out
from hushfold_evaluation.voice.measuring import NOISE, Asked, _alarms, _stream, foreign, jobs_of

COMMAND = [sys.executable, "-m", "hushfold_evaluation.voice.cli"]


def noises():
    """Six sounds, some of which the base was not trained on."""
    found, seed = [], 0
    while len(found) < 6 or not any(held_out(digest(each.pcm)) for each in found):
        # In steps of the file's 24 bits, so that what is read is what was written.
        pcm = np.round(np.random.default_rng(seed).uniform(-0.1, 0.1, 2 * RATE) * 2**23) / 2**23
        found.append(Clip(pcm.astype(np.float32), "rain", ""))
        seed += 1
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    strangers = [f"sc-{number}" for number in range(40)]
    assert 2 <= sum(map(held_out, strangers)) < 40
    write_set(folder, "commands", [clip(word, name) for name in strangers for word in COMMANDS[::4]])
    write_set(folder, "noise", noises())
    people = [f"pw-{number}" for number in range(40)]
    measured, choosing = ([name for name in people if chosen_by(name) == chosen] for chosen in (False, True))
    for name, speakers, words, takes in (
        ("personal-words", (choosing[0], *measured[:2]), OTHERS[:3], 7),
        ("digits", ("george",), ("0", "1", "2"), 7),
    ):
        spoken = {"0": "zero", "1": "one", "2": "two"}
        clips = [
            Clip(clip(spoken.get(word, word), seconds=0.3 + 0.02 * take).pcm, word, speaker)
            for speaker in speakers
            for word in words
            for take in range(takes)
        ]
        write_set(folder, name, clips)
    return folder


def run(folder, data, *arguments):
    environment = {**os.environ, "HUSHFOLD_DATA": str(data), "TMPDIR": str(folder)}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "missing", "said"),
    [
        ([], "commands.csv", "commands.csv cannot be read: there is no such file. Name a folder"),
        ([], "noise.tar", "noise.tar cannot be read: there is no such file. Name a folder"),
        (["--speakers", "3"], "", "--speakers is 3; 2 are there to be measured"),
        (["--choosing", "--speakers", "2"], "", "--speakers is 2; 1 are there to be measured"),
    ],
)
def test_mistakes_are_told_in_a_sentence(data, tmp_path, arguments, missing, said, monkeypatch, capsys):
    (tmp_path / "speech").mkdir()
    for path in (data / "speech").iterdir():
        if path.name != missing:
            (tmp_path / "speech" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUSHFOLD_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["hushfold-evaluate-voice", "--speakers", "1", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == MISUSED
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("choosing", [False, True])
def test_whoever_a_threshold_was_chosen_by_does_not_say_what_it_is_worth(data, choosing):
    """Neither with taught words nor with foreign ones."""
    asked = Asked(data, speakers=0, minutes=0, seed=0, choosing=choosing)
    taught = {job[1] for job in jobs_of(asked) if job[0] == "personal"}
    assert len(taught) == (1 if choosing else 2)
    for speaker in (*taught, *(each.speaker for each in foreign(asked))):
        assert chosen_by(speaker) == choosing


@pytest.mark.parametrize("choosing", [False, True])
def test_when_a_word_is_told_is_chosen_on_what_the_base_was_trained_on(data, choosing, monkeypatch):
    asked, heard = Asked(data, speakers=0, minutes=0.1, seed=0, choosing=choosing), []

    def remember(commands, others, noises, minutes, seed):
        heard.extend((commands, others, noises))
        return iter(())

    monkeypatch.setattr(composing, "commands", remember)
    monkeypatch.setattr(streaming, "measure", lambda *_: None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)  # or this process would stay on one processor
    _stream(asked)
    commands, others, noises = heard
    monkeypatch.setattr(composing, "noise", lambda given, *_: heard.append(given) or iter(()))
    _alarms(asked, NOISE)
    assert {held_out(digest(each)) for each in heard[-1]} == {not choosing}
    assert {held_out(each.speaker) for each in commands} == {not choosing}
    assert {chosen_by(each.speaker) for each in others} == {choosing}
    assert {held_out(digest(each)) for each in noises} == {not choosing}


@pytest.mark.slow
def test_everything_is_measured_and_the_figures_saved(data, tmp_path):
    done = run(tmp_path, data, "--speakers", 1, "--minutes", 0.1, "--output", "out", "--seed", 4)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("Saved"))
    assert "measuring" in done.stderr
    assert "measuring" not in done.stdout
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["asked"] == {"speakers": 1, "minutes": 0.1, "seed": 4, "choosing": False}
    assert list(written["base_words"])[:2] == ["hushfold", "mfcc-svm"]
    trained = written["base_words"]["mfcc-svm"]
    assert trained["speakers"] == sum(held_out(f"sc-{number}") for number in range(40))
    assert written["personal_words"]["hushfold"][1]["clips"] == 6
    assert [row["takes"] for row in written["digits"]] == [0, 1, 3, 5]
    assert written["stream"]["commands"] >= 1
    assert set(written["false_alarms"]) == {"running speech", "noise"}
    assert all(0.1 / 60 <= each["hours"] < 0.2 / 60 for each in written["false_alarms"].values())
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "speakers.png").stat().st_size > 10_000
    assert not list(tmp_path.glob("hushfold-evaluation-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_asked_to_and_leaves_nothing_behind(data, tmp_path, number):
    """Ctrl-C is for every process of the terminal's group, and a hundred minutes of sound are not waited for."""
    environment = {**os.environ, "HUSHFOLD_DATA": str(data), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "--speakers", "0", "--minutes", "100"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    eventually(lambda: list(tmp_path.glob("hushfold-evaluation-*/*")) or process.poll() is not None, seconds=120)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert told.splitlines()[1:] == ["Interrupted: no figures were saved."]
    assert process.returncode == 130
    assert not list(tmp_path.glob("hushfold-evaluation-*"))
    assert not (tmp_path / "build" / "evaluation-voice" / "report.json").exists()
