"""Each bug is what its name says, while it is planted, and is gone afterwards."""

import numpy as np
import pytest
from cohort import NOW, make_plan, replace, seeded

from hushfold_audit.cohort import Cohort
from hushfold_audit.planted import PLANTED, mask_reused, no_clip, noise_divided_by_ten
from hushfold_protocol import encoding
from hushfold_protocol.secagg import crypto, device

SIZE = 4096
PARAMETERS = encoding.EncodingParameters(
    dimension=SIZE, clip_norm=1.0, scale=1e5, bits=32, local_stddev=500.0, rotation_seed=(1, 2)
)


def sent(update, parameters=PARAMETERS):
    """What one device's encoded update decodes to."""
    return encoding.decode_sum(encoding.encode(update, parameters), parameters)


def test_noise_divided_by_ten():
    nothing, stddev = np.zeros(SIZE, np.float32), 500.0 / 1e5
    with noise_divided_by_ten():
        assert sent(nothing).std() == pytest.approx(stddev / 10, rel=0.1)
    assert sent(nothing).std() == pytest.approx(stddev, rel=0.1)


def test_no_clip():
    quiet, update = replace(PARAMETERS, local_stddev=0.0), np.zeros(SIZE, np.float32)
    update[7] = 10.0
    with no_clip():
        assert np.linalg.norm(sent(update, quiet)) == pytest.approx(10.0, rel=1e-3)
    assert np.linalg.norm(sent(update, quiet)) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("size", [5, 9])
@pytest.mark.parametrize("bits", [20, 32])
def test_mask_reused(size, bits):
    """The difference of a device's uploads is that of its vectors; and nobody notices, as the sums are right."""
    plan = replace(make_plan(bits=bits, floor=size, maximum=size))
    rng, cohort = np.random.default_rng(0), Cohort(size, lambda: NOW, seeded(1))

    def two_rounds():
        rounds = []
        for number in range(2):
            vectors = list(rng.integers(0, 1 << bits, (size, 64), np.uint32, endpoint=False))
            this = replace(plan, round_id=bytes([number] * 16))
            total, uploads = cohort.secure_sum(this, vectors)
            np.testing.assert_array_equal(total, modulo(np.sum(vectors, axis=0, dtype=np.uint32)))
            rounds.append((np.array(vectors), np.array(uploads)))
        (before, first), (after, second) = rounds
        return modulo(before - after) == modulo(first - second)

    def modulo(values):
        return values & np.uint32((1 << bits) - 1)

    with mask_reused():
        assert two_rounds().all()
    assert two_rounds().mean() < 0.01


def test_nothing_is_left_of_a_bug():
    def product():
        return (
            encoding.sample_skellam,
            encoding.quantise,
            device.join,
            device.on_roster,
            crypto.self_seed,
            crypto.pair_seed,
        )

    whole = product()
    for plant in PLANTED.values():
        with plant():
            assert product() != whole
        assert product() == whole
