"""The voice of one user: what an app listens with, teaches and corrects.

for detection in device.voice.listen():
    print(detection.word)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import ArrayLike

from hushfold_format import VoiceFiles

from ..clock import Clock
from ..errors import AudioError, WordRefused
from ..model import Vector
from ..store import Store
from .audio import RATE, Audio, ResampleStream, as_audio
from .commands import CommandTrial
from .level import LevelMeter
from .recognition import Recogniser
from .recordings import Kind, Recordings
from .repertoire import Repertoires
from .sound import SpokenSound
from .spoken_words import SpokenWords

if TYPE_CHECKING:
    from .activity import Segment
    from .microphone import Microphone

REFRACTORY = 0.5  # seconds after a detection in which the same word is not detected again


class Detection(NamedTuple):
    """A word that was heard.

    Attributes:
        word: a command of the base, or the name of a word that was taught.
        score: 0.5 to 1; how sure it is.
        start, end: seconds since the stream began, of the speech.
        own: whether it was recognised by recordings of the user.
        sound: for `Voice.confirm` and `Voice.correct`.
    """

    word: str
    score: float
    start: float
    end: float
    own: bool
    sound: SpokenSound


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

    def recognise(self, recording: ArrayLike) -> Detection | None:
        """The word in a recording with one word in it; None if it is none that is known here, or silence.

        Raises:
            AudioError: what was given is no sound.
        """
        audio = as_audio(recording)
        try:
            sound = SpokenSound.of(audio)
        except AudioError:
            return None
        return self._detected(sound, 0.0, len(audio) / RATE)

    def stream(self) -> VoiceStream:
        """A new stream of sound to be listened to. Raises VoiceError if webrtcvad-wheels is not installed."""
        stream = VoiceStream(self)
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
        """What is said in a file: wav, flac or ogg. Raises AudioError if it cannot be read."""
        from .files import read_audio

        stream = self.stream()
        for block in read_audio(path):
            yield from stream.feed(block)
        yield from stream.flush()

    def confirm(self, detection: Detection) -> CommandTrial | None:
        """The detection was right: the user's way of saying it is kept. Raises WordRefused as `correct` does."""
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

    def _detected(self, sound: SpokenSound, start: float, end: float) -> Detection | None:
        heard = self._repertoires.now().recognise(sound, self.sensitivity)
        return Detection(heard.word, heard.score, start, end, heard.own, sound) if heard else None


class VoiceStream:
    """Sound that comes in blocks of any size. For one thread.

    A word is given out when its speech has ended, about 0.2 s later. The same word is not given out twice within
    `REFRACTORY` seconds.
    """

    def __init__(self, voice: Voice) -> None:
        from .activity import VoiceActivity

        self._voice = voice
        self._activity = VoiceActivity()
        self._meter = LevelMeter()
        self._rate = RATE
        self._resampler = ResampleStream(RATE)
        self._last: dict[str, float] = {}  # end of the last detection of each word

    @property
    def level(self) -> float:
        """How loud it is, from 0 to 1, for a meter on the screen."""
        return self._meter.value

    @property
    def in_speech(self) -> bool:
        """Whether somebody is speaking."""
        return self._activity.in_speech

    def feed(self, block: ArrayLike, rate: int = RATE) -> list[Detection]:
        """What was recognised in the sound that ended with this block.

        Args:
            block: int16, int32 or float samples, `[n]` or `[n, channels]`.
            rate: of the samples, Hz; any but 16,000 needs the package soxr.

        Raises:
            AudioError: this is no sound.
        """
        before = []
        if rate != self._rate:
            resampler = ResampleStream(rate)
            before = self._heard(self._resampler.flush())
            self._rate, self._resampler = rate, resampler
        return before + self._heard(self._resampler.feed(block))

    def flush(self) -> list[Detection]:
        """What was being said when the sound ended. What is fed next begins another stream."""
        last = self._heard(self._resampler.flush()) + self._recognised(self._activity.flush())
        self._meter.reset()
        self._last.clear()
        return last

    def _heard(self, audio: Audio) -> list[Detection]:
        self._meter.feed(audio)
        return self._recognised(self._activity.feed(audio))

    def _recognised(self, segments: Sequence[Segment]) -> list[Detection]:
        found = []
        for segment in segments:
            try:
                sound = SpokenSound.of(segment.pcm)
            except AudioError:
                continue
            detection = self._voice._detected(sound, segment.onset / RATE, segment.offset / RATE)
            if detection and detection.start - self._last.get(detection.word, -REFRACTORY) >= REFRACTORY:
                self._last[detection.word] = detection.end
                found.append(detection)
        return found
