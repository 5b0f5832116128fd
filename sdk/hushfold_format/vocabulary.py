"""Words and their ids.

Entries are lower-cased; how a word is usually written ("I", "London") is a table beside them, learnt from the
corpus. Ids are by falling frequency after the special tokens, so that an id is also a frequency rank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeGuard

from .errors import ArtifactError

FORMAT = "hushfold-vocabulary/1"

PAD, BEGIN, UNKNOWN = 0, 1, 2
PLACEHOLDERS = ("<number>", "<url>", "<email>", "<name>", "<time>", "<date>")
"""Stand for a detail of the text that the model must neither see nor predict."""
SPECIALS = ("<pad>", "<s>", "<unk>", *PLACEHOLDERS)
FIRST_WORD = len(SPECIALS)
"""Ids below this one are special tokens: inputs of the model, never predictions."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An immutable mapping between words and ids.

    Args:
        words: lower-cased entries in id order, the first of which has id `FIRST_WORD`.
        surfaces: how an entry is written, for those that are not written as they stand.
    """

    words: tuple[str, ...]
    surfaces: Mapping[str, str]
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _are_words: tuple[bool, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {word: FIRST_WORD + rank for rank, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            raise ValueError("a vocabulary needs distinct words")
        if any(word != word.lower() or word in SPECIALS for word in self.words):
            raise ValueError("vocabulary words must be lower-case and none of the special tokens")
        if unknown := [word for word in self.surfaces if word not in ids]:
            raise ValueError(f"surface form of a word that is not in the vocabulary: {unknown[0]!r}")
        ids.update({special: SPECIALS.index(special) for special in PLACEHOLDERS})
        object.__setattr__(self, "surfaces", MappingProxyType(dict(self.surfaces)))
        object.__setattr__(self, "_ids", MappingProxyType(ids))
        forms = (self.surfaces.get(word, word) for word in self.words)
        object.__setattr__(self, "_are_words", tuple(any(map(str.isalnum, form)) for form in forms))

    @classmethod
    def load(cls, source: Path | str | bytes) -> Self:
        """Read a vocabulary from a file, or from the bytes of one.

        Raises:
            ArtifactError: the source is no vocabulary of this format.
        """
        name = "vocabulary" if isinstance(source, bytes) else str(source)
        try:
            document = json.loads(source if isinstance(source, bytes) else Path(source).read_bytes())
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read ({error.strerror}); install the model again") from error
        except ValueError as error:
            raise ArtifactError(f"{name}: not JSON ({error}); install the model again") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArtifactError(f"{name}: not of format {FORMAT!r}; this SDK cannot read it, update the SDK")
        if document.get("specials") != list(SPECIALS):
            raise ArtifactError(f"{name}: special tokens differ from {SPECIALS}; this SDK cannot read it")
        words, surfaces = document.get("words"), document.get("surfaces")
        if not _is_strings(words) or not isinstance(surfaces, dict) or not _is_strings(list(surfaces.values())):
            raise ArtifactError(f"{name}: 'words' must be a list and 'surfaces' a table of strings")
        try:
            return cls(tuple(words), surfaces)
        except ValueError as error:
            raise ArtifactError(f"{name}: {error}") from error

    def to_bytes(self) -> bytes:
        """The file that `load` reads back."""
        document = {
            "format": FORMAT,
            "specials": list(SPECIALS),
            "words": list(self.words),
            "surfaces": dict(sorted(self.surfaces.items())),
        }
        return json.dumps(document, ensure_ascii=False, indent=0).encode() + b"\n"

    def __len__(self) -> int:
        return FIRST_WORD + len(self.words)

    def __contains__(self, word: str) -> bool:
        return self.encode_word(word) != UNKNOWN

    def encode_word(self, word: str) -> int:
        """Id of a word in any casing, with or without quotes around it; `UNKNOWN` if it has none."""
        word = word.lower()
        found = self._ids.get(word)
        if found is None:
            found = self._ids.get(word.strip("'"), UNKNOWN)
        return found

    def encode(self, words: Sequence[str]) -> list[int]:
        """Ids of several words."""
        return [self.encode_word(word) for word in words]

    def surface(self, token_id: int) -> str:
        """The word of an id as people write it.

        Raises:
            IndexError: no such id.
        """
        if not 0 <= token_id < len(self):
            raise IndexError(f"token id {token_id} is outside a vocabulary of {len(self)}")
        if token_id < FIRST_WORD:
            return SPECIALS[token_id]
        word = self.words[token_id - FIRST_WORD]
        return self.surfaces.get(word, word)

    def is_word(self, token_id: int) -> bool:
        """Whether an id is a word, as opposed to a special token, punctuation or emoji."""
        return token_id >= FIRST_WORD and self._are_words[token_id - FIRST_WORD]


def _is_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
