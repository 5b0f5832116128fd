"""Where in a stream of audio somebody speaks.

    activity = VoiceActivity()
    for block in microphone:
        for segment in activity.feed(block):
            ...  # segment.pcm is what was said

Sans-IO: blocks in, segments out. A frame of 10 ms is speech if two judges agree, each fooled by what the other is not:

    energy   In five bands, its power is compared with that of the background: a quantile of the last seconds (Stahl,
             Fischer and Bippus, "Quantile based noise estimation for spectral subtraction and Wiener filtering", ICASSP
             2000), so that a noise that stays becomes background, however loud. The measure is the mean of the ratios,
             in dB, as in the long-term spectral divergence (Ramirez et al., Speech Communication 42, 2004). What is far
             below the loudest that was just heard is no speech either: an echo, or breath.
    WebRTC   Its detector, Gaussian mixtures over the levels of six bands, takes the frame for speech.

A segment begins with a few such frames and ends when there was none for the hangover. Where a noise is taken for
speech, or somebody else goes on speaking, that may be long after a word; so what was said so far can be had in every
pause, too: when for a while it was clearly less loud than just before, be it near the background or far below the
loudest, since a noise that is new is no background yet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from .audio import RATE, Audio, needs_extra

FRAME = 160  # samples, 10 ms

# Found on 26 speakers of single words and ten kinds of noise; a third more or less changes little.
_RISE, _STAY = 7.0, 5.0  # dB above the background: to begin a segment, to go on with one
_ONSET = (3, 5)  # a segment begins when 3 of the last 5 frames are speech
_RANGE = 25.0  # dB below the loudest
_FORGET = 0.1  # dB a frame by which the loudest is forgotten
_QUIETEST = -62.0  # dBFS: nothing below it is speech
_AGGRESSIVENESS = 2  # of the WebRTC detector, 0 to 3: 3 cuts into the beginnings of words and misses quiet ones

# Found on commands by speakers of the base's training, over noises of it.
_PAUSE_SHARE = 0.4  # of the way, in dB, from the background to the loudest: what is below it is a pause
_FALL = 9.0  # dB below the loudest: likewise, until something else is said
_SMOOTHED = 5  # frames whose level is averaged for that
LOOKS = 3  # in a pause, at most

_EDGES = (1, 5, 10, 20, 40)  # the first bins of the bands, of 100 Hz each; the last one ends at 8 kHz
_QUANTILE = 0.3
_WINDOW = 250  # frames: the seconds that the background is taken from
_UPDATE = 5  # frames after which it is taken anew
_SMOOTHING = 0.5  # of a band's power, before
_PRIOR = 50  # frames of background that a stream begins with, at most as loud as `_PRIOR_LEVEL`
_PRIOR_LEVEL = -45.0  # dBFS in a band: a recording may begin in the middle of a word
_LEAST = -75.0  # dBFS in a band: digital silence is no background to compare with

_HANN = np.hanning(FRAME + 1)[:FRAME].astype(np.float32)
_TO_POWER = 2 / (FRAME * float(np.sum(_HANN**2)))  # Parseval: the bins' sum is then the mean square of the frame


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A stretch of a stream in which somebody spoke. Places are samples since the stream began."""

    start: int  # of `pcm`, which has the pre-roll in front of the speech
    end: int  # past the last sample of `pcm`, which has the hangover, or the pause, after the speech
    onset: int  # where the speech itself begins, to a frame
    offset: int  # past its last frame
    pcm: Audio  # samples[end - start]
    speech: NDArray[np.bool_]  # whether a frame of `pcm` is speech, and loud enough for a word
    ended: bool  # if not, it is what was said until a pause: all of it will be given again, in one or more segments
    given: int  # how much of the stream had been heard when this was found

    def onset_after(self, place: int) -> int | None:
        """Where speech begins, or goes on, at a place in the stream or later; None if it does not."""
        first = max(0, -(-(place - self.start) // FRAME))
        frames = np.flatnonzero(self.speech[first:])
        return self.start + (first + int(frames[0])) * FRAME if len(frames) else None


class VoiceActivity:
    """Finds the segments of a stream in which somebody speaks. Feed it from one thread.

    Args:
        hangover: seconds without speech that end a segment. A segment is given that long after a word's end: more waits
            longer, less takes the closure of a plosive ("ei-ght") for the end of the word.
        pre_roll: seconds that a segment has in front of its speech, for what is too quiet to be recognised as speech.
        shortest: seconds of speech that a segment must have: shorter is a click or a knock.
        pause: seconds of a pause after which a segment is given before it has ended, and again after as many; 0 for
            never.
        longest: seconds of a segment at most: a longer one is cut at the quietest place of its second half, so that
            running speech comes in pieces and a noise that is taken for speech does not hold everything back.

    Raises:
        VoiceError: webrtcvad-wheels is not installed.
    """

    def __init__(
        self,
        *,
        hangover: float = 0.16,
        pre_roll: float = 0.2,
        shortest: float = 0.1,
        pause: float = 0.0,
        longest: float = 2.0,
    ) -> None:
        try:
            import webrtcvad
        except ModuleNotFoundError as error:
            raise needs_extra("webrtcvad-wheels", "finding speech") from error
        self._hangover, self._pre_roll, self._shortest, self._pause, self._longest = (
            round(seconds * RATE / FRAME) for seconds in (hangover, pre_roll, shortest, pause, longest)
        )
        if min(self._hangover, self._shortest) < 1 or self._pre_roll < 0:
            raise ValueError("hangover and shortest are at least 0.01 s, and pre_roll is not negative")
        if pause < 0 or (pause and not self._pause):
            raise ValueError("pause is at least 0.01 s, or 0 for none")
        if self._longest < 2 * (self._hangover + self._pre_roll):
            raise ValueError("longest is at least twice as long as hangover and pre_roll together")
        self._webrtc = webrtcvad
        self.reset()

    def reset(self) -> None:
        """Forget everything: what is fed next is the beginning of another stream."""
        self._detector = self._webrtc.Vad(_AGGRESSIVENESS)
        self._background = _Background()
        self._loudest = -np.inf  # dBFS
        self._rest = np.empty(0, np.float32)  # less than a frame, not looked at yet
        self._speaking = False
        self._silence = 0  # frames since the last one of speech, in a segment
        self._peak = -np.inf  # dBFS, the loudest that was just said, smooth
        self._pausing = 0  # frames since it was about as loud
        self._fall = _Fall()
        self._since_look = 0  # frames since the last look
        self._onset = 0  # position in `_frames` from which on the segment counts
        self._place = 0  # in the stream, of the first of `_frames`; samples
        self._frames: list[Audio] = []  # what may become part of a segment
        self._levels: list[float] = []  # dBFS, of each
        self._speech: list[bool] = []  # whether it is speech, of each
        self._loud: list[bool] = []  # whether it may be of a word, by its level, of each

    @property
    def in_speech(self) -> bool:
        """Whether a segment has begun and not ended: somebody is speaking, or was a moment ago."""
        return self._speaking

    def feed(self, audio: Audio) -> list[Segment]:
        """The segments that end, or pause, in these samples, any number; they follow those that were fed before."""
        samples = np.concatenate([self._rest, audio])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:].copy()
        frames = samples[:whole].reshape(-1, FRAME)
        powers = _band_powers(frames)
        levels = 10 * np.log10(powers.sum(axis=1) + 1e-12)
        pcm = np.round(frames * 32767).astype("<i2")
        segments = []
        for frame, power, level, values in zip(frames, powers, levels.tolist(), pcm, strict=True):
            voiced = self._detector.is_speech(values.tobytes(), RATE)
            segment = self._follow(frame, level, self._background.excess(power), voiced)
            if segment is not None:
                segments.append(segment)
        return segments

    def flush(self) -> list[Segment]:
        """The segment that the end of the stream ends, if one has begun. What is fed next begins another stream."""
        segment = None
        if self._speaking:
            self._frames.append(self._rest)
            segment = self._segment(len(self._frames))
        self.reset()
        return [] if segment is None else [segment]

    def _follow(self, frame: Audio, level: float, excess: float, voiced: bool) -> Segment | None:
        """One frame more; the segment that it ends."""
        self._loudest = max(level, self._loudest - _FORGET)
        heard = level > max(_QUIETEST, self._loudest - _RANGE)
        speech = voiced and heard and excess > (_STAY if self._speaking else _RISE)
        self._frames.append(frame.copy())
        self._levels.append(level)
        self._speech.append(speech)
        self._loud.append(True)
        if not self._speaking:
            self._begin()
            return None
        self._silence = 0 if speech else self._silence + 1
        if self._silence >= self._hangover:
            return self._end()
        if len(self._frames) >= self._longest:
            return self._cut()
        return self._paused() if self._pause else None

    def _paused(self) -> Segment | None:
        """The segment so far, a few times in every pause: what comes after a word may make it clearer."""
        level = fmean(self._levels[-_SMOOTHED:])
        self._peak = max(level, self._peak - _FORGET)
        background = self._background.level
        loud = level > background + _PAUSE_SHARE * (self._peak - background)
        self._loud[-1] = loud
        self._pausing = 0 if loud else self._pausing + 1
        pause = max(self._pausing, self._fall.follow(level, LOOKS * self._pause))
        looks, rest = divmod(pause, self._pause)
        self._since_look += 1
        if rest or not 1 <= looks <= LOOKS or self._since_look < self._pause:
            return None
        self._since_look = 0
        return self._segment(len(self._frames), pause)

    def _begin(self) -> None:
        """Into a segment, if the last frames are speech."""
        needed, among = _ONSET
        recent = self._speech[-among:]
        if sum(recent) >= needed:
            self._speaking, self._silence = True, 0
            self._peak, self._pausing, self._fall = -np.inf, 0, _Fall()
            onset = len(self._speech) - len(recent) + recent.index(True)
            self._drop(max(0, onset - self._pre_roll))
            self._onset = min(onset, self._pre_roll)
        else:
            self._drop(max(0, len(self._frames) - self._pre_roll - among))

    def _end(self) -> Segment | None:
        """Out of a segment."""
        segment = self._segment(len(self._frames))
        # What one segment holds is not the next one's pre-roll.
        self._drop(len(self._frames) if segment else max(0, len(self._frames) - self._pre_roll))
        self._speech = [False] * len(self._speech)
        self._speaking = False
        return segment

    def _cut(self) -> Segment | None:
        """The front of a segment that is too long. The rest goes on."""
        smooth = np.convolve(10 ** (np.array(self._levels) / 10), np.ones(5), "same")
        half = self._longest // 2
        cut = half + int(np.argmin(smooth[half:-5]))
        segment = self._segment(cut)
        self._drop(cut)
        self._onset = 0
        return segment

    def _segment(self, end: int, pause: int = 0) -> Segment | None:
        """The first frames as a segment, if there is enough speech in them; what is in a pause at their end is none."""
        speech = np.array(self._speech[:end], bool)
        speech[: self._onset] = False
        speech[max(0, end - pause) :] = False
        places = np.flatnonzero(speech)
        if len(places) < self._shortest:
            return None
        pcm = np.concatenate(self._frames[:end])
        onset, offset = (self._place + int(frame) * FRAME for frame in (places[0], places[-1] + 1))
        speech &= self._loud[:end]
        given = self._place + (len(self._frames) - 1) * FRAME + len(self._frames[-1])
        return Segment(self._place, self._place + len(pcm), onset, offset, pcm, speech, not pause, given)

    def _drop(self, frames: int) -> None:
        self._place += frames * FRAME
        del self._frames[:frames], self._levels[:frames], self._speech[:frames], self._loud[:frames]


class _Fall:
    """How long ago the level fell far below the loudest that was just said."""

    def __init__(self) -> None:
        self._peak = -np.inf  # dBFS, of what is said, smooth
        self._frames = 0

    def follow(self, level: float, most: int) -> int:
        """Frames since it fell, with one of this level, dBFS; 0 if it has not. After `most`, something else is said."""
        self._peak -= _FORGET
        fallen = level <= self._peak - _FALL and self._frames < most
        self._frames = self._frames + 1 if fallen else 0
        if not fallen:
            self._peak = level if level <= self._peak - _FALL else max(level, self._peak)
        return self._frames


class _Background:
    """The power that each band has when nobody speaks."""

    def __init__(self) -> None:
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=_WINDOW)
        self._smooth: NDArray[np.float64] | None = None
        self._power = np.empty(0)
        self._due = 0

    @property
    def level(self) -> float:
        """How loud it is, dBFS."""
        return 10 * float(np.log10(self._power.sum() + 1e-12))

    def excess(self, power: NDArray[np.float64]) -> float:
        """How far above the background a frame is, in dB; it becomes part of it."""
        if self._smooth is None:
            self._smooth = power
            self._recent.extend([np.minimum(power, 10 ** (_PRIOR_LEVEL / 10))] * _PRIOR)
        self._smooth = _SMOOTHING * self._smooth + (1 - _SMOOTHING) * power
        self._recent.append(self._smooth)
        if self._due == 0:
            place = int(_QUANTILE * (len(self._recent) - 1))
            quantile = np.partition(np.array(self._recent), place, axis=0)[place]
            self._power = np.maximum(quantile, 10 ** (_LEAST / 10))
        self._due = (self._due + 1) % _UPDATE
        return 10 * float(np.log10(np.mean(power / self._power) + 1e-9))


def _band_powers(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of frames[n, FRAME], the power[n, band] in bands, without what is below 50 Hz; 1 is full scale."""
    bins = np.abs(np.fft.rfft(frames * _HANN, axis=1)) ** 2 * _TO_POWER
    return np.add.reduceat(bins, _EDGES, axis=1)
