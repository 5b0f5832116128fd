"""The vectors of release channels that are set back hold for this client; `test_updates` has all that it refuses."""

import json

import pytest
from make_vectors import FOLDER
from release_attacks import ATTACKS, BASE, VERSIONS
from release_repository import METADATA_URL, TARGETS_URL, ReleaseRepository

from hushfold import errors
from hushfold.releases import Installation
from hushfold.updates import ReleaseChannel


@pytest.mark.parametrize("name", ATTACKS)
def test_a_device_refuses_what_the_vector_says(name, tmp_path):
    vector = json.loads((FOLDER / f"{name}.json").read_text())
    device, refused, server = vector["device"], vector["refused"], ReleaseRepository()
    installation = Installation(
        device["model"], device["manifest_sha256"], device["sdk_version"], bytes.fromhex(device["device_id"])
    )

    def channel(folder):
        root = bytes.fromhex(device["root"])
        return ReleaseChannel(tmp_path / folder, root, METADATA_URL, TARGETS_URL, installation, fetcher=server)

    def tell(files):
        server.served = {BASE + path: bytes.fromhex(content) for path, content in files.items()}

    for exchange in vector["exchanges"]:
        tell(exchange["told"])
        opened = channel("device")
        assert opened.refresh().version == exchange["answer"]["release"]
        assert opened.fetch_json("service.json")["plan_key"] == exchange["answer"]["plan_key"]
    tell(refused["told"])
    for each in (opened, channel("device")):  # also after a restart
        with pytest.raises(getattr(errors, refused["error"])) as raised:
            each.refresh()
        assert refused["says"] in str(raised.value)
    assert channel("another").refresh().version == VERSIONS[0]  # nothing else is wrong with it
