"""A language model's bits, by any way of reading; and its folder, which opens without Shoptalk."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
)

from shoptalk.errors import BaseModelError
from shoptalk.nn.bases import kind_of, open_base, open_model
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.language_model import CausalNetwork, LanguageModel
from shoptalk.nn.open_lm import is_decoder, open_decoder
from shoptalk.nn.open_seq2seq import is_encoder_decoder
from shoptalk.nn.tiny_lm import tiny_bytes, tiny_language_model
from shoptalk.text.corpus import Corpus
from tests.tiny_lms import beginning_with

MODEL = tiny_language_model()


def bits_by_hand(model: LanguageModel, text: str) -> float:
    """One text alone, by the stock model's own logits and NumPy: all tokens but the first, which is given."""
    ids = [model.part, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        logits = model.network.backbone(torch.tensor([ids])).logits[0].double().numpy()
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -sum(log_p[place, ids[place + 1]] for place in range(1, len(ids) - 1)) / np.log(2)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=6))
def test_bits_of_texts_side_by_side_are_those_of_each_text_alone(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    texts = [text for text in texts if len(text.encode()) < 60]
    expected = [bits_by_hand(MODEL, text) for text in texts]
    np.testing.assert_allclose(MODEL.score(texts), expected, rtol=1e-5, atol=1e-4)


def test_a_marker_in_a_text_is_read_as_its_letters() -> None:
    text = "a<|endoftext|>b"
    assert len(MODEL.inputs(_corpus(text))[0]) == len(text)
    assert MODEL.units([text]) == len(text)


def _corpus(text: str) -> Corpus:
    return Corpus(items=(text,), conversation=np.zeros(1, dtype=np.int64), turn=np.array([-1]), digest="one")


def test_texts_are_read_after_the_token_that_the_tokenizer_puts_before_them() -> None:
    model = beginning_with("<|begin|>", MODEL)
    assert (model.begin, model.part) == (1, 0) and (MODEL.begin, MODEL.part) == (0, 0)
    ids = torch.tensor([[1, *model.tokenizer("the fee", add_special_tokens=False)["input_ids"]]])
    with torch.inference_mode():
        log_p = model.network.backbone(ids).logits[0].double().log_softmax(-1)
    expected = -log_p[range(1, 7), ids[0, 2:]].sum().item() / np.log(2)
    np.testing.assert_allclose(model.score(["the fee"]), [expected], rtol=1e-5)
    (bits,) = model.bits_after(["the "], [["fee"]])
    np.testing.assert_allclose(bits, model.score(["the fee"]) - model.score(["the "]), rtol=1e-4)


def test_a_text_longer_than_a_context_is_read_in_parts() -> None:
    text, most = "where is my parcel? " * 10, MODEL.max_length - 1
    parts = [text[begin : begin + most] for begin in range(0, len(text) - 1, most - 1)]
    assert sum(len(part) - 1 for part in parts) == len(text) - 1  # all tokens but the first, each of them once
    np.testing.assert_allclose(MODEL.score([text]), MODEL.score(parts).sum(), rtol=1e-6)
    whole, one_more = MODEL.score([text[:most], text[: most + 1]])
    np.testing.assert_allclose(whole, bits_by_hand(MODEL, text[:most]), rtol=1e-5)
    np.testing.assert_allclose(one_more - whole, bits_by_hand(MODEL, text[most - 1 : most + 1]), rtol=1e-4)


def test_the_bits_of_a_long_text_hardly_depend_on_the_context() -> None:
    """Of a model without knowledge a token costs the same everywhere, so that a token that were not counted is seen."""
    text = "where is my parcel? " * 10
    long, short = (tiny_language_model(max_length=most).score([text])[0] for most in (256, 8))
    np.testing.assert_allclose(short, long, rtol=0.02)


def test_a_token_that_parts_documents_has_weights(tmp_path: Path) -> None:
    """A tokenizer may have got <|endoftext|> without the model: what it has weights for is taken."""
    model = beginning_with("<s>", tiny_language_model())
    backend = type(model.tokenizer.backend_tokenizer).from_str(
        model.tokenizer.backend_tokenizer.to_str().replace("<|endoftext|>", "<end>")
    )
    tokenizer = type(model.tokenizer)(tokenizer_object=backend, bos_token="<s>", eos_token="<end>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    grown = replace(model, tokenizer=tokenizer)
    assert tokenizer.convert_tokens_to_ids("<|endoftext|>") == len(model.network.table)
    assert (grown.begin, grown.part) == (1, 0)
    grown.save(tmp_path, card="")
    assert open_decoder(tmp_path, "grown").part == 0
    tokenizer.add_special_tokens({"eos_token": "<|more|>"})
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BaseModelError, match=r"parts documents.*'<\|more\|>', has number 259.*weights for 258 tokens"):
        open_decoder(tmp_path, "grown")


def test_a_saved_model_stops_at_the_end_of_a_turn_everywhere(tmp_path: Path) -> None:
    model = tiny_language_model()
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("<|endoftext|>", "<|pad|>")
    model.save(tmp_path, card="")
    assert AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.eos_token_id == [0, 1]
    assert model.network.backbone.generation_config.eos_token_id == 0  # it stays as it was
    again = open_decoder(tmp_path, "x")
    again.save(tmp_path / "again", card="")
    written = [(tmp_path / place / "generation_config.json").read_text() for place in ("", "again")]
    assert written[0] == written[1]


def test_bits_of_an_ending_are_those_of_the_whole_less_its_beginning() -> None:
    beginnings, endings = ["the fee is ", "a bag"], [["3 euros", "4", "ten euros"], [" of"]]
    found = MODEL.bits_after(beginnings, endings)
    for beginning, ends, bits in zip(beginnings, endings, found, strict=True):
        whole = MODEL.score([beginning + end for end in ends]) - MODEL.score([beginning])
        np.testing.assert_allclose(bits, whole, rtol=1e-4, atol=1e-4)


def test_of_a_beginning_too_long_for_a_context_the_last_tokens_are_read() -> None:
    (long,), (short,) = (MODEL.bits_after(["x" * n + "the fee is "], [["3"]]) for n in (500, 60))
    np.testing.assert_allclose(long, short, rtol=1e-6)


def test_the_folder_opens_with_transformers_and_gives_equal_logits(tmp_path: Path) -> None:
    MODEL.save(tmp_path, card="# A model\n")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("Where is it?", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, MODEL.network.backbone(ids).logits)
    again = open_model(str(tmp_path))
    assert isinstance(again, LanguageModel) and kind_of(str(tmp_path)) == "lm"
    np.testing.assert_array_equal(again.score(["Where is it?"]), MODEL.score(["Where is it?"]))


def test_a_decoder_with_learned_positions_is_read_as_well(tmp_path: Path) -> None:
    tokenizer = tiny_bytes()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, eos_token_id=0, bos_token_id=0
    )
    torch.manual_seed(0)
    stock = LanguageModel(CausalNetwork(GPT2LMHeadModel(config).eval()), tokenizer, 64, name="gpt2")
    stock.save(tmp_path, card="")
    opened = open_decoder(tmp_path, "gpt2")
    texts = ["hello there", "no", "where is my bag?"]
    np.testing.assert_allclose(opened.score(texts), [bits_by_hand(stock, text) for text in texts], rtol=1e-5)


def test_a_language_model_is_no_encoder(tmp_path: Path) -> None:
    MODEL.save(tmp_path, card="")
    with pytest.raises(BaseModelError, match="is a language model and gives no vectors"):
        open_base(str(tmp_path))


def test_a_copy_has_weights_of_its_own() -> None:
    model, other = tiny_language_model(), tiny_language_model().copy()
    with torch.no_grad():
        next(other.network.parameters()).zero_()
    assert float(next(model.network.parameters()).detach().abs().sum()) > 0
    assert other.in_precision("bfloat16").precision == "bfloat16" and other.precision == "float32"


# What is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    MODEL.save(tmp_path / "model", card="")
    return tmp_path / "model"


def change(path: Path, **settings: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "mlp" in name)
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(BaseModelError, match="lacks 1 of the weights"):
        open_decoder(folder, "x")


def test_a_tokenizer_without_an_end_token_is_refused(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    text = json.dumps(tokenizer).replace("<|endoftext|>", "<|start|>")
    (folder / "tokenizer.json").write_text(text)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    for key in ("eos_token", "bos_token", "added_tokens_decoder", "extra_special_tokens"):
        settings.pop(key, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(BaseModelError, match="has no end token, which parts documents"):
        open_decoder(folder, "x")


def test_a_tokenizer_that_knows_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    change(folder / "config.json", vocab_size=100)
    tensors = load_file(folder / "model.safetensors")
    name = "model.embed_tokens.weight"
    save_file(tensors | {name: tensors[name][:100].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match="cannot read even a short text"):
        open_decoder(folder, "x")


def test_a_word_that_was_added_to_the_tokenizer_alone_is_refused_by_name(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|never in a text|>"]})
    tokenizer.save_pretrained(folder)
    assert open_decoder(folder, "x").max_length == 64  # texts hold its letters
    tokenizer.add_tokens(["parcelbox"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(BaseModelError, match="has 1 tokens, 'parcelbox' among them, that the model does not know"):
        open_decoder(folder, "x")


def test_logits_that_are_made_in_another_way_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoptalk.nn.open_lm.CausalNetwork", _Scaled)
    with pytest.raises(BaseModelError, match="its logits are made in another way"):
        open_decoder(folder, "x")


class _Scaled(CausalNetwork):
    @property
    def table(self) -> torch.Tensor:
        return super().table * 50  # of random weights, whose logits are next to nothing


def test_a_model_that_does_not_keep_apart_what_stands_side_by_side_is_refused(tmp_path: Path) -> None:
    """Convolutions read on from one sequence of a row to the next, whatever the mask says."""
    tokenizer = tiny_bytes()
    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
        eos_token_id=0,
        bos_token_id=0,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = LanguageModel(CausalNetwork(Lfm2ForCausalLM(config).eval()), tokenizer, 64, name="lfm2")
    model.save(tmp_path, card="")
    with pytest.raises(BaseModelError, match="does not keep apart what stands side by side"):
        open_decoder(tmp_path, "lfm2")


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(BaseModelError, match=r"cannot be opened as a language model|has no end token|cannot read"):
        open_decoder(folder, "x")


def test_only_decoders_are_taken_for_decoders(folder: Path, tmp_path: Path) -> None:
    assert is_decoder(folder)
    assert not is_decoder(tmp_path)
    (folder / "config.json").write_text("{")
    assert not is_decoder(folder)
    shutil.rmtree(folder)
    assert not is_decoder(folder)


@pytest.mark.parametrize(("kind", "decoder"), [("llama", True), ("gpt2", True), ("bert", False), ("bart", False)])
def test_without_an_architecture_the_model_type_says_what_a_folder_holds(
    kind: str, decoder: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    assert is_decoder(tmp_path) == decoder
    assert is_encoder_decoder(tmp_path) == (kind == "bart")


def test_a_decoder_whose_tokenizer_has_no_padding_reads_trains_and_writes_alike() -> None:
    model = tiny_language_model()
    tokenizer = copy.copy(model.tokenizer)
    tokenizer.pad_token = None
    bare = replace(model, tokenizer=tokenizer)
    assert tokenizer.pad_token_id is None
    texts = ["Where is my parcel?", "Hello", "The ferry leaves at eight."]
    np.testing.assert_array_equal(bare.score(texts), model.score(texts))
    prompts = [GenerationRequest(model.tokenizer(text)["input_ids"], max_tokens=5) for text in texts]
    assert [each.ids for each in Writer(bare).write(prompts)] == [each.ids for each in Writer(model).write(prompts)]
