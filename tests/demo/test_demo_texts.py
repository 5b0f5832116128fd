"""Tests of the demo's texts: the invented people, files of texts, and who gets a phone."""

import gzip
import json
import os
import random

import pytest

from hushfold_demo.errors import UsageError
from hushfold_demo.personas import personas
from hushfold_demo.texts import FEWEST, Person, choose, read_people
from hushfold_format import tokenize


def lines(*records):
    return "\n".join(json.dumps(record) for record in records).encode()


def test_there_are_enough_personas_who_write_enough():
    people = personas()
    assert len(people) >= 24
    assert len({person.name for person in people}) == len(people)
    for person in people:
        assert person.about
        assert len(person.messages) >= 40
        assert all(message.strip() == message and message for message in person.messages)


def test_no_two_personas_write_alike():
    """Of the words that the closest two use, they have less than a third in common."""
    words = [{token.text.lower() for m in person.messages for token in tokenize(m)} for person in personas()]
    overlaps = [len(a & b) / len(a | b) for i, a in enumerate(words) for b in words[:i]]
    assert max(overlaps) < 1 / 3


def test_what_is_learned_comes_before_what_is_held_out():
    person = Person("p", tuple(map(str, range(50))))
    assert person.learned == tuple(map(str, range(35)))
    assert person.held_out == tuple(map(str, range(35, 50)))


def test_long_writers_are_cut_as_the_yardstick_cuts_them():
    person = Person("p", tuple(map(str, range(1000))))
    assert person.learned == tuple(map(str, range(210)))
    assert person.held_out == tuple(map(str, range(210, 250)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_of_texts_is_read_in_order(tmp_path, pack):
    records = ({"user": "a", "text": "one"}, {"user": "b", "text": "two", "time": None}, {"user": "a", "text": "three"})
    path = tmp_path / "texts"
    path.write_bytes(pack(lines(*records) + b"\n\n"))
    assert read_people(path) == [Person("a", ("one", "three")), Person("b", ("two",))]


@pytest.mark.parametrize(
    "record",
    ["{", "[" * 100_000, "[]", "7", '{"user": "a"}', '{"user": 1, "text": "x"}', '{"user": "a", "text": null}'],
)
def test_a_line_that_is_no_message_is_named(tmp_path, record):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"user": "a", "text": "x"}\n' + record)
    with pytest.raises(UsageError, match=r"texts\.jsonl, line 2: .*needed"):
        read_people(path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_only_a_newline_ends_a_line(tmp_path, separator):
    """JSON allows the other separators inside a text; a carriage return before the newline is white space."""
    path = tmp_path / "texts.jsonl"
    text = f"one{separator}two"
    record = json.dumps({"user": "a", "text": text}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + f"{record}\r\n{record}\r\n".encode())  # and a byte order mark
    assert read_people(path) == [Person("a", (text, text))]


GZIP = gzip.compress(b"{}" * 500, mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (GZIP[:-20], "the gzip file is damaged or cut off"),
        (gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 9, "the gzip file is damaged or cut off"),
        (b"{\xff", r"it is not UTF-8 text \(byte 1\)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_plain_words(tmp_path, content, said):
    path = tmp_path / "texts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"texts\.jsonl cannot be read: {said}\. Give a file of JSON lines"):
        read_people(path)


def test_a_folder_is_named_once(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: it is a folder") as caught:
        read_people(tmp_path)
    assert str(caught.value).count(str(tmp_path)) == 1


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="it is no regular file"):
        read_people(tmp_path / "pipe")


PEOPLE = [Person(name, ("m",) * FEWEST) for name in "abcdef"]


def test_the_seed_decides_who_gets_a_phone():
    assert choose(PEOPLE, 3, random.Random(1)) == choose(PEOPLE, 3, random.Random(1))
    assert len({tuple(p.name for p in choose(PEOPLE, 3, random.Random(seed))) for seed in range(9)}) > 1


def test_people_who_write_little_get_none():
    chosen = choose([*PEOPLE, Person("quiet", ("m",) * (FEWEST - 1))], 6, random.Random(1))
    assert {person.name for person in chosen} == set("abcdef")


def test_too_few_people_are_refused_with_the_number():
    with pytest.raises(UsageError, match="the texts have 6"):
        choose(PEOPLE, 7, random.Random(1))


def test_people_may_have_several_phones_if_that_is_wanted():
    names = [person.name for person in choose(PEOPLE, 14, random.Random(1), again=True)]
    assert len(names) == 14
    assert {names.count(name) for name in "abcdef"} == {2, 3}


def test_nobody_is_not_enough():
    with pytest.raises(UsageError, match="the texts have 0"):
        choose([], 3, random.Random(1), again=True)
