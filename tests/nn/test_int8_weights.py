"""Matrices of 8 bits a weight: rounded as the formula says, read back as they were written, and never trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from shoptalk.errors import BaseModelError
from shoptalk.nn.bases import open_model
from shoptalk.nn.int8_weights import RoundedLinear, holds_rounded, is_rounded, packed, round_matrices, rounded, unpacked
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.open_lm import open_decoder
from shoptalk.nn.tiny_lm import tiny_language_model

TEXTS = ["where is my parcel?", "no", "a bag of three crowns"]


def eight_bits() -> LanguageModel:
    model = tiny_language_model().copy()
    round_matrices(model.network.backbone)
    return model


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 40))
def test_a_row_is_rounded_by_its_largest_weight(seed: int, outputs: int, inputs: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(outputs, inputs)).astype(np.float32)
    matrix[0] *= 1000  # one loud output costs the others nothing
    whole, scale = (part.numpy() for part in rounded(torch.from_numpy(matrix)))
    largest = np.abs(matrix).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(scale, largest, rtol=1e-6)
    assert whole.dtype == np.int8 and np.abs(whole).max() <= 127
    assert (np.abs(whole * scale - matrix) <= largest * 0.5001).all()


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 11))
def test_what_is_packed_is_what_is_unpacked(seed: int, outputs: int, inputs: int) -> None:
    matrix = torch.from_numpy(np.random.default_rng(seed).integers(-128, 128, (outputs, inputs), dtype=np.int8))
    columns = packed(matrix)
    assert columns.dtype == torch.int32 and columns.shape == (outputs, -(-inputs // 4))
    assert torch.equal(unpacked(columns, inputs), matrix)
    assert int(columns[0, 0]) & 255 == int(matrix[0, 0]) + 128  # the first column in the lowest bits


def test_a_row_of_zeros_stays_one() -> None:
    whole, scale = rounded(torch.zeros(2, 8))
    assert int(whole.abs().sum()) == 0 and bool(scale.isfinite().all())


@pytest.mark.parametrize("rows", [1, 3, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_multiplies_with_the_rounded_matrix_however_many_rows(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, bias = torch.randn(48, 64, generator=generator), torch.randn(48, generator=generator)
    whole, scale = rounded(matrix)
    x = torch.randn(2, rows, 64, generator=generator)
    with torch.inference_mode():
        product = RoundedLinear(whole, scale, bias)(x.to(dtype))
    wanted = x @ (whole.float() * scale).T + bias
    assert product.dtype == dtype and product.shape == (2, rows, 48)
    np.testing.assert_allclose(product.float(), wanted, atol=2e-4 if dtype == torch.float32 else 0.5)


@pytest.mark.parametrize("inputs", [33, 64])
def test_a_matrix_out_of_the_middle_of_a_file_is_read_by_the_kernel_only_where_it_is_aligned(inputs: int) -> None:
    stored = torch.randint(-127, 128, (48 * inputs + 64,), dtype=torch.int8)
    whole, scale = stored[56 : 56 + 48 * inputs].view(48, inputs), torch.rand(48, 1)
    x = torch.randn(16, inputs)
    layer = RoundedLinear(whole, scale, None)
    assert layer._fits_kernel is (inputs == 64)
    with torch.inference_mode():
        product = layer(x.bfloat16())
    np.testing.assert_allclose(product.float(), x @ (whole.float() * scale).T, rtol=0.05, atol=10)


def test_every_matrix_but_the_output_table_is_rounded_and_bits_hardly_change() -> None:
    model, before = eight_bits(), tiny_language_model()
    kinds = {name: type(part).__name__ for name, part in model.network.backbone.named_modules()}
    assert sum(kind == "RoundedLinear" for kind in kinds.values()) == 14
    assert kinds["lm_head"] == "Linear"
    found, wanted = model.score(TEXTS), before.score(TEXTS)
    np.testing.assert_allclose(found, wanted, rtol=0.02)
    assert not np.array_equal(found, wanted)


def test_a_folder_of_eight_bits_opens_as_it_was_written_and_is_small(tmp_path: Path) -> None:
    model = eight_bits()
    model.save(tmp_path / "eight", card="# eight\n")
    tiny_language_model().save(tmp_path / "whole", card="")
    assert holds_rounded(tmp_path / "eight") and not holds_rounded(tmp_path / "whole")
    again = open_model(str(tmp_path / "eight"))
    assert isinstance(again, LanguageModel) and is_rounded(again.network.backbone)
    np.testing.assert_allclose(again.score(TEXTS), model.score(TEXTS), rtol=5e-3)  # embeddings have 16 bits now
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("eight", "whole")]
    assert sizes[0] < 0.4 * sizes[1]
    again.save(tmp_path / "again", card="")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("eight", "again"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_bfloat16_layers_read_it_too() -> None:
    model = eight_bits()
    np.testing.assert_allclose(model.score(TEXTS, precision="bfloat16"), model.score(TEXTS), rtol=0.03)


def test_it_is_read_and_not_trained() -> None:
    with pytest.raises(BaseModelError, match="matrices of 8 bits, which are read and not trained"):
        eight_bits().ready_to_train()
    tiny_language_model().ready_to_train()


def test_a_model_without_a_linear_layer_has_nothing_to_round() -> None:
    model, without = (
        GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=layers, n_head=1))
        for layers in (1, 0)
    )
    with pytest.raises(BaseModelError, match=r"in 4 layers of the type Conv1D, as GPT-2 does.*--quantize none"):
        round_matrices(model)
    with pytest.raises(BaseModelError, match=r"nothing to round\. Export it with --quantize none"):
        round_matrices(without)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    eight_bits().save(tmp_path, card="")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("weight_scale"))
    save_file(tensors | {name: tensors[name] * float("nan")}, path)
    with pytest.raises(BaseModelError, match="a finite scale for each output"):
        open_decoder(tmp_path, "x")
    save_file({key: value for key, value in tensors.items() if "scale" not in key}, path)
    with pytest.raises(BaseModelError, match="with scales None"):
        open_decoder(tmp_path, "x")
    save_file({key: value for key, value in tensors.items() if "packed" not in key}, path)
    with pytest.raises(BaseModelError, match="says that its weights have 8 bits, and none has"):
        open_decoder(tmp_path, "x")
    assert (
        json.loads((tmp_path / "config.json").read_text())["quantization_config"]["quant_method"]
        == "compressed-tensors"
    )
