"""What the files of a model mean: vocabulary and tokens, batches, parameter layout, patch manifest.

Needs numpy alone, so that device, server and build tools read the same bytes the same way.
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
