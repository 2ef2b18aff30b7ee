from pathlib import Path
from typing import Any

import pytest
import torch

from shoptalk.nn.encoder_decoder import EncoderDecoder
from shoptalk.nn.open_seq2seq import open_encoder_decoder
from shoptalk.nn.scratch_lm import LM_SIZES, lm_size_of, young_language_model
from shoptalk.nn.scratch_t5 import T5Size, scratch_t5
from shoptalk.nn.tiny import WORDS
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.text.spans import SENTINELS, sentinels_of
from shoptalk.text.trained_bpe import train_bpe
from shoptalk.training.optim import make_optimizer

TEXTS = [" ".join(WORDS[(3 * i + j * j) % len(WORDS)] for j in range(8)) for i in range(400)]
TOKENIZER = train_bpe(TEXTS, most=500, max_length=64, sentinels=SENTINELS)
NANO = LM_SIZES["scratch:t5-nano"]
SMALL = T5Size("scratch:t5-small-test", layers=1, width=32, heads=2, hidden=64, vocabulary=500)


def model_of(seed: int = 0, size: T5Size = SMALL) -> Any:
    return scratch_t5(size, TOKENIZER, seed=seed)


def test_random_weights_are_those_of_their_seed_and_draw_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    one, same, other = (model_of(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["shared.weight"], other["shared.weight"])
    assert float(one["shared.weight"].std()) == pytest.approx(0.8, rel=0.05)


def test_an_untrained_model_scores_tokens_by_logits_of_a_usual_size() -> None:
    model = model_of(size=NANO)
    ids = torch.arange(4, 40)[None]
    with torch.inference_mode():
        logits = model(input_ids=ids, decoder_input_ids=ids).logits
    assert 0.4 < float(logits.std()) < 1.2


def test_an_untrained_encoder_passes_the_words_on() -> None:
    model, passed = model_of(size=NANO), []
    model.encoder.final_layer_norm.register_forward_pre_hook(lambda _, states: passed.append(states[0]))
    ids = torch.arange(4, 40)[None]
    with torch.inference_mode():
        model.encoder(input_ids=ids)
        likeness = torch.cosine_similarity(passed[0], model.shared(ids), dim=-1)
    assert float(likeness.mean()) > 0.4


def test_a_size_has_as_many_parameters_as_it_says() -> None:
    assert isinstance(NANO, T5Size) and lm_size_of("scratch:t5-nano") is NANO and NANO.kind == "seq2seq"
    with torch.device("meta"):
        model = model_of(size=NANO)
    held = sum(parameter.numel() for parameter in model.parameters())
    assert held == NANO.parameters - (NANO.vocabulary - len(TOKENIZER)) * NANO.width
    assert f"{NANO.parameters / 1e6:.1f} M" in NANO.about


def test_a_tokenizer_with_sentinels_ends_every_text_and_knows_them() -> None:
    ids = TOKENIZER("where is it?")["input_ids"]
    assert ids[-1] == TOKENIZER.eos_token_id and TOKENIZER.decode(ids, skip_special_tokens=True) == "where is it?"
    assert sentinels_of(TOKENIZER).tolist() == list(range(4, 104))
    assert TOKENIZER("<extra_id_3>", add_special_tokens=False)["input_ids"] == [7]


def test_the_reference_makes_a_whole_product() -> None:
    product = young_language_model(SMALL, TEXTS, seed=0)
    assert isinstance(product, EncoderDecoder) and product.name == SMALL.name and product.max_length == 512
    config: Any = product.network.backbone.config
    assert config.shoptalk_base == SMALL.name and config.decoder_start_token_id == product.tokenizer.pad_token_id


def test_queries_learn_as_those_of_scaled_attention_and_the_table_as_vaswanis() -> None:
    network = young_language_model(SMALL, TEXTS, seed=0).network
    rates = network.rates
    names = {name for name, _ in network.named_parameters()}
    assert set(rates) == {name for name in names if name.endswith((".q.weight", "shared.weight"))}
    assert {rate for name, rate in rates.items() if name.endswith(".q.weight")} == {16**-0.5}
    assert [rate for name, rate in rates.items() if name.endswith("shared.weight")] == [32**0.5]


def test_a_step_moves_each_parameter_by_its_own_rate() -> None:
    network = young_language_model(SMALL, TEXTS, seed=0).network
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = make_optimizer(network, network, lr=1e-3, weight_decay=0.0)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        moved = (before[name] - parameter.detach()).abs()
        torch.testing.assert_close(
            moved, torch.full_like(moved, 1e-3 * network.rates.get(name, 1.0)), rtol=1e-3, atol=0
        )


def test_the_rates_stay_with_the_folder_and_other_models_have_none(tmp_path: Path) -> None:
    young = young_language_model(SMALL, TEXTS, seed=0)
    young.save(tmp_path / "young", card="")
    again = open_encoder_decoder(tmp_path / "young", "x")
    assert again.network.rates == young.network.rates
    assert tiny_encoder_decoder().network.rates == {}
