"""Tests of what is shown while the demo works."""

import io
import subprocess
import sys

import pytest
from rich.console import Console

from hushfold_demo.narration import Narration


@pytest.mark.parametrize("terminal", [False, True])
def test_brackets_in_what_is_said_are_not_markup(terminal):
    out = io.StringIO()
    narration = Narration(Console(file=out, force_terminal=terminal, width=40))
    with narration.working("Working"):
        narration.now("half way")
        narration.say("[bold]a name[/] " + "long " * 20)
    assert "[bold]a name[/]" in out.getvalue()
    assert ("half way" in out.getvalue()) <= terminal
    assert ("Working ..." in out.getvalue()) is not terminal


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_terminal_gets_its_lines_broken_and_between_words(terminal):
    out = io.StringIO()
    said = " ".join(["a-hyphenated-word"] * 9)
    Narration(Console(file=out, force_terminal=terminal, width=40)).say(said)
    lines = out.getvalue().splitlines()
    assert (len(lines) > 1) is terminal
    assert " ".join(" ".join(lines).split()[2:]) == said
    assert all(len(line) <= 40 and line.startswith(" " * 9) for line in lines[1:])


def test_the_runtime_starts_without_a_word():
    """In a process of its own: LiteRT reports its delegate once."""
    script = """
import sys
from hushfold.device import bundled_model
from hushfold_demo.litert import start_quietly
from hushfold_format import NextWordFiles
start_quietly(NextWordFiles.load(bundled_model()))
print("still heard", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "still heard\n")
