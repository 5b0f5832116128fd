"""setup.cfg lists every package that is on the disk, and no other."""

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("sdk", "server", "demo_app", "tflite_models")


def test_packages_on_the_disk_are_the_packages_listed():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    folders = dict(
        (part.strip() for part in line.split("=")) for line in config["options"]["package_dir"].split("\n") if line
    )
    listed = set(config["options"]["packages"].split())
    on_disk = set()
    for name, folder in folders.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            relative = init.parent.relative_to(ROOT / folder)
            on_disk.add(".".join((name, *relative.parts)))
    assert listed == on_disk
    top_level = {
        str(init.parent.relative_to(ROOT)) for source in SOURCES for init in (ROOT / source).glob("*/__init__.py")
    }
    assert top_level == set(folders.values())
