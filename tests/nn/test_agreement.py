"""The first opening of a model compares packed rows with the stock transformers model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from shoptalk.nn import agreement, attention, bertlike
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from tests.tiny import tiny_product

TEXTS = ["hello", "day after day", "zebra!"]


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_equal", set())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_product().save(tmp_path / "saved", card="")
    return tmp_path / "saved"


def test_a_model_that_agrees_is_packed_and_asked_once(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked = []
    real = agreement.disagreement
    monkeypatch.setattr(agreement, "disagreement", lambda *given, **more: asked.append(1) or real(*given, **more))
    assert open_base(str(saved)).network.packed
    assert open_base(str(saved)).network.packed
    assert len(asked) == 1
    assert capsys.readouterr().err == ""


def renamed(*_: Any) -> Any:
    raise AttributeError("'BertLayer' object has no attribute 'attention'")


def blind(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, *, packing: Any = None, **_: Any) -> Any:
    """Attention that no longer hears of the packing: every text of a row sees every other."""
    return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2), None


def nothing(backbone: Any, weights: Any, embedded: Tensor, group: Any, **_: Any) -> list[Tensor]:
    return [torch.full_like(embedded, torch.nan)]


@pytest.mark.parametrize(
    ("what", "replacement", "reason"),
    [
        ("weights", renamed, "AttributeError: 'BertLayer' object has no attribute"),
        ("contextualize", nothing, "off by inf"),
        (None, blind, "a state is off by"),
    ],
)
def test_a_model_that_disagrees_keeps_the_stock_attention_and_one_line_says_so(
    saved: Path,
    what: str | None,
    replacement: Callable[..., Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    expected = embed(tiny_product(), TEXTS)
    if what is None:
        monkeypatch.setattr(bertlike, "library", lambda: None)
        from transformers import AttentionInterface

        AttentionInterface.register(attention.NAME, blind)
    else:
        monkeypatch.setattr(bertlike, "library", object)
        monkeypatch.setattr(bertlike, what, replacement)
    try:
        product = open_base(str(saved))
        assert not product.network.packed
        assert_allclose(embed(product, TEXTS), expected, atol=1e-5)
    finally:
        if what is None:
            AttentionInterface.register(attention.NAME, attention.packed_attention)
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line and "its stock model is used" in line


def test_the_tolerance_lies_far_above_rounding():
    product = tiny_product()
    product.network.backbone.set_attn_implementation("eager")
    rows = [np.array(product.tokenizer(text)["input_ids"]) for text in agreement.TEXTS]
    with torch.inference_mode():
        alone = [product.network.backbone(input_ids=torch.from_numpy(row)[None]).last_hidden_state[0] for row in rows]
        product.network.backbone.set_attn_implementation(attention.NAME)
        packed = agreement._packed(product.network, rows, pad_id=0)
    off = max(float(agreement._distance(one, other)) for one, other in zip(packed, alone, strict=True))
    assert 0 < off < agreement.TOLERANCE / 100
