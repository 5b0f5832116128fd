"""A word is known by its recordings, and whatever is neither such a word nor a command is refused."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_words import COMMANDS, WORDS, say, takes
from synthetic_speech import noise, placed

from hushfold.errors import ModelError
from hushfold.voice.model import STRIDE, VoiceModel
from hushfold.voice.recognition import (
    LEAST_PROBABILITY,
    LEAST_PROBABILITY_GATED,
    NO_COMMAND,
    KnownWord,
    Recogniser,
    away,
)
from hushfold.voice.sound import LONGEST, SpokenSound
from hushfold_format.logmel import BANDS

TAUGHT, FOREIGN = WORDS[:4], WORDS[4:]
ANYTHING, NOTHING = 10.0, -100.0  # sensitivities


def sound(word, take=0, **how):
    return SpokenSound.of(say(word, take, **how))


@pytest.fixture(scope="module")
def recogniser(voice_files):
    return Recogniser(voice_files, voice_files.weights)


@pytest.fixture(scope="module")
def obeying(voice_files, commanded):
    return Recogniser(voice_files, commanded)


@pytest.fixture(scope="module")
def known(recogniser):
    """Knows words by so many recordings of each."""

    def known(words, count, model=recogniser):
        return [
            KnownWord.of(word, [model.utterance(SpokenSound.of(pcm)) for pcm in takes(word, count)]) for word in words
        ]

    return known


# ------------------------------------------------------------------ the user's words


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_word_is_known_by_one_to_five_recordings(recogniser, known, count):
    words = known(TAUGHT, count)
    for word in TAUGHT:
        for take in (10, 11):
            heard = recogniser.recognise(sound(word, take), words)
            assert (heard.word, heard.own) == (word, True)
            assert 0.5 <= heard.score <= 1
    for word in FOREIGN:
        heard = recogniser.recognise(sound(word, 10), words)
        assert heard is None or not heard.own


def test_noise_is_no_word(recogniser, known):
    words = known(TAUGHT, 3)
    for level in (-60, -30, -10):
        heard = recogniser.recognise(SpokenSound.of(noise(1.0, level)), words)
        assert heard is None or not heard.own


def test_neither_level_nor_a_little_noise_changes_what_is_recognised(recogniser, known):
    words = known(TAUGHT, 3)
    for word in TAUGHT:
        pcm = say(word, 10)
        loud, quiet = (recogniser.recognise(SpokenSound.of(gain * pcm), words) for gain in (1.0, 0.05))
        assert loud.word == quiet.word == word
        assert loud.score == pytest.approx(quiet.score, abs=1e-3)
        assert recogniser.recognise(sound(word, 10, floor=-45), words).word == word


@pytest.mark.parametrize(("recordings", "nearest"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_word_is_as_far_as_more_than_half_of_its_recordings_less_half_of_its_spread(recogniser, recordings, nearest):
    spoken, *others = (recogniser.utterance(sound("katam", take)) for take in range(recordings + 1))
    another = recogniser.utterance(sound("eskau", 1))
    word = KnownWord.of("katam", others)
    each = [away(spoken, [KnownWord("one", (other,), 0.0)])["one"] for other in others]
    assert away(spoken, [word, KnownWord("two", (another,), 0.0)])["katam"] == pytest.approx(
        np.mean(sorted(each)[:nearest]) - word.spread / 2, abs=1e-5
    )


def test_the_spread_of_a_word_is_the_mean_distance_of_its_recordings(recogniser):
    others = [recogniser.utterance(sound("katam", take)) for take in range(4)]
    word = KnownWord.of("katam", others)
    apart = [
        away(one, [KnownWord("one", (other,), 0.0)])["one"] for one in others for other in others if one is not other
    ]
    assert word.spread == pytest.approx(np.mean(apart), abs=1e-5)


def test_the_more_sensitive_the_more_is_recognised(recogniser, known):
    words = known(TAUGHT, 3)
    foreign, said = sound(FOREIGN[0]), sound(TAUGHT[0], 10)
    assert recogniser.recognise(foreign, words, sensitivity=ANYTHING).own
    assert recogniser.recognise(said, words, sensitivity=NOTHING) is None
    scores = [recogniser.recognise(said, words, sensitivity=sensitivity).score for sensitivity in (0.0, 0.1, 0.2)]
    assert scores == sorted(scores)


# ------------------------------------------------------------------ what was no word


def test_what_was_rejected_is_not_recognised_again_and_the_word_still_is(recogniser, known):
    words = known(["katam"], 3)
    wake = sound("katan", 10)  # nearly the word
    assert recogniser.recognise(wake, words, sensitivity=ANYTHING).word == "katam"
    never = [recogniser.utterance(wake)]
    assert recogniser.recognise(wake, words, never, sensitivity=ANYTHING) is None
    assert recogniser.recognise(sound("katan", 11), words, never, sensitivity=ANYTHING) is None  # another time
    for take in range(10, 15):
        assert recogniser.recognise(sound("katam", take), words, never).word == "katam"


def test_what_was_rejected_is_no_command_either(obeying):
    assert obeying.recognise(sound("katam", 10)).word == "left"
    never = [obeying.utterance(sound("katam", 10))]
    assert obeying.recognise(sound("katam", 10), never=never) is None
    assert obeying.recognise(sound("eskau", 10), never=never).word == "right"


# ------------------------------------------------------------------ the base


def test_the_base_knows_its_commands_and_refuses_other_words(obeying):
    for command, word in COMMANDS.items():
        for take in range(5):
            heard = obeying.recognise(sound(word, take))
            assert (heard.word, heard.own) == (command, False)
            assert 0.5 <= heard.score <= 1
    for word in FOREIGN:
        assert obeying.recognise(sound(word)) is None
        assert obeying.recognise(sound(word), sensitivity=100) is None  # it is surer that it is none
    assert obeying.recognise(SpokenSound.of(noise(1.0, -25, seed=99))) is None
    assert obeying.recognise(sound(COMMANDS["left"]), sensitivity=NOTHING) is None


@pytest.mark.parametrize("gated", [False, True])
def test_without_a_room_around_its_word_a_command_may_be_less_probable(obeying, gated):
    class Heard:
        def __init__(self, probability):
            self.gated = gated
            self.probabilities = {"up": probability, "unknown": 1 - probability}
            self.probabilities |= dict.fromkeys(set(obeying.labels) - self.probabilities.keys(), 0.0)

    least = LEAST_PROBABILITY_GATED if gated else LEAST_PROBABILITY
    assert obeying.decide(Heard(least + 1e-4), (), ()).score == pytest.approx(0.5, abs=0.01)
    assert obeying.decide(Heard(least - 1e-4), (), ()) is None
    assert LEAST_PROBABILITY_GATED < LEAST_PROBABILITY


def test_a_word_of_the_users_goes_before_a_command(obeying, known):
    words = known(["katam"], 3, obeying)
    assert obeying.recognise(sound("katam", 10)).word == "left"
    heard = obeying.recognise(sound("katam", 10), words)
    assert (heard.word, heard.own) == ("katam", True)
    heard = obeying.recognise(sound("eskau", 10), words)  # not near enough: the base decides
    assert (heard.word, heard.own) == ("right", False)


def test_probabilities_are_those_of_the_labels(recogniser, voice_files):
    for one in (sound("katam"), SpokenSound.of(placed(3.0, (0.2, say("katam")), (1.0, say("eskau"))))):
        probabilities = recogniser.hear(one).probabilities
        assert tuple(probabilities) == voice_files.labels
        assert sum(probabilities.values()) == pytest.approx(1, abs=0.05)  # of eight bits
    assert recogniser.commands == tuple(label for label in voice_files.labels if label not in NO_COMMAND)


def test_in_a_long_sound_a_command_counts_that_a_few_seconds_agree_on(obeying, voice_files, commanded):
    one = SpokenSound.of(placed(2.0, (0.3, say("imax", around=0.0)), (1.1, say("katam", around=0.0))))
    model = VoiceModel(voice_files, commanded)
    seconds = [model.classify(one.between(at, at + model.window)) for at in range(0, LONGEST - model.window + 1, 10)]
    runs = [np.mean(seconds[at : at + 3], axis=0) for at in range(len(seconds) - 2)]
    commands = [voice_files.labels.index(command) for command in obeying.commands]
    expected = max(runs, key=lambda run: run[commands].max())
    assert list(obeying.hear(one).probabilities.values()) == pytest.approx(expected)


# ------------------------------------------------------------------ the model


def test_frames_of_a_word_have_the_length_one(voice_files):
    model = VoiceModel(voice_files, voice_files.weights)
    for length in (1, 4, 5, 97, LONGEST):
        features = sound("katam").between(0, length)
        frames = model.embed(features)
        assert len(frames) == -(-length // STRIDE)
        assert np.linalg.norm(frames, axis=1) == pytest.approx(1, abs=1e-3)


def test_the_model_refuses_what_it_does_not_take(voice_files):
    model = VoiceModel(voice_files, voice_files.weights)
    features = sound("katam").between(0, model.window)
    spoilt = features.copy()
    spoilt[3, 4] = np.nan
    for wrong in (features[1:], features[:, 1:], spoilt):
        with pytest.raises(ModelError, match=rf"finite ones of \[{model.window}, {BANDS}\]"):
            model.classify(wrong)
    with pytest.raises(ModelError, match=f"This model takes {model.longest} at most"):
        model.embed(sound("katam").between(0, model.longest + 1))
    with pytest.raises(ModelError, match="weight vector"):
        VoiceModel(voice_files, voice_files.weights[1:])


@pytest.mark.parametrize("sizes", [{"longest": LONGEST - 1}, {"frames": 0}, {"frames": LONGEST + 1}, {"bands": 39}])
def test_a_model_for_other_features_is_refused(voice_files, sizes):
    manifest = replace(voice_files.manifest, sizes={**voice_files.manifest.sizes, **sizes})
    with pytest.raises(ModelError, match="another version of the SDK"):
        Recogniser(replace(voice_files, manifest=manifest), voice_files.weights)
