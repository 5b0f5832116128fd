"""The device-only wheel holds the device packages and the model, and asks for nothing that it does not need."""

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def configuration(path):
    config = ConfigParser()
    config.read(path)
    return config


SDK = configuration(ROOT / "sdk" / "setup.cfg")
WORKSPACE = configuration(ROOT / "setup.cfg")


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_packages_are_those_of_the_workspace_and_on_the_disk():
    listed = set(lines(SDK["options"]["packages"]))
    on_disk = {
        ".".join(init.parent.relative_to(ROOT / "sdk").parts)
        for init in (ROOT / "sdk").glob("hushfold*/**/__init__.py")
    }
    assert listed == on_disk | {"hushfold_artifacts"}
    assert listed <= set(lines(WORKSPACE["options"]["packages"]))


def test_dependencies_data_and_version_are_those_of_the_workspace():
    assert lines(WORKSPACE["options"]["install_requires"])[: len(lines(SDK["options"]["install_requires"]))] == lines(
        SDK["options"]["install_requires"]
    )
    for package, patterns in SDK["options.package_data"].items():
        assert WORKSPACE["options.package_data"][package] == patterns
    assert SDK["metadata"]["version"] == WORKSPACE["metadata"]["version"]


@pytest.mark.slow
def test_the_wheel_holds_all_of_it(tmp_path):
    # A copy: building leaves files beside the sources.
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "sdk", tmp_path / "sdk", ignore=ignored)
    shutil.copytree(ROOT / "tflite_models" / "artifacts", tmp_path / "tflite_models" / "artifacts", ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "out"), "sdk"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").glob("hushfold-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    expected = set()
    for package in lines(SDK["options"]["package_dir"]):
        name, folder = (part.strip() for part in package.split("="))
        source = (tmp_path / "sdk" / folder).resolve()
        expected |= {f"{name}/{file.relative_to(source)}" for file in source.rglob("*") if file.is_file()}
    assert held == expected
    assert "tensorflow" not in metadata.lower().replace("no tensorflow", "")
    assert "Provides-Extra: keyring" in metadata
