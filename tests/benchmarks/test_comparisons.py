import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from benchmarks import data, embed, memory, mlm, neighbour, peak, peer, timing


def test_flops_of_the_formula_are_those_that_pytorch_counts() -> None:
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones(2, 16, dtype=torch.int64)).last_hidden_state.sum().backward()
    assert peak.encoder_flops(config, texts=2, length=16) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("operation", "group"),
    [
        ("aten::addmm", "matmul"),
        ("aten::bmm", "matmul"),
        ("aten::mkldnn_linear", "matmul"),
        ("aten::_softmax_backward_data", "softmax, fused attention"),
        ("aten::native_layer_norm_backward", "layer norm"),
        ("aten::gelu", "GELU"),
        ("aten::native_dropout", "dropout"),
        ("aten::embedding_dense_backward", "embeddings"),
        ("aten::copy_", "copies, transposes"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::add_", "element by element"),
        ("aten::sum", "element by element"),
        ("[memory]", "other"),
    ],
)
def test_each_operation_belongs_to_one_part_of_a_step(operation: str, group: str) -> None:
    assert peak.group_of(operation) == group


def test_shares_add_up_and_the_largest_comes_first() -> None:
    found = peak.shares({"aten::mm": 50.0, "aten::addmm": 10.0, "aten::gelu": 30.0, "[x]": 10.0})
    assert [(group, share) for group, share, _ in found] == [("matmul", 0.6), ("GELU", 0.3), ("other", 0.1)]
    assert found[0][2] == "aten::mm 50.0%, aten::addmm 10.0%"


def test_bf16_is_tried_only_where_the_machine_has_units_for_it() -> None:
    assert not any(setting.bf16 for setting in mlm.grid(bfloat16=False, quick=False))
    full = mlm.grid(bfloat16=True, quick=False)
    assert len(set(full)) == 8 and sum(setting.bf16 for setting in full) == 4
    assert all(setting.group_by_length for setting in full)
    assert not any(setting.bf16 for quick in (True, False) for setting in embed.grid(bfloat16=False, quick=quick))


def test_warm_up_is_the_same_share_of_the_texts_at_every_batch() -> None:
    options = timing.Options(repeats=1, steps=48, quick=False, threads=None, minutes=1.0)
    assert (mlm.warmup(options, 64), mlm.warmup(options, 256)) == (12, 3)


def test_growth_compares_the_early_minutes_with_the_last_tenth() -> None:
    samples = [(float(at), 100.0 if at < 300 else 130.0) for at in range(-20, 1801, 2)]
    assert memory.growth(samples, 1800.0, at=180.0) == (100.0, 130.0)
    with pytest.raises(SystemExit, match="--minutes"):
        memory.growth([(0.0, 1.0)], 10.0, at=1.0)


def test_the_resident_memory_of_this_process_can_be_read() -> None:
    found = memory.resident_mib(os.getpid())
    assert found is not None and found > 50


def test_cosines_are_taken_row_by_row() -> None:
    a = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert embed.cosines(a, np.array([[2.0, 0.0], [0.0, 3.0]])) == pytest.approx([1.0, 0.5**0.5])


def test_a_changed_requirement_gets_another_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, two = peer.environment_folder("torch==1"), peer.environment_folder("torch==2")
    assert one != two and one == peer.environment_folder("torch==1") and tmp_path in one.parents


def test_without_the_data_pack_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHOPTALK_DATA", raising=False)
    with pytest.raises(SystemExit, match="SHOPTALK_DATA is not set"):
        data.pack()
    monkeypatch.setenv("SHOPTALK_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="there is no intents/banking77"):
        data.banking77()


def test_texts_are_read_from_the_pack_and_survive_the_way_to_another_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    messages = [{"text": "Where is my card?\u2028Now", "label": "x"}]
    turns = [{"turns": [{"text": "hello"}, {"text": " "}, {"text": "hi"}]}, {"turns": [{"text": "bye"}]}]
    for name, rows in (("intents/banking77", messages), ("dialogues/sgd", turns)):
        (tmp_path / name).mkdir(parents=True)
        with gzip.open(tmp_path / name / "train.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setenv("SHOPTALK_DATA", str(tmp_path))
    assert data.sgd_turns() == ["hello", "hi", "bye"] and data.sgd_turns(2) == ["hello", "hi"]
    texts = data.banking77() + data.sgd_turns()
    assert data.read_texts(data.write_texts(tmp_path / "texts.jsonl", texts)) == texts


def test_samples_and_mixtures_are_repeatable() -> None:
    texts = [f"text {i}" for i in range(20)]
    assert sorted(data.sample(texts, 20)) == sorted(texts) and data.sample(texts, 5) == data.sample(texts, 5)
    with pytest.raises(SystemExit, match="fewer --steps"):
        data.sample(texts, 21)
    lengths = {len(text.split()) // 2 for text in data.mixed_lengths(texts, 300)}
    assert lengths == set(range(1, 13))


def test_the_busy_neighbour_is_gone_afterwards() -> None:
    with pytest.raises(ValueError, match="the run failed"), neighbour.busy_neighbour() as process:
        assert process.poll() is None
        raise ValueError("the run failed")
    assert process.poll() is not None


def test_a_run_has_the_settings_that_it_is_given() -> None:
    words = [sys.executable, "-c", "import json, os; print(json.dumps({'policy': os.environ['OMP_WAIT_POLICY']}))"]
    assert timing.run_json(words, threads=1, settings={"OMP_WAIT_POLICY": "PASSIVE"}) == {"policy": "PASSIVE"}
