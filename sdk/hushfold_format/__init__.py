"""What the files of a model mean: vocabulary and tokens, batches, parameter layout, patch manifest.

Needs numpy alone, so that device, server and build tools read the same bytes the same way. The modules, bottom up:

    errors      files that are not what they should be
    vocabulary  words and their ids
    tokens      from text to words, and to the ids before a cursor
    batching    messages as the rows that a training graph takes
    patching    writing a weight vector into the quantised graph
    manifest    model.json
    files       the verified files of a model
    logmel      from sound to the features that a voice model takes
    windows     labelled seconds of sound as the rows that a training graph takes
"""

from .batching import Batch, batches, message_ids
from .errors import ArtifactError, FormatError
from .files import ModelFiles, NextWordFiles, VoiceFiles
from .manifest import FileEntry, ModelManifest, Parameter, Part
from .patching import Patch, Transform, patch
from .tokens import Context, Token, context_ids, tokenize
from .vocabulary import BEGIN, FIRST_WORD, PAD, SPECIALS, UNKNOWN, Vocabulary
from .windows import WindowBatch, window_batches

__all__ = [
    "BEGIN",
    "FIRST_WORD",
    "PAD",
    "SPECIALS",
    "UNKNOWN",
    "ArtifactError",
    "Batch",
    "Context",
    "FileEntry",
    "FormatError",
    "ModelFiles",
    "ModelManifest",
    "NextWordFiles",
    "Parameter",
    "Part",
    "Patch",
    "Token",
    "Transform",
    "Vocabulary",
    "VoiceFiles",
    "WindowBatch",
    "batches",
    "context_ids",
    "message_ids",
    "patch",
    "tokenize",
    "window_batches",
]
