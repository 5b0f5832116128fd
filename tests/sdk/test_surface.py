"""The public names of the SDK, and its version."""

import ast
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import hushfold

ROOT = Path(__file__).parents[2]


def test_every_public_name_loads_and_no_other_is_promised():
    assert set(hushfold.__all__) == set(hushfold._MODULE_OF)
    for name in hushfold.__all__:
        assert getattr(hushfold, name) is not None
    assert dir(hushfold) == sorted(hushfold.__all__)


@pytest.mark.parametrize(
    "package", ["hushfold", "hushfold.voice", "hushfold_protocol", "hushfold_protocol.secagg", "hushfold_format"]
)
def test_a_package_lists_its_modules_bottom_up(package):
    """Each module once, and none imports one that stands below it in the list."""
    folder = ROOT / "sdk" / package.replace(".", "/")
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    listed = re.findall(r"^    (\w+) {2,}\S", docstring, re.MULTILINE)
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(modules | {path.parent.name for path in folder.glob("*/__init__.py")})
    for position, module in enumerate(listed):
        sources = [folder / f"{module}.py", *(folder / module).glob("*.py")]
        for source in filter(Path.exists, sources):
            depth = len(source.relative_to(folder).parts)
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == depth:
                    imported = {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
                    assert imported <= set(listed[:position])


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
