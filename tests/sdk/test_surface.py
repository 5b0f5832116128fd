"""The public names of the SDK, and its version."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import hushfold

ROOT = Path(__file__).parents[2]


def test_every_public_name_loads_and_no_other_is_promised():
    assert set(hushfold.__all__) == set(hushfold._MODULE_OF)
    for name in hushfold.__all__:
        assert getattr(hushfold, name) is not None
    assert dir(hushfold) == sorted(hushfold.__all__)


def test_the_version_is_the_packages():
    config = ConfigParser()
    config.read(ROOT / "sdk" / "setup.cfg")
    assert config["metadata"]["version"] == hushfold.VERSION


def test_import_loads_nothing_heavy():
    script = (
        "import sys, hushfold; print([m for m in ('numpy', 'tuf', 'ai_edge_litert', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
