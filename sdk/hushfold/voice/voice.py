"""The voice of one user: what an app listens with, teaches and corrects.

for detection in device.voice.listen():
    print(detection.word)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hushfold_format import VoiceFiles

from ..clock import Clock
from ..errors import AudioError, WordRefused
from ..model import Vector
from ..store import Store
from .audio import RATE, Audio
from .commands import CommandTrial
from .files import Recorded, read_audio, recorded
from .recognition import Recogniser
from .recordings import Kind, Recordings
from .repertoire import Repertoires
from .sound import SpokenSound
from .spoken_words import SpokenWords
from .stream import Detection, VoiceStream

if TYPE_CHECKING:
    from .microphone import Microphone


class Voice:
    """Recognises commands and the user's own words, and learns from being corrected. Safe to share between threads.

    Args:
        files: the voice model.
        vector: the weights to serve, `[size]`.
        store: for what the user teaches.
        clock: where time comes from.

    Attributes:
        commands: what the base knows.
        words: what the user has taught.
        recordings: everything that is kept of the user's voice.
        sensitivity: above 0 more is recognised, and more of what is none; at 0 about 1 % of foreign words.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: VoiceFiles, vector: Vector, store: Store, clock: Clock) -> None:
        self.sensitivity = 0.0
        self.recordings = Recordings(store, clock)
        self._store = store
        self._files = files
        recogniser = Recogniser(files, vector)
        self._repertoires = Repertoires(self.recordings, recogniser)
        self.commands = recogniser.commands
        self.words = SpokenWords(self.recordings, self._repertoires)

    def serve(self, vector: Vector) -> None:
        """Recognise with other weights from now on; the user's recordings are tried anew on them. Raises ModelError."""
        self._repertoires.serve(Recogniser(self._files, vector))

    def recognise(self, recording: Recorded, rate: int = RATE) -> Detection | None:
        """The word in a recording with one word in it; None if it is none that is known here, or silence.

        Args:
            recording: samples, as `as_audio` takes them, or the path of a wav, flac or ogg file.
            rate: of the samples, Hz.

        Raises:
            AudioError: what was given is no sound.
        """
        audio = recorded(recording, rate)
        try:
            sound = SpokenSound.of(audio)
        except AudioError:
            return None
        heard = self._repertoires.now().recognise(sound, self.sensitivity)
        return Detection(heard.word, heard.score, 0.0, len(audio) / RATE, heard.own, sound) if heard else None

    def stream(self) -> VoiceStream:
        """A new stream of sound to be listened to. Raises VoiceError if webrtcvad-wheels is not installed."""
        stream = VoiceStream(lambda sound: self._repertoires.now().recognise(sound, self.sensitivity))
        self._repertoires.warm_up()
        return stream

    def listen(self, microphone: Microphone | None = None) -> Iterator[Detection]:
        """What is said into a microphone, until the loop is left: then the microphone is let go of.

        Args:
            microphone: one that is not open; by default the system's. To end the loop from another thread, close it.

        Raises:
            MicrophoneError: there is none, or it may not be used, or it was unplugged; with what to do.
            VoiceError: a package of the extra `voice` is missing.
        """
        from .microphone import Microphone

        stream = self.stream()
        with microphone or Microphone() as opened:
            for block in opened:
                yield from stream.feed(block)

    def read(self, path: Path | str) -> Iterator[Detection]:
        """What is said in a file: wav, flac or ogg. Raises AudioError if it cannot be read; what is damaged further on,
        when the reading comes to it."""
        return self._read(self.stream(), read_audio(path))

    @staticmethod
    def _read(stream: VoiceStream, blocks: Iterator[Audio]) -> Iterator[Detection]:
        for block in blocks:
            yield from stream.feed(block)
        yield from stream.flush()

    def confirm(self, detection: Detection) -> CommandTrial | None:
        """The detection was right: the user's way of saying it is kept. Raises WordRefused as `correct` does.

        What was said of a detection last holds, and counts once, here and in `correct`.
        """
        return self._keep(detection.word, Kind.CONFIRMED, detection.sound)

    def correct(self, detection: Detection, word: str | None) -> CommandTrial | None:
        """It was another word; or none at all, a false wake, and should not be taken for one again.

        Recordings of the base's commands are used once they prove to be of use: the answer says whether they do. None
        where nothing is to be proven: a word that was taught, or learning that is switched off.

        Raises:
            WordRefused: no command and no word that was taught has this name.
        """
        return self._keep(word, Kind.REJECTED if word is None else Kind.CORRECTED, detection.sound)

    def proof(self) -> CommandTrial:
        """What the user's recordings of commands are worth, recording by recording; see `commands`."""
        return self._repertoires.now().commands.trial

    @property
    def learning_enabled(self) -> bool:
        """Whether recordings are kept, which the user decides. Switching it off deletes all of them for good."""
        return self.recordings.learning_enabled

    @learning_enabled.setter
    def learning_enabled(self, enabled: bool) -> None:
        self.recordings.learning_enabled = enabled
        self._repertoires.now()  # so that what was deleted is not in memory any more either

    def _keep(self, word: str | None, kind: Kind, sound: SpokenSound) -> CommandTrial | None:
        with self._store.transaction():  # or a word that is deleted meanwhile would come back
            if not self.learning_enabled:
                return None
            known = word is None or word in self.commands
            if not known and word not in self.recordings.words():
                raise WordRefused(f"{word!r} is no command and was not taught", "Teach it first")
            self.recordings.add(word, kind, sound.features)
        return self.proof() if known else None
