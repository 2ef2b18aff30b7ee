"""Encoder–decoders: bits by hand, smoothing by hand, on disk and back, and what is refused."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

from shoptalk.errors import BaseModelError, ConfigError, InputError
from shoptalk.nn import open_seq2seq
from shoptalk.nn.bases import began_as, kind_of, open_base, open_model, pieces_of, resolve
from shoptalk.nn.decoding.writer import open_writer
from shoptalk.nn.encoder_decoder import EncoderDecoder, EncoderDecoderNetwork, target_loss
from shoptalk.nn.open_seq2seq import is_encoder_decoder, open_encoder_decoder
from shoptalk.nn.rewriting import LONGER, MORE, rewritten
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.nn.tiny_t5 import tiny_bytes_with_sentinels, tiny_encoder_decoder
from shoptalk.tasks import check_reads
from shoptalk.text.spans import SourceTarget

SOURCES = ["two dogs run", "a cat", "where is my parcel, please?"]
TARGETS = ["zwei hunde rennen", "eine katze", "wo ist mein paket"]


def log_probabilities(model: EncoderDecoder, source: str, target: str) -> tuple[np.ndarray, list[int]]:
    """Of each token of the target the logarithms of all V probabilities by the stock model, in float64, and the ids."""
    tokenizer, backbone = model.tokenizer, model.network.backbone
    ids, labels = tokenizer(source)["input_ids"], tokenizer(target)["input_ids"]
    written = [backbone.config.decoder_start_token_id, *labels[:-1]]
    with torch.inference_mode():
        logits = backbone(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([written])).logits[0]
    logits = logits.double().numpy()
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), labels


def bits_by_hand(model: EncoderDecoder, source: str, target: str) -> float:
    log_p, labels = log_probabilities(model, source, target)
    return float(-sum(log_p[place, label] for place, label in enumerate(labels)) / math.log(2))


def tiny_bart() -> EncoderDecoder:
    """Of another build: absolute positions, biases, one added to the logits, and a start that is its end token."""
    tokenizer = tiny_bytes_with_sentinels()
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=1,
        bos_token_id=0, eos_token_id=0, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    backbone = BartForConditionalGeneration(config).eval()
    torch.nn.init.normal_(backbone.final_logits_bias)
    return EncoderDecoder(EncoderDecoderNetwork(backbone), tokenizer, 64, name="bart")


@pytest.mark.parametrize("make", [tiny_encoder_decoder, tiny_bart])
def test_bits_are_those_of_the_stock_model(make: Any) -> None:
    model = make()
    expected = [bits_by_hand(model, source, target) for source, target in zip(SOURCES, TARGETS, strict=True)]
    np.testing.assert_allclose(model.bits_given(SOURCES, TARGETS), expected, rtol=1e-5)
    assert model.bits_given([], []).shape == (0,)


@pytest.mark.parametrize("make", [tiny_encoder_decoder, tiny_bart])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_smoothed_cross_entropy_by_hand(make: Any, smoothing: float) -> None:
    model = make()
    total, plain, count = 0.0, 0.0, 0
    for source, target in zip(SOURCES, TARGETS, strict=True):
        log_p, labels = log_probabilities(model, source, target)
        for place, label in enumerate(labels):
            plain -= log_p[place, label]
            total -= (1 - smoothing) * log_p[place, label] + smoothing * log_p[place].mean()
            count += 1
    ids, targets = model.ids(SOURCES), model.ids(TARGETS)
    batch = model.pairs([SourceTarget(ids[i], targets[i]) for i in range(3)])
    loss = target_loss(model.network, batch, smoothing=smoothing)
    np.testing.assert_allclose(loss.total.item(), total / count, rtol=1e-5)
    np.testing.assert_allclose(loss.nats.item(), plain / count, rtol=1e-5)


def test_the_gradient_is_that_of_torchs_own_smoothed_cross_entropy() -> None:
    ours, theirs = tiny_encoder_decoder(), tiny_encoder_decoder()
    ids, targets = ours.ids(SOURCES), ours.ids(TARGETS)
    batch = ours.pairs([SourceTarget(ids[0], targets[0])])
    target_loss(ours.network, batch, smoothing=0.1).total.backward()
    row = ours.tokenizer([SOURCES[0]], return_tensors="pt")["input_ids"]
    labels = ours.tokenizer([TARGETS[0]], return_tensors="pt")["input_ids"]
    logits = theirs.network.backbone(input_ids=row, labels=labels).logits[0]
    torch.nn.functional.cross_entropy(logits, labels[0], label_smoothing=0.1).backward()
    gradients = dict(theirs.network.named_parameters())
    for name, parameter in ours.network.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-6)


def test_padding_changes_nothing() -> None:
    model = tiny_encoder_decoder()
    alone = [model.bits_given([source], [target])[0] for source, target in zip(SOURCES, TARGETS, strict=True)]
    np.testing.assert_allclose(model.bits_given(SOURCES, TARGETS), alone, rtol=1e-5)


def test_a_text_longer_than_the_context_is_cut_and_a_marker_in_a_text_is_read_as_letters() -> None:
    model = tiny_encoder_decoder(max_length=16)
    batch = model.pairs([SourceTarget(*(model.ids(["x" * 100])[0],) * 2)])
    assert batch.groups[0].source[0][batch.groups[0].seen[0]].tolist() == [*model.ids(["x" * 15])[0].tolist(), 0]
    assert len(model.ids(["<extra_id_0>"])[0]) == len("<extra_id_0>")
    assert model.units(["ab", "c"]) == 3


def test_a_model_is_written_as_transformers_reads_it_and_opens_again(tmp_path: Path) -> None:
    model = tiny_encoder_decoder()
    model.save(tmp_path, card="# tiny\n")
    stock, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer("Grüße!")["input_ids"], skip_special_tokens=True) == "Grüße!"
    assert type(stock).__name__ == "T5ForConditionalGeneration"
    assert kind_of(str(tmp_path)) == "seq2seq" and is_encoder_decoder(tmp_path)
    again = open_model(str(tmp_path))
    assert isinstance(again, EncoderDecoder) and pieces_of(again) == len(model.tokenizer)
    np.testing.assert_allclose(again.bits_given(SOURCES, TARGETS), model.bits_given(SOURCES, TARGETS), rtol=1e-6)
    copied = again.copy()
    with torch.no_grad():
        next(copied.network.parameters()).add_(1.0)
    np.testing.assert_allclose(again.bits_given(SOURCES, TARGETS), model.bits_given(SOURCES, TARGETS), rtol=1e-6)
    with pytest.raises(BaseModelError, match="is a language model and gives no vectors"):
        open_base(str(tmp_path))
    with pytest.raises(InputError, match=r"continue none.*`shoptalk translate`"):
        open_writer(str(tmp_path))
    with pytest.raises(ConfigError, match=r"no task judges these yet.*--objective span.*--task translate"):
        check_reads(("language_model",), str(tmp_path), "seq2seq")
    assert began_as(str(tmp_path)) is None


def test_an_encoder_of_t5s_or_a_decoder_is_no_encoder_decoder(tmp_path: Path) -> None:
    T5EncoderModel(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path
    )
    assert not is_encoder_decoder(tmp_path) and kind_of(str(tmp_path)) == "text"
    tiny_language_model().save(tmp_path / "lm", card="")
    assert not is_encoder_decoder(tmp_path / "lm") and kind_of(str(tmp_path / "lm")) == "lm"
    (tmp_path / "config.json").write_text("{")
    assert not is_encoder_decoder(tmp_path) and not is_encoder_decoder(tmp_path / "nowhere")


def test_a_bart_opens_too(tmp_path: Path) -> None:
    model = tiny_bart()
    model.save(tmp_path, card="")
    again = open_encoder_decoder(tmp_path, "bart")
    np.testing.assert_allclose(again.bits_given(SOURCES, TARGETS), model.bits_given(SOURCES, TARGETS), rtol=1e-5)


def test_a_folder_that_leaves_its_positions_open_has_the_usual_context(tmp_path: Path) -> None:
    tiny_encoder_decoder().save(tmp_path, card="")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": None}))
    assert open_encoder_decoder(tmp_path, "x", max_length=32).max_length == 32


def test_a_tokenizer_whose_length_is_no_number_is_refused(tmp_path: Path) -> None:
    tiny_encoder_decoder().save(tmp_path, card="")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": "long"}))
    with pytest.raises(BaseModelError, match=r"cannot be opened as an encoder–decoder: .*'long'"):
        open_encoder_decoder(tmp_path, "x")


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    tiny_encoder_decoder().save(tmp_path, card="")
    tensors = load_file(tmp_path / "model.safetensors")
    lacking = next(name for name in tensors if "decoder" in name and name.endswith("wo.weight"))
    save_file(
        {k: v for k, v in tensors.items() if k != lacking}, tmp_path / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(BaseModelError, match=rf"lacks 1 of the weights .*{lacking}"):
        open_encoder_decoder(tmp_path, "x")


def test_a_context_that_is_no_step_of_the_ladder_is_read_to_its_end() -> None:
    model = tiny_bart()
    model.network.backbone.model.encoder.embed_positions.weight.data = (
        model.network.backbone.model.encoder.embed_positions.weight.data[: 60 + 2]
    )
    short = EncoderDecoder(model.network, model.tokenizer, 60, name="bart")
    assert np.isfinite(short.bits_given(["a" * 70, "b"], ["c" * 70, "d"])).all()


class _TwoSided:
    """A tokenizer that reads what is written in another way."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str | None = None, *, text_target: str | None = None) -> Any:
        return self._tokenizer(text if text is not None else f"de {text_target}")


class _Unnamed(_TwoSided):
    def __call__(self, text: str | None = None, *, text_target: str | None = None) -> Any:
        if text is None:
            raise ValueError("tgt_lang is missing")
        return self._tokenizer(text)


@pytest.mark.parametrize("kind", [_TwoSided, _Unnamed])
def test_a_tokenizer_with_another_way_for_what_is_written_is_refused(kind: Any, tmp_path: Path) -> None:
    tokenizer = tiny_encoder_decoder().tokenizer
    open_seq2seq._refuse_two_sided(tokenizer, tmp_path, "x")
    with pytest.raises(BaseModelError, match="Marian's and NLLB's"):
        open_seq2seq._refuse_two_sided(kind(tokenizer), tmp_path, "x")


def test_a_tokenizer_with_pieces_of_its_own_for_what_is_written_is_refused(tmp_path: Path) -> None:
    tokenizer = copy.copy(tiny_encoder_decoder().tokenizer)
    tokenizer.spm_target = object()  # as Marian's, whose short words are often the same pieces on both sides
    with pytest.raises(BaseModelError, match="Marian's and NLLB's"):
        open_seq2seq._refuse_two_sided(tokenizer, tmp_path, "x")


@pytest.mark.parametrize("make", [tiny_encoder_decoder, tiny_bart])
def test_a_tokenizer_without_padding_reads_trains_and_writes_alike(make: Any) -> None:
    model = make()
    tokenizer = copy.copy(model.tokenizer)
    expected = model.bits_given(SOURCES, TARGETS), rewritten(model, SOURCES)
    start = model.network.start_id
    tokenizer.pad_token = None
    bare = EncoderDecoder(model.network, tokenizer, model.max_length, name="bare")
    assert bare.tokenizer.pad_token_id is None and bare.network.start_id == start
    np.testing.assert_allclose(bare.bits_given(SOURCES, TARGETS), expected[0], rtol=1e-6)
    assert rewritten(bare, SOURCES) == expected[1]
    pairs = [SourceTarget(bare.ids([a])[0], bare.ids([b])[0]) for a, b in zip(SOURCES, TARGETS, strict=True)]
    total, with_pad = (target_loss(model.network, each.pairs(pairs)).total for each in (bare, model))
    torch.testing.assert_close(total, with_pad)


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path: Path) -> None:
    tiny_encoder_decoder().save(tmp_path, card="")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
    with pytest.raises(BaseModelError, match="puts nothing after a text"):
        open_encoder_decoder(tmp_path, "x")


class _Scaled(EncoderDecoderNetwork):
    @property
    def table(self) -> torch.Tensor:
        return super().table * 50


def test_logits_that_are_made_in_another_way_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_encoder_decoder().save(tmp_path, card="")
    monkeypatch.setattr("shoptalk.nn.open_seq2seq.EncoderDecoderNetwork", _Scaled)
    with pytest.raises(BaseModelError, match="its logits are made in another way"):
        open_encoder_decoder(tmp_path, "x")


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_written_does_not_depend_on_the_others_and_ends_in_time(beams: int) -> None:
    model = tiny_encoder_decoder()
    together = rewritten(model, SOURCES, beams=beams, most_tokens=8)
    assert together == [rewritten(model, [source], beams=beams, most_tokens=8)[0] for source in SOURCES]
    assert rewritten(model, [], beams=beams) == []
    assert not any("<" in text for text in together)


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize(("make", "seed"), [(tiny_encoder_decoder, 0), (tiny_encoder_decoder, 1), (tiny_bart, 1)])
def test_a_longer_row_beside_it_does_not_change_what_is_written(
    make: Callable[[], EncoderDecoder], seed: int, beams: int
) -> None:
    """Each row has a limit of its own, which random weights reach."""
    model, sources = make(), ["a", "two", "dogs and cats"]
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    limits = [LONGER * len(model.framed(model.ids([source])[0])) + MORE for source in sources]
    assert len(set(limits)) == 3 and max(limits) <= model.max_length
    assert rewritten(model, sources, beams=beams) == [rewritten(model, [source], beams=beams)[0] for source in sources]


def test_settings_of_a_folder_for_other_texts_do_not_change_what_is_written() -> None:
    model = tiny_bart()
    backbone: Any = model.network.backbone
    plain = [rewritten(model, SOURCES, beams=beams) for beams in (1, 3)]
    others = {"min_length": 30, "no_repeat_ngram_size": 1, "length_penalty": 4.0, "repetition_penalty": 3.0}
    backbone.generation_config.update(**others, num_return_sequences=2, num_beams=4, forced_eos_token_id=5)
    asked = backbone.generation_config.to_dict()
    assert [rewritten(model, SOURCES, beams=beams) for beams in (1, 3)] == plain
    assert backbone.generation_config.to_dict() == asked  # what is saved with the model
    forbidden = int(model.tokenizer.convert_tokens_to_ids("a"))
    backbone.generation_config.update(suppress_tokens=[forbidden])
    assert not any("a" in text for text in rewritten(model, SOURCES))


def test_a_scratch_size_exists_only_inside_a_run() -> None:
    assert kind_of("scratch:t5-nano") == "seq2seq" and began_as("scratch:t5-nano") == "scratch:t5-nano"
    with pytest.raises(
        BaseModelError, match=r"--objective span --base scratch:t5-nano --out DIR`; then give DIR/model"
    ):
        resolve("scratch:t5-nano")
    with pytest.raises(BaseModelError, match="There is no base 'scratch:t5-nono'"):
        kind_of("scratch:t5-nono")
