"""The public texts that the base model learns from, and the vocabulary that they give."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hushfold_format import FIRST_WORD, Vocabulary, tokenize

from .phrases import EMOJI

DATA_VARIABLE = "HUSHFOLD_DATA"
_REPOSITORY = Path(__file__).resolve().parents[2]
_PHRASEBOOK = Path(__file__).parent / "phrasebook"


class Source(NamedTuple):
    """Texts whose licence lets trained weights be shipped."""

    name: str
    title: str
    credit: str
    licence: str
    times: float = 1.0  # that each message is read in an epoch, on average
    texted: bool = False  # written as people text already: never respelt


PHRASEBOOK = Source(
    "phrasebook",
    "Phrasebook: text messages that were made up for this project",
    "synthetic",
    "that of this project",
    times=4,
    texted=True,
)
SOURCES = (
    Source("chat-public", "irc-disentanglement: Ubuntu support chat", "Kummerfeld et al. 2019", "CC BY 4.0", times=0.5),
    Source(
        "assistant-public",
        "Schema-Guided Dialogue: requests to an assistant",
        "Rastogi et al. 2020",
        "CC BY-SA 4.0",
        times=0.2,
    ),
    Source(
        "topical-public",
        "Topical-Chat: conversations",
        "Gopalakrishnan et al. 2019",
        "CDLA-Sharing 1.0",
        times=0.5,
    ),
    PHRASEBOOK,
)

_HELD_OUT = 50  # one message in so many is held out
_ARTEFACT = "<unconvertable>"  # left in Topical-Chat and the chat logs by their own cleaning
_ENDS = '.!?:;"*-('  # after one of these a capital may be that of a new sentence
_MOSTLY = 0.7  # share of its mid-sentence uses from which a casing is a word's usual one
_SEEN = 3  # mid-sentence uses below which casing says nothing
_PRONOUN = {word: word.capitalize() for word in ("i", "i'm", "i'll", "i've", "i'd")}  # however people text it
_SHOUTED = 0.5  # share of capitals from which a message's casing says nothing


class CorpusError(Exception):
    """The public texts are not where they were looked for."""


def data_folder(option: Path | None = None) -> Path:
    """Folder of the data sets: the option, else $HUSHFOLD_DATA, else `../shared/data` beside the repository."""
    return option or Path(os.environ.get(DATA_VARIABLE) or _REPOSITORY.parent / "shared" / "data")


def read(name: str, folder: Path) -> list[str]:
    """Messages of one text file of the data folder.

    Raises:
        CorpusError: the file is missing.
    """
    path = folder / "text" / f"{name}.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line)["text"].replace(_ARTEFACT, " ") for line in lines]
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: set ${DATA_VARIABLE} to the folder that holds text/") from None


def read_sources(folder: Path) -> dict[Source, list[str]]:
    """Messages of every source. Raises CorpusError if one is missing."""
    return {source: phrasebook() if source is PHRASEBOOK else read(source.name, folder) for source in SOURCES}


def phrasebook() -> list[str]:
    """Messages of the phrasebook, which lies beside this module."""
    return [line for path in sorted(_PHRASEBOOK.glob("*.txt")) for line in path.read_text("utf-8").splitlines()]


def held_out(text: str) -> bool:
    """Whether a message belongs to the held-out part: by its hash, so that equal messages stay together."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % _HELD_OUT == 0


def build_vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """The most frequent tokens and the common emoji, `size` entries at most with the special tokens."""
    counts: Counter[str] = Counter()
    casing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        tokens = tokenize(text)
        counts.update(_entry(token.text) for token in tokens)
        if _informative(text):
            for before, token in pairwise(tokens):
                if before.text[0] not in _ENDS:
                    casing[token.text.lower()][token.text] += 1
    for placeholder in [word for word in counts if word.startswith("<") and len(word) > 1]:
        del counts[placeholder]
    emoji = {token.text: EMOJI[token.start : token.end] for token in tokenize(EMOJI)}
    rare_emoji = [entry for entry in emoji if entry not in counts]
    # Ties in alphabetical order, so that the same texts give the same vocabulary.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    words = [*ranked[: size - FIRST_WORD - len(rare_emoji)], *rare_emoji]
    forms = {word: emoji.get(word) or _PRONOUN.get(word) or _usual_form(casing[word]) for word in words}
    return Vocabulary(tuple(words), {word: form for word, form in forms.items() if form and form != word})


def _entry(text: str) -> str:
    """The entry of a token: lower-case, without quotes around it."""
    return text.lower().strip("'") or "'"


def _informative(text: str) -> bool:
    """Whether a message is written in sentence case: neither all lower-case nor shouted."""
    letters = [letter for letter in text if letter.isalpha()]
    capitals = sum(letter.isupper() for letter in letters)
    return text[:1].isupper() and capitals < _SHOUTED * len(letters)


def _usual_form(forms: Counter[str]) -> str | None:
    if forms.total() < _SEEN:
        return None
    form, count = forms.most_common(1)[0]
    return form if count >= _MOSTLY * forms.total() else None
