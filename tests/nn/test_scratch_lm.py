import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from shoptalk.errors import BaseModelError
from shoptalk.nn.scratch_lm import LM_SIZES, LmSize, lm_size_of, scratch_lm
from shoptalk.nn.tiny import WORDS
from shoptalk.text.trained_bpe import train_bpe

TEXTS = [" ".join(WORDS[(3 * i + j * j) % len(WORDS)] for j in range(8)) for i in range(400)]
TOKENIZER = train_bpe(TEXTS, most=400, max_length=64)
NANO, MINI = LM_SIZES["scratch:gpt-nano"], LM_SIZES["scratch:gpt-mini"]
SMALL = LmSize("scratch:gpt-small-test", layers=2, width=64, heads=2, hidden=192, vocabulary=400)


def model_of(seed: int = 0, size: LmSize = SMALL) -> Any:
    return scratch_lm(size, TOKENIZER, seed=seed, max_length=64)


def test_random_weights_are_those_of_their_seed_and_draw_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    one, same, other = (model_of(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


@pytest.mark.parametrize("size", [NANO, MINI])
def test_a_size_has_as_many_parameters_as_it_says_and_as_many_in_its_layers_as_gpt_2(size: LmSize):
    with torch.device("meta"):
        model = model_of(size=size)
    assert not model.training
    layers = sum(p.numel() for name, p in model.named_parameters() if ".layers." in name and p.ndim > 1)
    assert layers == pytest.approx(12 * size.layers * size.width**2, rel=0.03)
    held = sum(p.numel() for p in model.parameters())
    assert held == size.parameters - (size.vocabulary - len(TOKENIZER)) * size.width
    assert f"{size.layers} layers, {size.width} dimensions, {size.parameters / 1e6:.1f} M" in size.about


def test_it_is_a_llama_with_tied_embeddings_and_the_tokenizers_special_tokens():
    model = model_of()
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    config = model.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (0, 0, 1)
    assert (config.vocab_size, config.max_position_embeddings) == (400, 64)
    assert model.generation_config.eos_token_id == [0, 3], "a reply ends with its turn"
    assert model.generation_config.pad_token_id == 1


def test_weights_begin_as_gpt_2s_and_those_that_write_into_the_stream_are_smaller_with_depth():
    model = model_of(size=NANO)
    for name, weight in model.state_dict().items():
        if weight.ndim == 1:
            assert torch.equal(weight, torch.ones_like(weight)), name
            continue
        writes = "o_proj" in name or "down_proj" in name
        expected = 0.02 / math.sqrt(2 * NANO.layers) if writes else 0.02
        drawn = weight[2:] if "embed" in name else weight  # the row of the padding token is 0
        assert float(drawn.std()) == pytest.approx(expected, rel=0.03), name
        assert abs(float(drawn.mean())) < expected / 20, name


def test_an_untrained_model_knows_nothing_but_how_many_tokens_there_are():
    ids = torch.from_numpy(np.random.default_rng(0).integers(4, 400, size=(8, 64)))
    with torch.no_grad():
        loss = model_of(size=NANO)(ids, labels=ids).loss
    assert float(loss) == pytest.approx(math.log(400), abs=0.2)


def test_a_token_sees_those_before_it_and_none_after_it():
    ids = torch.arange(10, 30)[None]
    other = ids.clone()
    other[0, 12] = 99
    with torch.no_grad():
        one, two = (model_of()(row).logits[0] for row in (ids, other))
    torch.testing.assert_close(one[:12], two[:12], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(one[12:], two[12:], atol=1e-3)


def test_a_few_steps_learn_a_text_by_heart():
    model = model_of().train()
    ids = torch.tensor([TOKENIZER(TEXTS[0])["input_ids"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_a_saved_model_opens_in_transformers_and_says_what_it_began_as(tmp_path):
    model = model_of(size=NANO)
    model.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        assert torch.equal(opened(ids).logits, model(ids).logits)
    assert json.loads((tmp_path / "config.json").read_text())["shoptalk_base"] == "scratch:gpt-nano"
    assert opened.generation_config.eos_token_id == [0, 3]


def test_references_of_other_kinds_are_none_and_an_unknown_size_is_told_the_nearest():
    assert lm_size_of("scratch:gpt-nano") is NANO
    assert [lm_size_of(ref) for ref in ("minilm", "scratch:mini", "gpt2", "scratch:vit-nano", "./gpt")] == [None] * 5
    with pytest.raises(
        BaseModelError,
        match=r"no base 'scratch:gpt-nono'.*: scratch:gpt-nano, scratch:gpt-mini, scratch:t5-nano\. "
        r"Did you mean 'scratch:gpt-nano'\?",
    ):
        lm_size_of("scratch:gpt-nono")
