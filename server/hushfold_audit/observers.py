"""What three kinds of observers make of a task: a score for each canary, larger if it seems to have been included.

Every observer knows all directions and all that is public, and lacks only who was included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np

from hushfold_protocol.encoding import decode_sum
from hushfold_protocol.rotation import rotate

from .canaries import Canaries, Vector
from .estimates import Scores, Values
from .seen import SeenTask


def model_scores(task: SeenTask, canaries: Canaries) -> Scores:
    """Of somebody who has the model before and after: how far it went in each direction."""
    return _along(task.start.astype(np.float64) - task.end, canaries)


def sum_scores(task: SeenTask, canaries: Canaries) -> Scores:
    """Of a server that keeps every sum which it opened."""
    total = np.zeros(canaries.directions.shape[1])
    for seen in task.rounds:
        total += decode_sum(seen.total, seen.plan.update.encoding())
    return _along(total, canaries)


def upload_scores(task: SeenTask, canaries: Canaries) -> Scores:
    """Of a server that keeps what each device sent, and hopes that a mask was used twice.

    What two rounds have in common then falls out of the difference of a device's two vectors. Of the same update
    something is left, because it was rotated in two ways: with y_r the upload of round r, R_r its rotation and u the
    direction, the score is the sum over all pairs of rounds of <y_r - y_s, R_r u - R_s u>, the differences taken
    modulo 2^b around zero. Under masks that are used once, y_r - y_s is uniformly random whatever u is.
    """
    scores = np.zeros(len(canaries.directions))
    for one, other in combinations(task.rounds, 2):
        unused = 32 - one.plan.update.bits
        seeds = [seen.plan.update.encoding().rotation_seed for seen in (one, other)]
        for canary, direction in enumerate(canaries.directions):
            apart = (one.uploads[canary] - other.uploads[canary]) << np.uint32(unused)
            centred = (apart.view(np.int32) >> np.int32(unused)).astype(np.float64)
            scores[canary] += float(np.dot(centred, rotate(direction, seeds[0]) - rotate(direction, seeds[1])))
    return Scores(scores[canaries.included], scores[~canaries.included], np.empty(0))


def _along(vector: Values, canaries: Canaries) -> Scores:
    """How long a vector is in each direction."""

    def project(directions: Vector) -> Values:
        return directions.astype(np.float64) @ vector

    scores = project(canaries.directions)
    return Scores(scores[canaries.included], scores[~canaries.included], project(canaries.unobserved))


OBSERVERS: Mapping[str, Callable[[SeenTask, Canaries], Scores]] = {
    "the released model": model_scores,
    "the opened sums": sum_scores,
    "the uploads": upload_scores,
}
