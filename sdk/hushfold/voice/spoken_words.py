"""The user's own spoken words: a new command, in any language, from one to five recordings.

What is kept of a recording are the features of its sound (`recordings`). Words are known by them at once: nothing is
trained. They stay until they are deleted, or voice learning is switched off.
"""

from __future__ import annotations

import base64
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hushfold_format.logmel import BANDS, Features

from ..errors import AudioError, RecordingRefused, WordRefused
from .audio import RATE
from .files import Recorded, recorded
from .matching import distances
from .recognition import THRESHOLD, KnownWord, away
from .recordings import MOST_TAUGHT, Kind, Recordings
from .repertoire import Repertoires
from .sound import SHORTEST, SpokenSound

LONGEST_NAME = 64  # characters
MOST_WORDS = 100
_FORMAT = "hushfold-spoken-words/1"
_LARGEST = 64 * 2**20  # bytes of an export
_NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, half characters, line ends

_INVISIBLE = {"Cf", "Cn", "Zs"}  # of format characters, what is no character, and spaces
_LOUDEST = 50.0  # of a log-mel feature, either way: none that is made of sound comes near


class SpokenWord(NamedTuple):
    """A word that was taught, and how many recordings of it there are."""

    name: str
    recordings: int


class Taught(NamedTuple):
    """What teaching came to.

    Attributes:
        word: as it is now.
        unlike: which of the recordings that were given, counted from 0, are unlike the others of the word: better
            recorded anew. Of two nobody can tell which one is.
        too_close_to: other words that were taught, and commands, that sound so alike that they may be taken for it.
    """

    word: SpokenWord
    unlike: tuple[int, ...]
    too_close_to: tuple[str, ...]


class SpokenWords:
    """The words of one user. Safe to share between threads.

    Args:
        recordings: what is kept.
        repertoires: what is recognised.
    """

    def __init__(self, recordings: Recordings, repertoires: Repertoires) -> None:
        self._recordings, self._repertoires = recordings, repertoires

    def teach(self, name: str, recordings: Sequence[Recorded], rate: int = RATE) -> Taught:
        """Learn a word, or know one better: of each at most the newest five recordings are kept.

        Args:
            name: what the app is told when the word is recognised; any text of one line.
            recordings: 1 to 5, each with the word once: samples, as `as_audio` takes them, or paths of files. What is
                given twice, or was before, counts once. Three are much better than one, by which many other words of
                the user are taken for this one.
            rate: of the samples, Hz.

        Raises:
            RecordingRefused: a recording that no word can be learned from, and which one; nothing was learned.
            WordRefused: the name is empty, too long or has more than one line, or that of a command.
            VoiceError: voice learning is switched off.
        """
        name = self._checked(name)
        if isinstance(recordings, (str, bytes, os.PathLike)):
            raise RecordingRefused("one recording was given where a list of them is taken", "Give a list: [recording]")
        if not 1 <= len(recordings) <= MOST_TAUGHT:
            raise RecordingRefused(f"{len(recordings)} recordings were given", f"Teach a word with 1 to {MOST_TAUGHT}")
        sounds = [self._sound(number, pcm, rate) for number, pcm in enumerate(recordings)]
        self._add({name: [sound.features for sound in sounds]})
        return self._taught(name, sounds)

    def all(self) -> list[SpokenWord]:
        """The words that were taught, by name."""
        counts = Counter(recording.word or "" for recording in self._recordings.all((Kind.TAUGHT,)))
        return [SpokenWord(name, count) for name, count in sorted(counts.items())]

    def rename(self, old: str, new: str) -> None:
        """Give a word another name. Raises WordRefused if there is no such word, or the new name is taken or none."""
        self._recordings.rename(old, self._checked(new))

    def delete(self, name: str) -> None:
        """Forget a word and its recordings, for good. Raises WordRefused if there is no such word."""
        if name not in self._recordings.words():
            raise WordRefused(f"no word {name!r} was taught", "Name one that was: words.all() lists them")
        self._recordings.delete(name)
        self._repertoires.now()  # so that it is not in memory any more either

    def export(self) -> bytes:
        """Every word with the features of its recordings, for `import_words` on another device of the user.

        JSON; the features are little-endian float16. It is as personal as the voice: the app decides where it goes. No
        audio is in it.
        """
        words: dict[str, list[str]] = {}
        for recording in self._recordings.all((Kind.TAUGHT,)):
            words.setdefault(recording.word or "", []).append(base64.b64encode(_halves(recording.features)).decode())
        return json.dumps({"format": _FORMAT, "words": words}, ensure_ascii=False, indent=1).encode()

    def import_words(self, content: bytes) -> list[SpokenWord]:
        """Take over words of an export; one that is known here gets its recordings too. All that there are afterwards.

        Raises:
            RecordingRefused, WordRefused: it is no export, or one with names that are none; nothing was changed.
            VoiceError: voice learning is switched off.
        """
        self._add({self._checked(name): recordings for name, recordings in _parsed(content).items()})
        return self.all()

    def known(self) -> tuple[KnownWord, ...]:
        """The words as they are compared."""
        return self._repertoires.now().taught

    def _add(self, words: Mapping[str, Sequence[Features]]) -> None:
        """Keep recordings that are not kept already: the same one twice would say that the word always sounds so."""
        if len({*self._recordings.words(), *words}) > MOST_WORDS:
            raise RecordingRefused(f"more than {MOST_WORDS} words", "Delete some that are not used")
        fresh = {}
        for name, recordings in words.items():
            kept = {_halves(recording.features) for recording in self._recordings.of(name, (Kind.TAUGHT,))}
            by_content = {_halves(features): features for features in recordings}
            fresh[name] = [features for content, features in by_content.items() if content not in kept]
        self._recordings.add_words(fresh)

    def _checked(self, name: str) -> str:
        name = name.strip()
        kinds = {unicodedata.category(letter) for letter in name}
        if len(name) > LONGEST_NAME or kinds.intersection(_NOT_IN_NAMES) or kinds <= _INVISIBLE:
            raise WordRefused(f"{name!r} is no name", f"Give one line of 1 to {LONGEST_NAME} characters")
        if name.casefold() in map(str.casefold, self._repertoires.labels):
            raise WordRefused(
                f"{name!r} is known without being taught",
                "Correct it where it is not recognised, or choose another name",
            )
        return name

    def _sound(self, number: int, recording: Recorded, rate: int) -> SpokenSound:
        try:
            sound = SpokenSound.of(recorded(recording, rate))
        except AudioError as error:
            raise RecordingRefused(f"recording {number + 1}: {error.message}", error.advice) from error
        word = sound.word()
        if word.stop - word.start < SHORTEST:
            raise RecordingRefused(
                f"recording {number + 1} has {10 * (word.stop - word.start)} ms of sound, too little for a word",
                "Record it again, with a little silence before and after",
            )
        if sound.steady:
            raise RecordingRefused(
                f"recording {number + 1} has no word in it: it is as loud all the time, like a hum or a tone",
                "Record it again, with a little silence before and after",
            )
        return sound

    def _taught(self, name: str, sounds: Sequence[SpokenSound]) -> Taught:
        """What to tell the user about a word that was just taught."""
        repertoire = self._repertoires.now()
        given = [repertoire.recogniser.hear(sound) for sound in sounds]
        known = {word.name: word for word in (*repertoire.commands.words, *repertoire.taught)}
        word = known.pop(name, None)
        if word is None:  # another thread has deleted it meanwhile
            return Taught(SpokenWord(name, 0), (), ())
        unlike = []
        for number, said in enumerate(given):
            itself = int(distances(said.utterance, word.recordings).argmin())
            rest = [each for position, each in enumerate(word.recordings) if position != itself]
            if len(rest) > 1 and away(said.utterance, [KnownWord.of(name, rest)])[name] > THRESHOLD:
                unlike.append(number)
        near = Counter(heard.word for said in given if (heard := repertoire.recogniser.decide(said, (), ())))
        close = {command for command, times in near.items() if 2 * times >= len(given)}
        for said in given:
            far = away(said.utterance, list(known.values()))
            close.update(other for other, distance in far.items() if distance <= THRESHOLD)
        return Taught(SpokenWord(name, self._count(name)), tuple(unlike), tuple(sorted(close)))

    def _count(self, name: str) -> int:
        return len(self._recordings.of(name, (Kind.TAUGHT,)))


def _halves(features: Features) -> bytes:
    """Features as they are kept."""
    return features.astype("<f2").tobytes()


def _parsed(content: bytes) -> dict[str, list[Features]]:
    """The words of an export, as features by name."""
    refused = RecordingRefused("this is no export of spoken words, or a damaged one", "Export them again")
    if len(content) > _LARGEST:
        raise refused
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise refused
        words = {
            name: [
                np.frombuffer(base64.b64decode(each, validate=True), "<f2").reshape(-1, BANDS).astype(np.float32)
                for each in recordings
            ]
            for name, recordings in document["words"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused from error
    for features in (each for recordings in words.values() for each in recordings):
        if len(features) < SHORTEST or not (np.abs(features) <= _LOUDEST).all():
            raise refused
    return words
