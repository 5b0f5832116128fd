"""The vocabulary that texts give."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushfold.redaction import redact
from hushfold_format import FIRST_WORD, UNKNOWN, NextWordFiles, Vocabulary, tokenize
from hushfold_models import corpus
from hushfold_models.mixture import Mixture
from hushfold_models.phrases import EMOJI, PHRASES

TEXTS = [
    "We went to London and London was cold",
    "We like London, I like it and I'm happy",
    "They say I am late",
    "So I went",
    "i went to london",
    "WE ALL LIKE HAPPY DOGS",
    "Is Happy here?",
]


def test_frequent_words_come_first_and_emoji_are_there() -> None:
    vocabulary = corpus.build_vocabulary(TEXTS, 100)
    assert vocabulary.words[0] == "i"
    assert vocabulary.words[1] == "london"
    (heart,) = vocabulary.encode([token.text for token in tokenize("❤️")])
    assert vocabulary.surface(heart) == "❤️"  # with the selector of the coloured form
    assert UNKNOWN not in vocabulary.encode([token.text for token in tokenize(EMOJI)])


def test_casing_is_learnt_from_the_middle_of_sentences_in_sentence_case() -> None:
    vocabulary = corpus.build_vocabulary(TEXTS, 100)
    written = {word: vocabulary.surface(vocabulary.encode_word(word)) for word in ("i", "london", "happy", "we")}
    assert written == {"i": "I", "london": "London", "happy": "happy", "we": "we"}


def test_the_pronoun_is_a_capital_however_people_text() -> None:
    vocabulary = corpus.build_vocabulary(
        ["Then i said i'm late and i'll run", "So i did", "That's what i've said"], 100
    )
    written = [vocabulary.surface(vocabulary.encode_word(word)) for word in ("i", "i'm", "i'll", "i've")]
    assert written == ["I", "I'm", "I'll", "I've"]


def test_a_vocabulary_is_cut_to_its_size_and_the_same_each_time() -> None:
    vocabulary = corpus.build_vocabulary(PHRASES, 120)
    assert len(vocabulary) == 120
    assert vocabulary.to_bytes() == corpus.build_vocabulary(reversed(PHRASES), 120).to_bytes()


def test_placeholders_are_no_words() -> None:
    assert "<time>" not in corpus.build_vocabulary(PHRASES, 150).words
    assert corpus.build_vocabulary(PHRASES, 150).encode_word("<time>") < FIRST_WORD


def test_held_out_is_a_small_fixed_share() -> None:
    chosen = [number for number in range(5000) if corpus.held_out(f"message {number}")]
    assert 50 < len(chosen) < 150
    assert chosen == [number for number in range(5000) if corpus.held_out(f"message {number}")]


def test_missing_data_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(corpus.CorpusError, match=r"chat-public.*HUSHFOLD_DATA"):
        corpus.read("chat-public", tmp_path)


def test_the_data_folder_is_chosen_by_option_then_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUSHFOLD_DATA", str(tmp_path / "environment"))
    assert corpus.data_folder(tmp_path / "option") == tmp_path / "option"
    assert corpus.data_folder() == tmp_path / "environment"
    monkeypatch.delenv("HUSHFOLD_DATA")
    assert corpus.data_folder().parts[-2:] == ("shared", "data")


@pytest.mark.parametrize(
    ("typed", "written"),
    [("i", "I"), ("i'm", "I'm"), ("london", "London"), ("monday", "Monday"), ("the", "the"), ("dont", "dont")],
)
def test_the_shipped_vocabulary_writes_words_as_people_do(files: NextWordFiles, typed: str, written: str) -> None:
    assert files.vocabulary.surface(files.vocabulary.encode_word(typed)) == written


def test_the_phrasebook_is_of_text_messages() -> None:
    messages = corpus.phrasebook()
    assert len(messages) > 5000
    assert len(set(messages)) > 0.97 * len(messages)
    assert all(text == text.strip() != "" for text in messages)
    assert not any(redact(text) != text for text in messages)  # no addresses, links or telephone numbers


@pytest.mark.slow
def test_the_shipped_vocabulary_is_that_of_the_public_texts(files: NextWordFiles) -> None:
    folder = corpus.data_folder()
    if not (folder / "text").is_dir():
        pytest.skip(f"no data at {folder}: set HUSHFOLD_DATA")
    kept = {
        source: [text for text in texts if not corpus.held_out(text)]
        for source, texts in corpus.read_sources(folder).items()
    }
    from hushfold_models.pretraining import Schedule

    built = corpus.build_vocabulary(Mixture(kept, Schedule().seed).epoch(0), len(files.vocabulary))
    assert built == Vocabulary(files.vocabulary.words, files.vocabulary.surfaces)
