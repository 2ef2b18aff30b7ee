"""The task of finding the passage that answers: its measure, its judge, and whole runs."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from shoptalk.adaptation import adapt
from shoptalk.errors import InputError, SourceError, StorageError
from shoptalk.nn.product import Wrapped
from shoptalk.nn.tiny import WORDS, tiny_product
from shoptalk.records import Pair
from shoptalk.tasks import TASKS
from shoptalk.tasks.answer import AnswerJudge, answer, ndcg
from shoptalk.tasks.judge import Ground, Judge
from shoptalk.text.corpus import Corpus
from tests.conftest import Listener
from tests.test_adaptation import config_for


@pytest.fixture(autouse=True)
def _a_question_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges of these tests have as few questions as show what is tested."""
    monkeypatch.setattr(sys.modules[AnswerJudge.__module__], "FEWEST", 1)


def reference_ndcg(ranking: Sequence[int], relevant: set[int]) -> float:
    """Järvelin and Kekäläinen 2002 with binary gains, rank by rank."""
    gains = [1.0 if passage in relevant else 0.0 for passage in ranking]
    ideal = sorted(gains, reverse=True)

    def dcg(values: Sequence[float]) -> float:
        return sum(value / np.log2(rank + 1) for rank, value in enumerate(values[:10], start=1))

    return float(dcg(gains) / dcg(ideal))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 15))
@settings(max_examples=150, deadline=None)
def test_with_one_passage_a_place_it_is_the_ndcg_of_the_paper(seed: int, size: int, n_right: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=size)
    right = rng.choice(size, size=min(n_right, size), replace=False).tolist()
    ranking = np.argsort(-scores, kind="stable").tolist()
    assert ndcg(scores, [(i,) for i in right]) == pytest.approx(reference_ndcg(ranking, set(right)))


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_the_other_passages_of_a_place_are_taken_out_of_the_ranking(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, numbers = rng.normal(size=40), rng.permutation(40).tolist()
    places = [tuple(numbers[:4]), tuple(numbers[4:6])]
    best = [max(place, key=lambda i: scores[i]) for place in places]
    ranking = [i for i in np.argsort(-scores).tolist() if i in best or not any(i in place for place in places)]
    assert ndcg(scores, places) == pytest.approx(reference_ndcg(ranking, set(best)))


def test_vectors_that_are_all_equal_find_nothing_by_being_equal() -> None:
    scores = np.zeros(100)
    assert np.mean([ndcg(scores, [(i,)]) for i in range(100)]) == pytest.approx(
        np.mean([reference_ndcg(range(100), {i}) for i in range(100)])
    )


class Planted(Wrapped):
    """Gives texts the vectors that a test has planted."""

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        super().__init__(tiny_product())
        self.vectors = vectors

    def embed(
        self, items: Sequence[Any], *, precision: Any = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        before = self.prompts[prompt] if prompt is not None else ""
        return np.array([self.vectors[before + item] for item in items], dtype=np.float32)


def corpus_of(passages: Sequence[str], turns: Sequence[str] = ()) -> Corpus:
    n, m = len(passages), len(turns)
    return Corpus(
        items=(*turns, *passages),
        conversation=np.array([0] * m + list(range(1, n + 1))),
        turn=np.array([*range(m), *[-1] * n]),
        digest="",
    )


def ground_of(corpus: Corpus, pairs: Sequence[Pair], kind: Any = "text") -> Ground:
    return Ground(kind, (), (), corpus, corpus, (), n_draws=20, seed=0, pairs=tuple(pairs))


def pair_of(question: str, *places: tuple[int, ...], cluster: int = 0) -> Pair:
    return Pair(id=question, rows=(question,), question=question, places=places, cluster=cluster)


def test_a_question_is_scored_by_the_rank_of_its_passage_among_all_passages_and_no_turns() -> None:
    corpus = corpus_of(["a", "b", "c"], turns=["q", "x"])
    judge = answer(ground_of(corpus, [pair_of("q", (1,)), pair_of("r", (2,), cluster=1)]))
    assert isinstance(judge, AnswerJudge) and judge.passages == ("a", "b", "c")
    product = Planted({"q": [1, 0], "r": [0, 1], "a": [1, 0], "b": [0.8, 0.6], "c": [0, 1]})
    scores = judge.look(product)
    assert scores.shape == judge.tested.shape == (1, 2)
    assert scores[0].tolist() == pytest.approx([1 / np.log2(3), 1.0])
    assert judge.cluster.tolist() == [0, 1]


def test_questions_and_passages_are_read_under_their_prompts_where_the_encoder_has_them() -> None:
    judge = answer(ground_of(corpus_of(["a", "b"]), [pair_of("q", (1,))]))
    product = Planted({"ask: q": [0, 1], "say: a": [1, 0], "say: b": [0, 1]})
    product.prompts = {"query": "ask: ", "reply": "say: "}
    assert judge is not None and judge.look(product).tolist() == [[1.0]]


def test_nine_independent_questions_are_too_few_for_a_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[AnswerJudge.__module__], "FEWEST", 10)
    corpus = corpus_of([f"p{i}" for i in range(20)])
    pairs = [pair_of(f"q{i}", (i,)) for i in range(10)]
    alike = [pair.model_copy(update={"cluster": min(i, 8)}) for i, pair in enumerate(pairs)]
    apart = [pair.model_copy(update={"cluster": i}) for i, pair in enumerate(pairs)]
    assert answer(ground_of(corpus, alike)) is None and answer(ground_of(corpus, apart)) is not None


def test_without_pairs_and_for_products_without_text_vectors_there_is_no_judge() -> None:
    corpus = corpus_of(["a", "b"])
    assert answer(ground_of(corpus, [])) is None
    assert answer(ground_of(corpus, [pair_of("q", (0,))], kind="lm")) is None
    assert answer(ground_of(corpus, [pair_of("q", (0,))], kind="image")) is None


def test_of_too_many_passages_those_that_answer_stay_and_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[AnswerJudge.__module__], "MOST", 30)
    corpus = corpus_of([f"p{i}" for i in range(100)])
    judge = answer(ground_of(corpus, [pair_of("q", (93,)), pair_of("r", (7, 50))]))
    assert judge is not None and len(judge.passages) == 30
    assert [[judge.passages[i] for i in place] for places in judge.places for place in places] == [
        ["p93"],
        ["p7", "p50"],
    ]
    assert judge.remark == "Answers are looked for among 30 of 100 passages, the others left out at random."


def test_it_is_a_judge_whose_items_are_all_that_it_embeds() -> None:
    corpus = corpus_of(["the card", "a refund"])
    judge = answer(ground_of(corpus, [pair_of("my card", (0,))]))
    assert isinstance(judge, Judge) and judge.items == ("my card", "the card", "a refund")
    assert judge.final(tiny_product()).scores.shape == (1, 1)


class AnsweredWorld:
    """Conversations, and articles with questions that they answer."""

    def __init__(self, folder: Path, *, articles: int = 12) -> None:
        rng = np.random.default_rng(0)

        def words(n: int) -> str:
            return " ".join(rng.choice(WORDS, size=n, replace=False).tolist())

        self.documents = folder / "articles"
        self.documents.mkdir()
        self.questions = [f"{words(5)} question {i}" for i in range(articles)]
        self.passages = [f"article {i} says {words(9)}." for i in range(articles)]
        for i, passage in enumerate(self.passages):
            text = f"# Article number {i}\n\n{passage}\n\nmore of {i}: {words(8)}\n"
            (self.documents / f"article-{i}.md").write_text(text)
        self.conversations = folder / "conversations.jsonl"
        rows = [
            {"id": f"c{i}", "turns": [{"role": "user", "text": f"{words(6)} {i}"}, {"role": "agent", "text": words(7)}]}
            for i in range(40)
        ]
        self.conversations.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.pairs = folder / "pairs.jsonl"
        self.pairs.write_text(
            "".join(
                json.dumps({"question": question, "passage": passage}) + "\n"
                for question, passage in zip(self.questions, self.passages, strict=True)
            )
        )

    @property
    def sources(self) -> list[Path]:
        return [self.documents, self.conversations]


@pytest.fixture
def answered(tmp_path: Path) -> AnsweredWorld:
    return AnsweredWorld(tmp_path)


def test_a_verdict_about_answers_needs_no_labels_and_few_pairs_leave_it_open(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path, listener: Listener
) -> None:
    config = config_for(tiny_base, task="answer", candidates=("neighbours", "none"))
    out = tmp_path / "run"
    verdict = adapt(answered.sources, out=out, config=config, report=listener, pairs=answered.pairs).told()
    assert verdict["choice"] == "inconclusive" and verdict["metric"] == "nDCG@10"
    assert (verdict["n_examples"], verdict["n_draws"], verdict["shots"]) == (12, 1, None)
    assert 0 < verdict["base"] <= 100 and verdict["interval"][0] <= verdict["gain"] <= verdict["interval"][1]
    assert "12 independent questions with their answers are too few" in verdict["sentence"]
    assert "would settle it" in verdict["sentence"] and verdict["labels_needed"] >= 100
    assert json.loads((out / "question.json").read_text())["asked"]["pairs"] != "none"
    assert "pairs" in json.loads((out / "decision" / "manifest.json").read_text())["parents"]
    kept = (out / "corpus" / "documents.jsonl").read_text()
    assert not any(question in kept for question in answered.questions)
    assert "12 questions" in (out / "encoder" / "DATASET.md").read_text()
    assert "--pairs pairs.jsonl" in (out / "encoder" / "README.md").read_text()


def test_a_run_asked_again_stands_and_with_other_pairs_is_another_question(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path, listener: Listener
) -> None:
    config = config_for(tiny_base, task="answer", candidates=("neighbours", "none"))
    for _ in range(2):
        adapt(answered.sources, out=tmp_path / "run", config=config, report=listener, pairs=answered.pairs)
    assert sum("as it would be shipped" in line for line in listener.said) == 1
    answered.pairs.write_text("".join(answered.pairs.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(StorageError, match="another question \\(pairs: "):
        adapt(answered.sources, out=tmp_path / "run", config=config, report=listener, pairs=answered.pairs)


class Worsening(AnswerJudge):
    """Each look is worse than the one before."""

    looked_at = 0

    def look(self, product: Any) -> Float[np.ndarray, "1 N"]:
        Worsening.looked_at += 1
        return np.full(self.tested.shape, 0.9 - 0.02 * Worsening.looked_at)


def test_what_finds_answers_less_well_is_never_served(
    tiny_base: Path, answered: AnsweredWorld, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        TASKS,
        "answer",
        lambda ground: Worsening(ground.pairs, [ground.train.texts[i] for i in ground.train.passages()]),
    )
    config = config_for(tiny_base, candidates=("neighbours", "none"), other_tasks=("answer",))
    sources = [answered.documents, world.conversations]
    verdict = adapt(sources, out=tmp_path / "run", config=config, labels=world.labels, pairs=answered.pairs).told()
    assert verdict["metric"] == "accuracy" and verdict["choice"] != "adopt"
    assert verdict["candidates"] and all("it loses at answer" in row["why_not"] for row in verdict["candidates"])


def test_pairs_without_a_task_that_asks_for_them_are_refused(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the task is intent\. Give --task answer, or --set other_tasks"):
        adapt(answered.sources, out=tmp_path / "run", config=config_for(tiny_base), pairs=answered.pairs)
    assert not (tmp_path / "run" / "corpus").exists()


def test_pairs_that_point_nowhere_are_named_and_counted(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path, listener: Listener
) -> None:
    with answered.pairs.open("a") as file:
        file.write('{"question": "is there wine aboard?", "passage": "The bar of another firm sells wine."}\n')
        file.write('{"question": "and beer?", "document": "drinks.md"}\n')
    config = config_for(tiny_base, task="answer", candidates=("none",))
    adapt(answered.sources, out=tmp_path / "run", config=config, report=listener, pairs=answered.pairs)
    said = "\n".join(listener.said)
    assert (
        "2 of 14 pairs point to no passage of the sources and are left out: pairs.jsonl#13: the sources have no" in said
    )
    assert "document drinks.md" in said
    drops = [json.loads(line) for line in (tmp_path / "run" / "corpus" / "drops.jsonl").read_text().splitlines()]
    assert [drop["id"] for drop in drops if drop["reason"] == "points-nowhere"] == ["pairs.jsonl#13", "pairs.jsonl#14"]


def test_pairs_none_of_which_points_anywhere_are_refused(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path
) -> None:
    answered.pairs.write_text('{"question": "is there wine aboard?", "document": "drinks.md"}\n')
    config = config_for(tiny_base, task="answer")
    with pytest.raises(SourceError, match=r"None of the 1 pairs in pairs\.jsonl points to a passage.*drinks\.md"):
        adapt(answered.sources, out=tmp_path / "run", config=config, pairs=answered.pairs)
    with pytest.raises(SourceError, match="no documents, only conversations"):
        adapt([answered.conversations], out=tmp_path / "other", config=config, pairs=answered.pairs)


def test_without_pairs_and_without_quotes_there_is_nothing_to_judge_by(
    tiny_base: Path, answered: AnsweredWorld, world: Any, tmp_path: Path, listener: Listener
) -> None:
    with pytest.raises(SourceError, match=r"nothing to judge the task answer by.*Give --pairs FILE"):
        adapt(answered.sources, out=tmp_path / "run", config=config_for(tiny_base, task="answer"))
    config = config_for(tiny_base, other_tasks=("answer",), candidates=("none",))
    adapt(answered.sources, out=tmp_path / "b", config=config, report=listener, labels=world.labels)
    assert any("answers cannot be watched" in line for line in listener.said)


def test_questions_are_mined_where_agents_quote_articles_and_their_conversations_stay_unseen(
    tiny_base: Path, answered: AnsweredWorld, tmp_path: Path, listener: Listener
) -> None:
    quoting = [
        {"id": f"m{i}", "turns": [{"role": "user", "text": question}, {"role": "agent", "text": f"Well: {passage}"}]}
        for i, (question, passage) in enumerate(zip(answered.questions, answered.passages, strict=True))
    ]
    with answered.conversations.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in quoting))
    config = config_for(tiny_base, task="answer", candidates=("none",))
    verdict = adapt(answered.sources, out=tmp_path / "run", config=config, report=listener).told()
    assert verdict["n_examples"] == 12
    assert any("12 questions were mined from agents' turns" in line for line in listener.said)
    pairs = [json.loads(line) for line in (tmp_path / "run" / "corpus" / "pairs.jsonl").read_text().splitlines()]
    assert [pair["question"] for pair in pairs] == answered.questions
    kept = (tmp_path / "run" / "corpus" / "documents.jsonl").read_text()
    assert '"conversations.jsonl#m' not in kept and '"conversations.jsonl#c1"' in kept
