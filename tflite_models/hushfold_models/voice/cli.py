"""`hushfold-models voice`: train the base of the voice model, build its files, check them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hushfold_format import Vocabulary, VoiceFiles

from .. import corpus
from ..gates import GateError

app = typer.Typer(help=__doc__, no_args_is_help=True)

_ARTIFACTS = Path("tflite_models/artifacts/voice")
_VOCABULARY = Path("tflite_models/artifacts/next_word/vocabulary.json")
_WORK = Path("build/voice")

Work = Annotated[Path, typer.Option(help="Where training keeps its checkpoints and results.")]
Out = Annotated[Path, typer.Option(help="Folder of the model's files.")]


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Option(help=f"Folder of the data sets (default ${corpus.DATA_VARIABLE}).")
    ] = None,
    words: Annotated[Path, typer.Option(help="Vocabulary whose words made-up speakers say.")] = _VOCABULARY,
    work: Work = _WORK,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each recording is heard.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the first weights, and of every order and choice.")] = 11,
) -> None:
    """Train the base; a run that was stopped goes on after its last epoch. Needs espeak-ng and flite."""
    from ..progress import training_bar
    from .base import train as train_base
    from .pretraining import Schedule

    folder = corpus.data_folder(data)
    vocabulary = Vocabulary.load(words)
    with training_bar(epochs, "window") as show:
        figures = train_base(folder, vocabulary.words, work, Schedule(epochs=epochs, seed=seed), show)
    typer.echo(
        f"{figures.clips} clips of unseen speakers: {figures.accuracy.value:.1%} right; "
        f"{figures.alarms} false alarms in {60 * figures.noise_hours:.0f} minutes of noise"
    )


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
    from . import build as assembly
    from .base import CONFUSION, CURVE, FIGURES, WEIGHTS
    from .config import CONFIGS
    from .quality import Figures

    if config == "small":
        files = assembly.build_small(out)
    elif config == "default":
        if not (work / FIGURES).exists():
            raise typer.BadParameter(f"{work} holds no trained model: run `hushfold-models voice train` first")
        files = assembly.build(
            out,
            CONFIGS["default"],
            np.fromfile(work / WEIGHTS, "<f4"),
            version=version,
            figures=Figures.from_json(json.loads((work / FIGURES).read_text())),
            pictures={"confusion": (work / CONFUSION).read_bytes(), "curve": (work / CURVE).read_bytes()},
        )
    else:
        raise typer.BadParameter(f"no configuration {config!r}: choose one of {', '.join(CONFIGS)}")
    _check(files)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="Folder of the model's files.")] = _ARTIFACTS) -> None:
    """Run the build gates on a model's files."""
    _check(VoiceFiles.load(folder))


def _check(files: VoiceFiles) -> None:
    from .gates import check_all

    try:
        for line in check_all(files):
            typer.echo(line)
    except GateError as error:
        typer.echo(f"gate failed: {error}", err=True)
        raise typer.Exit(1) from error
