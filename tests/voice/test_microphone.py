"""What is done with a microphone is tried in processes of their own.

Once its sound server has died, PortAudio may go on in the background, and complain, for as long as its process lives.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = "import os, sys, pytest; code = pytest.main(sys.argv[1:]); sys.stdout.flush(); os._exit(code)"
_MISSING = "make system-deps"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("checks", ["microphone_checks.py", "listening_checks.py"])
def test_a_process_of_its_own_passes(checks):
    command = [sys.executable, "-c", _RUN, "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name(checks))]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=380, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    if _MISSING in done.stdout:
        pytest.skip(f"a virtual microphone needs packages that are missing: {_MISSING}")
