"""What the files of a model mean: vocabulary and tokens, batches, parameter layout, patch manifest.

Needs numpy alone, so that device, server and build tools read the same bytes the same way. The modules, bottom up:

    errors      files that are not what they should be
    vocabulary  words and their ids
    tokens      from text to words, and to the ids before a cursor
    batching    messages as the rows that a training graph takes
    patching    writing a weight vector into the quantised graph
    manifest    model.json, and the verified files of a model
"""

from .batching import Batch, batches, message_ids
from .errors import ArtifactError, FormatError
from .manifest import FileEntry, ModelFiles, ModelManifest, Parameter, Part
from .patching import Patch, Transform, patch
from .tokens import Context, Token, context_ids, tokenize
from .vocabulary import BEGIN, FIRST_WORD, PAD, SPECIALS, UNKNOWN, Vocabulary

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
    "Parameter",
    "Part",
    "Patch",
    "Token",
    "Transform",
    "Vocabulary",
    "batches",
    "context_ids",
    "message_ids",
    "patch",
    "tokenize",
]
