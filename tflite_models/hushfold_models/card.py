"""The model card, written from the figures of the run that made the model."""

from __future__ import annotations

from collections.abc import Mapping

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

The weights were trained on these public texts only; placeholders such as `<name>` and unknown words are never
predicted.

## Measured
{figures}

Ranks are among all words, punctuation and emoji of the vocabulary; words outside it are not counted.

## Limits and biases
- English only. The texts are technical support chat, requests to an assistant and conversations about eight topics
  by crowd workers: the model leans to their subjects, to American spelling, and to the years 2004-2020.
- It knows little of the short, informal style of text messages, and nothing of other Englishes, until it has learnt
  from its user.
- Emoji are in the vocabulary but hardly in the texts: expect them after personalization only.
- Public chat holds rude words and stereotypes about people, and the model can suggest them; an app should filter
  suggestions. Suggestions are not statements of fact.
- Its public texts may be memorised in part. They are public, and no private text was used.
"""


def model_card(config: NextWordConfig, version: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of the card.

    Args:
        config: sizes.
        version: of the model.
        figures: by name of the test set: `loss` (nats per word), `top1`, `top3` (shares), `words`; empty for an
            untrained model.
    """
    _, parts = layout(config)
    if figures:
        rows = [
            f"| {name} | {f['words']:,.0f} | {f['loss']:.3f} | {f['top1']:.1%} | {f['top3']:.1%} |"
            for name, f in figures.items()
        ]
        head = ["| test set | words | loss (nats) | top-1 | top-3 |", "|---|---|---|---|---|"]
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
    )
