"""Sound as it comes, and the words in it: when a word is told, and which are not.

A segment of speech is looked at in the pauses in it and when it has ended (`activity`). In a pause a word is told at
once if it is recognised with certainty, and else if two looks in a row agree: what is half of a word, or sounds like
one for a moment, seldom is either. What is recognised only long after the speech that it was in has ended is not told:
who is waiting has said it again, or has gone on.

A command stands alone: whoever means it says nothing else just before. In a conversation "right" and "one" are said all
the time, and many words that sound like a command; so one that is not alone has to be more certain yet. Words of the
user's own are told wherever they are said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import ArrayLike

from ..errors import AudioError
from .audio import RATE, Audio, ResampleStream, as_audio
from .level import LevelMeter
from .recognition import Heard
from .sound import SpokenSound

if TYPE_CHECKING:
    from .activity import Segment

REFRACTORY = 0.5  # seconds after a detection in which the same word is not detected again
LATEST = 0.24  # seconds after the end of speech in which its word is told, or never: three looks
CERTAIN = 0.82  # score, 1.5 logits above the threshold
AMID = 0.9  # likewise, 2.2 logits: of a command amid other speech

# Chosen on commands by speakers of the base's training, among words by those on whom its thresholds were chosen.
_PAUSE = 0.08  # seconds of a pause from one look to the next
_APART = round(0.4 * RATE)  # samples without speech before a command that stands alone
_ALONE = round(1.2 * RATE)  # samples of the longest one
_LEAST = RATE // 10  # samples of speech that a word takes
_NEVER = -10 * RATE  # long before the stream began


class Detection(NamedTuple):
    """A word that was heard.

    Attributes:
        word: a command of the base, or the name of a word that was taught.
        score: 0.5 to 1; how sure it is.
        start, end: seconds since the stream began, of the speech: where a noise is taken for more of it, that counts.
        own: whether it was recognised by recordings of the user.
        sound: for `Voice.confirm` and `Voice.correct`.
    """

    word: str
    score: float
    start: float
    end: float
    own: bool
    sound: SpokenSound


class VoiceStream:
    """Sound that comes in blocks of any size. For one thread.

    A word is given out at most `LATEST` seconds of sound after the end that its detection names, most of them after 0.1
    s; the rest of the block that has it, and at other rates the resampler's lag, come on top. The same word is not
    given out twice within `REFRACTORY` seconds.

    Args:
        recognise: what a sound with one word in it says.
    """

    def __init__(self, recognise: Callable[[SpokenSound], Heard | None]) -> None:
        from .activity import VoiceActivity

        self._recognise = recognise
        self._activity = VoiceActivity(pause=_PAUSE)
        self._meter = LevelMeter()
        self._rate = RATE
        self._resampler = ResampleStream(RATE)
        self._last: dict[str, float] = {}  # end of the last detection of each word
        self._begin()

    def _begin(self) -> None:
        """With a new stream. Places are samples."""
        self._told = _NEVER  # up to there it has been told what was said
        self._chatter = _NEVER  # end of the last speech that was no word
        self._look: tuple[int, str] | None = None  # place and word of what is to be confirmed by the next look
        self._last.clear()

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
            block, resampler = as_audio(block), ResampleStream(rate)  # refused before what was said is taken out
            before = self._heard(self._resampler.flush())
            self._rate, self._resampler = rate, resampler
        return before + self._heard(self._resampler.feed(block))

    def flush(self) -> list[Detection]:
        """What was being said when the sound ended. What is fed next begins another stream."""
        last = self._heard(self._resampler.flush()) + self._detected(self._activity.flush())
        self._meter.reset()
        self._begin()
        return last

    def _heard(self, audio: Audio) -> list[Detection]:
        self._meter.feed(audio)
        return self._detected(self._activity.feed(audio))

    def _detected(self, segments: Sequence[Segment]) -> list[Detection]:
        return [detection for segment in segments if (detection := self._word_in(segment))]

    def _word_in(self, segment: Segment) -> Detection | None:
        """The word in what of a segment has not been told."""
        onset = segment.onset_after(self._told) if segment.start < self._told else segment.onset
        if onset is None or segment.offset - onset < _LEAST or segment.given - segment.offset > LATEST * RATE:
            return None
        alone = onset - self._chatter >= _APART and segment.offset - onset <= _ALONE
        start = max(segment.start, self._told)
        try:
            sound = SpokenSound.of(segment.pcm[start - segment.start :])
        except AudioError:
            return None
        heard = self._recognise(sound)
        if heard and not (heard.own or alone or heard.score >= AMID):
            heard = None
        if not segment.ended and (heard is None or heard.score < CERTAIN):
            before, self._look = self._look, (segment.offset, heard.word) if heard else None
            if heard is None or self._look != before:
                return None
        if heard is None:
            # What is left of a segment after a word is chatter only if it is long: else it is the word's own echo.
            if segment.start >= self._told or segment.offset - onset >= _APART:
                self._chatter = segment.offset
            return None
        if onset / RATE - self._last.get(heard.word, -REFRACTORY) < REFRACTORY:
            return None  # too soon: its echo; or its repetition, which will be heard without what is before it
        self._told = segment.end
        self._last[heard.word] = segment.offset / RATE
        return Detection(heard.word, heard.score, onset / RATE, segment.offset / RATE, heard.own, sound)
