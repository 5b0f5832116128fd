"""The SDK's voice as an app embeds it, with a folder and a store of its own for each speaker.

What is measured is what is shipped: words are taught, corrected and kept by a device. Only distances are asked of its
recogniser, and whether it accepts words that were taught, since what it makes of a clip is kept there for the next
speaker; `tests/evaluation/test_voice_ours.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hushfold import Device, KeyFile
from hushfold.conditions import SimulatedConditions
from hushfold.device import VOICE_MODEL, bundled_model
from hushfold.errors import AudioError, RecordingRefused
from hushfold.voice.matching import KnownDistances
from hushfold.voice.recognition import KnownWord, Recogniser, Said, away
from hushfold.voice.sound import SpokenSound
from hushfold.voice.stream import Detection, VoiceStream
from hushfold_format import VoiceFiles

from .clips import COMMANDS, RATE, Audio, Clip
from .recognisers import Guess, Told


class OwnVoice:
    """A device, for its voice. Close it after use.

    Args:
        model: folder of the voice model's files; by default the shipped one.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = model
        self._folder = TemporaryDirectory(prefix="hushfold-evaluation-")
        folder = Path(self._folder.name)
        self._device = Device(
            folder, KeyFile(folder / "key"), conditions=SimulatedConditions(), dwell=0, voice_folder=model
        )

    def recognise(self, clip: Clip) -> str | None:
        detection = self._device.voice.recognise(clip.pcm)
        return detection.word if detection else None

    def guess(self, clip: Clip) -> Guess:
        """The most probable base word; accepted if the device gives it out. Its distance is 1 less the probability."""
        said = _ears(self._model).said(clip)
        if said is None:
            return Guess("", float("inf"), accepted=False)
        word = max(COMMANDS, key=lambda name: said.probabilities[name])
        return Guess(word, 1 - said.probabilities[word], self.recognise(clip) == word)

    def correct(self, clip: Clip, word: str) -> None:
        """As the user would: confirm what was recognised, correct what was not. Silence cannot be corrected."""
        voice = self._device.voice
        detection = voice.recognise(clip.pcm)
        if detection is None:
            with suppress(AudioError):
                sound = SpokenSound.of(clip.pcm)
                voice.correct(Detection("", 0.0, 0.0, len(clip.pcm) / RATE, own=False, sound=sound), word)
        elif detection.word == word:
            voice.confirm(detection)
        else:
            voice.correct(detection, word)

    def teach(self, word: str, clips: Sequence[Clip]) -> int:
        """Teach a word; how many recordings were refused. These are left out, as if they were not said again."""
        words = self._device.voice.words
        try:
            words.teach(word, [clip.pcm for clip in clips])
        except RecordingRefused:
            if len(clips) == 1:
                return 1
            return sum(self.teach(word, [clip]) for clip in clips)
        return 0

    def known(self) -> tuple[KnownWord, ...]:
        """The words that were taught, as they are compared."""
        return self._device.voice.words.known()

    def listen(self) -> OwnStream:
        return OwnStream(self._device.voice.stream())

    def close(self) -> None:
        self._device.close()
        self._folder.cleanup()


class OwnStream:
    """A stream that is listened to."""

    def __init__(self, stream: VoiceStream) -> None:
        self._stream = stream

    def feed(self, block: Audio) -> list[Told]:
        return [Told(each.word, each.start, each.end, each.own) for each in self._stream.feed(block)]

    def flush(self) -> list[Told]:
        return [Told(each.word, each.start, each.end, each.own) for each in self._stream.flush()]


class OwnWords:
    """Words that a speaker teaches to a device.

    Args:
        model: folder of the voice model's files; by default the shipped one.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = model

    def teach(self, takes: Mapping[str, Sequence[Clip]]) -> OwnTaughtWords:
        with closing(OwnVoice(self._model)) as own:
            refused = sum(own.teach(word, clips) for word, clips in takes.items())
            return OwnTaughtWords(_ears(self._model), own.known(), refused)


class OwnTaughtWords:
    """Words that were taught. Without any, and for silence, every word is infinitely far away."""

    def __init__(self, ears: _Ears, words: Sequence[KnownWord], refused: int) -> None:
        self._ears, self._words, self.refused = ears, words, refused

    def guess(self, clip: Clip) -> Guess:
        said = self._ears.said(clip)
        if said is None or not self._words:
            return Guess("", float("inf"), accepted=False)
        measure = KnownDistances()  # computed once for both
        word, distance = min(away(said.utterance, self._words, measure).items(), key=lambda item: item[1])
        heard = self._ears.recogniser.decide(said, self._words, (), measure=measure)
        return Guess(word, distance, accepted=heard is not None and heard.own)

    def without(self, word: str) -> OwnTaughtWords:
        return OwnTaughtWords(self._ears, [known for known in self._words if known.name != word], self.refused)


class _Ears:
    """A recogniser that keeps what the model makes of every clip that it has met."""

    def __init__(self, model: Path | None) -> None:
        files = VoiceFiles.load(model or bundled_model(VOICE_MODEL))
        self.recogniser = Recogniser(files, files.weights)
        self._said: dict[Clip, Said | None] = {}

    def said(self, clip: Clip) -> Said | None:
        """What the model makes of a clip; None if there is nothing in it."""
        if clip not in self._said:
            try:
                self._said[clip] = self.recogniser.hear(SpokenSound.of(clip.pcm))
            except AudioError:
                self._said[clip] = None
        return self._said[clip]


@cache
def _ears(model: Path | None) -> _Ears:
    return _Ears(model)
