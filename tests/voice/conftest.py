"""What the tests of recognition share: the model that the SDK ships, and voices on stores of their own."""

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from made_up_words import COMMANDS, WORDS, takes
from synthetic_speech import noise

from hushfold.clock import ManualClock
from hushfold.device import bundled_model
from hushfold.model import TrainingModel
from hushfold.store import Store
from hushfold.voice.sound import SpokenSound
from hushfold.voice.voice import Voice
from hushfold_format import VoiceFiles, window_batches


@pytest.fixture(scope="session")
def voice_files():
    return VoiceFiles.load(bundled_model("voice"))


@pytest.fixture(scope="session")
def commanded(voice_files):
    """Weights with which the base knows made-up words as commands, and the others as unknown.

    The real graph, trained for a moment: the last layer is enough.
    """
    spoken = {command: takes(word, 10, first=50) for command, word in COMMANDS.items()}
    others = [word for word in WORDS if word not in COMMANDS.values()]
    spoken["unknown"] = [take for word in others for take in takes(word, 6, first=50)]
    spoken["silence"] = [noise(1.0, -20 - seed, seed) for seed in range(8)]
    pairs = [(SpokenSound.of(pcm), label) for label, recordings in spoken.items() for pcm in recordings]
    windows = [sound.window(voice_files.manifest.time) for sound, _ in pairs]
    labels = [voice_files.labels.index(label) for _, label in pairs]
    model = TrainingModel(voice_files)
    model.load(voice_files.weights)
    for seed in range(60):
        for batch in window_batches(windows, labels, voice_files.manifest.batch, seed=seed):
            model.train_step(batch, 0.3, "adapter")
    vector = model.vector()
    start, stop = voice_files.manifest.parts["adapter"]
    vector[start:stop] *= 8  # so that it is sure of what it knows, whatever the threshold
    return vector


@contextmanager
def voices(folder, files):
    """Makes voices: of the same name one after the other on the same store."""
    with ExitStack() as stack:
        stores = {}

        def make(name="phone", vector=files.weights):
            if name in stores:
                stores.pop(name).close()
            stores[name] = stack.enter_context(Store(folder / name / "store.db", bytes(range(32))))
            return Voice(files, vector, stores[name], ManualClock())

        yield make


@pytest.fixture
def make_voice(tmp_path, voice_files):
    with voices(tmp_path, voice_files) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_voice(tmp_path_factory, voice_files):
    """For voices that no test changes."""
    with voices(tmp_path_factory.mktemp("shared"), voice_files) as make:
        yield make


@pytest.fixture
def voice(make_voice):
    return make_voice()


@pytest.fixture
def obeying(make_voice, commanded):
    """A voice that takes made-up words for commands."""
    return make_voice("obeying", commanded)


@pytest.fixture(scope="session")
def near():
    """Says that two lists of detections are the same, but for rounding."""

    def same(ones, others):
        assert [(one.word, one.own) for one in ones] == [(other.word, other.own) for other in others]
        for field in ("start", "end", "score"):
            ours, theirs = ([getattr(each, field) for each in all_] for all_ in (ones, others))
            assert ours == pytest.approx(theirs, abs=1e-3)
        for one, other in zip(ones, others, strict=True):
            assert np.allclose(one.sound.features, other.sound.features, atol=1e-3)
        return True

    return same
