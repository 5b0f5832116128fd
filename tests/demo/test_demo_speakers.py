"""Simulated speakers: a set of clips read, and a rehearsal of a voice task on them."""

import csv
import io
import tarfile

import numpy as np
import pytest
import soundfile

from hushfold.voice.audio import RATE
from hushfold_demo.errors import UsageError
from hushfold_demo.rehearsal import Phones
from hushfold_demo.speakers import Speaker, read_speakers
from hushfold_protocol.encoding import EncodingParameters, decode_sum
from hushfold_protocol.plan import CohortParameters, ModelReference, Plan, TrainingParameters, UpdateParameters


def sound(number, seconds=0.8):
    """A made-up word: a chord that rises and falls."""
    time = np.arange(int(seconds * RATE)) / RATE
    waves = sum(np.sin(2 * np.pi * (150 + 97 * number) * harmonic * time) / harmonic for harmonic in (1, 2, 3))
    return (0.2 * waves * np.sin(np.pi * time / seconds) ** 2).astype(np.float32)


@pytest.fixture
def table(tmp_path):
    rows = [("a.wav", "left", "ann"), ("b.wav", "right", "bob"), ("c.wav", "up", "ann")]
    with tarfile.open(tmp_path / "set.tar", "w") as clips:
        for number, (name, _, _) in enumerate(rows):
            content = io.BytesIO()
            soundfile.write(content, sound(number), RATE, format="WAV", subtype="FLOAT")
            entry = tarfile.TarInfo(name)
            entry.size = content.tell()
            content.seek(0)
            clips.addfile(entry, content)
    with (tmp_path / "set.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["file", "label", "speaker", "samples"])
        writer.writerows([name, label, speaker, 12_800] for name, label, speaker in rows)
    return tmp_path / "set.csv"


def test_speakers_are_read_with_what_they_say(table):
    ann, bob = read_speakers(table)
    assert (ann.name, [label for label, _ in ann.clips]) == ("ann", ["left", "up"])
    assert (bob.name, [label for label, _ in bob.clips]) == ("bob", ["right"])
    np.testing.assert_array_equal(ann.clips[1][1], sound(2))
    assert ann.identity != Speaker("ann", ann.clips[:1]).identity


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda table: table.unlink(), "no such file"),
        (lambda table: table.with_suffix(".tar").unlink(), "no such file"),
        (lambda table: table.with_suffix(".tar").write_bytes(b"no archive"), "cannot be read"),
        (lambda table: table.write_text("file,label,speaker\nz.wav,left,ann\n"), "cannot be read"),
        (lambda table: table.write_text("file,label,speaker\n"), "names no clip"),
        (lambda table: table.write_text("what,is,this\n1,2,3\n"), "cannot be read"),
    ],
)
def test_what_is_no_set_of_clips(table, fault, message):
    fault(table)
    with pytest.raises(UsageError, match=message):
        read_speakers(table)


def plan_of(files):
    part = files.manifest.parts["adapter"]
    encoding = EncodingParameters.for_cohort(
        dimension=part.size,
        clip_norm=5.0,
        noise_multiplier=0.0,
        bits=32,
        cohort_max=4,
        noise_contributors=4,
        rotation_seed=(3, 4),
    )
    return Plan(
        population="rehearsal",
        task="try",
        round_id=bytes(16),
        round_number=1,
        model=ModelReference("voice", files.manifest.version, bytes(32), "adapter", bytes(32)),
        training=TrainingParameters(3, files.manifest.batch, files.manifest.time, 0.05, 100, 7),
        update=UpdateParameters(part.size, 5.0, encoding.scale, 32, 0.0, 3, 4, encoding.beta),
        cohort=CohortParameters(4, 4, 4, 0.0),
        delta=1e-6,
        join_delay_ms=0,
        expires=0,
    )


def test_a_round_learns_what_speakers_say(table, tmp_path):
    """The mean update makes their own labels likelier, for all of them together."""
    speakers = read_speakers(table)
    with Phones(speakers, tmp_path / "phones", 2) as phones:
        assert (phones.examples, phones.noun) == (3, "recordings")
        files = phones.models[0].files
        plan = plan_of(files)
        total, before = phones.train(plan, files.weights, lambda: None)
        update = decode_sum(total, plan.update.encoding()) / len(speakers)
        start, stop = files.manifest.parts["adapter"]
        learned = files.weights.copy()
        learned[start:stop] -= update.astype(np.float32)
        for model in phones.models:
            model._store.clear_checkpoint("voice/try")
        _, after = phones.train(plan, learned, lambda: None)
    assert np.mean(after) < np.mean(before)


def test_silence_is_left_out(tmp_path):
    with pytest.raises(UsageError, match="no recordings that the model can learn from"):
        Phones([Speaker("quiet", (("left", np.zeros(RATE, np.float32)),))], tmp_path, 1)
