"""What can go wrong with a model's files.

FormatError
+-- ArtifactError   a file of a model is missing, damaged, or written by an unknown version of this format
"""

from __future__ import annotations


class FormatError(Exception):
    """Root of every error that this package raises on purpose."""


class ArtifactError(FormatError):
    """A file of a model is missing, damaged or of an unknown format. The message names the file and the remedy."""
