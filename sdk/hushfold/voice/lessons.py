"""What the voice model learns from: the user's recordings of its own commands, and of what is none.

Words that the user taught are not among them: the model has no label for these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushfold_format import VoiceFiles, WindowBatch, window_batches
from hushfold_format.logmel import Features

from ..store import VOICE
from .recognition import UNKNOWN
from .recordings import Kind, Recording, Recordings
from .sound import SpokenSound

EXAMPLES = (Kind.CONFIRMED, Kind.CORRECTED, Kind.REJECTED)


class RecordingLessons:
    """The recordings of one user.

    Args:
        files: the voice model.
        recordings: where they are.
    """

    noun, prefix = "recordings", VOICE

    def __init__(self, files: VoiceFiles, recordings: Recordings) -> None:
        self._files, self._recordings = files, recordings

    def select(self, newest: int | None, most: int) -> list[Recording]:
        known = [
            recording
            for recording in reversed(self._recordings.all(EXAMPLES))
            if (newest is None or recording.id <= newest)
            and (recording.word is None or recording.word in self._files.labels)
        ]
        return known[:most]

    def prepare(self, chosen: Sequence[Recording]) -> RecordingLesson:
        length = self._files.manifest.time
        windows = [SpokenSound(recording.features).window(length) for recording in chosen]
        labels = [self._files.labels.index(recording.word or UNKNOWN) for recording in chosen]
        return RecordingLesson(windows, labels, self._files.manifest.batch)


@dataclass(frozen=True, slots=True)
class RecordingLesson:
    """Seconds of sound with their labels, and how many make a batch."""

    windows: list[Features]
    labels: list[int]
    batch: int

    @property
    def batches(self) -> int:
        return -(-len(self.windows) // self.batch)

    def in_order(self, seed: int) -> list[WindowBatch]:
        return list(window_batches(self.windows, self.labels, self.batch, seed=seed))
