"""LiteRT behind the two wrappers: what they compute, and that nothing bad reaches the runtime."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from hushfold.errors import ModelError
from hushfold.model import SuggestionModel, TrainingModel
from hushfold_format import BEGIN, FIRST_WORD, batches, message_ids

SENTENCES = (
    "i am on my way home",
    "thank you so much for the ride",
    "what time do you want to meet tomorrow",
    "we should go to the park, it is nice today",
    "do you like to watch football?",
)


@pytest.fixture(scope="module")
def sentence_batches(files):
    ids = [message_ids(text, files.vocabulary) for text in SENTENCES]
    return list(batches(ids, files.manifest.batch, files.manifest.time))


@pytest.fixture
def model(files):
    loaded = TrainingModel(files)
    loaded.load(files.weights)
    return loaded


def test_the_vector_comes_back_as_it_was_loaded(model, files):
    assert np.array_equal(model.vector(), files.weights)
    other = files.weights[::-1].copy()
    model.load(other)
    assert np.array_equal(model.vector(), other)


@pytest.mark.parametrize("part", ["whole", "adapter"])
def test_training_lowers_the_loss_and_changes_its_part_alone(model, files, sentence_batches, part):
    losses = [model.train_step(sentence_batches[0], 0.1, part) for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    start, stop = files.manifest.parts[part]
    changed = np.flatnonzero(model.vector() != files.weights)
    assert len(changed)
    assert start <= changed.min()
    assert changed.max() < stop


def test_interpreters_do_not_share_weights(model, files, sentence_batches):
    other = TrainingModel(files)
    other.load(files.weights)
    model.train_step(sentence_batches[0], 0.1, "adapter")
    assert np.array_equal(other.vector(), files.weights)


BAD_BATCHES = {
    "float tokens": lambda b: b._replace(tokens=b.tokens.astype(np.float32)),
    "int64 targets": lambda b: b._replace(targets=b.targets.astype(np.int64)),
    "double mask": lambda b: b._replace(mask=b.mask.astype(np.float64)),
    "a row short": lambda b: b._replace(tokens=b.tokens[:-1]),
    "a step more": lambda b: b._replace(mask=np.pad(b.mask, ((0, 0), (0, 1)))),
    "flat": lambda b: b._replace(targets=b.targets.ravel()),
    "negative token": lambda b: b._replace(tokens=b.tokens - b.tokens.max() - 1),
    "token past the vocabulary": lambda b: b._replace(tokens=b.tokens + 1_000_000),
    "target past the vocabulary": lambda b: b._replace(targets=b.targets + 1_000_000),
    "negative mask": lambda b: b._replace(mask=-b.mask),
    "NaN in the mask": lambda b: b._replace(mask=b.mask * np.float32("nan")),
}


@pytest.mark.parametrize("fault", BAD_BATCHES)
def test_a_bad_batch_is_refused_and_the_weights_survive(model, files, sentence_batches, fault):
    bad = BAD_BATCHES[fault](sentence_batches[0])
    with pytest.raises(ModelError):
        model.train_step(bad, 0.1, "whole")
    assert np.array_equal(model.vector(), files.weights)
    model.train_step(sentence_batches[0], 0.1, "whole")  # and the graph still works


def test_the_first_id_past_the_vocabulary_is_refused(model, files, sentence_batches):
    batch = sentence_batches[0]
    words = files.manifest.sizes["vocabulary"]
    last = batch._replace(tokens=np.full_like(batch.tokens, words - 1))
    model.train_step(last, 1e-6, "adapter")
    with pytest.raises(ModelError, match=f"0 to {words - 1}"):
        model.train_step(batch._replace(tokens=np.full_like(batch.tokens, words)), 0.1, "adapter")


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_a_senseless_learning_rate_is_refused(model, files, sentence_batches, rate):
    with pytest.raises(ModelError, match="learning rate"):
        model.train_step(sentence_batches[0], rate, "whole")
    assert np.array_equal(model.vector(), files.weights)


def test_an_unknown_part_is_refused(model, sentence_batches):
    with pytest.raises(ModelError, match="'embedding'"):
        model.train_step(sentence_batches[0], 0.1, "embedding")


@pytest.mark.parametrize("fault", ["short", "double", "not finite"])
def test_a_bad_vector_is_refused_and_the_old_one_stays(model, files, fault):
    bad = {"short": files.weights[1:], "double": files.weights.astype(np.float64), "not finite": files.weights.copy()}
    bad["not finite"][7] = np.inf
    with pytest.raises(ModelError):
        model.load(bad[fault])
    with pytest.raises(ModelError):
        SuggestionModel(files, bad[fault])
    assert np.array_equal(model.vector(), files.weights)


def test_nothing_runs_before_weights_are_loaded(files, sentence_batches):
    model = TrainingModel(files)
    for use in (
        model.vector,
        lambda: model.train_step(sentence_batches[0], 0.1, "whole"),
    ):
        with pytest.raises(ModelError, match="load"):
            use()


def test_the_served_model_agrees_with_the_training_graph(model, files):
    """Word by word through the int8 graph, against whole rows through the float32 graph."""
    served = SuggestionModel(files, files.weights)
    for text in SENTENCES:
        ids = message_ids(text, files.vocabulary)
        (batch,) = batches([ids], files.manifest.batch, files.manifest.time)
        model.load(files.weights)
        exact = model.train_step(batch, 1e-6, "adapter")  # the loss before the step
        state, loss, count = served.initial_state(), 0.0, 0
        for token, target in zip([BEGIN, *ids[:-1]], ids, strict=True):
            probabilities, state = served.step(token, state)
            if target >= FIRST_WORD:
                loss -= float(np.log(probabilities[target]))
                count += 1
        assert count == batch.mask.sum()
        assert -0.1 < loss / count - exact < 0.05  # int8 may be luckier than float32 on so few words


def test_a_step_is_a_function_of_token_and_state(files):
    served = SuggestionModel(files, files.weights)
    start = served.initial_state()
    first, after_first = served.step(BEGIN, start)
    served.step(FIRST_WORD, after_first)
    again, after_again = served.step(BEGIN, start)
    assert np.array_equal(first, again)
    assert np.array_equal(after_first.h, after_again.h)
    assert np.array_equal(after_first.c, after_again.c)
    assert first.shape == (len(files.vocabulary),)
    assert first.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("token", [-1, 1 << 20])
def test_a_token_outside_the_vocabulary_is_refused(files, token):
    served = SuggestionModel(files, files.weights)
    with pytest.raises(ModelError, match="outside"):
        served.step(token, served.initial_state())


def test_the_weights_given_are_served_whatever_becomes_of_the_array(files):
    changed = files.weights.copy()
    files.manifest.split(changed)["bucket_bias"][1] = 50.0  # the bucket of the most frequent word alone
    served, shipped = SuggestionModel(files, changed), SuggestionModel(files, files.weights)
    changed[:] = 0
    assert served.step(BEGIN, served.initial_state())[0].argmax() == FIRST_WORD
    assert shipped.step(BEGIN, shipped.initial_state())[0].argmax() != FIRST_WORD


def test_threads_may_share_a_model(files):
    served = SuggestionModel(files, files.weights)
    ids = [BEGIN, *message_ids(" ".join(SENTENCES), files.vocabulary)]

    def read():
        state = served.initial_state()
        for token in ids:
            probabilities, state = served.step(token, state)
        return probabilities

    expected, found = read(), []
    threads = [threading.Thread(target=lambda: found.append(read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(expected, result) for result in found)


def test_importing_the_sdk_loads_no_runtime():
    """Apps start fast: LiteRT is loaded by the first suggestion, TensorFlow never."""
    program = (
        "import sys, hushfold.device, hushfold.keyboard, hushfold.training\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('ai_edge_litert', 'tensorflow')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
