"""The models that are installed with a server, and what is said about those that are not or are damaged."""

from dataclasses import replace

import pytest
from small_model import CARD, WEIGHTS, write_model

from hushfold_format import ArtifactError
from hushfold_format.manifest import MANIFEST, FileEntry
from hushfold_models.config import NextWordConfig
from hushfold_server.errors import ConfigurationError, NotFound
from hushfold_server.shipped_models import ShippedModels, shipped_models


@pytest.fixture
def models(tmp_path):
    write_model(tmp_path)
    return ShippedModels(tmp_path)


def test_names_manifest_and_files(models, tmp_path):
    (tmp_path / "unfinished").mkdir()
    assert models.names() == ["next_word"]
    assert models.manifest("next_word").version == "1.0.0"
    assert models.file("next_word", "weights") == WEIGHTS
    assert models.file("next_word", "card") == CARD.encode()
    assert models.manifest_sha256("next_word") == FileEntry.of(MANIFEST, write_model(tmp_path)).sha256


def test_a_model_that_is_not_there(models):
    for read in (models.manifest, models.manifest_sha256, lambda name: models.file(name, "weights")):
        with pytest.raises(NotFound, match="'voice' is not installed"):
            read("voice")


def test_a_model_that_cannot_be_used(models, tmp_path):
    (tmp_path / "next_word" / "weights.f32").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match="not the file that"):
        models.file("next_word", "weights")
    (tmp_path / "next_word" / "weights.f32").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        models.file("next_word", "weights")
    (tmp_path / "next_word" / MANIFEST).write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        models.manifest("next_word")


def test_the_configuration_of_the_installed_model_is_the_default_one():
    manifest = ShippedModels(shipped_models()).manifest("next_word")
    assert NextWordConfig.of(manifest) == NextWordConfig(vocabulary=manifest.sizes["vocabulary"])
    with pytest.raises(ArtifactError, match="states no units"):
        NextWordConfig.of(replace(manifest, sizes={k: v for k, v in manifest.sizes.items() if k != "units"}))
