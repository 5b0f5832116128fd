"""The server's folder, its keys and its settings file."""

import stat
from pathlib import Path

import pytest

from hushfold_server.errors import ConfigurationError
from hushfold_server.settings import HOME_VARIABLE, Home, Settings


@pytest.fixture
def home(tmp_path):
    return Home.create(tmp_path / "home")


def write_key(home, secret):
    path = home.keys("plan") / "private.pem"
    path.write_bytes(secret)
    path.chmod(0o600)
    return path


def test_create_makes_private_folders_and_open_finds_them(home):
    folders = [home.path, *(path for path in home.path.rglob("*") if path.is_dir())]
    assert len(folders) == 12
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert Home.open(home.path) == home


def test_create_leaves_what_is_there(home):
    write_key(home, b"secret")
    Home.create(home.path)
    assert home.read_key("plan", "private.pem") == b"secret"


def test_open_says_what_is_missing_and_what_to_do(home):
    home.logs.rmdir()
    (home.keys("plan")).rmdir()
    with pytest.raises(ConfigurationError, match=r"it has no keys/plan, logs\. .*hushfold-server init --home"):
        Home.open(home.path)


def test_open_names_no_more_of_what_is_missing_than_the_folders_at_the_top(tmp_path):
    with pytest.raises(ConfigurationError, match=r"it has no objects, keys, releases, logs, run, public\. "):
        Home.open(tmp_path)
    with pytest.raises(ConfigurationError, match=f"there is no folder {tmp_path}/none. "):
        Home.open(tmp_path / "none")


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for look, path in ((Home.open, file), (Home.create, file), (Home.create, file / "home")):
        with pytest.raises(ConfigurationError, match=f"{file}.* is a file; a folder is needed|no folder {file}/home"):
            look(path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system that takes no folders is needed")
def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(ConfigurationError, match=r"no folder can be made at /proc/hushfold\. .*--home"):
        Home.create(Path("/proc/hushfold"))


def test_create_keeps_out_of_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"something else than a server, such as notes\.txt"):
        Home.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("present", ["", "server.toml", "lost+found", "objects"])
def test_create_takes_an_empty_folder_one_with_settings_and_one_that_was_begun(tmp_path, present):
    if present == "server.toml":
        (tmp_path / present).touch()
        (tmp_path / "chain.pem").touch()
    elif present:
        (tmp_path / present).mkdir()
    assert Home.open(Home.create(tmp_path).path).path == tmp_path


def test_a_server_may_have_other_files_beside_its_own(home):
    (home.path / "notes.txt").touch()
    assert Home.create(home.path) == home


def test_a_command_names_the_folder_unless_it_is_the_default_one(monkeypatch, tmp_path):
    home = Home(tmp_path / "my home")
    assert home.command("up") == f"hushfold-server up --home '{tmp_path}/my home'"
    monkeypatch.setenv(HOME_VARIABLE, str(home.path))
    assert home.command("up") == "hushfold-server up"


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    assert Home.default().path == tmp_path
    monkeypatch.delenv(HOME_VARIABLE)
    assert Home.default().path.name == "hushfold-home"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(home, mode):
    write_key(home, b"secret").chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        home.read_key("plan", "private.pem")


def test_a_missing_key_is_named(home):
    with pytest.raises(ConfigurationError, match=r"keys/release/root.pem is missing"):
        home.read_key("release", "root.pem")


def test_publishing_replaces_the_file(home):
    home.publish("app.json", b"old")
    home.publish("app.json", b"new")
    assert [path.name for path in home.public.iterdir()] == ["app.json"]
    assert (home.public / "app.json").read_bytes() == b"new"


def load(home, text):
    home.settings_file.write_text(text)
    return Settings.load(home)


def test_without_a_file_the_defaults_hold(home):
    assert Settings.load(home) == Settings()


def test_a_file_overrides_the_defaults(home):
    settings = load(
        home,
        """
        host = "0.0.0.0"
        api_port = 443
        tls_certificate = "chain.pem"
        tls_key = "key.pem"
        public_url = "https://learn.example/hushfold/"
        public_authority_url = "https://vouch.example"
        """,
    )
    assert settings.api_port == 443
    assert settings.authority_port == 8471
    assert settings.api_url == "https://learn.example/hushfold"


def test_urls_follow_host_port_and_tls(home):
    settings = load(home, 'host = "::1"\napi_port = 9\ntls_certificate = "c.pem"\ntls_key = "k.pem"')
    assert settings.api_url == "https://[::1]:9"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api_prot = 1", "api_prot is unknown; did you mean api_port?"),
        ("zzz = 1", "zzz is unknown; known are host, api_port,"),
        ('api_port = "80"', "api_port is '80'; a whole number is needed"),
        ("api_port = true", "api_port is true; a whole number is needed"),
        ("api_port = 70000", "api_port is 70000; it must be at most 65535"),
        ('log_level = "loud"', "log_level is 'loud'; allowed are 'debug', 'info', 'warning' or 'error'"),
        ('tls_key = "k.pem"', "tls_certificate and tls_key go together"),
        ('host = "0.0.0.0"', "give tls_certificate and tls_key, or set tls_proxy"),
        ('host = "0.0.0.0"\ntls_proxy = true', "public_url and public_authority_url must say"),
        ('public_url = "http://learn.example"', "public_url: 'http://learn.example' would send messages in the open"),
        (
            'public_authority_url = "learn.example"',
            "public_authority_url: 'learn.example' is not the address of a server",
        ),
        ("host =", "it is not valid TOML"),
    ],
)
def test_faults_are_told_in_plain_words(home, text, said):
    with pytest.raises(ConfigurationError) as caught:
        load(home, text)
    assert said in str(caught.value)
    assert "server.toml" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_faults_are_told_at_once(home):
    with pytest.raises(ConfigurationError) as caught:
        load(home, "api_port = -1\ncertificate_days = 0\nhosts = 'x'")
    assert str(caught.value).count("\n  - ") == 3
