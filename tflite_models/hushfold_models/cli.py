"""`hushfold-models`: train the base model, build its files, check them."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hushfold_format import FormatError, ModelFiles, Vocabulary, message_ids

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

from . import build as assembly
from . import corpus
from .config import CONFIGS
from .gates import GateError, check_all

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

_ARTIFACTS = Path("tflite_models/artifacts/next_word")
_WORK = Path("build/models")

Data = Annotated[Path | None, typer.Option(help=f"Folder of the data sets (default ${corpus.DATA_VARIABLE}).")]
Work = Annotated[Path, typer.Option(help="Where training keeps its checkpoints and results.")]
Out = Annotated[Path, typer.Option(help="Folder of the model's files.")]


@app.command()
def train(data: Data = None, work: Work = _WORK, epochs: int = 3, seed: int = 7) -> None:
    """Train the base on the public texts; a run that was stopped goes on where it was."""
    from .pretraining import Schedule, measure, pretrain

    folder = corpus.data_folder(data)
    texts = [text for source in corpus.SOURCES for text in corpus.read(source.file, folder)]
    kept = [text for text in texts if not corpus.held_out(text)]
    tested = [text for text in texts if corpus.held_out(text)]
    vocabulary = corpus.build_vocabulary(kept, CONFIGS["default"].vocabulary)
    config = replace(CONFIGS["default"], vocabulary=len(vocabulary))
    training, testing = ([message_ids(text, vocabulary) for text in part] for part in (kept, tested))
    work.mkdir(parents=True, exist_ok=True)
    vector = pretrain(config, training, testing, work, Schedule(epochs=epochs, seed=seed))
    messages = [message_ids(text, vocabulary) for text in corpus.read("sms-public", folder)]
    figures = {
        "held-out public text": asdict(measure(config, vector, testing)),
        "text messages (NUS SMS Corpus, not trained on)": asdict(measure(config, vector, messages)),
    }
    (work / "vocabulary.json").write_bytes(vocabulary.to_bytes())
    (work / "weights.f32").write_bytes(vector.astype("<f4").tobytes())
    (work / "figures.json").write_text(json.dumps(figures, indent=1))
    typer.echo(json.dumps(figures, indent=1))


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
    if config == "small":
        files = assembly.build_small(out)
    elif config == "default":
        if not (work / "figures.json").exists():
            raise typer.BadParameter(f"{work} holds no trained model: run `hushfold-models train` first")
        vocabulary = Vocabulary.load(work / "vocabulary.json")
        files = assembly.build(
            out,
            replace(CONFIGS["default"], vocabulary=len(vocabulary)),
            vocabulary,
            np.fromfile(work / "weights.f32", "<f4"),
            version=version,
            figures=json.loads((work / "figures.json").read_text()),
        )
    else:
        raise typer.BadParameter(f"no configuration {config!r}: choose one of {', '.join(CONFIGS)}")
    _check(files)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="Folder of the model's files.")] = _ARTIFACTS) -> None:
    """Run the build gates on a model's files."""
    _check(ModelFiles.load(folder))


def _check(files: ModelFiles) -> None:
    try:
        for line in check_all(files):
            typer.echo(line)
    except GateError as error:
        typer.echo(f"gate failed: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        app()
    except (FormatError, corpus.CorpusError) as error:
        sys.exit(f"hushfold-models: {error}")


if __name__ == "__main__":
    main()
