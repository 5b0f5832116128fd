"""Keys: made once, private, and never silently replaced."""

import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hushfold_server import keys
from hushfold_server.errors import ConfigurationError
from hushfold_server.settings import Home


@pytest.fixture
def home(tmp_path):
    home = Home.create(tmp_path / "home")
    keys.create_missing(home)
    return home


def raw(key):
    return key.private_bytes_raw()


def test_keys_are_private_and_their_public_halves_are_published(home):
    for role, load in (("authority", keys.authority_key), ("plan", keys.plan_key)):
        file = home.keys(role) / keys.PRIVATE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert keys.public_key(home, role) == load(home).public_key().public_bytes_raw()
    assert raw(keys.authority_key(home)) != raw(keys.plan_key(home))


def test_creating_again_keeps_every_key(home):
    keys.create_release_keys(home)
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    keys.create_missing(home)
    keys.create_release_keys(home)
    assert {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in home.keys("release").iterdir()) == sorted(
        f"{name}.pem" for name in keys.RELEASE_KEYS
    )


def test_a_lost_key_is_not_replaced_because_devices_trust_no_other(home):
    (home.keys("authority") / keys.PRIVATE).unlink()
    with pytest.raises(ConfigurationError, match=r"missing.*backup"):
        keys.create_missing(home)
    assert not (home.keys("authority") / keys.PRIVATE).exists()


def test_a_crash_between_key_and_public_half_is_mended(home):
    before = keys.public_key(home, "plan")
    (home.public / "plan.pub").unlink()
    keys.create_missing(home)
    assert keys.public_key(home, "plan") == before


def test_a_process_killed_while_it_makes_a_key_leaves_none(tmp_path):
    home = Home.create(tmp_path / "home")
    script = """
        import os, signal, sys
        from pathlib import Path
        from hushfold_server import keys
        from hushfold_server.settings import Home
        os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # written, not yet in place
        keys.create_missing(Home(Path(sys.argv[1])))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(home.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (home.keys("authority") / keys.PRIVATE).exists()
    keys.create_missing(home)
    assert keys.public_key(home, "authority") == keys.authority_key(home).public_key().public_bytes_raw()


def test_of_two_that_create_at_once_the_first_wins_for_both(home, monkeypatch):
    link, first = os.link, []

    def race(source, target):
        if not first:
            first.append(target)
            keys.create_key(home, "release", "root.pem")  # another process, between check and link
        link(source, target)

    monkeypatch.setattr(os, "link", race)
    keys.create_key(home, "release", "root.pem")
    assert [path.name for path in home.keys("release").iterdir()] == ["root.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_open_to_others_is_refused(home, mode):
    (home.keys("plan") / keys.PRIVATE).chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        keys.plan_key(home)


def test_a_folder_open_to_others_is_refused(home):
    home.keys("plan").chmod(0o750)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        keys.plan_key(home)


def test_what_is_no_ed25519_key_is_refused(home):
    file = home.keys("plan") / keys.PRIVATE
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (other, b"", b"-----BEGIN"):
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match="not an Ed25519 private key"):
            keys.plan_key(home)


def test_a_missing_or_damaged_public_half_is_named(home):
    file = home.public / "authority.pub"
    for content in ("zz", "abcd"):
        file.write_text(content)
        with pytest.raises(ConfigurationError, match=r"authority\.pub"):
            keys.public_key(home, "authority")
    file.unlink()
    with pytest.raises(ConfigurationError, match="hushfold-server init"):
        keys.public_key(home, "authority")
