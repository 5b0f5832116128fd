"""Writing a vector into a template."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_format import ArtifactError, Patch, Transform, patch

MATRIX = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)


def _patched(size: int, entry: Patch, parameters: dict[str, np.ndarray], starts: tuple[int, ...] = ()) -> np.ndarray:
    template = bytes(range(size))
    result = np.frombuffer(patch(template, [entry], parameters, starts, words=7), np.uint8)
    written = set(range(entry.offset, entry.offset + entry.size * (1 if entry.scale_count else 4)))
    for offset in entry.scale_offsets:
        written |= set(range(offset, offset + 4 * entry.scale_count))
    untouched = [position for position in range(size) if position not in written]
    assert result[untouched].tolist() == untouched  # the template counts its bytes
    return result


def test_float_constants_are_written_as_they_are() -> None:
    result = _patched(80, Patch("w", Transform.COPY, (3, 5), offset=8), {"w": MATRIX})
    assert np.array_equal(result[8:68].view("<f4").reshape(3, 5), MATRIX)


def test_transposed() -> None:
    result = _patched(80, Patch("w", Transform.TRANSPOSE, (5, 3), offset=4), {"w": MATRIX})
    assert np.array_equal(result[4:64].view("<f4").reshape(5, 3), MATRIX.T)


def test_a_bucket_bias_becomes_one_per_word() -> None:
    bias = np.array([1, 2, 3], np.float32)
    result = _patched(40, Patch("b", Transform.EXPAND, (7,), offset=0), {"b": bias}, starts=(0, 2, 3))
    assert result[:28].view("<f4").tolist() == [1, 1, 2, 3, 3, 3, 3]


@pytest.mark.parametrize(("count", "axis", "scale_shape"), [(1, 0, (1, 1)), (3, 0, (3, 1)), (5, 1, (1, 5))])
def test_int8_is_off_by_half_a_step_at_most(count: int, axis: int, scale_shape: tuple[int, int]) -> None:
    entry = Patch("w", Transform.COPY, (3, 5), offset=40, scale_offsets=(4,), scale_count=count, scale_axis=axis)
    result = _patched(60, entry, {"w": MATRIX})
    scale = result[4 : 4 + 4 * count].view("<f4").reshape(scale_shape)
    values = result[40:55].view("i1").reshape(3, 5)
    assert (np.abs(values * scale - MATRIX) <= scale * 0.501).all()
    assert np.abs(values).max() == 127
    peaks = np.abs(MATRIX).max() if count == 1 else np.abs(MATRIX).max(axis=1 - axis)
    assert np.allclose(scale.ravel(), peaks / 127)


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_the_largest_value_survives(a: float, b: float) -> None:
    pair = np.array([[a, b]], np.float32)
    entry = Patch("w", Transform.COPY, (1, 2), offset=4, scale_offsets=(0,), scale_count=1)
    content = np.frombuffer(patch(bytes(6), [entry], {"w": pair}, (), words=1), np.uint8)
    restored = content[4:].view("i1") * content[:4].view("<f4")
    assert np.allclose(restored, pair, atol=np.abs(pair).max() / 253 + 1e-6)


def test_every_copy_of_a_scale_is_written() -> None:
    entry = Patch("w", Transform.COPY, (3, 5), offset=40, scale_offsets=(4, 60), scale_count=1)
    result = _patched(70, entry, {"w": MATRIX})
    assert result[4:8].tolist() == result[60:64].tolist()


def test_an_all_zero_tensor_stays_zero() -> None:
    entry = Patch("w", Transform.COPY, (1, 2), offset=4, scale_offsets=(0,), scale_count=1)
    content = patch(bytes(6), [entry], {"w": np.zeros((1, 2), np.float32)}, (), words=1)
    assert content[4:] == b"\0\0"
    assert np.frombuffer(content[:4], "<f4")[0] > 0


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Patch("v", Transform.COPY, (3, 5), offset=0), "does not have"),
        (Patch("w", Transform.TRANSPOSE, (3, 5), offset=0), r"gives \(5, 3\)"),
        (Patch("w", Transform.COPY, (3, 5), offset=40), "past the end"),
    ],
)
def test_a_manifest_that_does_not_fit(entry: Patch, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        patch(bytes(80), [entry], {"w": MATRIX}, (), words=7)


def test_a_patch_survives_json() -> None:
    entry = Patch("w", Transform.EXPAND, (3, 5), 8, scale_offsets=(4,), scale_count=3, scale_axis=1)
    assert Patch.from_json(entry.to_json()) == entry
