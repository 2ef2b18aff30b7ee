"""Pairs of encoders: one space for pictures and texts, opened elsewhere with equal vectors."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shoptalk.artifact import file_digest
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.nn.bases import began_as, kind_of, open_base
from shoptalk.nn.digests import base_digest
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.tiny import tiny_product
from shoptalk.records import Picture
from shoptalk.text.corpus import Corpus

TEXTS = ["a red shoe", "", "where is my order? " * 40]


def pictures_in(folder: Path, n: int = 3) -> list[Picture]:
    folder.mkdir(exist_ok=True)
    for number in range(n):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    paths = [folder / f"{number}.png" for number in range(n)]
    return [Picture(path=str(path), sha256=file_digest(path)) for path in paths]


@pytest.fixture(params=["scratch:resnet-mini", "scratch:vit-nano"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> PairEncoder:
    tiny_product().save(tmp_path / "words", card="")
    product = open_base(f"{request.param}+{tmp_path / 'words'}")
    assert isinstance(product, PairEncoder)
    return product


ELSEWHERE = """
import glob, json, sys, torch
from PIL import Image
from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor
folder, pictures, texts = sys.argv[1], sorted(glob.glob(sys.argv[2])), json.loads(sys.argv[3])
assert "shoptalk" not in sys.modules
processor = VisionTextDualEncoderProcessor.from_pretrained(folder)
model = VisionTextDualEncoderModel.from_pretrained(folder).eval()
unit = torch.nn.functional.normalize
with torch.inference_mode():
    pixels = processor(images=[Image.open(path) for path in pictures], return_tensors="pt")["pixel_values"]
    shown = model.visual_projection(model.vision_model(pixels).pooler_output.flatten(1))
    tokens = processor(text=texts, return_tensors="pt", padding=True, truncation=True, max_length=int(sys.argv[4]))
    states, mask = model.text_model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
    told = model.text_projection((states * mask).sum(1) / mask.sum(1))
print(json.dumps([unit(shown, dim=-1).tolist(), unit(told, dim=-1).tolist(), model.logit_scale.item()]))
"""


@pytest.mark.slow
def test_a_saved_pair_opens_as_a_dual_encoder_of_transformers_and_gives_equal_vectors(
    pair: PairEncoder, tmp_path: Path
) -> None:
    pictures = pictures_in(tmp_path / "pictures")
    pair.save(tmp_path / "pair", card="# A pair\n")
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(tmp_path / "pair"), str(tmp_path / "pictures/*")]
    command += [json.dumps(TEXTS), str(pair.max_length)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}
    )
    shown, told, scale = json.loads(done.stdout)
    np.testing.assert_allclose(np.array(shown), pair.embed(pictures), atol=1e-5)
    np.testing.assert_allclose(np.array(told), pair.embed(TEXTS), atol=1e-5)
    assert scale == pytest.approx(pair.network.logit_scale.item())


def test_a_pair_saved_and_opened_again_is_the_same(pair: PairEncoder, tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures")
    with torch.no_grad():
        pair.network.logit_scale.fill_(3.5)
    pair.save(tmp_path / "pair", card="")
    again = open_base(str(tmp_path / "pair"))
    assert isinstance(again, PairEncoder) and kind_of(str(tmp_path / "pair")) == "pair"
    np.testing.assert_array_equal(again.embed([*pictures, *TEXTS]), pair.embed([*pictures, *TEXTS]))
    assert again.network.logit_scale.item() == 3.5 and again.max_length == pair.max_length
    assert began_as(str(tmp_path / "pair")) == pair.began_as == f"{pair.began_as.split('+')[0]}+words"


def test_pictures_and_texts_come_in_their_order_into_one_space(pair: PairEncoder, tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures")
    mixed = pair.embed([TEXTS[0], pictures[2], TEXTS[2], pictures[0]])
    apart = np.concatenate([pair.embed(TEXTS), pair.embed(pictures)])
    np.testing.assert_allclose(mixed, apart[[0, 5, 2, 3]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-6)


def test_inputs_have_a_row_for_each_item_in_memory_and_on_disk(pair: PairEncoder, tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures", 2)
    items = [pictures[0], "a red shoe", pictures[1], "a bag", "a blue bag"]
    place = np.array([0, 0, 1, 1, 1])
    corpus = Corpus(items=items, conversation=place, turn=np.array([-1, 0, -1, 0, 1]), digest="d")
    for inputs in (pair.inputs(corpus), pair.inputs(corpus, tmp_path / "inputs")):
        assert len(inputs) == 5
        assert inputs.pixels.take([2, 0]).shape == (2, pair.size, pair.size, 3)
        assert len(inputs.tokens[0]) == 2  # special tokens alone
        words = sum(len(inputs.tokens[i]) for i in (1, 3, 4))
        assert words > 3 * 3 and pair.units(items) == 2 * 4 + words
        assert pair.texts_that_fill(inputs) == 0
    long = dataclasses.replace(corpus, items=[*items[:4], "a blue bag " * pair.max_length])
    assert pair.texts_that_fill(pair.inputs(long)) == 1


def test_towers_keep_their_vectors_until_they_are_projected(pair: PairEncoder, tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures", 1)
    base = open_base(pair.began_as.split("+")[0])
    weights = pair.network.picture_projection.weight.detach().numpy()
    projected = base.embed(pictures) @ weights.T
    np.testing.assert_allclose(projected / np.linalg.norm(projected), pair.embed(pictures), atol=1e-5)


def test_a_pair_without_its_pooling_or_with_a_weight_missing_is_refused(pair: PairEncoder, tmp_path: Path) -> None:
    pair.save(tmp_path / "pair", card="")
    (tmp_path / "pair" / "1_Pooling" / "config.json").unlink()
    with pytest.raises(BaseModelError, match=r"does not say how its texts are pooled.*PICTURES\+TEXTS"):
        open_base(str(tmp_path / "pair"))
    with pytest.raises(ConfigError, match="no prompt named 'query'"):
        pair.embed(["hello"], prompt="query")


def test_the_digest_of_a_pair_names_both_towers(pair: PairEncoder, tmp_path: Path) -> None:
    words = tmp_path / "words"
    assert base_digest(f"scratch:vit-nano+{words}") != base_digest(f"scratch:vit-tiny+{words}")
    assert kind_of(f"scratch:vit-nano+{words}") == "pair"
