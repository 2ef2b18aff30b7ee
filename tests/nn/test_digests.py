"""What identifies a model: everything that decides what it makes of a text."""

import json
from pathlib import Path

import pytest

from shoptalk.errors import BaseModelError
from shoptalk.nn.digests import base_digest
from shoptalk.nn.tiny_lm import tiny_language_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_language_model().save(tmp_path / "model", card="")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "config.json", "vocab.txt"]
)
def test_another_template_tokenizer_or_setting_is_another_model(model: Path, name: str) -> None:
    before = base_digest(str(model))
    with (model / name).open("a", encoding="utf-8") as file:
        file.write(" ")
    assert base_digest(str(model)) != before


@pytest.mark.parametrize("name", ["README.md", "question.json", "log.jsonl", "encoder/config.json"])
def test_what_decides_nothing_leaves_a_model_the_same(model: Path, name: str) -> None:
    before = base_digest(str(model))
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("changed", encoding="utf-8")
    assert base_digest(str(model)) == before


def test_every_file_of_sharded_weights_counts(model: Path) -> None:
    tiny_language_model().network.backbone.save_pretrained(model, max_shard_size="20KB")  # type: ignore[operator]
    (model / "model.safetensors").unlink()
    index = json.loads((model / "model.safetensors.index.json").read_text(encoding="utf-8"))
    shards = sorted(set(index["weight_map"].values()))
    digests = {base_digest(str(model))}
    for shard in shards:
        weights = (model / shard).read_bytes()
        (model / shard).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        digests.add(base_digest(str(model)))
    assert len(shards) > 1 and len(digests) == len(shards) + 1


def test_a_folder_without_weights_is_no_model(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"has no weights: expected model\.safetensors beside config.json"):
        base_digest(str(model))
