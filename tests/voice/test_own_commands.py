"""The user's own way of saying commands is used if it is proven to be of use, and as long as it is.

The base of these tests takes made-up words for commands: see the kit. Another made-up word, said for a command, is the
accent that it does not know.
"""

import pytest
from made_up_words import COMMANDS, say, takes
from synthetic_speech import noise

from hushfold.errors import WordRefused
from hushfold.voice.commands import LEAST_RECORDINGS, CommandTrial
from hushfold.voice.recordings import Kind
from hushfold.voice.repertoire import MOST_OF_COMMAND, MOST_REJECTED
from hushfold.voice.sound import SpokenSound
from hushfold.voice.stream import Detection

ACCENT = "souf"  # how this user says "left"


def detected(pcm, word="left", own=False):
    """As if a word had been detected in a recording."""
    return Detection(word, 0.5, 0.0, len(pcm) / 16_000, own, SpokenSound.of(pcm))


def heard(voice, pcm):
    detection = voice.recognise(pcm)
    return (detection.word, detection.own) if detection else None


def correct(voice, pcms, word):
    for pcm in pcms:
        answer = voice.correct(detected(pcm, "up"), word)
    return answer


def twin(pcm):
    """The same, but for a hiss that nobody hears: another sound, as near as can be."""
    return pcm + noise(len(pcm) / 16_000, -70)


# ------------------------------------------------------------------ the gate


def test_before_anything_was_said_nothing_is_proven(obeying):
    assert obeying.proof() == CommandTrial(0, 0, 0)
    assert not obeying.proof().adopted


def test_an_accent_is_learned_from_corrections(obeying):
    assert heard(obeying, say(ACCENT, 20)) is None
    trial = correct(obeying, takes(ACCENT, LEAST_RECORDINGS), "left")
    assert trial == obeying.proof() == CommandTrial(LEAST_RECORDINGS, before=0, now=LEAST_RECORDINGS)
    assert trial.adopted
    for take in range(20, 25):
        assert heard(obeying, say(ACCENT, take)) == ("left", True)
    for command, word in COMMANDS.items():  # and nothing else has changed
        assert heard(obeying, say(word, 20))[0] == command
    assert heard(obeying, say("imax")) is None


def test_too_few_recordings_prove_nothing(obeying):
    trial = correct(obeying, takes(ACCENT, LEAST_RECORDINGS - 1), "left")
    assert trial == CommandTrial(LEAST_RECORDINGS - 1, before=0, now=LEAST_RECORDINGS - 1)
    assert not trial.adopted
    assert heard(obeying, say(ACCENT, 20)) is None


def test_what_the_base_knows_already_is_left_to_it(obeying):
    for word in COMMANDS.values():
        for take in range(3):
            assert obeying.confirm(obeying.recognise(say(word, take))) is not None
    proof = obeying.proof()
    assert (proof.recordings, proof.before) == (12, 12)
    assert not proof.adopted
    assert heard(obeying, say(COMMANDS["left"], 20)) == ("left", False)


def test_recordings_that_make_it_worse_switch_it_off_and_better_ones_on_again(obeying):
    assert correct(obeying, takes(ACCENT, 4), "left").adopted
    # The same sounds are said to be another word: nearest to each recording is one that is called otherwise.
    trial = correct(obeying, [twin(pcm) for pcm in takes(ACCENT, 4)], "right")
    assert trial == CommandTrial(8, before=0, now=0)
    assert not trial.adopted
    assert heard(obeying, say(ACCENT, 20)) is None
    for recording in obeying.recordings.of("right"):
        obeying.recordings.delete_recording(recording.id)
    assert obeying.proof() == CommandTrial(4, before=0, now=4)
    assert heard(obeying, say(ACCENT, 20)) == ("left", True)


def test_a_gain_for_one_command_that_costs_another_as_much_is_no_gain(obeying):
    """One recording more is recognised than before, and another one less."""
    correct(obeying, takes(ACCENT, 2), "up")  # two that would be won
    assert obeying.proof() == CommandTrial(2, before=0, now=2)
    for take in (0, 1):  # two that the base knows, and that are lost to twins with a wrong name
        obeying.confirm(detected(say(COMMANDS["left"], take), "left"))
        obeying.correct(detected(twin(say(COMMANDS["left"], take)), "left"), "right")
    trial = obeying.proof()
    assert (trial.recordings, trial.before, trial.now) == (6, 2, 2)
    assert not trial.adopted


def test_words_that_were_taught_compete_in_the_trial(obeying):
    """A command that is taken for a word of the user's own is told from it, if recordings of it are nearer."""
    obeying.words.teach("lumos", takes("souf", 3, first=30))
    assert heard(obeying, say("siuf", 20)) != ("left", True)
    assert correct(obeying, takes("siuf", 5), "left").adopted
    assert heard(obeying, say("siuf", 20)) == ("left", True)
    assert heard(obeying, say("souf", 20)) == ("lumos", True)


def test_the_newest_recordings_of_a_command_count(obeying):
    correct(obeying, takes("imax", MOST_OF_COMMAND), "left")
    assert heard(obeying, say("imax", 20)) == ("left", True)
    trial = correct(obeying, takes(ACCENT, MOST_OF_COMMAND), "left")
    assert trial.recordings == MOST_OF_COMMAND
    assert heard(obeying, say(ACCENT, 20)) == ("left", True)
    assert heard(obeying, say("imax", 20)) is None


def test_what_is_proven_is_proven_anew_on_other_weights(obeying, voice_files, commanded):
    correct(obeying, takes(COMMANDS["left"], 4), "left")
    assert obeying.proof() == CommandTrial(4, before=4, now=4)
    assert not obeying.proof().adopted
    forgetful = commanded.copy()
    bias = voice_files.manifest.split(forgetful)["head_bias"]
    bias[voice_files.labels.index("unknown")] += 1000  # a base that knows no command
    obeying.serve(forgetful)
    assert obeying.proof() == CommandTrial(4, before=0, now=4)
    assert heard(obeying, say(COMMANDS["left"], 20)) == ("left", True)
    obeying.serve(commanded)
    assert heard(obeying, say(COMMANDS["left"], 20)) == ("left", False)


# ------------------------------------------------------------------ false wakes


def test_a_false_wake_of_a_taught_word_does_not_wake_again_and_the_word_does(voice):
    voice.words.teach("lumos", takes("katam", 3))
    voice.sensitivity = 10  # so that there is one
    wake = voice.recognise(say("katan", 20))
    assert wake.word == "lumos"
    voice.correct(wake, None)
    assert heard(voice, say("katan", 20)) is None
    assert heard(voice, say("katan", 21)) is None
    for take in range(20, 25):
        assert heard(voice, say("katam", take)) == ("lumos", True)


def test_a_false_wake_of_a_command_does_not_wake_again(obeying):
    wake = obeying.recognise(say(COMMANDS["left"], 20))
    trial = obeying.correct(wake, None)
    assert trial.recordings == 1
    assert heard(obeying, say(COMMANDS["left"], 20)) is None
    assert heard(obeying, say(COMMANDS["right"], 20)) == ("right", False)


def test_one_rejection_by_mistake_does_not_cost_the_command(obeying):
    before = [heard(obeying, say(COMMANDS["left"], take)) for take in range(30, 40)]
    assert before.count(("left", False)) >= 8
    obeying.correct(obeying.recognise(say(COMMANDS["left"], 20)), None)
    assert [heard(obeying, say(COMMANDS["left"], take)) for take in range(30, 40)] == before


def test_what_is_only_like_a_command_is_told_from_it_once_there_are_recordings_of_both(obeying):
    """The base takes both for it."""
    like = "kotam"
    wakes = [detection for take in range(8) if (detection := obeying.recognise(say(like, take)))]
    assert {wake.word for wake in wakes} == {"left"}
    assert len(wakes) >= 4
    for wake in wakes[:5]:
        obeying.correct(wake, None)
    for take in range(5):
        trial = obeying.correct(detected(say(COMMANDS["left"], take)), "left")
    assert trial.adopted
    assert trial.now >= trial.recordings - 1
    assert [heard(obeying, say(like, take)) for take in range(20, 30)].count(None) >= 9
    own = [heard(obeying, say(COMMANDS["left"], take)) for take in range(20, 30)]
    assert [word for word, _ in filter(None, own)].count("left") >= 9


def test_rejected_sounds_are_known_by_the_newest(voice, monkeypatch):
    monkeypatch.setattr("hushfold.voice.repertoire.MOST_REJECTED", 2)
    assert MOST_REJECTED > 2
    voice.words.teach("lumos", takes("katam", 3))
    voice.sensitivity = 0.6
    for pcm in (say("katan", 20), noise(1.0, -20), noise(1.0, -20, seed=1)):
        voice.correct(detected(pcm, "lumos"), None)
    assert heard(voice, say("katan", 20)) == ("lumos", True)


# ------------------------------------------------------------------ what is kept


def test_confirmations_and_corrections_are_kept_as_what_they_are(obeying):
    obeying.words.teach("lumos", [say("imax")])
    obeying.confirm(obeying.recognise(say(COMMANDS["left"])))
    assert obeying.confirm(obeying.recognise(say("imax", 1))) is None  # a word that was taught has nothing to prove
    assert obeying.correct(detected(say("kimi")), "lumos") is None
    obeying.correct(detected(say("kimi", 1)), "zero")
    obeying.correct(detected(noise(1.0, -20)), None)
    kept = [(recording.word, recording.kind) for recording in obeying.recordings.all()]
    assert kept == [
        ("lumos", Kind.TAUGHT),
        ("left", Kind.CONFIRMED),
        ("lumos", Kind.CONFIRMED),
        ("lumos", Kind.CORRECTED),
        ("zero", Kind.CORRECTED),
        (None, Kind.REJECTED),
    ]


def test_what_is_said_of_one_sound_again_and_again_proves_nothing(obeying):
    sound = detected(say(COMMANDS["left"], 7))
    for _ in range(6):
        assert obeying.correct(sound, "right") == CommandTrial(1, before=0, now=0)
    assert heard(obeying, say(COMMANDS["left"], 8)) == ("left", False)


def test_of_one_detection_what_was_said_last_holds(obeying):
    """Also that it was none, after it was one, and the other way round."""
    correct(obeying, takes(ACCENT, 4), "left")
    sound = say(ACCENT, 2)
    assert heard(obeying, sound) == ("left", True)
    obeying.correct(detected(sound), None)
    assert heard(obeying, sound) is None
    obeying.confirm(detected(sound, "left"))
    assert heard(obeying, sound) == ("left", True)


@pytest.mark.parametrize("word", ["lumos", "unknown", "silence", ""])
def test_only_a_command_or_a_taught_word_can_have_been_meant(obeying, word):
    with pytest.raises(WordRefused, match="is no command and was not taught"):
        obeying.correct(detected(say("imax")), word)
    with pytest.raises(WordRefused):
        obeying.confirm(detected(say("imax"), word))
    assert obeying.recordings.all() == []


def test_a_word_that_was_deleted_meanwhile_cannot_be_confirmed(voice):
    voice.words.teach("lumos", takes("katam", 2))
    detection = voice.recognise(say("katam", 20))
    voice.words.delete("lumos")
    with pytest.raises(WordRefused):
        voice.confirm(detection)
    assert voice.recordings.all() == []


def test_with_learning_off_nothing_is_kept_and_the_base_is_as_it_was_shipped(obeying):
    obeying.words.teach("lumos", takes("imax", 2))
    correct(obeying, takes(ACCENT, 4), "left")
    obeying.correct(obeying.recognise(say(COMMANDS["up"], 20)), None)
    obeying.learning_enabled = False
    assert obeying.recordings.all() == []
    assert obeying.proof() == CommandTrial(0, 0, 0)
    for command, word in COMMANDS.items():
        detection = obeying.recognise(say(word, 20))
        assert (detection.word, detection.own) == (command, False)
        assert obeying.confirm(detection) is None
        assert obeying.correct(detection, None) is None
        assert obeying.correct(detection, "left") is None
    assert heard(obeying, say(ACCENT, 20)) is None
    assert heard(obeying, say("imax", 20)) is None
    assert obeying.recordings.all() == []
    obeying.learning_enabled = True
    assert obeying.confirm(obeying.recognise(say(COMMANDS["up"], 20))).recordings == 1
