"""Fine-tuning on conversations: the loss by hand, and on nothing but what the assistant says."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives.autoregressive.sft import SftSpec
from shoptalk.stages.candidate import prepare_targets
from shoptalk.tasks.chat import JUDGED, LOOKED_AT, ChatJudge, Room, chat, replies_of
from shoptalk.tasks.judge import Ground
from shoptalk.text.chat import Message, Rendered, messages_of, rendered
from shoptalk.text.corpus import Corpus
from shoptalk.training.loop import LoopConfig, train
from tests.toyworld import toy_world

SPEC = SftSpec(batch=4, context=64)


def talks(count: int = 6) -> Corpus:
    words = ["card", "bag", "ticket", "bike", "fee", "ferry"]
    texts = [text for i in range(count) for text in (f"a {words[i % 6]}?", f"yes {i}", "and?", f"no {i}")]
    return Corpus(
        items=tuple(texts),
        conversation=np.repeat(np.arange(count), 4),
        turn=np.tile(np.arange(4), count),
        digest="talks",
        role=np.tile([0, 1, 0, 1], count),
        roles=("user", "assistant"),
    )


def test_the_loss_is_the_mean_cross_entropy_of_what_the_assistant_says() -> None:
    corpus, model = talks(), tiny_language_model()
    batch = SPEC.collate(Material(corpus, model, None, None))([0, 4, 8], Key(0, 0))
    nats, count = 0.0, 0
    for begin in (0, 4, 8):
        made = rendered(model.tokenizer, messages_of(corpus, begin, begin + 4))
        with torch.inference_mode():
            logits = model.network.backbone(torch.from_numpy(made.ids)[None]).logits[0].double().numpy()
        shifted = logits - logits.max(-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        for place in np.flatnonzero(made.taught):
            nats, count = nats - log_p[place - 1, made.ids[place]], count + 1
    assert count == 3 * (len("yes 0") + len("no 0") + 2)
    loss = SPEC.build(model)(batch)
    np.testing.assert_allclose(loss.total.detach().item(), nats / count, rtol=1e-5)


def test_a_template_that_writes_a_token_without_weights_is_refused_wherever_it_is_used() -> None:
    """As where a base has the tokenizer of its chat version, and its embeddings were not resized."""
    corpus, model = talks(), tiny_language_model()
    tokenizer, n = model.tokenizer, len(model.network.table)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = tokenizer.chat_template.replace("<|endoftext|>", "<|turn|>")
    message = rf"writes the token '<\|turn\|>' \(number {n}\), and the model has weights for {n} tokens"
    with pytest.raises(ConfigError, match=message):
        SPEC.collate(Material(corpus, model, None, None))([0], Key(0, 0))
    with pytest.raises(ConfigError, match=message):
        Writer(model).chat([Message("user", "Hi")])
    judge = chat(Ground("lm", (), (), corpus, corpus, (), n_draws=5, seed=0))
    assert judge is not None
    with pytest.raises(ConfigError, match=message):
        judge.look(model)


def test_what_the_user_says_gets_no_gradient_of_its_own() -> None:
    """Other words of the user at the end, after which the assistant says nothing, change nothing."""
    corpus, model = talks(), tiny_language_model()
    losses = []
    for last in ("bye", "farewell"):
        items = (*corpus.items[:4], last)
        longer = Corpus(
            items=items,
            conversation=np.zeros(5, dtype=np.int64),
            turn=np.arange(5),
            digest=last,
            role=np.array([0, 1, 0, 1, 0]),
            roles=corpus.roles,
        )
        batch = SPEC.collate(Material(longer, model, None, None))([0], Key(0, 0))
        losses.append(SPEC.build(model)(batch).total.detach().item())
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_of_a_conversation_longer_than_the_context_every_reply_is_learned_at_some_visit() -> None:
    corpus, model = talks(1), tiny_language_model()
    collate = SftSpec(context=16).collate(Material(corpus, model, None, None))
    taught = set()
    for step in range(20):
        batch = collate([0], Key(0, step))
        assert batch.rows.ids.shape == (1, 16)
        assert torch.equal(batch.rows.ids, collate([0], Key(0, step)).rows.ids)
        taught.add(model.tokenizer.decode(batch.rows.ids[batch.taught].tolist()))
    assert taught == {"yes 0<|endoftext|>", "no 0<|endoftext|>"}


def test_the_only_reply_is_learned_also_where_a_long_turn_follows_it() -> None:
    corpus, model = talks(1), tiny_language_model()
    texts = ("a card?", "yes", "and then " * 20)
    long_end = replace(
        corpus, items=texts, conversation=np.zeros(3, dtype=np.int64), turn=np.arange(3), role=np.array([0, 1, 0])
    )
    batch = SftSpec(context=16).collate(Material(long_end, model, None, None))([0], Key(0, 0))
    assert model.tokenizer.decode(batch.rows.ids[batch.taught].tolist()) == "yes<|endoftext|>"


def test_only_conversations_with_a_reply_are_examples() -> None:
    assert list(SPEC.examples(talks(3))) == [0, 4, 8]
    alone = Corpus(items=("a", "b"), conversation=np.array([0, 1]), turn=np.array([0, 0]), digest="alone")
    assert list(SPEC.examples(alone)) == []


def test_conversations_that_the_template_changes_are_left_out_before_the_training_and_told() -> None:
    corpus, model = talks(6), tiny_language_model()
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace(
        "message.content", "message.content.split('</think>')[-1]"
    )
    material = Material(corpus, model, None, SPEC.prepare(corpus, model))
    assert material.targets is not None and SPEC.remark(material.targets) is None
    assert list(SPEC.drawn_from(material)) == list(SPEC.examples(corpus))
    items = tuple(f"close </think> {text}" if i in (7, 12) else text for i, text in enumerate(corpus.items))
    material = Material(
        changed := replace(corpus, items=items), model, None, SPEC.prepare(replace(corpus, items=items), model)
    )
    assert material.targets is not None
    assert list(SPEC.drawn_from(material)) == [0, 8, 16, 20]
    told = SPEC.remark(material.targets)
    assert told is not None and told.startswith("leaves out 2 of 6 conversations. The chat template of")
    assert "what the assistant says in turn 4 of a conversation: it cuts or changes 'close </think> no 1'" in told
    SPEC.collate(material)(list(SPEC.drawn_from(material)), Key(0, 0))
    with pytest.raises(ConfigError, match="it cuts or changes"):
        SPEC.collate(material)([4], Key(0, 0))
    every = replace(changed, items=tuple(f"</think>{text}" for text in items))
    with pytest.raises(ConfigError, match=r"None of 6 conversations can be learned from\. The chat template"):
        SPEC.prepare(every, model)


def test_what_is_left_out_is_told_once_and_kept(tmp_path: Path) -> None:
    corpus, model, said = talks(3), tiny_language_model(), list[str]()
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("message.content", "message.content[:9]")
    corpus = replace(corpus, items=(*corpus.items[:3], "no, never!", *corpus.items[4:]))
    model.save(tmp_path / "model", card="")
    world: Any = SimpleNamespace(run=tmp_path, report=SimpleNamespace(say=said.append))
    for _ in range(2):
        targets = prepare_targets(world, "sft", SPEC, corpus, model, str(tmp_path / "model"))
        assert targets is not None
        assert list(targets["written"]) == [4, 8] and list(targets["left_out"]) == [0]
        assert "cuts or changes 'no, never!'" in targets["reason"][0]
    (line,) = said
    assert line.startswith("plan: sft leaves out 1 of 3 conversations. The chat template of")


def test_a_resumed_run_has_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    config = LoopConfig(steps=6, batch=4, lr=1e-3, seed=3)

    def run(resume: Path | None) -> tuple[list[float], list[torch.Tensor]]:
        world = toy_world(SPEC)
        losses = []
        for step in train(world.objective, world.data, world.collate, config, resume=resume):
            losses.append(step.loss)
            if resume is None and step.number == 3:
                step.save(tmp_path / "3")
        return losses, [parameter.detach().clone() for parameter in world.objective.parameters()]

    whole, state = run(None)
    rest, resumed = run(tmp_path / "3")
    assert rest == whole[3:]
    assert all(torch.equal(one, other) for one, other in zip(state, resumed, strict=True))


# The task ---------------------------------------------------------------------------------------------------------


def test_the_judge_counts_the_bits_of_replies_alone() -> None:
    corpus, model = talks(30), tiny_language_model(max_length=256)
    judge = chat(Ground("lm", (), (), corpus, corpus, (), n_draws=5, seed=0))
    assert judge is not None and len(judge.chats) == 30
    expected = []
    for talk in judge.chats:
        assert talk[0].role == "user" and talk[-1].role == "assistant"
        whole, before = (
            model.tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.text} for m in part], tokenize=False, add_generation_prompt=asking
            )
            for part, asking in ((talk, False), (talk[:-1], True))
        )
        ids, start = (model.tokenizer(text)["input_ids"] for text in (whole.rstrip("\n"), before))
        with torch.inference_mode():
            log_p = model.network.backbone(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        expected.append(-sum(float(log_p[i - 1, ids[i]]) for i in range(len(start), len(ids))) / np.log(2))
    mean = np.mean([len(talk[-1].text.encode()) for talk in judge.chats])
    np.testing.assert_allclose(judge.final(model).scores[0], -np.array(expected) / mean, rtol=1e-4)


@pytest.mark.parametrize("room", [LOOKED_AT, JUDGED])
def test_of_a_reply_that_was_cut_the_end_of_turn_does_not_count(room: Room) -> None:
    model, looking = tiny_language_model(max_length=512), room is LOOKED_AT
    looks = []
    for more in ("", "y"):
        corpus = Corpus(
            items=("Hi", " " * 300 + "x" * (room.characters - 1) + more) * 2,
            conversation=np.repeat([0, 1], 2),
            turn=np.tile([0, 1], 2),
            digest="long",
            role=np.tile([0, 1], 2),
            roles=("user", "assistant"),
        )
        judge = chat(Ground("lm", (), (), corpus, corpus, (), n_draws=5, seed=0))
        assert judge is not None
        (talk, other) = judge.shorter if looking else judge.chats
        assert len(talk[-1].text) == len(other[-1].text) == room.characters - 1 + len(more)
        made = rendered(model.tokenizer, talk)
        bits = model.bits_of([made.ids], counted=[made.taught])[0]
        scores = judge.look(model) if looking else judge.final(model).scores
        whole = -scores[0, 0] * len(talk[-1].text)
        looks.append(whole - bits)
    assert abs(looks[0]) < 1e-3  # of a whole reply it counts
    assert looks[1] < -1  # and is some bits of its own


def test_a_reply_is_chosen_of_each_conversation_always_the_same() -> None:
    corpus = talks(12)
    first = replies_of(corpus, JUDGED, seed=1)
    assert replies_of(corpus, JUDGED, seed=1) == first
    assert len(first) == 12 and len(replies_of(corpus, JUDGED, seed=1, most=5)) == 5
    assert len({talk[-1].text for talk in first}) == 12
    assert [talk[-2:] for talk in first] == replies_of(corpus, LOOKED_AT, seed=1)


def test_where_passages_were_retrieved_the_judge_reads_what_is_asked_behind_them() -> None:
    passage = "The fee is three euros. " * 30
    texts = [passage, "What is the fee?", "Three euros.", "And for two?", "Six euros."]

    def chats(role: str, room: Room = JUDGED) -> list[tuple[str, ...]]:
        corpus = Corpus(
            items=tuple(texts),
            conversation=np.zeros(5, dtype=np.int64),
            turn=np.arange(5),
            digest=role,
            role=np.array([0, 1, 2, 1, 2]),
            roles=(role, "user", "assistant"),
        )
        return [tuple(message.text for message in replies_of(corpus, room, seed=seed)[0]) for seed in range(8)]

    room = JUDGED.before * JUDGED.characters
    for read in chats("passage"):
        first = f"{passage}\n\n{texts[1]}"
        assert read[0] == first[-(room - sum(map(len, read[1:-1]))) :]
        assert sum(map(len, read[:-1])) == room and read[-1] in (texts[2], texts[4])
    assert {len(read) for read in chats("passage")} == {2, 4}
    assert all(len(text) <= JUDGED.characters for read in chats("visitor") for text in read)
    behind = f"{passage}\n\n{texts[1]}"[-LOOKED_AT.characters :]
    assert set(chats("passage", LOOKED_AT)) == {(behind, texts[2]), (texts[3], texts[4])}


def test_a_reply_of_which_no_token_counts_is_left_out_of_the_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_language_model(max_length=256)
    corpus = talks(30)
    judge = chat(Ground("lm", (), (), corpus, corpus, (), n_draws=5, seed=0))
    assert judge is not None
    alone = replace(judge, shorter=judge.shorter[1:])

    def silent(tokenizer: object, talk: Sequence[Message], **limits: int) -> Rendered:
        made = rendered(tokenizer, talk, **limits)
        return replace(made, spoken=np.full_like(made.spoken, -1)) if talk == judge.shorter[0] else made

    monkeypatch.setattr(sys.modules[ChatJudge.__module__], "rendered", silent)
    look = judge.look(model)[0]
    assert look[0] == 0
    np.testing.assert_allclose(look.mean(), alone.look(model)[0].mean(), rtol=1e-6)


def test_too_few_replies_are_refused_with_what_the_sources_hold() -> None:
    def said_of(corpus: Corpus) -> str:
        with pytest.raises(InputError) as refused:
            chat(Ground("lm", (), (), corpus, replace(talks(0), roles=corpus.roles), (), n_draws=5, seed=0))
        return str(refused.value)

    assert "6 of the sources' 6 conversations are such, and 0 of them happened to be held out" in said_of(talks())
    foreign = replace(talks(), roles=("Kunde", "Berater"))
    assert list(SPEC.examples(foreign)) == []
    assert "the roles of their turns are 'Berater', 'Kunde', and an agent's" in said_of(foreign)
    assert "The sources hold 0 conversations" in said_of(talks(0))
