"""The SDK's README runs."""

import re
from pathlib import Path

import pytest

from hushfold.device import bundled_model

README = Path(__file__).parents[2] / "sdk" / "README.md"


@pytest.mark.skipif(not (bundled_model() / "model.json").exists(), reason="the model has not been built")
def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(README), "exec"), names)
    printed = capsys.readouterr().out
    assert len(examples) == 3
    assert "['see you at the allotment on sunday']" in printed
    assert "waiting for conditions to settle" in printed or "waiting for external power" in printed
    assert "epsilon 0.00 of 10.0" in printed
