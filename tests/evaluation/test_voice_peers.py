"""The yardstick for personal words, compared with its reference, and pocketsphinx as it is called."""

import ast
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from tone_words import OTHERS, clip, tone, write_set

from hushfold_evaluation.voice import peers, personal
from hushfold_evaluation.voice.clips import COMMANDS, Clip, by_speaker, read

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    """The reference implementation, which is not part of this repository."""
    data = Path(os.environ.get("HUSHFOLD_DATA") or ROOT.parent / "shared" / "data")
    path = data.parent / "tools" / "personal_words_yardstick.py"
    if not path.exists():
        pytest.skip(f"the yardstick is not at {path}")
    return path


def sounds(seed, count=20):
    chance = np.random.default_rng(seed)
    for _ in range(count):
        pcm = tone(chance.choice(OTHERS), chance.uniform(0.1, 0.9), chance.uniform(0, 0.4), chance.uniform(0.01, 0.9))
        yield (pcm + 0.01 * chance.standard_normal(len(pcm))).astype(np.float32)


def test_cepstra_are_those_of_the_reference(reference):
    tree = ast.parse(reference.read_text())
    tree.body = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.Import | ast.ImportFrom)]
    its = {}
    exec(compile(tree, str(reference), "exec"), its)
    for pcm in sounds(0):
        np.testing.assert_allclose(peers.mfcc(pcm), its["feats"](pcm), rtol=1e-6, atol=1e-6)


def test_accuracy_is_that_of_the_reference(reference, tmp_path, monkeypatch, capsys):
    """Words that are hard to tell: the same share of them is right, for each number of takes."""
    chance = np.random.default_rng(5)
    clips = []
    for speaker in ("anna", "ben", "cleo"):
        for word in OTHERS:
            for _ in range(8):
                pcm = tone(word, chance.uniform(0.2, 0.5), detune=chance.uniform(0.7, 1.3))
                noisy = pcm + 0.02 * chance.standard_normal(len(pcm))
                clips.append(Clip(noisy.astype(np.float32), word, speaker))
    write_set(tmp_path, "words", clips)
    monkeypatch.setattr(sys, "argv", [str(reference), str(tmp_path / "speech" / "words.tar")])
    runpy.run_path(str(reference))
    expected = {
        int(takes): (float(mean), float(least))
        for takes, mean, least in re.findall(r"(\d+) takes: accuracy ([\d.]+) min ([\d.]+)", capsys.readouterr().out)
    }
    assert set(expected) == set(personal.TAKES)
    features = peers.Mfcc()
    for takes, (mean, least) in expected.items():
        trials = [
            personal.measure(features, speaker, said, [], [], takes)
            for speaker, said in by_speaker(read("words", tmp_path)).items()
        ]
        found = personal.figures(trials, seed=0)
        assert 5 < found.closest.value < 100  # or the comparison says nothing
        assert found.closest.value == pytest.approx(mean, abs=0.051)
        assert found.worst == pytest.approx(least, abs=0.051)


def test_the_machine_knows_no_other_word():
    taught = peers.Mfcc().teach({word: [clip(word)] for word in OTHERS})
    assert taught.guess(clip("open")).word == "open"
    assert taught.guess(clip("left")).accepted
    assert taught.guess(clip("open")).distance < taught.guess(clip("left")).distance
    assert taught.without("open").guess(clip("open")).word != "open"


@pytest.mark.skipif(peers.pocketsphinx_missing(), reason="pocketsphinx is not installed")
def test_pocketsphinx_says_base_words_or_nothing():
    decoder = peers.Pocketsphinx()
    assert not decoder.guess(Clip(np.zeros(16_000, np.float32), "", "")).accepted
    for guess in [decoder.guess(Clip(pcm, "", "")) for pcm in sounds(1, 5)]:
        assert guess.accepted == (guess.word in COMMANDS)
