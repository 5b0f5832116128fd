"""The user's own spoken words: a new command, in any language, from one to five recordings.

What is kept of a recording are the features of its sound (`recordings`). Words are known by them at once: nothing is
trained. They stay until they are deleted, or voice learning is switched off.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hushfold_format.logmel import Features

from ..errors import AudioError, RecordingRefused, WordRefused
from .audio import as_audio
from .matching import Utterance
from .recognition import THRESHOLD, KnownWord, Recogniser, away
from .recordings import MOST_TAUGHT, Kind, Recording, Recordings
from .sound import SHORTEST, SpokenSound

LONGEST_NAME = 64  # characters
MOST_WORDS = 100
MOST_CONFIRMED = 3  # recordings of a word, beside those that it was taught with
_FORMAT = "hushfold-spoken-words/1"
_LARGEST = 64 * 2**20  # bytes of an imported file, unpacked


class SpokenWord(NamedTuple):
    """A word that was taught, and how many recordings of it there are."""

    name: str
    recordings: int


class Taught(NamedTuple):
    """What teaching came to.

    Attributes:
        word: as it is now.
        unlike: positions of recordings that are unlike the others of the word: better recorded anew.
        too_close_to: other words that were taught and sound so alike that they may be taken for this one.
    """

    word: SpokenWord
    unlike: tuple[int, ...]
    too_close_to: tuple[str, ...]


class SpokenWords:
    """The words of one user. Safe to share between threads.

    Args:
        recordings: what is kept.
        recogniser: what sounds are to the model that is served.
    """

    def __init__(self, recordings: Recordings, recogniser: Recogniser) -> None:
        self._recordings = recordings
        self._recogniser = recogniser
        self._lock = threading.Lock()
        self._known: tuple[KnownWord, ...] = ()
        self._known_of = -1

    def serve(self, recogniser: Recogniser) -> None:
        """Compare by another model from now on."""
        with self._lock:
            self._recogniser, self._known_of = recogniser, -1

    def teach(self, name: str, recordings: Sequence[ArrayLike]) -> Taught:
        """Learn a word, or know one better: of each at most the newest five recordings are kept.

        Args:
            name: what the app is told when the word is recognised; any text of one line.
            recordings: 1 to 5, each with the word once.

        Raises:
            RecordingRefused: a recording that no word can be learned from, and which one; nothing was learned.
            WordRefused: the name is empty, too long or has more than one line, or that of a command.
            VoiceError: voice learning is switched off.
        """
        name = self._checked(name)
        if not 1 <= len(recordings) <= MOST_TAUGHT:
            raise RecordingRefused(f"{len(recordings)} recordings were given", f"Teach a word with 1 to {MOST_TAUGHT}")
        known = self._recordings.words()
        if name not in known and len(known) >= MOST_WORDS:
            raise RecordingRefused(f"{MOST_WORDS} words are taught already", "Delete one that is not used")
        sounds = [self._sound(number, pcm) for number, pcm in enumerate(recordings)]
        self._recordings.add_all(name, Kind.TAUGHT, [sound.features for sound in sounds])
        return self._looked_at(name)

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

    def export(self) -> bytes:
        """Every word with the features of its recordings, for `import_words` on another device of the user.

        It is as personal as the voice: the app decides where it goes. No audio is in it.
        """
        buffer = io.BytesIO()
        taught = self._recordings.all((Kind.TAUGHT,))
        arrays = {f"features/{number:05}": recording.features for number, recording in enumerate(taught)}
        names = np.array([recording.word or "" for recording in taught])
        np.savez_compressed(buffer, format=np.array(_FORMAT), names=names, **arrays)
        return buffer.getvalue()

    def import_words(self, content: bytes) -> list[SpokenWord]:
        """Take over words of an export; one that is known here gets its recordings too. All that there are afterwards.

        Raises:
            RecordingRefused, WordRefused: it is no export, or one with names that are none; nothing was changed.
        """
        words = {self._checked(name): recordings for name, recordings in _parsed(content).items()}
        if len({*self._recordings.words(), *words}) > MOST_WORDS:
            raise RecordingRefused(f"these are more than {MOST_WORDS} words in all", "Delete some first")
        self._recordings.add_words(words)
        return self.all()

    def known(self) -> tuple[KnownWord, ...]:
        """The words as they are compared."""
        with self._lock:
            if self._known_of != (changes := self._recordings.changes):
                by_name: dict[str, list[Utterance]] = {}
                for recording in self._of_words():
                    sound = SpokenSound(recording.features)
                    by_name.setdefault(recording.word or "", []).append(self._recogniser.utterance(sound))
                self._known = tuple(KnownWord.of(name, of) for name, of in by_name.items())
                self._known_of = changes
            return self._known

    def _of_words(self) -> Iterator[Recording]:
        """What words are known by: their recordings, and the newest of what the user has confirmed."""
        taught = self._recordings.all((Kind.TAUGHT,))
        yield from taught
        names = {recording.word for recording in taught}
        counts: Counter[str | None] = Counter()
        for recording in reversed(self._recordings.all((Kind.CONFIRMED, Kind.CORRECTED))):
            counts[recording.word] += 1
            if recording.word in names and counts[recording.word] <= MOST_CONFIRMED:
                yield recording

    def _checked(self, name: str) -> str:
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise WordRefused(f"{name!r} is no name", f"Give one line of 1 to {LONGEST_NAME} characters")
        if name in self._recogniser.labels:
            raise WordRefused(
                f"{name!r} is known without being taught",
                "Correct it where it is not recognised, or choose another name",
            )
        return name

    def _sound(self, number: int, pcm: ArrayLike) -> SpokenSound:
        try:
            sound = SpokenSound.of(as_audio(pcm))
        except AudioError as error:
            raise RecordingRefused(f"recording {number + 1}: {error.message}", error.advice) from error
        word = sound.word()
        if word.stop - word.start < SHORTEST:
            raise RecordingRefused(
                f"recording {number + 1} has {10 * (word.stop - word.start)} ms of sound, too little for a word",
                "Record it again, with a little silence before and after",
            )
        return sound

    def _looked_at(self, name: str) -> Taught:
        """What to tell the user about a word that was just taught."""
        known = {word.name: word for word in self.known()}
        word = known.pop(name)
        others = tuple(known.values())
        unlike = []
        taught = len(self._recordings.of(name, (Kind.TAUGHT,)))
        for number, recording in enumerate(word.recordings[:taught]):
            rest = [each for each in word.recordings if each is not recording]
            if len(rest) > 1 and away(recording, [KnownWord.of(name, rest)])[name] > THRESHOLD:
                unlike.append(number)
        near = {
            other
            for recording in word.recordings
            if others
            for other, distance in away(recording, others).items()
            if distance <= THRESHOLD
        }
        return Taught(SpokenWord(name, taught), tuple(unlike), tuple(sorted(near)))


def _parsed(content: bytes) -> dict[str, list[Features]]:
    """The words of an export, as features by name."""
    refused = RecordingRefused("this is no export of spoken words, or a damaged one", "Export them again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise refused
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if str(arrays["format"]) != _FORMAT:
                raise refused
            words: dict[str, list[Features]] = {}
            for number, name in enumerate(arrays["names"].tolist()):
                words.setdefault(str(name), []).append(arrays[f"features/{number:05}"])
    except (ValueError, KeyError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise refused from error
    return words
