"""What can be read in the files of a store, by somebody without the key and by somebody with it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAGE, RESERVE = 4096, 80  # SQLCipher 4: bytes of a page, and of its IV (16) and HMAC (64)


def on_disk(path: Path) -> bytes:
    """Every byte of the store's folder."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def decrypted(path: Path, key: bytes) -> bytes:
    """The pages of the file as whoever has the key can read them, deleted content included."""
    content, pages = path.read_bytes(), []
    for start in range(0, len(content), PAGE):
        page = content[start : start + PAGE]
        iv = page[PAGE - RESERVE : PAGE - RESERVE + 16]
        cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        pages.append(cipher.update(page[16 if start == 0 else 0 : PAGE - RESERVE]))
    return b"".join(pages)
