"""How far what was typed is from every word of a list: the noisy channel of Kernighan, Church and Gale 1990.

A weighted edit distance that knows the keyboard, computed for all words at once, one row of its table for each key:
typing on costs one more row, and Backspace finds the rows that are there. Costs are negative log-probabilities in
nats, so that a word's posterior is its probability in context times exp(-cost). Swaps of neighbours are one edit
(optimal string alignment, Boytsov 2011, section 2.2.1).

They are kept as bytes, in steps of an eighth of a nat: a row over ten thousand words then takes about a tenth of a
millisecond.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

LONGEST = 20
"""Letters up to which a word is compared; of longer ones the beginning counts."""

_STEP = 0.125  # nats
_FAR = 160  # from here on two words have nothing to do with each other: 20 nats
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_OFFSETS = (0.0, 0.25, 0.75)  # of the rows, in keys

# Orders of magnitude for thumbs on a telephone: about one key in thirty goes wrong, most often to one of the six keys
# that touch it. Were slips any cheaper, they would push the right completions out of the three that are shown.
_NEIGHBOUR, _VOWEL, _OTHER = 5.0, 5.5, 8.0  # one letter for another
_SWAP = 5.0
_MISSED, _MISSED_DOUBLE, _MISSED_APOSTROPHE = 5.5, 4.0, 0.5
_EXTRA, _EXTRA_DOUBLE = 6.0, 4.0
_FIRST = 2.5  # more, for an edit of the first letter: people look at it
_GO_ON = 4.0  # more, for completing a word whose beginning has a slip

_OTHERS = 0  # code of every character outside the table
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789'"
_CODES = {letter: 1 + rank for rank, letter in enumerate(_LETTERS)}
_END = len(_LETTERS) + 1  # code of the places after a word's end

Costs = NDArray[np.uint8]


class Speller:
    """Costs of misspelling. Safe to share between threads.

    Args:
        words: lower-case.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._size = len(words)
        letters = np.full((LONGEST, self._size), _END, np.uint8)
        for column, word in enumerate(words):
            codes = _codes(word[:LONGEST])
            letters[: len(codes), column] = codes
        self._letters = letters
        self._lengths = np.array([min(len(word), LONGEST) for word in words], np.int64)
        self._missed = self._costs_of_missing()
        self._lock = threading.Lock()
        self._typed = ""
        self._rows = [self._first_row()]  # after each typed letter: cost of every beginning of every word

    def costs(self, typed: str) -> NDArray[np.float32]:
        """What it costs to have typed this for each word or its beginning, nats: `[words]`, infinite if too far.

        Zero for a word that begins with it. `typed` is in any case; letters after `LONGEST` are not looked at.
        """
        typed = typed.lower()[:LONGEST]
        with self._lock:
            row = self._row(typed)
        beginnings = row[:-1] if len(typed) < LONGEST else row[:0]
        whole = row[self._lengths, np.arange(self._size)]
        # A completion without a slip costs nothing; one after a slip is less sure than the whole word.
        begun = beginnings.min(axis=0) if len(beginnings) else np.full(self._size, _FAR, np.uint8)
        exact = row[len(typed)] == 0 if len(typed) <= LONGEST else np.zeros(self._size, bool)
        best = np.where(exact, 0, np.minimum(whole, _capped(begun, _GO_ON)))
        return np.where(best < _FAR, best.astype(np.float32) * np.float32(_STEP), np.float32(np.inf))

    def _row(self, typed: str) -> Costs:
        """Cost of having typed `typed` for every beginning of every word: `[LONGEST + 1, words]`."""
        known = 0
        while known < min(len(typed), len(self._typed)) and typed[known] == self._typed[known]:
            known += 1
        del self._rows[known + 1 :]
        self._typed = typed[:known]
        for letter in typed[known:]:
            self._rows.append(self._next_row(letter))
            self._typed += letter
        return self._rows[len(typed)]

    def _first_row(self) -> Costs:
        """Nothing typed: every letter of the beginning was missed."""
        row = np.zeros((LONGEST + 1, self._size), np.uint8)
        for place in range(LONGEST):
            row[place + 1] = np.minimum(row[place] + self._missed[place], _FAR)
        return row

    def _next_row(self, letter: str) -> Costs:
        position = len(self._typed)  # of the letter
        code = _codes(letter)[0]
        above = self._rows[-1]
        row = np.empty_like(above)
        row[0] = np.minimum(above[0] + _units(_EXTRA), _FAR)
        substituted = _SUBSTITUTION[code][self._letters]
        if position == 0:
            substituted[0] = np.where(substituted[0], _capped(substituted[0], _FIRST), 0)
        np.minimum(above[:-1] + substituted, above[1:] + self._extra(letter), out=row[1:])
        if position and (before := _codes(self._typed[-1])[0]) != code:
            # The two letters, the other way round, end a beginning of two letters or more.
            swapped = (self._letters[1:] == before) & (self._letters[:-1] == code)
            first = _units(_FIRST) if position == 1 else 0
            cost = np.minimum(self._rows[-2][:-2] + (_units(_SWAP) + first), _FAR)
            np.copyto(row[2:], np.minimum(row[2:], cost), where=swapped)
        np.minimum(row, _FAR, out=row)  # here, so that no sum below exceeds a byte
        for place in range(LONGEST):  # a letter that was missed: the one before it is part of the same row
            np.minimum(row[place + 1], row[place] + self._missed[place], out=row[place + 1])
        return row

    def _extra(self, letter: str) -> int:
        """Cost of having typed a letter too many."""
        return _units(_EXTRA_DOUBLE if self._typed[-1:] == letter else _EXTRA)

    def _costs_of_missing(self) -> Costs:
        """Cost of leaving out each letter of each word, `[LONGEST, words]`."""
        missed = np.full(self._letters.shape, _units(_MISSED), np.uint8)
        missed[0] += _units(_FIRST)
        doubled = self._letters[1:] == self._letters[:-1]
        missed[1:][doubled] = _units(_MISSED_DOUBLE)
        missed[self._letters == _CODES["'"]] = _units(_MISSED_APOSTROPHE)
        missed[self._letters == _END] = _FAR // 2
        return missed


def _codes(text: str) -> list[int]:
    """Codes of letters; those with an accent count as the letter that bears it."""
    return [_CODES.get(letter, _OTHERS) or _CODES.get(_plain(letter), _OTHERS) for letter in text]


def _plain(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[:1]


def _units(nats: float) -> int:
    return round(nats / _STEP)


def _capped(costs: Costs, more: float) -> Costs:
    result: Costs = np.minimum(costs + np.uint8(_units(more)), _FAR)
    return result


def _substitutions() -> Costs:
    """Cost of having typed the row's letter for the column's, by code."""
    size = _END + 1
    costs = np.full((size, size), _units(_OTHER), np.uint8)
    places = {
        letter: (column + offset, float(line))
        for line, (row, offset) in enumerate(zip(_ROWS, _OFFSETS, strict=True))
        for column, letter in enumerate(row)
    }
    for a, b in product(places, places):
        distance = np.hypot(places[a][0] - places[b][0], places[a][1] - places[b][1])
        if distance < 1.3:  # keys that touch
            costs[_CODES[a], _CODES[b]] = _units(_NEIGHBOUR)
        elif a in "aeiouy" and b in "aeiouy":
            costs[_CODES[a], _CODES[b]] = _units(_VOWEL)
    np.fill_diagonal(costs, 0)
    costs[_OTHERS] = costs[:, _OTHERS] = _units(_OTHER)
    costs[:, _END] = _FAR // 2
    return costs


_SUBSTITUTION = _substitutions()
