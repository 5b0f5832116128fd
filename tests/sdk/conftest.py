"""What the tests of the SDK share: the model that it ships."""

import pytest

from hushfold.device import bundled_model
from hushfold_format import ModelFiles


@pytest.fixture(scope="session")
def files():
    return ModelFiles.load(bundled_model())
