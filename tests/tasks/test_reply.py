"""The task reply: which contexts and candidates are asked, the ranks, the base's own context, and bad input."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from shoptalk.adaptation import adapt
from shoptalk.curate.hold_out import HoldOut
from shoptalk.errors import InputError
from shoptalk.nn.tiny import WORDS
from shoptalk.records import Document
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.reply import CONTEXTS, HELD_OUT, reply
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies
from tests.conftest import Listener
from tests.test_adaptation import config_for
from tests.tiny import tiny_product

Turn = tuple[str, str]


def corpus_of(*conversations: list[Turn]) -> Corpus:
    roles = tuple(dict.fromkeys(role for turns in conversations for role, _ in turns if role))
    number = {role: place for place, role in enumerate(roles)} | {"": -1}
    sizes = [len(turns) for turns in conversations]
    return Corpus(
        items=tuple(text for turns in conversations for _, text in turns),
        conversation=np.repeat(np.arange(len(conversations)), sizes),
        turn=np.concatenate([np.arange(size) for size in sizes]),
        digest="made up",
        role=np.array([number[role] for turns in conversations for role, _ in turns]),
        roles=roles,
    )


def ground_of(held_out: Corpus, train: Corpus | None = None) -> Ground:
    return Ground("text", (), (), train if train is not None else held_out, held_out, (), n_draws=5, seed=0)


def chats(count: int, *, seed: int = 0, turns: int = 4) -> list[list[Turn]]:
    rng = random.Random(seed)
    roles = ("user", "assistant")
    return [[(roles[i % 2], " ".join(rng.sample(WORDS, 6))) for i in range(turns)] for _ in range(count)]


def test_replies_are_the_agents_turns_and_a_tools_turn_is_passed_over() -> None:
    corpus = corpus_of(
        [("user", "a"), ("Assistant", "b"), ("user", "c"), ("action", "query"), ("Assistant", "d"), ("user", "e")],
        [("system", "be kind"), ("user", "f"), ("Assistant", "g")],
    )
    replies = Replies.of(corpus)
    assert [corpus.texts[i] for i in replies.positions] == ["b", "d", "g"]
    assert [replies.context(int(i), 5) for i in replies.positions] == ["a", "c b a", "f"]
    assert replies.context(int(replies.positions[1]), 2) == "c b"


def test_a_system_is_the_agent_where_no_other_is() -> None:
    corpus = corpus_of([("user", "a"), ("system", "b"), ("user", "c"), ("system", "d")])
    assert [corpus.texts[i] for i in Replies.of(corpus).positions] == ["b", "d"]


def test_without_an_agent_every_turn_that_answers_another_speaker_is_a_reply() -> None:
    named = corpus_of([("A", "a"), ("B", "b"), ("B", "c"), ("A", "d")])
    assert [named.texts[i] for i in Replies.of(named).positions] == ["b", "d"]
    nameless = corpus_of([("", "a"), ("", "b"), ("", "c")])
    assert [nameless.texts[i] for i in Replies.of(nameless).positions] == ["b", "c"]


def test_a_gap_in_the_turns_ends_a_context_and_parts_a_reply_from_what_it_answered() -> None:
    whole = corpus_of([("user", "a"), ("agent", "b"), ("user", "c"), ("agent", "d"), ("user", "e"), ("agent", "f")])
    kept = whole.part(np.array([0, 2, 3, 4, 5]), digest="part")
    replies = Replies.of(kept)
    assert [kept.texts[i] for i in replies.positions] == ["d", "f"]
    assert replies.context(int(replies.positions[1]), 9) == "e d c"


def test_scores_are_reciprocal_ranks_among_all_replies_that_differ() -> None:
    conversations = chats(30)
    conversations[3][1] = ("assistant", conversations[0][1][1].upper() + "!")  # the same reply to other ears
    corpus = corpus_of(*conversations)
    judge = reply(ground_of(corpus))
    assert judge is not None
    product = tiny_product()
    answers = judge.asked.answers
    assert len(answers) == 59 and len({text.casefold().strip("!") for text in answers}) == 59
    turns = judge.turns(product)
    questions, candidates = product.embed(judge.asked.contexts(turns)), product.embed(answers)
    expected = [1 / (1 + sum(c @ q >= candidates[i] @ q for j, c in enumerate(candidates) if j != i))
                for i, q in enumerate(questions)]  # fmt: skip
    scores = judge.look(product)
    assert scores.shape == judge.tested.shape == (1, 59)
    np.testing.assert_allclose(scores[0], expected)
    np.testing.assert_array_equal(judge.final(product).scores, scores)
    assert judge.final(product).way == f"{turns} turns of context"
    assert len(np.unique(judge.cluster)) == 30


def test_an_encoder_reads_the_context_that_serves_it_best_unless_it_was_trained_with_one() -> None:
    from dataclasses import replace

    corpus = corpus_of(*chats(40, turns=10))
    judge = reply(ground_of(corpus))
    assert judge is not None
    product = tiny_product()
    means = {turns: judge.tried.scores(product, turns).mean() for turns in CONTEXTS}
    assert judge.turns(product) == max(means, key=lambda turns: means[turns])
    assert judge.turns(replace(product, context_turns=4)) == 4
    prompted = replace(product, context_turns=4, prompts={"query": "hello ", "reply": "card "})
    by_hand = replace(product, context_turns=4)
    questions = by_hand.embed(["hello " + text for text in judge.asked.contexts(4)])
    answers = by_hand.embed(["card " + text for text in judge.asked.answers])
    ranks = [(answers @ question >= answers[i] @ question - 1e-7).sum() for i, question in enumerate(questions)]
    np.testing.assert_allclose(judge.look(prompted)[0], 1 / np.array(ranks))


def test_at_most_a_thousand_candidates_from_as_many_conversations_as_there_are() -> None:
    judge = reply(ground_of(corpus_of(*chats(700))))
    assert judge is not None
    assert judge.tested.shape == (1, 1000) and len(np.unique(judge.cluster)) == 700
    assert judge.remark is None


@pytest.mark.parametrize(
    ("conversations", "message"),
    [
        ([[("user", "hello")], [("user", "good day")]], "4 turns, and none of them answers another"),
        ([[("user", "hello"), ("user", "good day")]], "4 turns, and none of them answers another"),
        (
            [[("user", f"hello {i}"), ("assistant", "How can I help?")] for i in range(9)],
            "all 9 replies .* are .*equal",
        ),
    ],
)
def test_conversations_of_one_turn_and_replies_that_are_all_equal_are_refused(
    conversations: list[list[Turn]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        reply(ground_of(corpus_of(*conversations)))


def test_few_held_out_conversations_are_said_with_how_many_to_bring() -> None:
    judge = reply(ground_of(corpus_of(*chats(40))))
    assert judge is not None and judge.remark is not None
    assert "Only 40 conversations are held out" in judge.remark and "about 340 conversations" in judge.remark


def test_a_small_source_holds_a_larger_share_of_its_conversations_out() -> None:
    def held(count: int) -> int:
        hold_out = HoldOut(HELD_OUT, 1000)
        turns = [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}]
        return sum(
            hold_out(Document.model_validate({"id": f"c{i}", "source": "s", "turns": turns})) for i in range(count)
        )

    assert 100 <= held(400) <= 140 and 210 <= held(1000) <= 260 and 900 <= held(12_000) <= 1000


def test_a_run_without_labels_whose_task_is_reply_has_a_whole_verdict(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    rows = [
        json.dumps({"id": f"c{i}", "turns": [{"role": role, "text": text} for role, text in turns]})
        for i, turns in enumerate(chats(60))
    ]
    source = tmp_path / "chats.jsonl"
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = config_for(tiny_base, task="reply", candidates=("turns", "none"))
    verdict = adapt([source], out=tmp_path / "run", config=config, report=listener)
    told = verdict.told()
    assert (told["metric"], told["n_draws"], told["choice"]) == ("MRR x 100", 1, "inconclusive")
    assert told["gain"] is not None and "conversations are held out" in told["sentence"]
    assert all("reply_recall_at_1" in row["readings"] for row in told["candidates"])
    saved = json.loads((tmp_path / "run" / "candidate" / "encoder" / "config_sentence_transformers.json").read_text())
    assert saved["context_turns"] >= 1


def test_a_run_on_conversations_of_one_turn_ends_with_what_to_give(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    source = tmp_path / "chats.jsonl"
    rows = [json.dumps({"turns": [{"role": "user", "text": " ".join(WORDS[i : i + 5])}]}) for i in range(30)]
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"needs conversations in which an agent answers"):
        adapt([source], out=tmp_path / "run", config=config_for(tiny_base, task="reply"), report=listener)
