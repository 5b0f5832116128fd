"""Searching bytes for what must not be in them."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path


def disguises(word: str) -> set[bytes]:
    """A word in the encodings in which it might be stored or sent."""
    found = set()
    for text in {word, word.upper(), word.capitalize()}:
        raw = text.encode()
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1]}
        found |= {text.encode("utf-16-le"), text.encode("utf-16-be"), text.encode("utf-32-le")}
        found.add("".join(f"\\u{ord(letter):04x}" for letter in text).encode())
        for shift in range(3):  # base64 at each alignment, without the letters that neighbours change
            encoded = base64.b64encode(b"\0" * shift + raw)
            start = -(-8 * shift // 6)
            stop = 8 * (shift + len(raw)) // 6
            found |= {encoded[start:stop], encoded[start:stop].translate(bytes.maketrans(b"+/", b"-_"))}
    return {form for form in found if len(form) >= 8}


def windows(content: bytes, size: int = 32, count: int = 6) -> Iterator[bytes]:
    """Some windows of `content` that are not all of one byte."""
    step = max(1, (len(content) - size) // count)
    for start in range(0, len(content) - size, step):
        window = content[start : start + size]
        if len(set(window)) > 8:
            yield window


def search(places: Iterable[tuple[str, bytes]], needles: Iterable[bytes]) -> list[str]:
    """Where any of the needles occurs."""
    wanted = list(needles)
    return [place for place, content in places if any(needle in content for needle in wanted)]


def files_of(folder: Path, skip: Iterable[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, but for those whose whole content is in `skip` (public models)."""
    skipped = set(skip)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (content := path.read_bytes()) not in skipped:
            yield str(path.relative_to(folder)), content
