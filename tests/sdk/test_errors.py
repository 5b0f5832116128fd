"""The trees that open the modules of errors are the classes' own, and whoever caught a ValueError still does."""

import inspect
import re
from types import ModuleType

import pytest

import hushfold.errors
import hushfold_protocol.errors
from hushfold_protocol.encoding import EncodingParameters

ROW = re.compile(r"^(?P<indent>(?:\|   |    )*)(?:\+-- )(?P<name>\w+)", re.MULTILINE)


def _drawn(module: ModuleType, root: str) -> dict[str, str]:
    """Parent of each class, as the module's docstring draws it."""
    above, parents = [root], {}
    for row in ROW.finditer(module.__doc__ or ""):
        depth = len(row["indent"]) // 4 + 1
        parents[row["name"]] = above[depth - 1]
        above[depth:] = [row["name"]]
    return parents


@pytest.mark.parametrize(
    ("module", "root"),
    [
        (hushfold.errors, hushfold.errors.HushfoldError),
        (hushfold_protocol.errors, hushfold_protocol.errors.ProtocolError),
    ],
    ids=["sdk", "protocol"],
)
def test_the_tree_in_the_docstring_is_the_classes(module, root):
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, root) and c is not root]
    real = {c.__name__: c.__mro__[1].__name__ for c in classes}
    assert len(real) >= 10
    assert _drawn(module, root.__name__) == real


def test_what_cannot_be_encoded_is_a_protocol_error_and_a_value_error():
    for error in (hushfold_protocol.errors.ProtocolError, ValueError):
        with pytest.raises(error, match="update of 0 values"):
            EncodingParameters(dimension=0, clip_norm=1.0, scale=1.0, bits=16, local_stddev=0.0, rotation_seed=(0, 0))
