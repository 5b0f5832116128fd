"""Suggestions: right words in the right case, and only as much work as a key calls for."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hushfold import suggestions
from hushfold.model import SuggestionModel
from hushfold.reading import CONTEXT_WORDS
from hushfold.suggestions import Kind, Suggester
from hushfold_format import FIRST_WORD, SPECIALS


@pytest.fixture(scope="module")
def suggester(files):
    return Suggester(files, files.weights)


@pytest.fixture
def counted(files, monkeypatch):
    """A fresh suggester and the list of token ids that its model reads."""
    read = []

    class Counting(SuggestionModel):
        def step(self, token_id, state):
            read.append(token_id)
            return super().step(token_id, state)

    monkeypatch.setattr(suggestions, "SuggestionModel", Counting)
    return Suggester(files, files.weights), read


def favouring(files, bucket):
    """The shipped weights with one output bucket far above the others."""
    vector = files.weights.copy()
    files.manifest.split(vector)["bucket_bias"][bucket] = 50.0
    return vector


def texts(found):
    return [suggestion.text for suggestion in found]


def test_next_words_after_a_space_and_completions_within_a_word(suggester):
    after_space = suggester.suggest("thank ")
    assert {s.kind for s in after_space} == {Kind.NEXT_WORD}
    within = suggester.suggest("thank yo")
    assert {s.kind for s in within} == {Kind.COMPLETION}
    assert len(after_space) == len(within) == 3


def test_the_shipped_model_knows_how_people_write(suggester):
    assert "you" in texts(suggester.suggest("thank "))
    assert "you" in texts(suggester.suggest("how are "))
    assert texts(suggester.suggest("thank y"))[0] == "you"
    assert "tomorrow" in texts(suggester.suggest("see you tomor"))


@pytest.mark.parametrize("typed", ["t", "th", "wo", "don'", "don\u2019", "s"])
def test_completions_go_on_from_what_is_typed(suggester, typed):
    found = suggester.suggest(f"we {typed}", count=20)
    assert found
    assert all(s.text != typed for s in found)
    completions = [s.text.lower() for s in found if s.kind is Kind.COMPLETION]
    assert completions
    assert all(text.startswith(typed.replace("\u2019", "'")) for text in completions)
    assert len(set(texts(found))) == len(found)


@pytest.mark.parametrize("text", ["", "we went to the ", "we went to th"])
def test_probabilities_are_sorted_and_sum_to_one_at_most(suggester, text):
    values = [suggestion.probability for suggestion in suggester.suggest(text, count=100_000)]
    assert values == sorted(values, reverse=True)
    assert values[-1] >= 0
    assert sum(values) <= 1 + 1e-3


@pytest.mark.parametrize("text", ["", "we went to the ", "we went to th", "he said 'th", "i wantt"])
def test_the_probability_of_one_word_is_that_of_its_suggestion(suggester, text):
    for suggestion in suggester.suggest(text, 50):
        if " " not in suggestion.text:
            word = suggestion.text.lstrip("'")
            assert suggester.probability(text, word) == pytest.approx(suggestion.probability, rel=1e-6)


@pytest.mark.parametrize("word", ["<number>", ".", "qzxqzx", ""])
def test_what_cannot_be_offered_has_no_probability(suggester, word):
    assert suggester.probability("see you ", word) == 0


def test_there_is_no_probability_within_a_word_that_is_too_long(suggester):
    assert suggester.probability("a" * 100, "you") == 0


def test_the_probabilities_of_all_words_after_a_text_sum_to_one(files, suggester):
    words = [files.vocabulary.words[token_id - FIRST_WORD] for token_id in range(FIRST_WORD, len(files.vocabulary))]
    assert sum(suggester.probability("see you ", word) for word in words) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("typed", "meant"), [("wi", "will"), ("hace", "have"), ("wlil", "will")])
def test_few_letters_are_gone_on_with_unless_the_slip_is_plain(suggester, typed, meant):
    assert meant in texts(suggester.suggest(f"I hope that we {typed}"))


def test_two_letters_of_a_common_word_leave_the_bar_to_completions(suggester):
    for typed in ("wi", "th", "go", "be", "an"):
        assert {s.kind for s in suggester.suggest(f"so we {typed}")} == {Kind.COMPLETION}


def test_the_model_ranks_completions(files):
    words = files.vocabulary.words
    favourite = next(word for word in words[10:100] if len(word) > 3 and word.isalpha())
    found = Suggester(files, favouring(files, 1 + words.index(favourite))).suggest(f"no {favourite[:2]}")
    assert found[0].text.lower() == favourite
    assert found[0].probability == pytest.approx(1, abs=1e-3)


def test_special_tokens_are_never_suggested(files):
    suggester = Suggester(files, favouring(files, 0))  # bucket 0 holds the special tokens
    for text in ("", "call me at 12345678 ", "my name is ", "<", "< ", "i live at <na"):
        found = texts(suggester.suggest(text, count=50))
        assert not {text.lower() for text in found} & set(SPECIALS)
        assert all(any(letter.isalnum() for letter in text) for text in found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "it is late. ",
        "really?! ",
        "so\u2026 ",
        "he said \u201cno.\u201d ",
        "fine\n",
        "ok :)\n\n",
        "我来了。 ",
    ],
)
def test_a_sentence_starts_with_a_capital(suggester, text):
    assert all(text[0].isupper() or not text[0].isalpha() for text in texts(suggester.suggest(text, count=10)))


@pytest.mark.parametrize("text", ["well, ", "we are ", "version 2 "])
def test_within_a_sentence_words_are_written_as_people_write_them(suggester, files, text):
    found = texts(suggester.suggest(text, count=30))
    surfaces = {files.vocabulary.surface(FIRST_WORD + rank) for rank in range(len(files.vocabulary.words))}
    assert set(found) <= surfaces
    assert any(text.islower() for text in found)


def test_the_pronoun_is_a_capital_anywhere(files, suggester):
    pronoun = Suggester(files, favouring(files, 1 + files.vocabulary.words.index("i")))
    assert pronoun.suggest("do you think ")[0].text == "I"
    assert "I" in texts(suggester.suggest("well i", count=1_000))


def test_typed_capitals_are_kept(suggester):
    assert all(text[0].isupper() and not text.isupper() for text in texts(suggester.suggest("we Th", count=10)))
    assert all(text.isupper() for text in texts(suggester.suggest("we TH", count=10)))
    # One capital, or one and an apostrophe, does not make a shout.
    assert "I'm" in texts(suggester.suggest("well I'", count=100))


def test_a_word_typed_in_lower_case_at_the_start_is_left_so(suggester):
    assert all(text.startswith("th") for text in texts(suggester.suggest("th", count=10)))


def test_a_leading_quote_is_kept(suggester):
    assert all(text.startswith("'t") for text in texts(suggester.suggest("he said 'th")))
    just_a_quote = suggester.suggest("he said '")
    assert all(text.startswith("'") for text in texts(just_a_quote))
    assert {s.kind for s in just_a_quote} == {Kind.COMPLETION}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_as_many_as_asked_for(suggester, count):
    assert len(suggester.suggest("we are ", count)) == count


def test_nothing_fits_a_word_that_nobody_knows(suggester):
    assert suggester.suggest("qzxqzx") == []
    assert suggester.suggest("see https://example.org/th") == []


ODD_TEXTS = {
    "emoji": "😂😂 👩‍👩‍👧‍👦 🇫🇷 ",
    "mixed scripts": "hello мир 世界 γειά th",
    "right to left": "مرحبا يا صديقي كيف حالك ",
    "right to left, within a word": "שלום עול",
    "combining marks": "e\u0301te\u0301 n\u0303",
    "lone surrogate": "well \ud83d ",
    "control characters": "a\x00b\x1b[0m\r\n\t ",
    "blank": " \n\t\u00a0\u3000",
    "ten thousand characters": "we went to the park and ate " * 360,
    "one long word": "a" * 10_000,
    "quotes alone": "'''\u2019\u2019",
    "zero-width": "\u200b\u200d\u2066th",
    "a shout in another case": "STRASSE ıİß",
}


@pytest.mark.parametrize("case", ODD_TEXTS)
def test_no_text_is_too_odd(suggester, case):
    for suggestion in suggester.suggest(ODD_TEXTS[case]):
        assert suggestion.text


@given(st.text(alphabet=st.characters(), max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_taken(suggester, text):
    assert len(suggester.suggest(text)) <= 3


def test_one_step_for_each_finished_word(counted):
    suggester, read = counted
    suggester.suggest("")
    assert len(read) == 1  # the beginning
    text = ""
    for key in "see you there ":
        text += key
        before = len(read)
        suggester.suggest(text)
        assert len(read) - before == (1 if key == " " else 0)


def test_backspace_goes_back_by_one_step(counted):
    suggester, read = counted
    suggester.suggest("shall we meet at the ")
    del read[:]
    suggester.suggest("shall we meet at th")
    assert len(read) == 1
    suggester.suggest("shall we meet at t")
    assert len(read) == 1


def test_a_changed_word_is_read_again_from_there(counted):
    suggester, read = counted
    suggester.suggest("we walk to the park ")
    del read[:]
    suggester.suggest("we walk on the park ")
    assert len(read) == 3


def test_only_the_last_words_of_a_long_text_are_read(counted):
    suggester, read = counted
    text = "word " * 2_000
    suggester.suggest(text)
    assert len(read) <= CONTEXT_WORDS + 1
    del read[:]
    for word in ["and", "so", "on", "and", "so", "forth", "until", "the", "very", "end", "of", "it", "all"]:
        text += word + " "
        suggester.suggest(text)
    # 13 words: a step each, and at most one jump of the window.
    assert len(read) <= 13 + CONTEXT_WORDS


@given(st.lists(st.text(alphabet="ab .'T\n😂", max_size=12), min_size=1, max_size=6))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_suggestions_follow_from_the_text_and_not_from_what_came_before(files, suggester, edits):
    for text in edits:
        assert suggester.suggest(text) == Suggester(files, files.weights).suggest(text)


def test_a_long_text_gives_the_same_typed_or_pasted(files, suggester):
    text = " ".join(f"{word} and" for word in files.vocabulary.words[20:200])
    for end in range(len(text) - 300, len(text)):
        typed = suggester.suggest(text[:end])
    assert typed == Suggester(files, files.weights).suggest(text[: len(text) - 1])


def test_a_failing_step_leaves_nothing_wrong_behind(files, monkeypatch):
    suggester = Suggester(files, files.weights)
    expected = suggester.suggest("we are ")
    suggester.suggest("we are here ")
    step = SuggestionModel.step

    def failing(self, token_id, state):
        raise RuntimeError("no memory")

    monkeypatch.setattr(SuggestionModel, "step", failing)
    with pytest.raises(RuntimeError):
        suggester.suggest("we are there ")
    monkeypatch.setattr(SuggestionModel, "step", step)
    assert suggester.suggest("we are ") == expected


def test_threads_get_what_they_asked_for(files, suggester):
    prefixes = ["we are ", "thank ", "see you at the ", "what do yo", "", "i am so"]
    expected = {text: suggester.suggest(text) for text in prefixes}
    shared, wrong = Suggester(files, files.weights), []

    def ask(seed):
        for index in np.random.default_rng(seed).integers(len(prefixes), size=40):
            if shared.suggest(prefixes[index]) != expected[prefixes[index]]:
                wrong.append(prefixes[index])

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
