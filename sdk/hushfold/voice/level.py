"""How loud it is, as a meter on the screen shows it: up at once, down slowly."""

from __future__ import annotations

import numpy as np

from .audio import RATE, Audio

FLOOR = -60.0  # dBFS: below, a meter shows nothing

_PIECE = 160  # samples, 10 ms: what a level is taken of
_ATTACK = 0.01  # seconds: time constant of the rise, the integration time of a peak programme meter (IEC 60268-10)
_DECAY = 40.0  # dB a second; from a loud voice to nothing in a second
_CLIPPED = 0.99  # of full scale
_HOLD = RATE  # samples for which clipping stays on, 1 s, so that it is seen


class LevelMeter:
    """The level of a stream of audio. How the stream is cut into blocks hardly matters.

    Not safe to feed from several threads; its properties can be read from any.
    """

    def __init__(self) -> None:
        self._dbfs = FLOOR
        self._hold = 0

    @property
    def dbfs(self) -> float:
        """RMS relative to full scale, in dB, at least `FLOOR`. A sine of full scale has -3."""
        return self._dbfs

    @property
    def value(self) -> float:
        """The same in 0..1, for a bar: 0 for `FLOOR`, 1 for full scale."""
        return 1.0 - self._dbfs / FLOOR

    @property
    def clipping(self) -> bool:
        """Whether samples reached full scale within the last second: the microphone is too close, or set too loud."""
        return self._hold > 0

    def feed(self, audio: Audio) -> float:
        """Follow what was heard; the new `value`."""
        for start in range(0, len(audio), _PIECE):
            self._follow(audio[start : start + _PIECE])
        return self.value

    def reset(self) -> None:
        """Back to silence, for instance when the microphone was closed."""
        self._dbfs, self._hold = FLOOR, 0

    def _follow(self, piece: Audio) -> None:
        seconds = len(piece) / RATE
        power = float(np.mean(np.square(piece, dtype=np.float64)))
        level = max(FLOOR, 10 * float(np.log10(power))) if power > 0 else FLOOR
        if level > self._dbfs:
            self._dbfs += (level - self._dbfs) * (1 - float(np.exp(-seconds / _ATTACK)))
        else:
            self._dbfs = max(level, self._dbfs - _DECAY * seconds)
        # Two samples: a single one at full scale is in loud audio that is not clipped, too.
        clipped = np.count_nonzero(np.abs(piece) >= _CLIPPED) >= 2
        self._hold = _HOLD if clipped else max(0, self._hold - len(piece))
