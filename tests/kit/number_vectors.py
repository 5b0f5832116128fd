"""What devices compute for themselves and must compute alike, as vectors: neighbours, and encoded updates."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from cohort import make_plan

from hushfold_protocol.encoding import EncodingParameters, _to_grid
from hushfold_protocol.packing import pack

_SIZES = (4, 100, 101, 137, 351, 1000)
_ENCODINGS = (
    EncodingParameters(13, 4.0, 1000.0, 20, 3.0, (3, 4), 0.5),  # clipped
    EncodingParameters(16, 64.0, 0.125, 9, 3.0, (-1, 1 << 62), 0.0),
    EncodingParameters(33, 1.0, 4096.0, 16, 3.0, (-(1 << 63), (1 << 63) - 1), math.exp(-0.5)),
    EncodingParameters(3, 2.0, 500.0, 16, 3.0, (7, -7), 0.5),  # its windows share a block of signs
    EncodingParameters(1, 0.5, 77.0, 32, 3.0, (0, 0), 0.999),
)


def of_neighbours() -> dict[str, Any]:
    """Rosters of many sizes under many plans."""
    rows = []
    for size in _SIZES:
        for gamma, absent in ((0.0, 0.35), (0.05, 0.1), (0.1, 0.3), (0.2, 0.2)):
            floor = size - int(size * absent)
            cohort = replace(make_plan().cohort, maximum=size, floor=floor, gamma=gamma)
            graph = cohort.graph(size)
            rows.append([size, cohort.colluders, floor, graph.holders, graph.threshold, cohort.consents(size)])
    return {
        "name": "neighbours",
        "about": "How many holders devices choose, how many of them open a secret, and how many must agree.",
        "columns": ["devices", "colluders", "floor", "holders", "threshold", "agreeing"],
        "rows": rows,
    }


def of_encoding() -> dict[str, Any]:
    """Updates up to the point at which they are rounded at random, and vectors as they are packed."""
    cases = []
    for number, parameters in enumerate(_ENCODINGS):
        rng = np.random.default_rng(number)
        update = rng.integers(-64, 65, parameters.dimension).astype(np.float32) / np.float32(8)
        values = rng.integers(0, parameters.modulus, parameters.dimension, np.uint64).astype(np.uint32)
        first, second = parameters.rotation_seed
        asked = {**asdict(parameters), "rotation_seed_0": first, "rotation_seed_1": second}
        del asked["rotation_seed"]
        cases.append(
            {
                "parameters": asked,
                "update": update.astype("<f4").tobytes().hex(),
                "grid": _to_grid(update, parameters).astype("<f4").tobytes().hex(),
                "bound": round(parameters.l2_bound, 6),
                "values": [int(value) for value in values],
                "packed": pack(values, parameters.bits).hex(),
            }
        )
    return {
        "name": "encoding",
        "about": "Updates that are rotated, clipped and scaled, the bound of their rounding, and packed values.",
        "cases": cases,
    }
