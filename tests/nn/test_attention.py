"""Packed rows through stock transformers models, the CPU kernels and (simulated) flash attention: all the same."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from shoptalk.nn import attention, bertlike
from shoptalk.nn.encoder import PACKABLE, Encoder
from shoptalk.nn.native import library
from shoptalk.text.batching import Group, TokenBatch, make_batch

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**SIZES),
    "roberta": lambda: RobertaConfig(**SIZES),
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES),
    "camembert": lambda: CamembertConfig(**SIZES),
    "electra": lambda: ElectraConfig(**SIZES, embedding_size=16),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=80, pad_token_id=1
    ),
    "mpnet": lambda: MPNetConfig(**SIZES),
}


def encoder_of(model_type: str, implementation: str, *, seed: int = 0) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = AutoModel.from_config(CONFIGS[model_type]())
    # Biases that are not zero, so that one that is lost would be missed.
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    attention.use(backbone, implementation)
    return Encoder(backbone).eval()


def some_texts(seed: int = 0, n: int = 24) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 100, size=length) for length in rng.integers(1, 60, size=n)]


def alone(model_type: str, texts: list[np.ndarray]) -> np.ndarray:
    """Each text by itself through the stock model with its stock attention, pooled here."""
    encoder = encoder_of(model_type, "eager")
    vectors = []
    for text in texts:
        with torch.no_grad():
            states = encoder.backbone(input_ids=torch.from_numpy(text)[None]).last_hidden_state[0].double().numpy()
        mean = states.mean(0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors)


@pytest.fixture(params=["kernels", "stock"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "kernels" and library() is None:
        pytest.skip("no C++ compiler, or SHOPTALK_NATIVE=0")
    if request.param == "stock":
        monkeypatch.setattr(bertlike, "library", lambda: None)
    return str(request.param)


def test_every_packable_model_type_is_tested_here():
    assert set(CONFIGS) == set(PACKABLE)


@pytest.mark.parametrize("model_type", PACKABLE)
def test_a_packed_text_gets_the_vector_that_it_has_alone(model_type: str, route: str):
    texts = some_texts()
    encoder = encoder_of(model_type, attention.NAME)
    assert encoder.packed
    assert bertlike.serves(encoder.backbone) == (
        route == "kernels" and model_type in (*bertlike.FAMILY, *attention.RELATIVE)
    )
    with torch.no_grad():
        found = encoder(make_batch(texts, pad_id=1)).numpy()
    assert_allclose(found, alone(model_type, texts), atol=2e-6)


@pytest.mark.parametrize("model_type", PACKABLE)
def test_changing_one_text_moves_no_state_of_another(model_type: str, route: str):
    encoder = encoder_of(model_type, attention.NAME)
    texts = some_texts(n=8)
    changed = [row if i != 3 else (row - 2 + 7) % 98 + 2 for i, row in enumerate(texts)]

    def states(rows: list[np.ndarray]) -> list[tuple[int, Tensor]]:
        batch = make_batch(rows, pad_id=1)
        with torch.no_grad():
            hidden = [(group, encoder.hidden(group).flatten(0, 1)) for group in batch.groups]
        return [
            (i, flat[begin : begin + length])
            for group, flat in hidden
            for i, begin, length in zip(
                *(part.tolist() for part in (group.rows, group.begins, group.lengths)), strict=True
            )
        ]

    for (i, before), (_, after) in zip(states(texts), states(changed), strict=True):
        assert torch.equal(before, after) == (i != 3)


def gradients(encoder: Encoder, batch: TokenBatch) -> dict[str, Tensor]:
    encoder.zero_grad()
    vectors = encoder(batch)
    (vectors * torch.linspace(-1, 1, vectors.numel()).reshape(vectors.shape)).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("model_type", (*bertlike.FAMILY, *attention.RELATIVE))
def test_the_cpu_layers_have_the_gradients_of_the_stock_model(model_type: str, monkeypatch: pytest.MonkeyPatch):
    batch = make_batch(some_texts(), pad_id=1)
    ours = gradients(encoder_of(model_type, attention.NAME), batch)
    monkeypatch.setattr(bertlike, "library", lambda: None)
    stock = gradients(encoder_of(model_type, attention.NAME), batch)
    assert ours.keys() == stock.keys()
    for name, gradient in stock.items():
        assert_allclose(ours[name].numpy(), gradient.numpy(), atol=2e-5, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("make", [BertConfig, MPNetConfig])
@pytest.mark.parametrize("lengths", [(5, 12, 40), (100, 120, 70)])
def test_under_autocast_the_layers_are_those_of_float32_to_rounding(
    lengths: tuple[int, ...], make: type[PreTrainedConfig]
):
    config = make(**SIZES | {"max_position_embeddings": 130})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(AutoModel.from_config(config)).eval()
    attention.use(encoder.backbone, attention.NAME)
    rng = np.random.default_rng(1)
    batch = make_batch([rng.integers(2, 100, size=length) for length in lengths], pad_id=1)
    exact, exact_gradients = encoder(batch).detach(), gradients(encoder, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(batch).detach()
        rounded_gradients = gradients(encoder, batch)
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, rounded).min() > 0.9995
    for name, gradient in exact_gradients.items():
        if gradient.norm() > 1e-3:
            cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), rounded_gradients[name].flatten(), dim=0)
            assert cosine > 0.98, name


def test_a_model_that_is_not_on_the_list_gets_a_text_a_row():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = AutoModel.from_config(AlbertConfig(**SIZES, embedding_size=16), attn_implementation="eager")
    encoder, texts = Encoder(backbone).eval(), some_texts(n=6)
    assert not encoder.packed
    with torch.no_grad():
        together = encoder(make_batch(texts, pad_id=1, packed=encoder.packed)).numpy()
        one = [encoder(make_batch([text], pad_id=1, packed=False)).numpy()[0] for text in texts]
    assert_allclose(together, np.stack(one), atol=2e-6)


def reference_varlen(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, scale: float, dropout: float
) -> Tensor:
    """What flash attention's variable-length kernel computes, text by text."""
    assert q.dtype == torch.bfloat16
    assert starts.dtype == torch.int32
    parts = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        assert end - begin <= longest
        weights = torch.einsum("qhd,khd->hqk", q[begin:end].double(), k[begin:end].double()).mul(scale).softmax(-1)
        parts.append(torch.einsum("hqk,khd->qhd", weights, v[begin:end].double()))
    return torch.cat(parts).to(q.dtype)


def test_the_variable_length_kernel_gets_every_text_and_no_padding():
    group: Group = make_batch(some_texts(n=9), pad_id=1).groups[0]
    packing = attention.Packing(group, torch.device("cpu"))
    rows, width = group.ids.shape
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(rows, 2, width, 16, generator=generator) for _ in range(3))
    found = attention._varlen(reference_varlen, query, key, value, packing, 0.25, 0.0)
    expected, _ = attention.packed_attention(torch.nn.Module(), query, key, value, None, packing=packing)
    assert_allclose(found[group.mask].numpy(), expected[group.mask].numpy(), atol=0.03)
    assert (found[~group.mask] == 0).all()
