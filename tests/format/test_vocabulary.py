"""Words, ids and casing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_format import BEGIN, FIRST_WORD, PAD, SPECIALS, UNKNOWN, ArtifactError, Vocabulary

WORDS = ("i", "the", "i'm", "london", "don't", "!", "❤", "usb")
VOCABULARY = Vocabulary(WORDS, {"i": "I", "i'm": "I'm", "london": "London", "usb": "USB"})


def test_ids_follow_the_special_tokens() -> None:
    assert tuple(SPECIALS.index(name) for name in ("<pad>", "<s>", "<unk>")) == (PAD, BEGIN, UNKNOWN)
    assert [VOCABULARY.encode_word(word) for word in WORDS] == list(range(FIRST_WORD, FIRST_WORD + len(WORDS)))
    assert len(VOCABULARY) == FIRST_WORD + len(WORDS)


@pytest.mark.parametrize(
    ("typed", "written"),
    [("i", "I"), ("I'M", "I'm"), ("lonDON", "London"), ("USB", "USB"), ("THE", "the"), ("'the'", "the"), ("❤", "❤")],
)
def test_any_casing_is_one_word_written_as_usual(typed: str, written: str) -> None:
    assert VOCABULARY.surface(VOCABULARY.encode_word(typed)) == written


@pytest.mark.parametrize("word", ["<pad>", "<s>", "<unk>", "paris", "", "'"])
def test_what_has_no_entry_is_unknown(word: str) -> None:
    assert VOCABULARY.encode_word(word) == UNKNOWN
    assert word not in VOCABULARY


@pytest.mark.parametrize("placeholder", ["<number>", "<url>", "<email>", "<name>", "<time>", "<date>"])
def test_placeholders_are_special_tokens(placeholder: str) -> None:
    token_id = VOCABULARY.encode_word(placeholder)
    assert UNKNOWN < token_id < FIRST_WORD
    assert VOCABULARY.surface(token_id) == placeholder
    assert not VOCABULARY.is_word(token_id)


def test_words_are_told_from_punctuation() -> None:
    assert {word for word in WORDS if not VOCABULARY.is_word(VOCABULARY.encode_word(word))} == {"!", "❤"}


@pytest.mark.parametrize("token_id", [-1, len(VOCABULARY)])
def test_surface_of_no_id(token_id: int) -> None:
    with pytest.raises(IndexError, match="outside a vocabulary"):
        VOCABULARY.surface(token_id)


@given(st.sets(st.from_regex(r"[a-zé']{1,8}", fullmatch=True)))
def test_a_file_gives_the_same_vocabulary_back(words: set[str]) -> None:
    vocabulary = Vocabulary(tuple(sorted(words)), {word: word.upper() for word in words if "a" in word})
    again = Vocabulary.load(vocabulary.to_bytes())
    assert again == vocabulary
    assert again.to_bytes() == vocabulary.to_bytes()


def _changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(VOCABULARY.to_bytes()), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "not of format"),
        (_changed(format="hushfold-vocabulary/2"), "update the SDK"),
        (_changed(specials=["<pad>"]), "special tokens differ"),
        (_changed(words="the"), "must be a list"),
        (_changed(words=["the", 3]), "must be a list"),
        (_changed(words=["the", "the"], surfaces={}), "distinct"),
        (_changed(words=["The"], surfaces={}), "lower-case"),
        (_changed(words=["<s>"], surfaces={}), "special tokens"),
        (_changed(surfaces={"paris": "Paris"}), "'paris'"),
        (_changed(surfaces=[]), "table of strings"),
    ],
)
def test_a_damaged_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Vocabulary.load(content)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"words\.json: cannot be read"):
        Vocabulary.load(tmp_path / "words.json")
