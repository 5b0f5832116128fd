"""Updates: what is verified becomes active, what is not changes nothing."""

import hashlib
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from release_repository import METADATA_URL, TARGETS_URL, ReleaseRepository
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile

from hushfold import durable, updates
from hushfold.errors import ModelError, Refusal, ReleaseRefused, ReleaseUnavailable
from hushfold.releases import Installation, Release, rollout_bucket
from hushfold.updates import ActiveModel, ReleaseChannel

MANIFEST = hashlib.sha256(b"model.json").hexdigest()
INSTALLATION = Installation("next_word", MANIFEST, "0.2.0", b"device")


def weights(version):
    return version.encode() * 2000


def custom(version, number, **changes):
    return {
        "model": "next_word",
        "version": version,
        "release": number,
        "minimum_sdk": "0.1.0",
        "rollout_percent": 100,
        "salt": "s",
        "manifest_sha256": MANIFEST,
    } | changes


def publish(repository, version, number, **changes):
    return repository.add(f"next_word/{version}/weights.f32", weights(version), custom(version, number, **changes))


@pytest.fixture
def repository():
    return ReleaseRepository()


@pytest.fixture
def open_channel(repository, tmp_path):
    """Opens the device's channel, as at each start of the app."""

    def opened(installation=INSTALLATION, **options):
        root, folder = repository.root_json, tmp_path / "channel"
        options = {"fetcher": repository, **options}
        return ReleaseChannel(folder, root, METADATA_URL, TARGETS_URL, installation, **options)

    return opened


@pytest.fixture
def channel(open_channel):
    return open_channel()


@pytest.fixture
def active(tmp_path):
    return ActiveModel(tmp_path / "active", MANIFEST)


def update(channel, active):
    """What an app does at each check."""
    release = channel.refresh()
    if release is not None and active.wants(release):
        active.activate(release, channel.download(release))
    return release


def test_a_good_update_becomes_active(repository, channel, active):
    assert update(channel, active) is None
    assert (active.active, active.weights()) == (None, None)
    publish(repository, "1.0.0", 1)
    publish(repository, "1.1.0", 2)
    release = update(channel, active)
    assert (release.version, release.number) == ("1.1.0", 2)
    assert active.active == release
    assert active.weights() == weights("1.1.0")


def test_what_was_downloaded_is_not_downloaded_again(repository, channel):
    url = publish(repository, "1.0.0", 1)
    release = channel.refresh()
    assert channel.download(release) == channel.download(release)
    assert repository.requests.count(url) == 1


def test_only_the_last_download_is_kept(repository, channel):
    publish(repository, "1.0.0", 1)
    first = channel.download(channel.refresh())
    publish(repository, "1.1.0", 2)
    second = channel.download(channel.refresh())
    assert (first.exists(), second.exists()) == (False, True)


def test_a_rollback_is_an_older_version_under_a_higher_number(repository, channel, active):
    publish(repository, "1.0.0", 1)
    publish(repository, "1.1.0", 2)
    update(channel, active)
    publish(repository, "1.0.0", 3)
    assert update(channel, active).version == "1.0.0"
    assert active.weights() == weights("1.0.0")


def refused(act):
    with pytest.raises(ReleaseRefused) as caught:
        act()
    return caught.value.reason


def test_a_tampered_target_is_refused(repository, channel, active):
    publish(repository, "1.0.0", 1)
    update(channel, active)
    url = publish(repository, "1.1.0", 2)
    content = bytearray(repository.served[url])
    content[500] ^= 1
    repository.served[url] = bytes(content)
    assert refused(lambda: update(channel, active)) is Refusal.TAMPERED
    repository.served[url] = weights("1.1.0") + b"more"
    assert refused(lambda: update(channel, active)) is Refusal.TAMPERED
    assert active.active.version == "1.0.0"
    assert active.weights() == weights("1.0.0")
    repository.served[url] = weights("1.1.0")
    assert update(channel, active).version == "1.1.0"


def test_replayed_metadata_is_refused_also_after_a_restart(repository, open_channel):
    publish(repository, "1.0.0", 1)
    old = repository.served[f"{METADATA_URL}timestamp.json"]
    publish(repository, "1.1.0", 2)
    open_channel().refresh()
    repository.served[f"{METADATA_URL}timestamp.json"] = old
    assert refused(open_channel().refresh) is Refusal.REPLAYED


def test_mixed_metadata_is_refused(repository, channel):
    publish(repository, "1.0.0", 1)
    version = repository.timestamp.version
    old = repository.served[f"{METADATA_URL}{version - 1}.targets.json"]
    repository.served[f"{METADATA_URL}{version}.targets.json"] = old
    assert refused(channel.refresh) is Refusal.REPLAYED


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_metadata_is_refused(repository, channel, role):
    publish(repository, "1.0.0", 1)
    channel.refresh()
    getattr(repository, role).expires = datetime.now(UTC) - timedelta(seconds=1)
    repository.publish()
    assert refused(channel.refresh) is Refusal.EXPIRED


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_under_another_key_is_refused(repository, channel, role):
    repository.signers[role] = CryptoSigner.generate_ed25519()
    publish(repository, "1.0.0", 1)
    assert refused(channel.refresh) is Refusal.SIGNATURE


def test_a_rotated_key_is_followed(repository, channel):
    channel.refresh()
    repository.rotate_root("targets")
    publish(repository, "1.0.0", 1)
    assert channel.refresh().version == "1.0.0"


@pytest.mark.parametrize("garbage", [b"", b"{", b"not json", b'{"signed": {}, "signatures": []}'])
def test_garbage_is_refused(repository, channel, garbage):
    repository.served[f"{METADATA_URL}timestamp.json"] = garbage
    assert refused(channel.refresh) is Refusal.MALFORMED


def test_a_broken_root_of_trust_is_refused(tmp_path, repository):
    channel = ReleaseChannel(tmp_path, b"{}", METADATA_URL, TARGETS_URL, INSTALLATION, fetcher=repository)
    assert refused(channel.refresh) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "9.9.9"},
        {"model": "other"},
        {"release": "2"},
        {"release": True},
        {"release": 0},
        {"rollout_percent": 101},
        {"rollout_percent": "12"},
        {"minimum_sdk": "latest"},
        {"manifest_sha256": "ABC"},
        {"salt": None},
    ],
    ids=repr,
)
def test_a_release_that_makes_no_sense_is_refused(repository, channel, changes):
    repository.add("next_word/1.1.0/weights.f32", b"w", custom("1.1.0", 2) | changes)
    assert refused(channel.refresh) is Refusal.MALFORMED


@pytest.mark.parametrize("missing", sorted(custom("1.0.0", 1)))
def test_a_release_without_a_field_is_refused(missing):
    target = TargetFile.from_data("next_word/1.0.0/weights.f32", b"w", ["sha256"])
    fields = custom("1.0.0", 1)
    del fields[missing]
    target.unrecognized_fields["custom"] = fields
    assert refused(lambda: Release.from_target(target.path, target)) is Refusal.MALFORMED


def test_other_targets_are_no_releases(repository, channel):
    repository.add("service.json", b"{}")
    repository.add("next_word/1.0.0/card.md", b"card")
    repository.add("voice/1.0.0/weights.f32", b"v", custom("1.0.0", 1, model="voice"))
    assert channel.refresh() is None


@pytest.mark.parametrize(("percent", "expected"), [(0, "1.0.0"), (100, "1.1.0")])
def test_a_rollout_reaches_nobody_or_everybody(repository, open_channel, percent, expected):
    publish(repository, "1.0.0", 1)
    publish(repository, "1.1.0", 2, rollout_percent=percent)
    for device in range(20):
        channel = open_channel(Installation("next_word", MANIFEST, "0.2.0", bytes([device])))
        assert channel.refresh().version == expected


def test_half_a_rollout_reaches_half_the_devices_and_the_others_keep_the_older_release(repository, open_channel):
    publish(repository, "1.0.0", 1)
    publish(repository, "1.1.0", 2, rollout_percent=50)
    for device in range(20):
        installation = Installation("next_word", MANIFEST, "0.2.0", bytes([device]))
        expected = "1.1.0" if rollout_bucket("s", "next_word", bytes([device])) < 50 else "1.0.0"
        assert open_channel(installation).refresh().version == expected
    buckets = Counter(rollout_bucket("s", "next_word", number.to_bytes(4, "big")) for number in range(20_000))
    assert set(buckets) == set(range(100))
    assert sum(count for bucket, count in buckets.items() if bucket < 50) == pytest.approx(10_000, abs=300)


def test_a_rollout_that_widens_keeps_whom_it_reached():
    def reached(percent, salt="s"):
        return {d for d in range(1000) if rollout_bucket(salt, "next_word", d.to_bytes(4, "big")) < percent}

    assert reached(10) < reached(50) < reached(100)
    assert reached(50) != reached(50, salt="t")


def test_the_bucket_is_the_one_that_servers_compute():
    digest = hashlib.sha256(b"hushfold/v1/rollout\0salt\0next_word\0" + bytes(16)).digest()
    assert rollout_bucket("salt", "next_word", bytes(16)) == int.from_bytes(digest, "big") % 100


@pytest.mark.parametrize(
    ("minimum", "sdk", "accepted"),
    [
        ("0.2.0", "0.2.0", True),
        ("0.2", "0.2.0", True),
        ("0.2.0", "0.2", True),
        ("0.10.0", "0.9.9", False),
        ("0.9.9", "0.10.0", True),
        ("0.2.1", "0.2.0", False),
        ("0.2.0", "0.2.0rc1", True),
    ],
)
def test_a_release_for_a_newer_sdk_is_passed_over(repository, open_channel, minimum, sdk, accepted):
    publish(repository, "1.0.0", 1, minimum_sdk="0.1")
    publish(repository, "1.1.0", 2, minimum_sdk=minimum)
    channel = open_channel(Installation("next_word", MANIFEST, sdk, b"device"))
    assert channel.refresh().version == ("1.1.0" if accepted else "1.0.0")


def test_a_release_for_another_graph_is_passed_over(repository, channel):
    publish(repository, "1.0.0", 1, manifest_sha256="0" * 64)
    assert channel.refresh() is None


def test_a_dead_server_keeps_the_active_model(repository, open_channel, active):
    publish(repository, "1.0.0", 1)
    update(open_channel(), active)
    repository.reachable = False
    with pytest.raises(ReleaseUnavailable, match=r"connection refused.*Try again later"):
        update(open_channel(), active)
    assert active.weights() == weights("1.0.0")
    repository.reachable = True
    publish(repository, "1.1.0", 2)
    assert update(open_channel(), active).version == "1.1.0"


def test_an_interrupted_download_leaves_nothing_and_can_be_repeated(repository, channel, active, tmp_path):
    publish(repository, "1.0.0", 1)
    update(channel, active)
    publish(repository, "1.1.0", 2)
    repository.cut_after = 100
    with pytest.raises(ReleaseUnavailable, match="reset by peer"):
        update(channel, active)
    assert list((tmp_path / "channel" / "targets").iterdir()) == []
    assert active.active.version == "1.0.0"
    repository.cut_after = None
    update(channel, active)
    assert active.weights() == weights("1.1.0")


def test_a_withdrawn_release_is_unavailable(repository, channel):
    publish(repository, "1.0.0", 1)
    release = channel.refresh()
    repository.remove(release.target)
    channel.refresh()
    with pytest.raises(ReleaseUnavailable, match=r"has no next_word/1\.0\.0"):
        channel.download(release)


def test_a_replaced_release_is_not_taken_for_the_old_one(repository, channel):
    publish(repository, "1.0.0", 1)
    release = channel.refresh()
    repository.add(release.target, b"other weights", custom("1.0.0", 2))
    channel.refresh()
    with pytest.raises(ReleaseUnavailable, match="replaced"):
        channel.download(release)


def test_a_release_that_is_too_large_is_not_fetched(repository, open_channel):
    url = publish(repository, "1.0.0", 1)
    channel = open_channel(max_bytes=100)
    release = channel.refresh()
    assert refused(lambda: channel.download(release)) is Refusal.TOO_LARGE
    assert url not in repository.requests


def test_a_small_signed_document_is_fetched(repository, channel, tmp_path):
    url = repository.add("service.json", b'{"api": "https://service.example"}')
    assert channel.fetch_json("service.json") == {"api": "https://service.example"}
    assert list((tmp_path / "channel" / "targets").iterdir()) == []
    repository.served[url] = b'{"api": "https://attacker.exampl"}'
    assert refused(lambda: channel.fetch_json("service.json")) is Refusal.TAMPERED
    with pytest.raises(ReleaseUnavailable, match=r"has no other\.json"):
        channel.fetch_json("other.json")


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff"])
def test_a_document_that_is_no_object_is_refused(repository, channel, content):
    repository.add("service.json", content)
    assert refused(lambda: channel.fetch_json("service.json")) is Refusal.MALFORMED


def test_a_large_document_is_not_fetched(repository, channel):
    repository.add("service.json", b" " * (1 << 20))
    assert refused(lambda: channel.fetch_json("service.json")) is Refusal.TOO_LARGE


@pytest.mark.parametrize("url", ["http://releases.example/", "http://10.0.0.1/"])
def test_tls_is_required_off_this_machine(tmp_path, repository, url):
    with pytest.raises(ValueError, match="TLS is required"):
        ReleaseChannel(tmp_path, repository.root_json, url, TARGETS_URL, INSTALLATION)


@pytest.mark.parametrize("url", ["http://localhost:8000/", "http://127.0.0.1:8000/", "http://[::1]:8000/"])
def test_plain_http_is_for_this_machine(tmp_path, repository, url):
    ReleaseChannel(tmp_path, repository.root_json, url, url, INSTALLATION)


def test_the_default_fetcher_reports_a_dead_server(tmp_path, repository):
    # Port 9 (discard) of this machine: nothing listens there.
    url = "http://127.0.0.1:9/"
    channel = ReleaseChannel(tmp_path, repository.root_json, url, url, INSTALLATION)
    with pytest.raises(ReleaseUnavailable, match="could not be fetched"):
        channel.refresh()


def activated(repository, channel, active, *versions):
    for number, version in enumerate(versions, 1):
        publish(repository, version, number)
        update(channel, active)


def test_going_back_one_release_and_then_to_the_shipped_model(repository, channel, active):
    activated(repository, channel, active, "1.0.0", "1.1.0")
    assert active.previous.version == "1.0.0"
    assert active.roll_back().version == "1.0.0"
    assert active.weights() == weights("1.0.0")
    assert active.roll_back() is None
    assert active.weights() is None
    with pytest.raises(ModelError, match="nothing to go back to"):
        active.roll_back()


def test_what_the_user_went_back_from_is_not_offered_again(repository, channel, active):
    activated(repository, channel, active, "1.0.0", "1.1.0")
    active.roll_back()
    assert update(channel, active).version == "1.1.0"
    assert active.active.version == "1.0.0"
    active.roll_back()
    update(channel, active)
    assert active.active is None
    publish(repository, "1.2.0", 3)
    update(channel, active)
    assert active.active.version == "1.2.0"


def test_weights_that_nothing_points_to_are_deleted(repository, channel, active, tmp_path):
    activated(repository, channel, active, "1.0.0", "1.1.0", "1.2.0")
    assert sorted(file.name for file in (tmp_path / "active").iterdir()) == ["2.f32", "3.f32", "active.json"]


def test_activating_again_keeps_the_way_back(repository, channel, active):
    activated(repository, channel, active, "1.0.0", "1.1.0")
    active.activate(active.active, channel.download(channel.refresh()))
    assert active.previous.version == "1.0.0"


def test_the_wrong_file_is_not_activated(repository, channel, active, tmp_path):
    activated(repository, channel, active, "1.0.0")
    publish(repository, "1.1.0", 2)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ModelError, match="does not hold"):
        active.activate(channel.refresh(), tmp_path / "other")
    assert active.weights() == weights("1.0.0")


def test_going_back_waits_for_a_release_that_is_being_activated(repository, channel, active, monkeypatch):
    activated(repository, channel, active, "1.0.0", "1.1.0")
    publish(repository, "1.2.0", 3)
    release = channel.refresh()
    replace_file = updates.replace_file
    user = threading.Thread(target=active.roll_back)

    def interrupted(path, content):
        monkeypatch.undo()
        user.start()
        user.join(0.2)  # it waits for its turn; without a lock it would be done by now, and undone below
        replace_file(path, content)

    monkeypatch.setattr(updates, "replace_file", interrupted)
    active.activate(release, channel.download(release))
    user.join()
    assert (active.active.version, active.weights()) == ("1.1.0", weights("1.1.0"))
    assert not active.wants(release)


@pytest.mark.parametrize("steps", range(4))
def test_a_crash_while_activating_leaves_the_old_model_or_the_new(repository, channel, active, monkeypatch, steps):
    activated(repository, channel, active, "1.0.0")
    publish(repository, "1.1.0", 2)
    release = channel.refresh()
    path = channel.download(release)
    calls = []

    def crash(descriptor):
        calls.append(descriptor)
        if len(calls) > steps:
            raise OSError("power failure")

    # Of each of two files, the content and then its folder are synced: one more step succeeds in each case.
    monkeypatch.setattr(durable.os, "fsync", crash)
    with pytest.raises(OSError, match="power failure"):
        active.activate(release, path)
    monkeypatch.undo()
    again = ActiveModel(active._folder, MANIFEST)
    assert again.weights() == weights("1.1.0" if steps == 3 else "1.0.0")
    again.activate(release, channel.download(release))
    assert again.weights() == weights("1.1.0")


def test_damage_is_reported_and_the_way_back_stays(repository, channel, active, tmp_path):
    activated(repository, channel, active, "1.0.0", "1.1.0")
    (tmp_path / "active" / "2.f32").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"does not hold.*Go back"):
        active.weights()
    (tmp_path / "active" / "2.f32").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        active.weights()
    active.roll_back()
    assert active.weights() == weights("1.0.0")
    (tmp_path / "active" / "active.json").write_bytes(b"{")
    with pytest.raises(ModelError, match="Delete it"):
        active.weights()


def test_a_release_for_another_graph_does_not_outlive_an_update_of_the_app(repository, channel, active, tmp_path):
    activated(repository, channel, active, "1.0.0")
    new_app = ActiveModel(tmp_path / "active", "f" * 64)
    assert (new_app.active, new_app.weights()) == (None, None)
    with pytest.raises(ModelError, match="does not fit"):
        new_app.activate(active.active, tmp_path / "any")
