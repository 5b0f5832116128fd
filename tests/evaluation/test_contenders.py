"""The predictors that come from elsewhere, the SDK's, and the list of all."""

import json
from contextlib import closing

import numpy as np
import pytest

from hushfold import PersonalWeights, Score
from hushfold.device import bundled_model
from hushfold.memory import Blend
from hushfold_evaluation import keyboards, onboard, presage
from hushfold_evaluation.contenders import BASE, BY_NAME, CONTENDERS, prepare
from hushfold_evaluation.errors import EvaluationError
from hushfold_evaluation.keyboards import BaseKeyboard, PersonalKeyboard, WeightsKeyboard, WordsKeyboard
from hushfold_evaluation.texts import PublicTexts
from hushfold_format import NextWordFiles

needs_presage = pytest.mark.skipif(presage.missing(), reason="presage is not installed: make system-deps")
needs_onboard = pytest.mark.skipif(onboard.missing(), reason="onboard is not installed: make system-deps")


@pytest.fixture
def texts(tmp_path, public):
    path = tmp_path / "text" / "a-public.jsonl.gz"
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in public))
    return PublicTexts((path,))


@pytest.fixture(scope="module")
def trained_presage(tmp_path_factory, public):
    path = tmp_path_factory.mktemp("presage") / "presage.db"
    presage.train(public, path)
    return path


@pytest.fixture(scope="module")
def trained_onboard(tmp_path_factory, public):
    path = tmp_path_factory.mktemp("onboard") / "onboard.lm"
    onboard.train(public, path)
    return path


AWKWARD = [
    "",
    " ",
    "\n",
    "don'",
    "caf\u00e9 t",
    "\U0001f600 ",
    "\u0645\u0631\u062d\u0628\u0627",
    "<url> ",
    "a\x00b",
    "x" * 3000,
    "'",
    "...",
]


@needs_presage
def test_presage_suggests_what_it_was_trained_on_and_learns(trained_presage):
    with closing(presage.Presage(trained_presage)) as predictor:
        assert "tonight" in predictor.suggest("i'll be late ")
        assert predictor.suggest("see you at the h")[0] == "harbour"
        assert predictor.suggest("don'")[0] == "don't"
        assert "guillemot" not in predictor.suggest("we met the gu")
        for _ in range(3):
            predictor.learn("we met the guillemot")
        assert predictor.suggest("we met the gu")[0] == "guillemot"


@needs_presage
def test_presage_keeps_two_people_apart_and_leaves_the_home_alone(trained_presage, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(presage.Presage(trained_presage)) as one, closing(presage.Presage(trained_presage)) as other:
        one.learn("guillemot")
        assert one.suggest("gu") == ["guillemot"]
        assert other.suggest("gu") == []
    assert list(tmp_path.iterdir()) == []


@needs_presage
@pytest.mark.parametrize("text", AWKWARD)
def test_presage_bears_any_text(trained_presage, text):
    with closing(presage.Presage(trained_presage)) as predictor:
        predictor.learn(text)
        assert all(isinstance(word, str) for word in predictor.suggest(text))


@needs_presage
def test_presage_without_its_database_says_so(tmp_path):
    (tmp_path / "none").write_text("")
    with pytest.raises(EvaluationError, match="text2ngram failed"):
        presage.train(["a"], tmp_path / "none" / "presage.db")


@needs_onboard
def test_onboard_suggests_what_it_was_trained_on_and_learns(trained_onboard):
    with closing(onboard.Onboard(trained_onboard)) as predictor:
        assert predictor.suggest("see you at the h")[0] == "harbour"
        assert "don't" in predictor.suggest("")
        assert "don't" in predictor.suggest("Don'")
        assert predictor.suggest("we met the gu") == []
        for _ in range(3):
            predictor.learn("we met the Guillemot")
        assert predictor.suggest("we met the gu")[0] == "guillemot"
        assert predictor.suggest("We met the ")[0] == "guillemot"
    with closing(onboard.Onboard(trained_onboard)) as other:
        assert other.suggest("we met the gu") == []


@needs_onboard
@pytest.mark.parametrize("text", AWKWARD)
def test_onboard_bears_any_text(trained_onboard, text):
    with closing(onboard.Onboard(trained_onboard)) as predictor:
        predictor.learn(text)
        assert not any(word.startswith("<") for word in predictor.suggest(text))


def test_the_base_is_the_keyboard_of_the_sdk():
    with closing(BaseKeyboard()) as predictor:
        before = predictor.suggest("see you ")
        assert len(before) == 3
        assert "tomorrow" in predictor.suggest("see you tomo")
        for _ in range(20):
            predictor.learn("see you guillemot")
        predictor.settle()
        assert predictor.suggest("see you ") == before


def test_what_the_user_writes_after_what_is_suggested():
    with closing(WordsKeyboard()) as predictor:
        for _ in range(20):
            predictor.learn("see you yesterday")
        predictor.settle()
        assert predictor.suggest("see you ")[0].lower() == "yesterday"
        assert predictor.probability("see you ", "yesterday") > 0.1


@pytest.mark.slow
def test_what_a_user_with_habits_writes_next_is_far_likelier(people):
    """People whose messages are much the same."""
    with closing(PersonalKeyboard()) as predictor, closing(BaseKeyboard()) as base:
        for message in people[1].learned:
            predictor.learn(message)
        predictor.settle()
        assert predictor.probability("i'll be late ", "tonight") > 3 * base.probability("i'll be late ", "tonight")


def test_weights_that_have_proven_themselves_are_measured_without_habits(monkeypatch):
    """A word that the user's weights and word frequencies make likelier, and what they only write often, does not."""
    files = NextWordFiles.load(bundled_model())
    scales = np.ones(len(files.vocabulary), np.float32)
    scales[files.vocabulary.encode_word("yesterday")] = 20
    none = Score(1, 0, 0)
    own = PersonalWeights(files.manifest.size, None, scales, Blend(), "", none, none, 0.0)
    monkeypatch.setattr(keyboards, "load", lambda *_: own)
    with closing(WeightsKeyboard()) as predictor, closing(BaseKeyboard()) as base:
        for _ in range(20):
            predictor.learn("see you monday")
        predictor.settle()
        yesterday, monday = (
            predictor.probability("see you ", word) / base.probability("see you ", word)
            for word in ("yesterday", "monday")
        )
    assert yesterday > 5
    assert monday < 1


@pytest.mark.parametrize("keyboard", [WeightsKeyboard, PersonalKeyboard])
def test_too_few_messages_for_weights_leave_the_base(keyboard):
    with closing(keyboard()) as predictor, closing(BaseKeyboard()) as base:
        predictor.learn("see you")
        predictor.settle()
        assert set(predictor.suggest("where are ")) & set(base.suggest("where are "))


def test_the_base_gives_probabilities_of_its_words():
    words = ("later", "the", "you", "qqq")
    with closing(BaseKeyboard()) as predictor:
        later, the, you, nothing = (predictor.probability("see you ", word) for word in words)
    assert 0 < the < later < 1
    assert 0 < you < later
    assert nothing == 0


def test_every_contender_has_a_name_of_its_own_and_compares_with_one_that_exists():
    assert len(BY_NAME) == len(CONTENDERS)
    assert BASE in BY_NAME
    assert {each.without for each in CONTENDERS} - {""} <= set(BY_NAME)
    assert all(len(each.title) <= 16 for each in CONTENDERS)  # or the table is too wide
    assert all(each.packages for each in CONTENDERS if each.name in ("presage", "onboard"))


def test_what_is_trained_is_kept(texts, tmp_path):
    said = []
    contenders = [BY_NAME["trigram"], BY_NAME["trigram-personal"], BY_NAME[BASE]]
    prepared = prepare(contenders, texts, tmp_path / "trained", said.append)
    assert said == ["training trigram on the public texts, once"]
    assert "harbour" in prepared.trigram.ids
    assert "the" in prepared.vocabulary
    assert not {"<s>", ",", "<url>"} & set(prepared.vocabulary)
    assert prepare(contenders, texts, tmp_path / "trained", said.append) == prepared
    assert len(said) == 1


def test_training_that_was_interrupted_leaves_nothing_to_use(texts, tmp_path, monkeypatch):
    def interrupted(messages, path):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("hushfold_evaluation.ngrams.Ngrams.save", lambda _, path: interrupted((), path))
    with pytest.raises(KeyboardInterrupt):
        prepare([BY_NAME["trigram"]], texts, tmp_path, print)
    monkeypatch.undo()
    assert "harbour" in prepare([BY_NAME["trigram"]], texts, tmp_path, print).trigram.ids
