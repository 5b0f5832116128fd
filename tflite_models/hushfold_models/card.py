"""The model card, written from the figures of the run that made the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from .config import NextWordConfig, layout
from .corpus import SOURCES

_TEMPLATE = """# Next word, version {version}

Predicts the next word of an English message, for the suggestion bar of a keyboard. It runs on the device and is the
base that personalization and federated learning start from.

## Model
CIFG-LSTM with a projected state and a tied embedding (Hard et al. 2018, arXiv:1811.03604): vocabulary
{config.vocabulary}, embedding {config.embedding}, {config.units} units; {total} parameters, {adapter} of them an
adapter (scale and shift of the projected state, and an output bias for each of {config.buckets} vocabulary buckets)
that is the identity in the base.

## Data
{data}

Placeholders such as `<name>` and unknown words are never predicted. Two fifths of the messages that nobody texted are
respelt as people text them ("see you tomorrow" as "c u tmr"), by a table and rules that were written for this project.

## Measured
{figures}

The first rows are messages that were held out of the training texts; they chose the epoch. Ranks are among all words,
punctuation and emoji of the vocabulary; words outside it are not counted. In brackets: 95 % intervals, by resampling
messages. What the suggestions are worth to people, with what they learn from them: `make evaluate`.
{curve}
## Limits and biases
- English only. The texts are technical support chat, requests to an assistant, conversations about eight topics by
  crowd workers, and made-up text messages: the model leans to their subjects and to the years 2004-2020.
- The made-up messages imagine how people text, half of them in Singapore and Malaysia, the others in North
  America, Britain, Ireland, Australia, India and elsewhere. Other Englishes are missing, and imagined people are more
  alike than real ones.
- A person who writes in full sentences is now and then offered "u" before the keyboard has learned their style.
- Emoji are in the vocabulary but rare in the texts: expect them after personalization only.
- Public chat holds rude words and stereotypes about people. The SDK offers rude words only to those who write them;
  an app that runs the model by itself should filter too. Suggestions are not statements of fact.
- The texts may be memorised in part. They are public or made up, and no private text was used.
"""


class Interval(TypedDict):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Measured(TypedDict):
    """`quality.Figures` as they are saved."""

    words: int
    loss: Interval
    top1: Interval
    top3: Interval


def model_card(config: NextWordConfig, version: str, figures: Mapping[str, Measured], curve: str | None = None) -> str:
    """Markdown of the card.

    Args:
        config: sizes.
        version: of the model.
        figures: by title of the texts; empty for an untrained model.
        curve: name of the loss curve's picture, if there is one.
    """
    _, parts = layout(config)
    if figures:
        head = ["| texts | words | loss (nats) | top-1, % | top-3, % |", "|---|---|---|---|---|"]
        rows = [
            f"| {title} | {f['words']:,} | {_shown(f['loss'], 3)} | {_shown(f['top1'], 1, 100)} "
            f"| {_shown(f['top3'], 1, 100)} |"
            for title, f in figures.items()
        ]
        measured = "\n".join([*head, *rows])
        data = "\n".join(f"- {s.title} ({s.credit}), {s.licence}" for s in SOURCES)
    else:
        measured = "Nothing: the weights are random."
        data = "None: this is an untrained model for tests."
    return _TEMPLATE.format(
        version=version,
        config=config,
        total=f"{parts['whole'].size:,}",
        adapter=f"{parts['adapter'].size:,}",
        data=data,
        figures=measured,
        curve=f"\n![Loss while training and on held-out messages]({curve})\n" if curve else "",
    )


def _shown(figure: Interval, digits: int, scale: int = 1) -> str:
    value, low, high = (f"{scale * each:.{digits}f}" for each in (figure["value"], figure["low"], figure["high"]))
    return f"{value} ({low}-{high})"
