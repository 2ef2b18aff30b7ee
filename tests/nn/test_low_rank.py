"""Low-rank adaptation: the paper's layer by NumPy, nothing changed at first, and a plain model in the end."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from shoptalk.errors import ConfigError
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.language_model import CausalNetwork, LanguageModel
from shoptalk.nn.low_rank import LoraSettings, LowRankLinear, adapt_matrices, is_adapted, matrix_of, merged
from shoptalk.nn.tiny_lm import tiny_bytes, tiny_language_model

TEXTS = ["The ferry costs 12.", "Market days", "é"]


def gpt2() -> LanguageModel:
    """A decoder that keeps its matrices the other way round, with biases."""
    tokenizer = tiny_bytes()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LanguageModel(CausalNetwork(GPT2LMHeadModel(config).eval()), tokenizer, 64, name="gpt2")


MODELS = {"llama": tiny_language_model, "gpt2": gpt2}


def trained(model: LanguageModel, settings: LoraSettings) -> LanguageModel:
    """The model adapted, with what is added away from zero as a training would leave it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapt_matrices(model.network.backbone, settings)
        for part in model.network.modules():
            if isinstance(part, LowRankLinear):
                nn.init.normal_(part.up, std=0.05)
    return model


def count_trained(model: LanguageModel) -> int:
    return sum(weight.numel() for weight in model.network.parameters() if weight.requires_grad)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(6, 9), st.integers(6, 9), st.floats(0.25, 16.0), st.booleans(), st.booleans())
def test_the_layer_is_the_papers_by_numpy_and_so_is_the_merged_one(
    rank: int, inputs: int, outputs: int, scale: float, bias: bool, turned: bool
) -> None:
    torch.manual_seed(rank)
    plain = Conv1D(outputs, inputs) if turned else nn.Linear(inputs, outputs, bias=bias)
    layer = LowRankLinear(plain, rank=rank, scale=scale)
    nn.init.normal_(layer.up)
    x = torch.randn(3, 2, inputs)
    weight, down, up = (part.detach().double().numpy() for part in (matrix_of(plain), layer.down, layer.up))
    expected = x.double().numpy() @ (weight + scale * up @ down).T
    if plain.bias is not None:
        expected = expected + plain.bias.detach().double().numpy()
    for way in (layer, layer.merged()):
        np.testing.assert_allclose(way(x).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    assert type(layer.merged()) is type(plain)


@pytest.mark.parametrize("name", MODELS)
def test_before_any_step_the_merged_model_is_the_base_bit_for_bit(name: str) -> None:
    base, model = MODELS[name](), MODELS[name]()
    adapt_matrices(model.network.backbone, LoraSettings(rank=4))
    assert is_adapted(model.network)
    before, after = base.network.state_dict(), model.merged().network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    np.testing.assert_array_equal(model.score(TEXTS), base.score(TEXTS))


@pytest.mark.parametrize("name", MODELS)
def test_merged_weights_give_the_logits_of_the_two_matrices_beside_each_other(name: str) -> None:
    base = MODELS[name]()
    model = trained(MODELS[name](), LoraSettings(rank=4, alpha=8))
    plain = model.merged()
    ids = torch.tensor([base.tokenizer(TEXTS[0])["input_ids"]])
    with torch.inference_mode():
        ours, theirs, before = (one.network.backbone(ids).logits for one in (model, plain, base))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, before, atol=1e-3)
    assert is_adapted(model.network) and not is_adapted(plain.network)


def test_merging_leaves_the_training_as_it_is_and_shares_what_is_not_adapted() -> None:
    model = trained(tiny_language_model(), LoraSettings(rank=2, layers=("q_proj",)))
    before = copy.deepcopy(model.network.state_dict())
    plain = merged(model.network)
    own = {weight.data_ptr() for weight in plain.parameters()} - {
        weight.data_ptr() for weight in model.network.parameters()
    }
    assert len(own) == 2  # a matrix of queries in each of two layers
    for weight in plain.parameters():
        if weight.data_ptr() in own:
            weight.data.zero_()
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    table = plain.backbone.get_output_embeddings().weight  # type: ignore[operator]
    assert table is plain.backbone.get_input_embeddings().weight  # type: ignore[operator]


def test_the_trained_numbers_are_those_of_the_narrow_matrices_and_no_others() -> None:
    model = tiny_language_model()  # 32 dimensions, of which keys and values have 16, and 64 in the feed-forward block
    adapt_matrices(model.network.backbone, LoraSettings(rank=3))
    sides = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 64), (32, 64), (64, 32)]
    assert count_trained(model) == 2 * sum(3 * (inputs + outputs) for inputs, outputs in sides)
    few = tiny_language_model()
    adapt_matrices(few.network.backbone, LoraSettings(rank=3, layers=("q_proj", "v_proj")))
    assert count_trained(few) == 2 * 3 * (64 + 48)
    names = {name.rpartition(".")[2] for name, weight in few.network.named_parameters() if weight.requires_grad}
    assert names == {"up", "down"}


def test_rank_nought_trains_the_whole_model() -> None:
    model, whole = tiny_language_model(), tiny_language_model()
    adapt_matrices(model.network.backbone, LoraSettings())
    assert count_trained(model) == sum(weight.numel() for weight in whole.network.parameters())
    assert not is_adapted(model.network) and model.merged() is model


def test_the_seed_decides_what_is_drawn() -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = tiny_language_model()
        adapt_matrices(model.network.backbone, LoraSettings(rank=2))
        drawn.append(
            torch.cat([part.down.flatten() for part in model.network.modules() if isinstance(part, LowRankLinear)])
        )
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_saved_model_is_plain_and_opens_in_transformers_without_adapters(tmp_path: Path) -> None:
    model = trained(tiny_language_model(), LoraSettings(rank=4))
    model.save(tmp_path / "model", card="# tiny\n")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.tensor([model.tokenizer(TEXTS[0])["input_ids"]])
    with torch.inference_mode():
        torch.testing.assert_close(opened(ids).logits, model.network.backbone(ids).logits, rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "model").glob("adapter*")) == []
    assert opened.state_dict().keys() == tiny_language_model().network.backbone.state_dict().keys()


def test_a_merged_model_writes_by_the_compiled_pass_what_the_adapted_one_would() -> None:
    model = trained(tiny_language_model(), LoraSettings(rank=4, alpha=16))
    writer = Writer(model.merged())
    ids = list(writer.prompt("Market"))
    (written,) = writer.write([GenerationRequest(tuple(ids), max_tokens=6)])
    with torch.inference_mode():
        for _ in range(6):
            ids.append(int(model.network.backbone(torch.tensor([ids])).logits[0, -1].argmax()))
    assert written.ids == tuple(ids[-6:])
    untrained = Writer(tiny_language_model())
    assert untrained.write([GenerationRequest(untrained.prompt("Market"), max_tokens=6)])[0].ids != written.ids


def test_a_copy_has_weights_of_its_own_adaptations_included() -> None:
    model = trained(tiny_language_model(), LoraSettings(rank=2))
    other = model.copy()
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.zero_()
    assert any(bool(weight.any()) for name, weight in model.network.named_parameters() if name.endswith(".up"))
    assert is_adapted(other.network) and not np.array_equal(other.score(TEXTS), model.score(TEXTS))


def test_bfloat16_weights_are_merged_in_float32_and_rounded_once() -> None:
    torch.manual_seed(0)
    layer = LowRankLinear(nn.Linear(8, 8, dtype=torch.bfloat16), rank=2, scale=0.5)
    nn.init.normal_(layer.up)
    added = 0.5 * layer.up.float() @ layer.down.float()
    expected = layer.layer.weight + added.to(torch.bfloat16)
    assert torch.equal(layer.merged().weight, expected.to(torch.bfloat16))


def test_a_rank_that_is_larger_than_a_matrix_is_refused() -> None:
    backbone = tiny_language_model().network.backbone
    with pytest.raises(
        ConfigError, match=r"lora\.rank = 17 is larger than the matrix of k_proj allows, which has 16 out"
    ):
        adapt_matrices(backbone, LoraSettings(rank=17))
    assert not is_adapted(backbone) and all(weight.requires_grad for weight in backbone.parameters())
    adapt_matrices(backbone, LoraSettings(rank=17, layers=("q_proj",)))
    assert is_adapted(backbone)


def test_layers_that_are_not_there_are_refused_with_the_nearest_or_all() -> None:
    backbone = tiny_language_model().network.backbone
    with pytest.raises(ConfigError, match=r"no linear layer 'q_prj'\. Did you mean 'q_proj'\?"):
        adapt_matrices(backbone, LoraSettings(rank=2, layers=("q_prj",)))
    with pytest.raises(ConfigError, match=r"no linear layer 'lm_head'\. There is: down_proj, gate_proj"):
        adapt_matrices(backbone, LoraSettings(rank=2, layers=("lm_head",)))


def test_a_model_without_linear_layers_is_refused() -> None:
    network = replace(tiny_language_model()).network
    for layer in network.backbone.model.layers:  # type: ignore[union-attr]
        layer.self_attn, layer.mlp = nn.Identity(), nn.Identity()
    with pytest.raises(ConfigError, match=r"no linear layer besides its output table to adapt"):
        adapt_matrices(network.backbone, LoraSettings(rank=2))


@pytest.mark.parametrize("asked", [{"layers": ("q_proj",)}, {"alpha": 4.0}])
def test_settings_of_an_adaptation_without_a_rank_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"lora\.rank is 0, which trains all weights\. Give lora\.rank too"):
        adapt_matrices(tiny_language_model().network.backbone, LoraSettings.model_validate(asked))
