"""Everything that is measured, one row each. A new predictor is a class and a row here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hushfold.device import bundled_model
from hushfold_format import NextWordFiles

from . import onboard, presage
from .keyboards import BaseKeyboard, PersonalKeyboard, WeightsKeyboard, WordsKeyboard
from .ngrams import Ngrams
from .predictors import Predictor
from .texts import PublicTexts
from .trigram import Trigram

BASE = "base"
"""What everything else is compared with."""
FEDERATED = "federated"
"""What a federated task has made of the base."""
CENTRAL = "trigram-central"
"""A trigram of the very messages that the task learned from, all in one place: what it costs not to collect them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What predictors need beside a person, on the disk and read only.

    Attributes:
        folder: what was trained on the public texts.
        central: an n-gram file of the messages that a federated task learned from.
        federated: the model that it learned, as a folder.
    """

    folder: Path
    central: Path | None = None
    federated: Path | None = None

    @property
    def trigram(self) -> Ngrams:
        return _ngrams(self.folder / "trigram.npz")

    @property
    def vocabulary(self) -> Collection[str]:
        """The base's words, the most frequent first: perplexity is measured among these."""
        return _vocabulary()


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is measured.

    Attributes:
        name: for programs and options.
        title: for people.
        make: a predictor for one more person.
        file: what it needs in the prepared folder, if anything.
        train: makes that file from the public texts.
        without: name of the same without what it learns from the person.
        learns: whether it learns from the person.
        federated: whether it is there only beside the weights of a federated task.
        missing: whether something that it needs is not installed.
        packages: Debian's that have it.
    """

    name: str
    title: str
    make: Callable[[Prepared], Predictor]
    file: str = ""
    train: Callable[[Iterable[str], Path], None] | None = None
    without: str = ""
    learns: bool = True
    federated: bool = False
    missing: Callable[[], bool] = field(default=lambda: False)
    packages: tuple[str, ...] = ()


def _train_trigram(messages: Iterable[str], path: Path) -> None:
    Ngrams.count(messages).save(path)


def _central(prepared: Prepared) -> Predictor:
    assert prepared.central is not None  # noqa: S101  # or it is not measured
    return Trigram(_ngrams(prepared.central), prepared.vocabulary, personal=False)


CONTENDERS = (
    Contender(
        "trigram",
        "trigram",
        lambda prepared: Trigram(prepared.trigram, prepared.vocabulary, personal=False),
        "trigram.npz",
        _train_trigram,
        learns=False,
    ),
    Contender(
        "trigram-personal",
        "trigram + own",
        lambda prepared: Trigram(prepared.trigram, prepared.vocabulary, personal=True),
        "trigram.npz",
        _train_trigram,
        without="trigram",
    ),
    Contender(BASE, "base", lambda _: BaseKeyboard(), learns=False),
    Contender("base-words", "base + words", lambda _: WordsKeyboard(), without=BASE),
    Contender("base-weights", "base + weights", lambda _: WeightsKeyboard(), without=BASE),
    Contender("base-both", "base + both", lambda _: PersonalKeyboard(), without=BASE),
    Contender(
        FEDERATED,
        "federated",
        lambda prepared: BaseKeyboard(prepared.federated),
        without=BASE,
        learns=False,
        federated=True,
    ),
    Contender(
        "federated-both",
        "federated + both",
        lambda prepared: PersonalKeyboard(prepared.federated),
        without=FEDERATED,
        federated=True,
    ),
    Contender(CENTRAL, "trigram central", _central, learns=False, federated=True),
    Contender(
        "presage",
        "presage",
        lambda prepared: presage.Presage(prepared.folder / "presage.db"),
        "presage.db",
        presage.train,
        missing=presage.missing,
        packages=presage.PACKAGES,
    ),
    Contender(
        "onboard",
        "onboard",
        lambda prepared: onboard.Onboard(prepared.folder / "onboard.lm"),
        "onboard.lm",
        onboard.train,
        missing=onboard.missing,
        packages=onboard.PACKAGES,
    ),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}


def prepare(
    contenders: Iterable[Contender], public: PublicTexts, cache_folder: Path, say: Callable[[str], None]
) -> Prepared:
    """Train what is not there yet; it is kept for these public texts until the folder is removed."""
    folder = cache_folder / public.digest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    messages: list[str] = []
    for contender in contenders:
        path = folder / contender.file
        if contender.train and not path.exists():
            say(f"training {contender.title} on the public texts, once")
            messages = messages or public.messages()
            unfinished = path.with_name(f"unfinished-{path.name}")
            unfinished.unlink(missing_ok=True)
            contender.train(messages, unfinished)
            unfinished.rename(path)
    return Prepared(folder)


@cache
def _ngrams(path: Path) -> Ngrams:
    return Ngrams.load(path)


@cache
def _vocabulary() -> Collection[str]:
    vocabulary = NextWordFiles.load(bundled_model()).vocabulary
    first = len(vocabulary) - len(vocabulary.words)
    return dict.fromkeys(word for rank, word in enumerate(vocabulary.words, first) if vocabulary.is_word(rank))
