"""A look at a language model reads at most 10,000 tokens: all that go through the network are counted."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from shoptalk.config import Guards, load
from shoptalk.curate.curation import to_corpus
from shoptalk.evaluate.bench import make_bench, measure
from shoptalk.nn.language_model import CONTEXT, CausalNetwork, LanguageModel
from shoptalk.nn.parcels import kept_folder
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.records import Document, Turn
from shoptalk.tasks import TASKS, make_judges
from shoptalk.tasks.chat import JUDGED, LOOKED_AT, ChatJudge
from shoptalk.tasks.cloze import MOST as MOST_GAPS
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.language_model import MOST
from shoptalk.text.corpus import Corpus
from shoptalk.text.packing import PackedRows

MOST_TOKENS, MOST_BYTES = 10_000, 30_500
"""Of what looks read SmolLM2 has 3.1 bytes a token: names and numbers alone have few."""
GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PROSE = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in sorted(GUIDES.glob("*.md")))


@pytest.fixture(params=["smollm2", "bytes"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """A tiny network behind SmolLM2's tokenizer, where that was fetched before; or behind one of bytes."""
    if request.param == "bytes":
        return tiny_language_model(max_length=CONTEXT)
    if not (folder := kept_folder("smollm2")).is_dir():
        pytest.skip("SmolLM2 is not in the cache")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, model_max_length=CONTEXT)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, **sizes)
    return LanguageModel(CausalNetwork(LlamaForCausalLM(config).eval()), tokenizer, CONTEXT, name="tiny")


def documents() -> Corpus:
    """Stretches of the guides, more than a look asks about."""
    texts = [PROSE[begin : begin + 900] for begin in range(0, len(PROSE), 600)]
    return to_corpus([Document(id=str(i), source="x", text=text) for i, text in enumerate(texts)],
                     digest="guides", passage_characters=600)  # fmt: skip


def conversations() -> Corpus:
    """Sentences of the guides as turns, each longer than any that is read whole."""
    sentences = [part for part in re.split(r"(?<=[.:;]) ", PROSE) if len(part) > JUDGED.characters]
    parts = [sentences[i % len(sentences)] for i in range(4 * (MOST + 15))]
    roles = ("user", "assistant", "user", "assistant")
    return to_corpus(
        [
            Document(id=str(i), source="x", turns=tuple(map(_turn, roles, parts[i : i + 4])))
            for i in range(0, len(parts), 4)
        ],
        digest="talks",
        passage_characters=600,
    )


def _turn(role: str, text: str) -> Turn:
    return Turn(role=role, text=text)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of every pass through a network from now on, the tokens that it reads."""
    tokens: list[int] = []
    hidden = CausalNetwork.hidden

    def counting(network: CausalNetwork, rows: PackedRows) -> torch.Tensor:
        tokens.append(rows.tokens)
        return hidden(network, rows)

    monkeypatch.setattr(CausalNetwork, "hidden", counting)
    return tokens


@pytest.mark.parametrize("task", ["language_model", "cloze", "chat"])
def test_a_look_reads_at_most_ten_thousand_tokens_by_all_judges_and_probes(
    task: str, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = load(task=task).other_tasks
    held_out = conversations() if task == "chat" else documents()
    ground = Ground("lm", (), (), held_out, held_out, (), n_draws=5, seed=0)
    judges = make_judges((task, *others), ground)
    assert {"language_model": 2}.get(task, 1) == len(judges)
    assert all(len(judge.cluster) == (MOST_GAPS if key == "cloze" else MOST) for key, judge in judges.items())
    bench = make_bench(ground, judges, goal=task, sample=(), limits=Guards().model_dump())
    tokens = counted(monkeypatch)
    measured = measure(model, bench)
    assert {reading.key for reading in measured.readings} >= {"general_bits", *judges}
    most = MOST_TOKENS if len(model.tokenizer) > 1_000 else MOST_BYTES
    assert most / 3 < sum(tokens) <= most


def test_every_task_of_language_models_is_among_those_whose_looks_are_counted() -> None:
    ground = Ground("lm", (), (), documents(), conversations(), (), n_draws=5, seed=0)
    assert {name for name, task in TASKS.items() if task(ground) is not None} == {"language_model", "cloze", "chat"}


def test_looks_and_the_verdict_read_the_same_replies_and_looks_less_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = conversations()
    judge = make_judges(("chat",), Ground("lm", (), (), held_out, held_out, (), n_draws=5, seed=0))["chat"]
    assert isinstance(judge, ChatJudge)
    for short, long in zip(judge.shorter, judge.chats, strict=True):
        assert len(short) == 1 + LOOKED_AT.before and len(long) in (2, 1 + JUDGED.before)
        for less, more in zip(short, long[-2:], strict=True):
            assert less.role == more.role and len(less.text) == LOOKED_AT.characters
            assert more.text.startswith(less.text) and len(more.text) == JUDGED.characters
    model, tokens = tiny_language_model(max_length=CONTEXT), counted(monkeypatch)
    judge.look(model)
    looked = sum(tokens)
    judge.final(model)
    assert sum(tokens) > 3 * looked
