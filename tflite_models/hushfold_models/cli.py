"""`hushfold-models`: train the base of the next-word model, build its files, check them; `voice` does so for voice."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hushfold_format import FormatError, NextWordFiles, Vocabulary

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

from . import build as assembly
from . import corpus
from .config import CONFIGS
from .gates import GateError, check_all
from .voice.cli import app as voice

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
app.add_typer(voice, name="voice")

_ARTIFACTS = Path("tflite_models/artifacts/next_word")
_WORK = Path("build/models")

Data = Annotated[Path | None, typer.Option(help=f"Folder of the data sets (default ${corpus.DATA_VARIABLE}).")]
Work = Annotated[Path, typer.Option(help="Where training keeps its checkpoints and results.")]
Out = Annotated[Path, typer.Option(help="Folder of the model's files.")]


@app.command()
def train(
    data: Data = None,
    work: Work = _WORK,
    epochs: Annotated[int, typer.Option(min=1, help="Times that the texts are read.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the first weights, and of every order and choice.")] = 7,
) -> None:
    """Train the base on texts that allow it; a run that was stopped goes on where it was. Takes about an hour."""
    from .base import train as train_base
    from .pretraining import Schedule
    from .progress import training_bar

    folder = corpus.data_folder(data)
    with training_bar(epochs, "word") as show:
        figures = train_base(folder, work, Schedule(epochs=epochs, seed=seed), show)
    for title, each in figures.items():
        typer.echo(f"{title}: {each.words:,} words, top-1 {each.top1.value:.1%}, top-3 {each.top3.value:.1%}")


@app.command()
def build(
    config: Annotated[
        str, typer.Option(help="'default', from the results of `train`, or 'small', for tests.")
    ] = "default",
    out: Out = _ARTIFACTS,
    work: Work = _WORK,
    version: str = "1.0.0",
) -> None:
    """Export a model's files and check them."""
    from .base import CURVE, FIGURES, VOCABULARY, WEIGHTS

    if config == "small":
        files = assembly.build_small(out)
    elif config == "default":
        if not (work / FIGURES).exists():
            raise typer.BadParameter(f"{work} holds no trained model: run `hushfold-models train` first")
        vocabulary = Vocabulary.load(work / VOCABULARY)
        files = assembly.build(
            out,
            replace(CONFIGS["default"], vocabulary=len(vocabulary)),
            vocabulary,
            np.fromfile(work / WEIGHTS, "<f4"),
            version=version,
            figures=json.loads((work / FIGURES).read_text()),
            curve=(work / CURVE).read_bytes(),
        )
    else:
        raise typer.BadParameter(f"no configuration {config!r}: choose one of {', '.join(CONFIGS)}")
    _check(files)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="Folder of the model's files.")] = _ARTIFACTS) -> None:
    """Run the build gates on a model's files."""
    _check(NextWordFiles.load(folder))


def _check(files: NextWordFiles) -> None:
    try:
        for line in check_all(files):
            typer.echo(line)
    except GateError as error:
        typer.echo(f"gate failed: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except (FormatError, corpus.CorpusError) as error:
        sys.exit(f"hushfold-models: {error}")


if __name__ == "__main__":
    main()
