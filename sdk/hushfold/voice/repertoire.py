"""All that is recognised: the commands of the model that is served, and what the user's recordings are to it.

Recordings may come and go in any thread and in other processes, and other weights may be served. So whatever is said
meets the repertoire of that moment, and never half of one: what one model makes of a recording says nothing to another.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .commands import OwnCommands
from .lessons import EXAMPLES
from .matching import KnownDistances
from .recognition import Heard, KnownWord, Recogniser, Said
from .recordings import Kind, Recording, Recordings
from .sound import SpokenSound

MOST_OF_COMMAND = 5  # examples of a command that count, the newest
MOST_OF_WORD = 3  # of a word that was taught, beside the recordings that it was taught with
MOST_REJECTED = 40  # of what was none


@dataclass(frozen=True, slots=True, eq=False)
class Repertoire:
    """What is recognised at one moment. Immutable.

    Attributes:
        recogniser: the model.
        taught: words that were taught.
        commands: the user's own way of saying commands.
    """

    recogniser: Recogniser
    taught: tuple[KnownWord, ...]
    commands: OwnCommands

    def recognise(self, sound: SpokenSound, sensitivity: float = 0.0) -> Heard | None:
        """What was said; None if it was none of all that is known: see `Recogniser.recognise`."""
        words = (*self.taught, *self.commands.words)
        return self.recogniser.recognise(sound, words, self.commands.never, sensitivity=sensitivity)


class Repertoires:
    """The repertoire, whenever it is needed. Safe to share between threads.

    Args:
        recordings: the user's.
        recogniser: the model.
    """

    def __init__(self, recordings: Recordings, recogniser: Recogniser) -> None:
        self.labels = recogniser.labels
        self._recordings = recordings
        self._lock = threading.Lock()
        self._builder = _Builder(recordings, recogniser)

    def now(self) -> Repertoire:
        """What is recognised now: whatever was kept or deleted before the call counts.

        It takes some milliseconds for each recording that is new, and none if nothing has changed.
        """
        with self._lock:
            return self._builder.current()

    def warm_up(self) -> None:
        """Make everything ready that the first word would wait for."""
        self.now().recogniser.warm_up()

    def serve(self, recogniser: Recogniser) -> None:
        """Recognise with another model from now on. Until it is ready the other one goes on, if it is in use."""
        builder = _Builder(self._recordings, recogniser)
        if self._builder.in_use:
            recogniser.warm_up()
            builder.current()
        with self._lock:
            self._builder = builder


class _Builder:
    """Makes repertoires of one model, which hears each recording once, as long as it is kept.

    For one thread at a time.
    """

    def __init__(self, recordings: Recordings, recogniser: Recogniser) -> None:
        self._recordings, self._recogniser = recordings, recogniser
        self._said: dict[int, Said] = {}  # by the recording's id
        self._measure = KnownDistances()
        self._repertoire: Repertoire | None = None
        self._made_of = -1

    @property
    def in_use(self) -> bool:
        return self._repertoire is not None

    def current(self) -> Repertoire:
        changes = self._recordings.changes  # first: what changes meanwhile is looked at the next time
        if self._repertoire is None or self._made_of != changes:
            self._repertoire, self._made_of = self._built(), changes
        return self._repertoire

    def _built(self) -> Repertoire:
        taught = self._recordings.all((Kind.TAUGHT,))
        names = {recording.word for recording in taught}
        commands = {None, *self._recogniser.commands}
        examples = _newest(self._recordings.all(EXAMPLES), names)
        kept = [each for each in examples if each.word in commands]
        of_words = [*taught, *(each for each in examples if each.word in names)]
        self._said = {
            each.id: self._said.get(each.id) or self._recogniser.hear(SpokenSound(each.features))
            for each in (*of_words, *kept)
        }
        by_name: dict[str, list[Said]] = {}
        for each in of_words:
            by_name.setdefault(each.word or "", []).append(self._said[each.id])
        words = tuple(
            KnownWord.of(name, [said.utterance for said in sayings], self._measure) for name, sayings in by_name.items()
        )
        trial = [(each.word, self._said[each.id]) for each in kept]
        return Repertoire(self._recogniser, words, OwnCommands(self._recogniser, trial, words, self._measure))


def _newest(examples: Iterable[Recording], taught: set[str | None]) -> list[Recording]:
    """The examples that count, newest first: so many of each word, and of what was none."""
    counts: Counter[str | None] = Counter()
    newest = []
    for recording in reversed(list(examples)):
        counts[recording.word] += 1
        most = (
            MOST_REJECTED if recording.word is None else MOST_OF_WORD if recording.word in taught else MOST_OF_COMMAND
        )
        if counts[recording.word] <= most:
            newest.append(recording)
    return newest
