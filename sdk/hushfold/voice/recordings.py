"""What the user said, as far as it is kept to learn from: encrypted, within limits, and only while the user wants it.

Audio is never kept: whatever is done with a recording needs its log-mel features only. A voice can be told from these
too, so they are guarded as audio would be. They are stored as float16, which changes none by more than 0.004.

    taught       the recordings of a word of the user's own are the word: they stay until it is deleted
    all others   are examples, of words and of what is none: they go after some time, or when there are too many
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hushfold_format.logmel import BANDS, Features

from ..clock import Clock
from ..errors import RecordingRefused, VoiceError, WordRefused
from ..store import Store
from .sound import LONGEST

TTL = 90 * 86_400.0  # seconds
QUOTA = 400  # examples, of 16 KB at most
MOST_TAUGHT = 5  # recordings of a word

_LEARNING = "voice_learning"
_ON, _OFF = b"1", b"0"


class Kind(StrEnum):
    """What the user made of a recording."""

    TAUGHT = "taught"  # it is part of a word of the user's own
    CONFIRMED = "confirmed"  # it was recognised as what it is
    CORRECTED = "corrected"  # it was taken for something else, or not recognised
    REJECTED = "rejected"  # nobody said a command


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Something that was said here."""

    id: int  # never given out twice
    word: str | None  # None: nobody said a command
    kind: Kind
    features: Features  # [n, BANDS] with n from 1 to LONGEST
    spoken_at: float  # unix seconds


class Recordings:
    """One user's recordings, in the store. Safe to share between threads; nothing is kept in memory.

    What a voice model was trained to on the device goes with any recording that the user deletes, since it may have
    been trained on it: see `store.VOICE`. Recordings that go by themselves leave it, as messages do.

    Args:
        store: where they are kept.
        ttl: seconds that an example is kept.
        quota: above it the oldest examples go.
    """

    def __init__(self, store: Store, clock: Clock, *, ttl: float = TTL, quota: int = QUOTA) -> None:
        self._store, self._clock = store, clock
        self._ttl, self._quota = ttl, quota
        self.expire()

    @property
    def changes(self) -> int:
        """Grows whenever a recording comes, goes or gets another name, by a wipe or another process too.

        Who keeps something made of recordings in memory makes it anew when this has changed.
        """
        return int(self._store.execute("SELECT changes FROM recording_changes")[0][0])

    # -------------------------------------------------------------- what is said

    @property
    def learning_enabled(self) -> bool:
        """Whether recordings are kept. The user's choice: it is stored and survives a wipe.

        Switched off, it deletes for good every recording, words that were taught among them, and what was trained on
        any. Once that has returned, no `add` that was under way keeps anything.
        """
        return self._store.load_setting(_LEARNING) != _OFF

    @learning_enabled.setter
    def learning_enabled(self, enabled: bool) -> None:
        with self._store.forgetting():
            self._store.save_setting(_LEARNING, _ON if enabled else _OFF)
            if not enabled:
                self._store.execute("DELETE FROM recordings")
                self._store.forget_trained(voice=True)

    def add(self, word: str | None, kind: Kind, features: Features) -> int:
        """Keep something that was said just now; its id. What is past a limit goes at the same time.

        An example of the very same sound is replaced: what the user says of it last holds, and counts once.

        Args:
            word: name of a word of the user's or of a base command; None for what was rejected, and only for that.
            kind: what the user made of it.
            features: log-mel, `[n, BANDS]` with n from 1 to `LONGEST`.

        Raises:
            VoiceError: learning is switched off.
            RecordingRefused: features that are none of a recording, or of a longer one.
            WordRefused: a name without a character.
            ValueError: the word does not go with the kind.
        """
        return self.add_all(word, kind, [features])[0]

    def add_all(self, word: str | None, kind: Kind, recordings: Sequence[Features]) -> list[int]:
        """Keep several of the same, or none of them if one is refused: see `add`."""
        if (word is None) != (kind is Kind.REJECTED):
            raise ValueError(f"a recording that is {kind} of the word {word!r}")
        if word is not None and not word.strip():
            raise WordRefused("the word has no name", "Give it one")
        rows = [(len(features), _to_blob(features)) for features in recordings]
        with self._store.transaction():  # so that nothing is kept after learning was switched off
            if not self.learning_enabled:
                raise VoiceError(
                    "voice learning is switched off, so nothing that is said is kept", "Switch it on and say it again"
                )
            now = self._clock.now()
            if kind is not Kind.TAUGHT:
                for _, blob in rows:
                    self._store.execute("DELETE FROM recordings WHERE kind <> 'taught' AND features = ?", (blob,))
            ids = [
                int(
                    self._store.execute(
                        "INSERT INTO recordings (word, kind, spoken_at, frames, features) VALUES (?, ?, ?, ?, ?) "
                        "RETURNING id",
                        (word, kind.value, now, frames, blob),
                    )[0][0]
                )
                for frames, blob in rows
            ]
            if kind is Kind.TAUGHT:
                self._store.execute(
                    "DELETE FROM recordings WHERE id IN (SELECT id FROM recordings WHERE kind = 'taught' AND word = ? "
                    "ORDER BY id DESC LIMIT -1 OFFSET ?)",
                    (word, MOST_TAUGHT),
                )
            self.expire()
        return ids

    def add_words(self, words: Mapping[str, Sequence[Features]]) -> None:
        """Teach several words, or none of them if a recording is refused: see `add`."""
        with self._store.transaction():
            for word, recordings in words.items():
                self.add_all(word, Kind.TAUGHT, recordings)

    def expire(self) -> None:
        """Delete the examples that are past their time or above the quota. `add` does it too."""
        examples = "kind IN ('confirmed', 'corrected', 'rejected')"
        with self._store.transaction():
            self._store.execute(
                f"DELETE FROM recordings WHERE {examples} AND spoken_at < ?",  # noqa: S608 (a constant)
                (self._clock.now() - self._ttl,),
            )
            self._store.execute(
                f"DELETE FROM recordings WHERE id IN (SELECT id FROM recordings WHERE {examples} "  # noqa: S608
                "ORDER BY spoken_at DESC, id DESC LIMIT -1 OFFSET ?)",
                (self._quota,),
            )

    # -------------------------------------------------------------- what is kept

    def all(self, kinds: Collection[Kind] = tuple(Kind)) -> list[Recording]:
        """The recordings of some kinds, in the order in which they came."""
        return self._select(f"kind IN ({', '.join('?' * len(kinds))})", *(kind.value for kind in kinds))

    def of(self, word: str, kinds: Collection[Kind] = tuple(Kind)) -> list[Recording]:
        """The recordings of a word, of some kinds, in the order in which they came."""
        chosen = ", ".join("?" * len(kinds))
        return self._select(f"word = ? AND kind IN ({chosen})", word, *(kind.value for kind in kinds))

    def words(self) -> list[str]:
        """Names of the words that were taught, in alphabetical order."""
        rows = self._store.execute("SELECT DISTINCT word FROM recordings WHERE kind = 'taught' ORDER BY word")
        return [word for (word,) in rows]

    # -------------------------------------------------------------- what the user decides

    def rename(self, old: str, new: str) -> None:
        """Give a word that was taught, and every example of it, another name.

        Raises:
            WordRefused: there is no such word, or there are recordings of the new name, or it has no character.
        """
        with self._store.transaction():
            if old not in self.words():
                raise WordRefused(f"no word {old!r} was taught", "Name one that was")
            if not new.strip():
                raise WordRefused("the word has no name", "Give it one")
            if new != old and self.of(new):
                raise WordRefused(f"there are recordings of {new!r} already", "Delete them, or choose another name")
            self._store.execute("UPDATE recordings SET word = ? WHERE word = ?", (new, old))

    def delete(self, word: str) -> int:
        """Delete for good every recording of a word, examples too; how many there were."""
        return self._forget("word = ?", word)

    def delete_recording(self, recording: int) -> bool:
        """Delete for good the recording with this id; whether there was one.

        With the last one that was taught of a word, the word goes and with it the examples of it.
        """
        with self._store.forgetting():
            rows = self._store.execute("SELECT word, kind FROM recordings WHERE id = ?", (recording,))
            for word, kind in rows:
                self._forget("id = ?", recording)
                if kind == Kind.TAUGHT and word not in self.words():
                    self._forget("word = ?", word)
        return bool(rows)

    def _forget(self, condition: str, value: object) -> int:
        with self._store.forgetting():
            rows = self._store.execute(f"DELETE FROM recordings WHERE {condition} RETURNING id", (value,))  # noqa: S608
            if rows:
                self._store.forget_trained(voice=True)
        return len(rows)

    def _select(self, condition: str, *values: object) -> list[Recording]:
        rows = self._store.execute(
            f"SELECT id, word, kind, frames, features, spoken_at FROM recordings WHERE {condition} ORDER BY id",  # noqa: S608
            values,
        )
        return [
            Recording(number, word, Kind(kind), _from_blob(features, frames), at)
            for number, word, kind, frames, features, at in rows
        ]


def _to_blob(features: Features) -> bytes:
    if features.ndim != 2 or features.shape[1] != BANDS or not 1 <= len(features) <= LONGEST:
        raise RecordingRefused(
            f"features of {list(features.shape)} are no recording",
            f"Give [n, {BANDS}] with n from 1 to {LONGEST}: two seconds at most",
        )
    with np.errstate(over="ignore"):
        halves = features.astype("<f2")
    if not np.isfinite(halves).all():
        raise RecordingRefused("the features are not finite, or no logarithms of power", "Record it again")
    return halves.tobytes()


def _from_blob(blob: bytes, frames: int) -> Features:
    features: Features = np.frombuffer(blob, "<f2").reshape(frames, BANDS).astype(np.float32)
    return features
