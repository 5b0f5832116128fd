"""Becomes another program that is killed when its parent dies: `python launcher.py PARENT COMMAND [ARGUMENT ...]`.

Linux ties the two together by a setting of the child, which survives exec. It is made here, in a program of its own,
and not between fork and exec of the parent: what runs there may meet a lock that another thread of the parent held.
Elsewhere the command runs untied.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(parent: int, how: signal.Signals) -> None:
    """Has the system send `how` to this process when its parent ends. Raises SystemExit if that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:  # it died before the call
            sys.exit(1)


def main(parent: int, command: list[str]) -> None:
    """Does not return."""
    end_with(parent, signal.SIGKILL)
    os.execvp(command[0], command)  # noqa: S606  # the supervisor's own commands


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
