"""The synthesisers that made-up speech comes from: Debian packages, which a machine may lack."""

import os
import shutil

import pytest


def missing():
    """What has to be installed, or nothing."""
    return [name for name in ("espeak-ng", "flite") if not shutil.which(name)]


def require():
    """Skips the test where one is missing; in continuous integration, where none may be, it fails."""
    if names := missing():
        message = f"made-up speech needs {', '.join(names)}: make system-deps"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
