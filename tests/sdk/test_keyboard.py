"""What the keyboard remembers, and that its user decides."""

import threading

import pytest

from hushfold.conditions import Gate, Requirements, SimulatedConditions
from hushfold.errors import ModelError
from hushfold.keyboard import Keyboard
from hushfold.lessons import MessageLessons
from hushfold.store import Checkpoint, Store
from hushfold.suggestions import Kind
from hushfold.training import TrainingSession, TrainingTask
from hushfold_format import FIRST_WORD
from hushfold_protocol.plan import TrainingParameters


def texts(keyboard):
    return [message.text for message in keyboard.messages()]


def test_what_is_sent_is_kept_newest_first_with_its_time(keyboard, clock):
    assert keyboard.learn("see you at the park")
    clock.advance(60)
    assert keyboard.learn("  i am here \n")
    assert texts(keyboard) == ["i am here", "see you at the park"]
    assert keyboard.messages(limit=1)[0].typed_at == clock.now()


def test_nothing_private_is_kept(keyboard):
    assert not keyboard.learn("my secret", private=True)
    keyboard.incognito = True
    assert not keyboard.learn("do not tell")
    keyboard.incognito = False
    keyboard.learning_enabled = False
    assert not keyboard.learn("i do not want this")
    assert texts(keyboard) == []
    keyboard.learning_enabled = True
    assert keyboard.learn("now i do")


def test_suggestions_go_on_without_learning(keyboard):
    keyboard.incognito = True
    keyboard.learning_enabled = False
    assert keyboard.suggest("we are ")


def test_the_choice_outlives_the_process_and_a_wipe(files, store, store_key, tmp_path, clock):
    Keyboard(files, files.weights, store, clock).learning_enabled = False
    store.wipe()
    store.close()
    with Store(tmp_path / "store.db", store_key) as again:
        keyboard = Keyboard(files, files.weights, again, clock)
        assert not keyboard.learning_enabled
        keyboard.learning_enabled = True
        assert Keyboard(files, files.weights, again, clock).learning_enabled


def test_secrets_are_replaced_before_they_are_stored(keyboard):
    keyboard.learn("write to jane@example.com, call 91234567 or see www.example.com with hunter2!Abc")
    assert texts(keyboard) == ["write to <email>, call <number> or see <url> with <number>"]


@pytest.mark.parametrize("text", ["", "   ", "91234567", "jane@example.com", "qzxqzx xqzqxz", "<name>"])
def test_a_message_without_a_known_word_is_not_kept(keyboard, text):
    assert not keyboard.learn(text)
    assert texts(keyboard) == []


@pytest.mark.parametrize("text", ["well \ud83d ok", "i am\x00here", "مرحبا ok", "we are here " * 800])
def test_odd_text_can_be_kept(keyboard, text):
    assert keyboard.learn(text)
    assert len(texts(keyboard)) == 1


def test_forgetting_takes_the_messages_and_what_was_trained_from_them(keyboard, store, clock):
    for text in ("meet Rachel at noon", "is rachel there?", "the rachels are nice", "hello there"):
        keyboard.learn(text)
    store.save_checkpoint(Checkpoint("t", bytes(32), 4, 3, b""))
    assert keyboard.forget("Rachel") == 2
    assert texts(keyboard) == ["hello there", "the rachels are nice"]
    assert store.load_checkpoint("t") is None


def test_wiping_leaves_no_message(keyboard):
    keyboard.learn("see you at the park")
    keyboard.wipe()
    assert texts(keyboard) == []


def test_other_weights_are_served_at_once_and_bad_ones_never(keyboard, files):
    rank = next(rank for rank in range(50) if files.vocabulary.is_word(FIRST_WORD + rank))
    vector = files.weights.copy()
    files.manifest.split(vector)["bucket_bias"][1 + rank] = 50.0
    keyboard.suggest("we are ")
    keyboard.serve(files, vector)
    favourite = keyboard.suggest("we are ")[0]
    assert favourite.text == files.vocabulary.surface(FIRST_WORD + rank)
    with pytest.raises(ModelError):
        keyboard.serve(files, vector[1:])
    assert keyboard.suggest("we are ")[0] == favourite


def test_typing_sending_and_updating_at_the_same_time(keyboard, files):
    errors = []

    def repeat(action):
        try:
            for number in range(15):
                action(number)
        except Exception as error:
            errors.append(error)

    actions = (
        lambda number: keyboard.suggest("we are " * number),
        lambda number: keyboard.learn(f"we are here {number}"),
        lambda number: keyboard.serve(files, files.weights),
        lambda number: keyboard.messages(),
    )
    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(texts(keyboard)) == 15


def test_no_message_slips_in_while_learning_is_switched_off(keyboard, store, monkeypatch):
    """The message was checked, but is not kept yet, when the user switches learning off and wipes."""
    checked = store.load_setting

    def switch_off():
        keyboard.learning_enabled = False
        keyboard.wipe()

    other = threading.Thread(target=switch_off)

    def interrupted(name):
        value = checked(name)
        monkeypatch.undo()
        other.start()
        other.join(0.2)  # it waits for the message; without a lock it would be done by now
        return value

    monkeypatch.setattr(store, "load_setting", interrupted)
    keyboard.learn("see you at the park")
    other.join()
    assert not keyboard.learning_enabled
    assert texts(keyboard) == []


def test_messages_may_be_typed_and_deleted_while_a_session_trains(keyboard, files, store, clock):
    """The keyboard in one thread, training in another, on one store: each sees whole states of the other."""
    for number in range(12):
        keyboard.learn(f"see you at the park {number}")
    shape = files.manifest
    parameters = TrainingParameters(30, shape.batch, shape.time, 0.1, 100, 0)
    gate = Gate(SimulatedConditions(), Requirements(), clock, dwell=0)
    task = TrainingTask("words", b"plan", "adapter", parameters)
    session = TrainingSession(files, MessageLessons(files, store), task, files.weights, store, gate, checkpoint_steps=1)
    trained, typed, suggested = threading.Event(), threading.Event(), []

    def type_on():
        trained.wait(60)
        for number in range(10):
            suggested.append(keyboard.suggest("see you at the "))
            assert keyboard.learn(f"thank you for the lift {number}")
        assert keyboard.forget("lift") == 10
        typed.set()

    def progress(now):
        if now.step == 2:
            trained.set()
        if now.step == parameters.steps:
            assert typed.wait(60)

    user = threading.Thread(target=type_on)
    user.start()
    update = session.run(progress)
    user.join()
    assert update.any()
    assert len(suggested) == 10
    assert all(suggested)
    assert len(texts(keyboard)) == 12


ODD_TEXTS = {
    "nothing": "",
    "ten thousand characters": "we went to the park and ate " * 360,
    "pasted lines": "Dear all,\r\n\r\n\tthe meeting is moved.\n- one\n- two\n\nSee ",
    "a pasted table": "a\tb\tc\n1\t2\t3\n" * 100,
    "a pasted page": "<html><body><p>we are</p></body></html>",
    "right to left": "مرحبا يا صديقي كيف حالك ",
    "right to left, within a word": "שלום עול",
    "directions in one line": "see you ב־10 at the ",
    "emoji": "see you \U0001f602\U0001f602 ",
    "emoji of several characters": "\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "mixed scripts": "hello мир 世界 γειά th",
    "no spaces": "我们明天在公园见面好吗",
    "half of a character": "well \ud83d ",
}


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("case", ODD_TEXTS)
def test_suggestions_for_odd_texts_are_words_and_distinct(keyboard, case, learned):
    """Whether or not the user writes such texts."""
    if learned:
        for text in ODD_TEXTS.values():
            keyboard.learn(text)
            keyboard.learn(text + " ok")
    found = keyboard.suggest(ODD_TEXTS[case])
    assert len(found) <= 3
    assert len({suggestion.text for suggestion in found}) == len(found)
    for suggestion in found:
        assert any(character.isalnum() for character in suggestion.text)
        assert suggestion.text.isprintable()
        assert 0 < suggestion.probability <= 1
    if ODD_TEXTS[case].endswith((" ", "See ")):
        assert {suggestion.kind for suggestion in found} == {Kind.NEXT_WORD}


def test_a_pasted_text_is_answered_like_a_typed_one(keyboard, files, store):
    text = "we went to the park and ate an apple. the next day we went " * 170
    for end in range(len(text) - 100, len(text)):
        keyboard.suggest(text[:end])
    fresh = Keyboard(files, files.weights, store)
    assert [found.text for found in fresh.suggest(text)] == [found.text for found in keyboard.suggest(text)]
    assert fresh.suggest(text)
