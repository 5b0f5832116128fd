"""The card of the voice model, written from the figures of the run that made it."""

from __future__ import annotations

from statistics import mean, median

from . import synthesis
from .clips import SOURCES
from .config import COMMANDS, VoiceConfig, layout
from .quality import Figures

_TEMPLATE = """# Voice, version {version}

Recognises {count} English commands ({commands})
in a second of sound, and gives features by which an app's users can teach words of their own. It runs
on the device and is the base that personalization and federated learning start from.

## Model
A residual temporal-convolution net over {config.bands} log-mel bands (after Choi et al. 2019, arXiv:1904.03814), with
layer normalisation, so that a device can train it: {total} parameters, {adapter} of them a head, a part of its own.
Input: {config.frames} frames of 25 ms, one every 10 ms, at 16 kHz; the front end is outside of the file.
Output: {labels} labels, of which two are no command (`unknown`, `silence`); or a vector of {config.width2} for each
40 ms.

## Data
{data}

## Measured
{figures}
{pictures}
## Limits and biases
- English commands by 836 people of whom nothing is known but that they took part in Speech Commands: most speak
  American English. Children and old people are rare, and nobody chose them to be representative.
- Nothing was trained on running speech, in which commands are easily heard where there are none. The SDK asks for a
  pause before a command, or for certainty.
- Music and television were not among the noises.
- It says nothing about who speaks: it is no lock.
- What recognition is worth with a speaker's own recordings, and how often it is wrong in hours of sound:
  `make evaluate-voice`.
"""

_DATA = """{sources}
- Other words (about {words:,}, in {voices} voices each) by made-up speakers: espeak-ng and flite, synthetic
- The commands by made-up speakers, {repeats} times each

The other words are all the `unknown` that training has, beside commands heard backwards and beginnings of commands
before ends of others. That made-up speakers say the commands too keeps their sound from giving the others away.
Phonemes are learned too, by a layer that is not shipped. Every clip is heard at another speed, place, level and tone
each time, with echo and noise, and with bands masked; every third time without the room around its word."""


def voice_card(config: VoiceConfig, version: str, figures: Figures | None, pictures: tuple[str, ...] = ()) -> str:
    """Markdown of the card.

    Args:
        config: sizes.
        version: of the model.
        figures: None for an untrained model.
        pictures: names of files to show.
    """
    _, parts = layout(config)
    sources = "\n".join(f"- {source.title} ({source.credit}), {source.licence}" for source in SOURCES)
    data = _DATA.format(
        sources=sources, words=synthesis.WORDS, voices=synthesis.VOICES, repeats=synthesis.COMMAND_VOICES
    )
    return _TEMPLATE.format(
        version=version,
        count=len(COMMANDS),
        commands=", ".join(COMMANDS),
        config=config,
        labels=config.labels,
        total=f"{parts['whole'].size:,}",
        adapter=f"{parts['adapter'].size:,}",
        data=data if figures else "None: this is an untrained model for tests.",
        figures=_measured(figures) if figures else "Nothing: the weights are random.",
        pictures="".join(f"\n![{name}]({name})\n" for name in pictures),
    )


def _measured(figures: Figures) -> str:
    a, speakers = figures.accuracy, figures.speakers
    alarms = f"{figures.alarms} (at most {figures.alarms_per_hour_at_most:.0f} an hour)"
    rows = {
        f"accuracy on {figures.clips} clips of speakers that nothing was trained on, %": (
            f"{_percent(a.value)} ({_percent(a.low)}-{_percent(a.high)})"
        ),
        f"median of the {len(speakers)} speakers with three clips and more, %": _percent(median(speakers)),
        "mean of the worst tenth of them, %": _percent(mean(speakers[: max(1, len(speakers) // 10)])),
        f"false alarms in {60 * figures.noise_hours:.0f} minutes of noise that was held out": alarms,
    }
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows.items())
    return f"""| what | figure |
|---|---|
{table}

A clip counts as right if the most probable of all labels is right. In brackets: 95 % intervals, by resampling speakers;
of false alarms, the upper end of that of a Poisson rate."""


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
