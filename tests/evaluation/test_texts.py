"""Files of texts, who is measured, and what of their messages is learned from."""

import gzip
import json

import pytest

from hushfold_evaluation.errors import UsageError
from hushfold_evaluation.texts import Person, PublicTexts, choose, read_people


def numbered(count):
    return Person("p", tuple(map(str, range(count))))


def write(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return path


def test_the_first_seven_tenths_are_learned_and_forty_of_the_rest_tested():
    assert numbered(50).learned == tuple(map(str, range(35)))
    assert numbered(50).held_out == tuple(map(str, range(35, 50)))
    assert numbered(1000).learned == tuple(map(str, range(210)))
    assert numbered(1000).held_out == tuple(map(str, range(210, 250)))


def test_people_are_read_in_the_order_of_the_file_whatever_their_times_look_like(tmp_path):
    path = write(
        tmp_path / "clients.jsonl.gz",
        {"user": "b", "time": "2010.08.24 06:16", "text": "one"},
        {"user": "a", "time": None, "text": "two\u2028lines"},
        {"user": "b", "time": "24/8/2010 6:10 AM", "text": "three"},
    )
    assert read_people(path) == [Person("b", ("one", "three")), Person("a", ("two\u2028lines",))]


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", '{"user": "a"}', '{"user": 1, "text": "x"}', '{"user": "a", "text": 2}']
)
def test_a_line_that_is_no_message_is_named(tmp_path, line):
    path = tmp_path / "clients.jsonl"
    path.write_text('{"user": "a", "text": "x"}\n\n' + line)
    with pytest.raises(UsageError, match=r"clients\.jsonl, line 3: .* needed"):
        read_people(path)


@pytest.mark.parametrize("content", [None, gzip.compress(b"{}" * 500, mtime=0)[:-20], b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "clients.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"clients\.jsonl cannot be read"):
        read_people(path)


def test_the_seed_decides_who_is_measured_and_the_file_in_which_order():
    people = [Person(name, ("x",) * 4) for name in "abcdefgh"]
    chosen = choose(people, 3, seed=1)
    assert chosen == choose(people, 3, seed=1) == sorted(chosen, key=people.index)
    assert len({tuple(person.name for person in choose(people, 3, seed)) for seed in range(9)}) > 1
    assert choose(people, 0, seed=1) == people


def test_people_without_a_message_to_test_are_not_counted():
    people = [numbered(4), Person("silent", ())]
    assert choose(people, 0, seed=0) == [numbered(4)]
    with pytest.raises(UsageError, match="have 1 people"):
        choose(people, 2, seed=0)
    with pytest.raises(UsageError, match="have 0 people"):
        choose([], 0, seed=0)


def test_public_texts_leave_out_what_no_shipped_weights_may_hold(tmp_path):
    for name in ("b-public", "a-public", "sms-public", "chat-clients"):
        write(tmp_path / "text" / f"{name}.jsonl.gz", {"text": name})
    assert PublicTexts.find(tmp_path).messages() == ["a-public", "b-public"]


def test_what_is_trained_is_known_by_the_files(tmp_path):
    write(tmp_path / "text" / "a-public.jsonl.gz", {"text": "one"})
    before = PublicTexts.find(tmp_path).digest()
    assert PublicTexts.find(tmp_path).digest() == before
    write(tmp_path / "text" / "a-public.jsonl.gz", {"text": "two"})
    assert PublicTexts.find(tmp_path).digest() != before


def test_no_public_texts_say_what_to_set(tmp_path):
    with pytest.raises(UsageError, match="HUSHFOLD_DATA"):
        PublicTexts.find(tmp_path)


def test_a_public_line_without_text_is_named(tmp_path):
    write(tmp_path / "text" / "a-public.jsonl.gz", {"text": "one"}, {"user": "a"})
    with pytest.raises(UsageError, match=r"a-public.*line 2"):
        PublicTexts.find(tmp_path).messages()
