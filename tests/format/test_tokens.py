"""Text to tokens, and what stands before the cursor."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_format import BEGIN, UNKNOWN, Context, Vocabulary, context_ids, tokenize

VOCABULARY = Vocabulary(("i", "i'm", "see", "you", "at", "!", "...", "👍"), {})

# What the measuring protocol for suggestions takes for a word; restated here on purpose.
MEASURED_WORD = re.compile(r"[A-Za-z0-9']+")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I’m here, don‘t go", ["I'm", "here", ",", "don't", "go"]),
        ("4 ppl 2nite at 10:30", ["4", "ppl", "2nite", "at", "<number>", ":", "<number>"]),
        ("see https://a.b/c?d=1 or www.x.org", ["see", "<url>", "or", "<url>"]),
        ("mail me.you+x@mail.example.org!", ["mail", "<email>", "!"]),
        ("call <name> at <TIME>", ["call", "<name>", "at", "<time>"]),
        ("<s> <pad>", ["<", "s", ">", "<", "pad", ">"]),
        ("hmm.... what?!?? ok!!", ["hmm", "...", "what", "?", "!", "??", "ok", "!!"]),
        (":) ;-) =( :D", [":)", ";-)", "=(", ":", "D"]),
        ("❤️👍🏽 👨‍👩‍👧🇫🇷", ["❤", "👍", "👨‍👩‍👧", "🇫🇷"]),
        ("snake_case", ["snake", "_", "case"]),
        ("déjà vu", ["déjà", "vu"]),
        ("  \n\t ", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert [token.text for token in tokenize(text)] == tokens


@given(st.text())
def test_tokens_cover_all_but_white_space_in_order(text: str) -> None:
    at = 0
    for token in tokenize(text):
        assert token.start >= at
        assert token.end > token.start
        assert not text[at : token.start].strip()
        at = token.end
    assert not text[at:].strip()


@given(st.text(alphabet="abZ09' ,.!?-_/()\"\n"))
def test_words_are_those_of_the_measuring_protocol(text: str) -> None:
    measured = [match.span() for match in MEASURED_WORD.finditer(text)]
    ours = [(t.start, t.end) for t in tokenize(text) if MEASURED_WORD.fullmatch(text[t.start : t.end])]
    assert ours == measured


@pytest.mark.parametrize(
    ("before", "words", "partial"),
    [
        ("", [], ""),
        ("I", [], "I"),
        ("I ", ["i"], ""),
        ("I’m s", ["i'm"], "s"),
        ("see you", ["see"], "you"),
        ("see you!", ["see", "you", "!"], ""),
        ("see you....", ["see", "you", "..."], ""),
        ("at 10", ["at"], "10"),
        ("at 10 ", ["at", "<number>"], ""),
        ("see https://x.or", ["see"], "https://x.or"),
        ("call <name>", ["call", "<name>"], ""),
        ("see you 👍🏽", ["see", "you", "👍"], ""),
        ("I don’t", ["i"], "don't"),
    ],
)
def test_context_before_the_cursor(before: str, words: list[str], partial: str) -> None:
    assert context_ids(before, VOCABULARY) == Context([BEGIN, *VOCABULARY.encode(words)], words, partial)


def test_unknown_words_stay_in_the_context() -> None:
    assert context_ids("see Zanzibar ", VOCABULARY).ids == [BEGIN, VOCABULARY.encode_word("see"), UNKNOWN]


@given(st.text(alphabet="ab1' .!", max_size=30))
def test_context_is_what_a_finished_message_would_give(text: str) -> None:
    ids, words, partial = context_ids(text, VOCABULARY)
    finished = [token.text for token in tokenize(text)]
    assert len(ids) == 1 + len(finished) - bool(partial)
    assert ids[1:] == VOCABULARY.encode(finished)[: len(ids) - 1]
    assert words == [word.lower() for word in finished][: len(ids) - 1]
