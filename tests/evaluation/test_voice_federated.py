"""Who teaches a task and who is measured are never the same; both ways of training start and are judged alike."""

import hashlib
import json

import numpy as np
import pytest
from made_up_words import WORDS, say

from hushfold.device import VOICE_MODEL, bundled_model
from hushfold_demo.speakers import read_speakers
from hushfold_evaluation.errors import UsageError
from hushfold_evaluation.voice import federated
from hushfold_evaluation.voice.clips import COMMANDS, Clip
from hushfold_evaluation.voice.report import comparison, write_comparison
from hushfold_format import VoiceFiles

TASK = '[task]\npart = "{part}"\n[training]\nsteps = 20\n'


@pytest.fixture(scope="module")
def clips():
    """Three base words of a language of their own, once by each of six speakers."""
    return [Clip(say(WORDS[word], take), COMMANDS[word], f"speaker-{take}") for take in range(6) for word in range(3)]


@pytest.fixture
def rehearsed(tmp_path, clips):
    """A rehearsal of two rounds by half of the speakers, which has learned nothing at all."""
    federated.write_unlearned(tmp_path / "models")
    weights = (tmp_path / "models" / VOICE_MODEL / "weights.f32").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    (folder / "weights.f32").write_bytes(weights)
    report = {
        "task": TASK.format(part="adapter"),
        "people": sorted({each.speaker for each in federated.halves(clips, 0)[0]}),
        "rounds": [{"number": 1}, {"number": 2}],
        "weights_sha256": digest,
        "base_weights_sha256": digest,
    }

    def write(**changed):
        (folder / "report.json").write_text(json.dumps({**report, **changed}))
        return folder

    return write


@pytest.mark.parametrize("seed", range(5))
def test_the_halves_share_no_speaker(clips, seed):
    teaching, measured = federated.halves(clips, seed)
    assert not {each.speaker for each in teaching} & {each.speaker for each in measured}
    assert {id(each) for each in [*teaching, *measured]} == {id(each) for each in clips}
    assert len({each.speaker for each in teaching}) == 3


def test_one_speaker_is_no_two_halves(clips):
    with pytest.raises(UsageError, match="no two speakers"):
        federated.halves(clips[:3], 0)


def test_a_rehearsal_hears_the_very_clips_that_were_written(clips, tmp_path):
    federated.write_clips(tmp_path / "new" / "others.csv", clips)
    found = [
        (each.name, label, pcm) for each in read_speakers(tmp_path / "new" / "others.csv") for label, pcm in each.clips
    ]
    assert [(name, label) for name, label, _ in found] == [(each.speaker, each.word) for each in clips]
    for each, (_, _, pcm) in zip(clips, found, strict=True):
        np.testing.assert_array_equal(pcm, each.pcm)


def test_what_is_to_learn_is_the_shipped_model_but_for_its_last_layer(tmp_path):
    federated.write_unlearned(tmp_path)
    learning, shipped = VoiceFiles.load(tmp_path / VOICE_MODEL), VoiceFiles.load(bundled_model(VOICE_MODEL))
    start, stop = shipped.manifest.parts["adapter"]
    assert not learning.weights[start:stop].any()
    assert shipped.weights[start:stop].any()
    kept = np.ones(shipped.manifest.size, bool)
    kept[start:stop] = False
    np.testing.assert_array_equal(learning.weights[kept], shipped.weights[kept])


def test_central_training_learns_the_words_that_a_task_which_learned_nothing_does_not_know(rehearsed, clips, tmp_path):
    found = federated.compare(rehearsed(), clips, 0)
    assert (found.phones, found.speakers, found.clips, found.passes) == (3, 3, 9, 40)
    assert found.federated.value == pytest.approx(100 / 3)  # always the same word
    assert found.central.value > 60
    assert found.federated_ratio.value == pytest.approx(found.federated.value / found.central.value)
    write_comparison(tmp_path / "federated.json", {"seed": 0}, found)
    assert json.loads((tmp_path / "federated.json").read_text())["federated"]["clips"] == 9
    assert "3 others were the phones" in list(comparison(found))[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"people": [f"speaker-{number}" for number in range(6)]}, "learned from 3 of the people to be measured"),
        ({"people": []}, "learned from others than these 3 speakers"),
        ({"task": TASK.format(part="whole")}, "learned the part whole"),
        ({"base_weights_sha256": "00"}, "started from another base"),
    ],
)
def test_another_rehearsal_is_refused_in_a_sentence(rehearsed, clips, changed, said):
    with pytest.raises(UsageError, match=said):
        federated.compare(rehearsed(**changed), clips, 0)
