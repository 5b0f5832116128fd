"""The SDK's README runs, on public names alone."""

import json
import re
from pathlib import Path

import pytest
from release_repository import ReleaseRepository

import hushfold
from hushfold.device import bundled_model

README = Path(__file__).parents[2] / "sdk" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.skipif(not (bundled_model() / "model.json").exists(), reason="the model has not been built")
def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    nowhere = "http://127.0.0.1:1"  # no server listens there
    app = {"service_url": nowhere, "authority_url": nowhere, "authority_key": "ab" * 32}
    (tmp_path / "app.json").write_text(json.dumps(app | {"root": json.loads(ReleaseRepository().root_json)}))
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example, str(README), "exec"), names)
    printed = capsys.readouterr().out
    assert len(EXAMPLES) == 10
    assert "tomorrow correction" in printed
    assert re.search(r"^\[.*'that'.*\]$", printed, re.MULTILINE)
    assert re.search(r"^40 messages are needed to prove anything; 0 so far; 2 taps saved since", printed, re.MULTILINE)
    assert "McFly 0 taught" in printed
    assert "an e-mail address is not kept as a word. Give one word" in printed
    assert "2 taken over, 0 known, 0 blocked or forgotten here" in printed
    assert "line 3, jane@example.com: an e-mail address is not kept as a word" in printed
    assert "0 new" in printed
    assert re.search(r"^0.0 False\n\[\]$", printed, re.MULTILINE)  # a silent stream, and no words taught
    assert "0 messages to learn from, 40 needed" in printed
    assert "['see you at the allotment on sunday']" in printed
    assert re.search(r"^waiting for (conditions to settle|external power)$", printed, re.MULTILINE)
    assert re.search(
        r"^come-back: waiting for (conditions to settle|external power); again in 60 seconds$", printed, re.MULTILINE
    )
    assert re.search(r"^the release metadata could not be fetched: .*the active model stays$", printed, re.MULTILINE)
    assert "epsilon 0.00 of 10.0" in printed


def test_the_readme_names_nothing_but_the_public_surface():
    imported = {
        name.strip()
        for names in re.findall(r"^\s*from hushfold import (.*)$", README.read_text(), re.MULTILINE)
        for name in names.split(",")
    }
    assert imported
    assert imported <= set(hushfold.__all__)
    assert not re.search(r"hushfold\w*\.\w+ import|import hushfold", README.read_text())
    in_text = {name.split("(")[0] for name in re.findall(r"`([A-Z][A-Za-z]+(?:\(.*?\))?)`", README.read_text())}
    assert in_text <= set(hushfold.__all__)


def test_what_the_readme_installs_is_in_the_checkout():
    """And nothing from an index, where there is none to be found."""
    installed = re.findall(r"pip install '?([^'\s\[]+)", README.read_text())
    assert installed
    for target in installed:
        assert (README.parents[1] / target / "pyproject.toml").is_file()


def test_the_readme_says_where_app_json_comes_from_before_it_is_read():
    before, _, _ = README.read_text().partition('Path("app.json")')
    assert re.search(r"`hushfold-server up .*?` writes `\S*public/app\.json`", before)
