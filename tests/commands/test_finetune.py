"""From a label file to an encoder with a head, on the tiny base."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shoptalk.artifact import open_artifact
from shoptalk.commands import finetune as finetuning
from shoptalk.commands import lesson
from shoptalk.commands.finetune import Request, finetune
from shoptalk.commands.lesson import Lesson, examples_for, headed
from shoptalk.commands.tune import Tuned
from shoptalk.config import load
from shoptalk.errors import ArtifactError, ConfigError, InputError, SourceError, StorageError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import classifier
from shoptalk.nn.heads.answering import answers
from shoptalk.nn.heads.kinds import FEWEST_IN_POOL, KINDS
from shoptalk.nn.heads.logistic import LinearHead
from shoptalk.nn.heads.names import EXAMPLES
from shoptalk.nn.heads.pool import Pool
from shoptalk.nn.tiny import WORDS, tiny_product
from shoptalk.records import Example
from shoptalk.stages.world import World
from tests.conftest import Listener, SmallWorld

STRANGE = ("shoe", "bus", "dog")
"""What texts out of scope are about."""


def text_about(topic: str, rng: random.Random) -> str:
    return " ".join([topic, topic, topic, *rng.sample(WORDS, 4)])


def csv_of(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


def rows_of(per_label: int, *, strange: int = 0, seed: int = 0, name: str = "oos") -> list[tuple[str, str]]:
    rng = random.Random(seed)
    rows = [(text_about(topic, rng), topic) for topic in SmallWorld.topics for _ in range(per_label)]
    return rows + [(text_about(STRANGE[i % 3], rng), name) for i in range(strange)]


def request_for(base: Path, labels: Path, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "model": str(base),
        "labels": labels,
        "test": None,
        "task": "intent",
        "unlabelled": (),
        "multi_label": False,
        "out_of_scope": None,
        "scope_loss": 2.0,
        "method": "frozen",
    }
    return Request(**(given | changes))


def run(
    out: Path,
    request: Request,
    listener: Listener | None = None,
    *settings: str,
    budget: str = "9ktok",
    force: bool = False,
) -> dict[str, Any]:
    small = [
        f"objectives.{name}.{key}" for name in ("classify", "setfit") for key in ("batch=8", "passes=2", "looks=2")
    ]
    config = load(overrides=[*small, *settings], budget=budget)
    return finetune(World(run=out, config=config, report=listener or Listener()), request, force=force)


# --- one label a text


def test_labelled_pictures_are_refused_and_never_read_as_the_names_of_their_files(
    tiny_base: Path, tmp_path: Path
) -> None:
    for at in range(6):
        Image.effect_noise((32, 32), 40 + 10 * at).save(tmp_path / f"{at}.png")
    labels = tmp_path / "l.csv"
    labels.write_text("image,label\n" + "".join(f"{at}.png,{'ab'[at % 2]}\n" for at in range(6)), encoding="utf-8")
    with pytest.raises(InputError, match=r"labelled pictures, such as l.csv#2.*`shoptalk adapt --task picture`"):
        run(tmp_path / "one", request_for(tiny_base, labels))
    with pytest.raises(ConfigError, match=r"one of the image encoders.*fits heads for texts.*adapt PICTURES"):
        run(tmp_path / "two", request_for(Path("scratch:resnet-mini"), labels))


def test_labels_become_an_encoder_with_a_head_that_predicts(tiny_base: Path, tmp_path: Path) -> None:
    labels, test = csv_of(tmp_path / "l.csv", rows_of(12)), csv_of(tmp_path / "t.csv", rows_of(6, seed=1))
    result = run(tmp_path / "out", request_for(tiny_base, labels, test=test, task="topic"))
    assert result == json.loads((tmp_path / "out" / "head" / "result.json").read_text())
    assert (result["task"], result["kind"], result["labels"]) == ("topic", "linear", 4)
    said = answers(tmp_path / "out", [text for text, _ in rows_of(6, seed=1)])
    hits = np.mean([answer.labels == (label,) for answer, (_, label) in zip(said, rows_of(6, seed=1), strict=True)])
    assert result["test"]["accuracy"] == pytest.approx(100 * hits) and hits > 0.6
    assert result["test"]["accuracy_when_abstaining"] <= result["test"]["accuracy"]
    assert "out_of_scope_recall" not in result["test"]
    assert result["sentence"] in (tmp_path / "out" / "encoder" / "README.md").read_text()
    texts = ["where is my card"]
    np.testing.assert_allclose(
        embed(open_base(str(tmp_path / "out" / "encoder")), texts), embed(open_base(str(tiny_base)), texts), atol=1e-6
    )


def test_the_same_call_again_is_instant_and_says_the_same(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(tiny_base, csv_of(tmp_path / "l.csv", rows_of(6)))
    first = run(tmp_path / "out", request)
    head = open_artifact(tmp_path / "out" / "head")
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "open_embedder", lambda *_: pytest.fail("the base was opened again"))
        assert run(tmp_path / "out", request) == first
    assert open_artifact(tmp_path / "out" / "head") == head
    other = run(tmp_path / "other", request)
    assert other == first  # elsewhere too
    shutil.rmtree(tmp_path / "out" / "encoder")
    assert run(tmp_path / "out", request) == first
    assert answers(tmp_path / "out", ["card card"])  # an encoder that is gone is made again
    csv_of(request.labels, rows_of(7))
    with pytest.raises(StorageError, match="holds a finished classifier for another question"):
        run(tmp_path / "out", request)
    run(tmp_path / "out", request, force=True)
    assert open_artifact(tmp_path / "out" / "head") != head


def test_unlabelled_text_makes_all_kinds_compete(tiny_base: Path, tmp_path: Path, listener: Listener) -> None:
    rng = random.Random(3)
    pool = tmp_path / "pool.jsonl"
    rows = [{"text": text_about(rng.choice(SmallWorld.topics), rng)} for _ in range(60)]
    labelled = rows_of(8)
    rows += [{"text": text} for text, _ in labelled]  # what is labelled is no unlabelled text
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labels = csv_of(tmp_path / "l.csv", labelled)
    near = "curate.near_duplicate=1.0"  # the toy's texts share most of their words
    result = run(tmp_path / "out", request_for(tiny_base, labels, unlabelled=(pool,)), listener, near)
    assert list(result["dev"]) == list(classifier.KINDS)
    assert any("32 labelled texts, 0 out of scope, 60 unlabelled" in line for line in listener.said)


@pytest.mark.parametrize(("name", "asked"), [("oos", None), ("nothing", "nothing")])
def test_a_label_that_means_none_of_them_teaches_when_to_abstain(
    tiny_base: Path, tmp_path: Path, name: str, asked: str | None
) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(15, strange=30, name=name))
    test = csv_of(tmp_path / "t.csv", rows_of(10, strange=30, seed=1, name=name))
    result = run(tmp_path / "out", request_for(tiny_base, labels, test=test, out_of_scope=asked, scope_loss=5.0))
    assert result["labels"] == 4  # it is no answer
    assert result["test"]["out_of_scope_recall"] > 60
    assert result["test"]["accuracy_when_abstaining"] > result["test"]["accuracy"] - 15
    strangers = answers(tmp_path / "out", [text for text, label in rows_of(0, strange=30, seed=1)])
    recall = 100 * np.mean([not answer.in_scope for answer in strangers])
    assert result["test"]["out_of_scope_recall"] == pytest.approx(recall)


def test_a_test_may_hold_texts_out_of_scope_that_the_labels_do_not_know(tiny_base: Path, tmp_path: Path) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(15))
    plain = csv_of(tmp_path / "p.csv", rows_of(6, seed=1))
    mixed = csv_of(tmp_path / "m.csv", rows_of(6, strange=12, seed=1))
    without = run(tmp_path / "p", request_for(tiny_base, labels, test=plain))["test"]
    found = run(tmp_path / "m", request_for(tiny_base, labels, test=mixed))["test"]
    assert found["accuracy"] == without["accuracy"]
    assert 0 <= found["out_of_scope_recall"] <= 100


# --- several labels a text


def several(path: Path, seed: int) -> Path:
    rng = random.Random(seed)
    rows = []
    for i in range(48):
        topics = [topic for topic in SmallWorld.topics[:3] if rng.random() < 0.5]
        words = [word for topic in topics for word in [topic] * 4] or ["good"] * 4
        rows.append({"text": " ".join([*words, *rng.sample(WORDS, 2), str(i)]), "labels": topics})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_text_may_have_any_number_of_labels(tiny_base: Path, tmp_path: Path) -> None:
    labels, test = several(tmp_path / "l.jsonl", 0), several(tmp_path / "t.jsonl", 1)
    near = "curate.near_duplicate=1.0"
    result = run(tmp_path / "out", request_for(tiny_base, labels, test=test, multi_label=True), None, near)
    assert set(result["test"]) == {"micro_f1", "exact_match"} and result["test"]["micro_f1"] > 60
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    said = answers(tmp_path / "out", [row["text"] for row in rows])
    assert len({len(answer.labels) for answer in said}) > 1
    exact = np.mean([set(answer.labels) == set(row["labels"]) for answer, row in zip(said, rows, strict=True)])
    assert result["test"]["exact_match"] == pytest.approx(100 * exact)


def test_labels_that_only_the_test_has_count_as_missed(tiny_base: Path, tmp_path: Path) -> None:
    labels, test = several(tmp_path / "l.jsonl", 0), tmp_path / "t.jsonl"
    rows = [json.loads(line) for line in several(tmp_path / "x.jsonl", 1).read_text().splitlines()]
    test.write_text("".join(json.dumps(row | {"labels": [*row["labels"], "new"]}) + "\n" for row in rows))
    request = request_for(tiny_base, labels, test=test, multi_label=True)
    result = run(tmp_path / "out", request, None, "curate.near_duplicate=1.0")
    said = answers(tmp_path / "out", [row["text"] for row in rows])
    hits = sum(len(set(answer.labels) & set(row["labels"])) for answer, row in zip(said, rows, strict=True))
    given, true = sum(len(answer.labels) for answer in said), sum(len(row["labels"]) + 1 for row in rows)
    assert result["test"]["micro_f1"] == pytest.approx(100 * 2 * hits / (given + true))
    assert result["test"]["exact_match"] == 0.0


def test_test_texts_that_stand_among_label_sets_are_told_before_training(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    labels, test = several(tmp_path / "l.jsonl", 0), several(tmp_path / "t.jsonl", 1)
    shared = labels.read_text().splitlines()[:3]
    test.write_text("\n".join([*test.read_text().splitlines()[:5], *shared]) + "\n")
    request = request_for(tiny_base, labels, test=test, multi_label=True)
    run(tmp_path / "out", request, listener, "curate.near_duplicate=1.0")
    assert any(line.startswith("t.jsonl: 3 of 8 texts stand in l.jsonl too, or nearly so") for line in listener.said)


def test_rare_labels_are_left_out_where_the_settings_say_so(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    labels = csv_of(tmp_path / "l.csv", [*rows_of(8, strange=1), ("my voucher is gone", "voucher")])
    test = csv_of(tmp_path / "t.csv", [*rows_of(3, seed=1), ("another voucher", "voucher")])
    request = request_for(tiny_base, labels, test=test)
    assert run(tmp_path / "kept", request)["labels"] == 5
    result = run(tmp_path / "out", request, listener, "curate.rare_labels=drop")
    assert (result["labels"], result["drops"]) == (4, {"rare-label": 1})
    assert any("1 label has fewer than 2 independent examples ('voucher'), so 1 row" in line for line in listener.said)
    assert any("1 of 13 texts have labels that l.csv does not have ('voucher')" in line for line in listener.said)


# --- tuning the encoder too


@pytest.mark.parametrize("method", ["classify", "setfit"])
def test_a_tuned_encoder_is_shipped_only_where_it_is_proven_better(
    tiny_base: Path, tmp_path: Path, listener: Listener, method: str
) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(10))
    result = run(tmp_path / "out", request_for(tiny_base, labels, method=method), listener)
    tuning, texts = result["tuning"], ["where is my card", "late delivery"]
    shipped, before = (
        embed(open_base(str(tmp_path / "out" / "encoder")), texts),
        embed(open_base(str(tiny_base)), texts),
    )
    assert np.allclose(shipped, before, atol=1e-6) == (not tuning["shipped"])
    assert tuning["shipped"] == (tuning["interval"][0] > 0) and tuning["method"] == method
    assert (set(result["dev"]) == {method, "frozen"}) == tuning["shipped"]
    assert f"finetune: {tuning['sentence']}" in listener.said
    assert tuning["sentence"] in (tmp_path / "out" / "encoder" / "README.md").read_text()
    assert not (tmp_path / "out" / "work").exists()


class Planted:
    """Tuning that moves nothing; the heads of the trials know the labels of all rows.

    `knows` is how surely (-1: all wrong), one for each trial. What `tune` was given is kept, a mapping per call.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]], *, knows: float | list[float]):
        self.calls: list[dict[str, Any]] = []
        self._rows = rows
        self._knows = knows if isinstance(knows, list) else [knows] * 3
        self._head: LinearHead | None = None
        monkeypatch.setattr(lesson, "tune", self)

    def __call__(self, product: Any, texts: Any, targets: Any, *, dev: Any, **given: Any) -> Tuned:
        self.calls.append(given | {"texts": texts, "targets": targets, "dev": dev})
        if dev is not None:
            known, codes = np.unique([label for _, label in self._rows], return_inverse=True)
            vectors = embed(product, [text for text, _ in self._rows]).astype(np.float64)
            signs = self._knows[len(self.calls) - 1] * (2 * np.eye(len(known))[codes] - 1)
            weights = np.linalg.lstsq(vectors, signs, rcond=None)[0].T.astype(np.float32)
            self._head = LinearHead(weights, np.zeros(len(weights), dtype=np.float32), np.arange(len(weights)))
        assert self._head is not None
        return Tuned(product, self._head, (), (3, 7, 4)[len(self.calls) % 3])


def random_rows() -> list[tuple[str, str]]:
    """Nothing to learn, but for who knows."""
    return [(text, SmallWorld.topics[i % 4]) for i, (text, _) in enumerate(rows_of(10))]


def pool_of(tmp_path: Path, n: int) -> Path:
    rng = random.Random(3)
    pool = tmp_path / "pool.txt"
    pool.write_text("".join(f"{text_about(rng.choice(SmallWorld.topics), rng)}\n\n" for _ in range(n)))
    return pool


def test_what_is_proven_better_is_trained_on_all_labels_and_shipped_with_its_own_head(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    seen = Planted(monkeypatch, random_rows(), knows=1.0)
    request = request_for(tiny_base, csv_of(tmp_path / "l.csv", random_rows()), method="classify")
    result = run(tmp_path / "out", request, listener, budget="40s")
    assert result["dev"]["classify"] > 60 > result["dev"]["frozen"]
    assert result["tuning"]["shipped"] and result["tuning"]["interval"][0] > 0
    assert result["tuning"]["gain"] == pytest.approx(result["dev"]["classify"] - result["dev"]["frozen"])
    assert (result["kind"], result["labels"]) == ("linear", 4)
    assert set(answers(tmp_path / "out", ["card"])[0].labels) <= set(SmallWorld.topics)
    *trials, final = seen.calls
    assert len(trials) == 3 and all(trial["most_steps"] is None for trial in trials)
    assert final["dev"] is None and final["most_steps"] == 4  # as many as did best in the middle one of the trials
    assert set(final["texts"]) == {text for text, _ in random_rows()}
    assert {call["seconds"] for call in seen.calls} == {10.0} and len({call["folder"] for call in seen.calls}) == 4
    assert "on 40 texts that chose nothing" in result["tuning"]["sentence"]
    assert result["tuning"]["sentence"].endswith("proven, so the tuned one ships, trained on all labels")
    assert len([line for line in listener.said if line.startswith("finetune: classify, trial ")]) == 3


def test_no_text_that_decides_was_learned_from_or_chose_a_look(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Planted(monkeypatch, random_rows(), knows=1.0)
    answered: list[list[str]] = []
    texts_of = Lesson.texts_of

    def noted(self: Lesson, part: Any) -> list[str]:
        answered.append(texts_of(self, part))
        return answered[-1]

    monkeypatch.setattr(Lesson, "texts_of", noted)
    run(
        tmp_path / "out",
        request_for(tiny_base, csv_of(tmp_path / "l.csv", random_rows()), method="classify"),
    )
    decided: list[str] = []
    for call in seen.calls[:3]:
        learned, looked = set(call["texts"]), set(call["dev"][0])
        deciding = next(texts for texts in answered if len(texts) > 10 and not set(texts) & (learned | looked))
        assert learned | looked | set(deciding) == {text for text, _ in random_rows()} and not learned & looked
        decided += deciding
    assert sorted(decided) == sorted(text for text, _ in random_rows())


def test_what_is_behind_ends_the_trials_and_the_frozen_head_is_fitted_on_all_labels(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    seen = Planted(monkeypatch, rows_of(10), knows=-1.0)
    labels = csv_of(tmp_path / "l.csv", rows_of(10))
    result = run(tmp_path / "out", request_for(tiny_base, labels, method="classify"), listener)
    frozen = run(tmp_path / "frozen", request_for(tiny_base, labels))
    assert result | {"tuning": None} == frozen and len(seen.calls) == 1
    assert not result["tuning"]["shipped"] and result["tuning"]["gain"] < 0
    said = next(line for line in listener.said if "so the frozen one ships (--accept-unproven" in line)
    assert "points worse than the frozen one" in said and ": not proven, so" in said


def test_what_is_ahead_in_one_trial_and_behind_in_the_others_is_not_proven(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Planted(monkeypatch, random_rows(), knows=[1.0, -1.0, -1.0])
    request = request_for(tiny_base, csv_of(tmp_path / "l.csv", random_rows()), method="classify")
    result = run(tmp_path / "out", request)
    assert len(seen.calls) >= 2 and not result["tuning"]["shipped"]
    assert result["tuning"]["interval"][0] <= 0 and "classify" not in result["dev"]


def test_what_is_not_proven_is_shipped_if_it_is_accepted_unproven(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Planted(monkeypatch, rows_of(10), knows=-1.0)
    labels = csv_of(tmp_path / "l.csv", rows_of(10))
    result = run(tmp_path / "out", request_for(tiny_base, labels, method="classify", accept_unproven=True))
    assert result["dev"]["classify"] < result["dev"]["frozen"] and len(seen.calls) == 4
    assert result["tuning"]["shipped"] and result["tuning"]["n_examples"] == 40
    assert result["tuning"]["sentence"].endswith("not proven; the tuned one ships, as --accept-unproven asks")


def test_labels_that_are_too_few_to_hold_any_out_keep_the_frozen_encoder_and_say_so(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    rows = [(text, label) for text, label in rows_of(1, seed=4) + rows_of(1, seed=5) if label in ("card", "refund")]
    seen = Planted(monkeypatch, rows, knows=1.0)
    labels = csv_of(tmp_path / "l.csv", rows)
    request = request_for(tiny_base, labels, method="classify")
    result = run(tmp_path / "out", request, listener)
    assert not seen.calls and "classify" not in result["dev"] and result["tuning"]["gain"] is None
    said = next(line for line in listener.said if "too few" in line)
    assert said.startswith("finetune: 4 distinct examples of 2 labels are too few to hold any out and prove")
    assert "so the frozen encoder ships: give at least three distinct examples of each label" in said
    with pytest.raises(InputError, match=r"Tuning holds labels out .* 4 distinct examples of 2 labels are too few"):
        run(tmp_path / "other", request_for(tiny_base, labels, method="classify", accept_unproven=True))


def test_unlabelled_text_is_taught_as_the_frozen_encoders_head_sees_it(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Planted(monkeypatch, rows_of(10), knows=-1.0)  # one trial is enough here
    pool = pool_of(tmp_path, 300)
    labels = csv_of(tmp_path / "l.csv", rows_of(10))
    near = "curate.near_duplicate=1.0"
    for method, extra, times in (("classify", 300, 3), ("setfit", 0, 1)):
        seen.calls.clear()
        run(tmp_path / method, request_for(tiny_base, labels, method=method, unlabelled=(pool,)), None, near)
        given = seen.calls[0]
        looks = len(given["dev"][0])
        taught = len(set(given["texts"]) & {text for text, _ in rows_of(10)})
        known = times * (taught + 4)  # the labels' names are texts too
        assert 40 // 3 <= 40 - taught - looks <= 40 // 3 + 1 and looks == 6
        assert len(given["texts"]) == len(given["targets"]) == len(given["weights"]) == known + extra
        assert not set(given["dev"][0]) & set(given["texts"])
        assert {"card", "delivery"} <= set(given["texts"])
        np.testing.assert_allclose(given["targets"].sum(axis=1), 1.0, rtol=1e-5)
        assert set(given["weights"][:known]) == {1, EXAMPLES} and (given["weights"][known:] < 1).all()
        assert given["settings"]["passes"] == 2  # what the user says counts


def test_opinions_are_those_of_the_teacher_each_as_sure_as_it_is() -> None:
    product, rng = tiny_product(), random.Random(3)
    examples = [Example(id=str(i), text=text, label=label, cluster=i) for i, (text, label) in enumerate(rows_of(5))]
    pool = [text_about(rng.choice(SmallWorld.topics), rng) for _ in range(60)]
    lesson = Lesson.of(examples, pool)
    seen, part = lesson.seen_by(product), np.arange(20) % 5 > 0
    teacher = lesson.classifier(seen, part, kinds=("self-trained",))
    texts, targets, weights = examples_for(lesson, seen, teacher, part, "classify")
    opinions = np.exp(teacher.head.scores(Pool.of(seen.pool).smoothed))
    opinions /= opinions.sum(axis=1, keepdims=True)
    expected = opinions**2 / (opinions**2).sum(axis=1, keepdims=True)
    assert texts[-60:] == pool
    np.testing.assert_allclose(targets[-60:], expected, atol=1e-4)
    np.testing.assert_allclose(weights[-60:], expected.max(axis=1), atol=1e-4)
    few = Lesson.of(examples, pool[: FEWEST_IN_POOL - 1])  # which say nothing of neighbourhoods
    assert not set(examples_for(few, few.seen_by(product), teacher, part, "classify")[0]) & set(pool)


def test_opinions_are_gone_through_once(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Planted(monkeypatch, random_rows(), knows=1.0)
    config = load(overrides=["curate.near_duplicate=1.0"], budget="9ktok")
    labels = csv_of(tmp_path / "l.csv", random_rows())
    request = request_for(
        tiny_base, labels, method="classify", unlabelled=(pool_of(tmp_path, 60),), accept_unproven=True
    )
    result = finetune(World(run=tmp_path / "out", config=config, report=Listener()), request)
    assert seen.calls[0]["settings"]["passes"] == lesson.PASSES == 1
    assert set(result["dev"]) == {"classify", "frozen"}


@pytest.mark.parametrize("kind", KINDS)
def test_with_unlabelled_text_a_tuned_encoder_gets_a_head_of_the_kind_that_is_asked_for(kind: str) -> None:
    product = tiny_product()
    examples = [Example(id=str(i), text=text, label=label, cluster=i) for i, (text, label) in enumerate(rows_of(5))]
    rng, part = random.Random(3), np.arange(20) % 5 > 0
    own = LinearHead(np.zeros((4, product.network.dim), dtype=np.float32), np.arange(4.0), np.arange(4))
    lesson = Lesson.of(examples, [text_about(rng.choice(SmallWorld.topics), rng) for _ in range(60)])
    seen = lesson.seen_by(product)
    found = headed(lesson, Tuned(product, own, (), 1), kind, part)
    expected = lesson.classifier(seen, part, kinds=(kind,))
    np.testing.assert_allclose(found.head.weights, expected.head.weights, rtol=1e-4, atol=1e-4)
    assert found.kind == kind and (found.pool is not None) == KINDS[kind].smoothed
    alone = headed(Lesson.of(examples, ()), Tuned(product, own, (), 1), "linear", part)
    assert alone.pool is None and alone.head.labels.tolist() == sorted(SmallWorld.topics)
    np.testing.assert_array_equal(alone.head.weights, own.weights)


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": "clasify"}, r"--method 'clasify' is not known. Give one of: frozen, classify, setfit"),
        ({"multi_label": True, "method": "classify"}, "--multi-label fits a linear head on the frozen encoder"),
        ({"multi_label": True, "out_of_scope": "oos"}, "--multi-label fits .*Leave out"),
        ({"multi_label": True, "unlabelled": (Path("x.txt"),)}, r"Leave out --unlabelled"),
        ({"accept_unproven": True}, r"--accept-unproven ships a tuned encoder.*add --method classify or setfit"),
        ({"scope_loss": -1.0}, r"--scope-loss -1: expected a number of points from 0 to 100"),
        ({"scope_loss": 101.0}, r"--scope-loss 101"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    tiny_base: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        run(tmp_path / "out", request_for(tiny_base, csv_of(tmp_path / "l.csv", rows_of(3)), **changes))


@pytest.mark.parametrize("role", ["labels", "test"])
def test_a_file_that_is_not_there_is_said_before_anything_is_done(
    tiny_base: Path, tmp_path: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "open_embedder", lambda *_: pytest.fail("the base was opened"))
    request = request_for(tiny_base, csv_of(tmp_path / "l.csv", rows_of(3)))
    request = request.model_copy(update={role: tmp_path / "none.csv"})
    with pytest.raises(SourceError, match=rf"The {role} file .*none\.csv does not exist"):
        run(tmp_path / "out", request)


def test_a_label_for_what_is_out_of_scope_must_be_one(tiny_base: Path, tmp_path: Path) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(3))
    with pytest.raises(InputError, match=r"--out-of-scope 'nothing' is not a label of .*l\.csv"):
        run(tmp_path / "out", request_for(tiny_base, labels, out_of_scope="nothing"))


def test_one_answer_besides_out_of_scope_is_too_few(tiny_base: Path, tmp_path: Path) -> None:
    labels = csv_of(tmp_path / "l.csv", [row for row in rows_of(4, strange=4) if row[1] in ("card", "oos")])
    with pytest.raises(InputError, match=r"at least two labels, and was given \['card'\]"):
        run(tmp_path / "out", request_for(tiny_base, labels))


def test_the_only_example_of_a_label_always_teaches_and_never_decides(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("account about a bag", "account"), *rows_of(6)]
    seen = Planted(monkeypatch, rows, knows=1.0)
    labels = csv_of(tmp_path / "l.csv", rows)
    result = run(tmp_path / "out", request_for(tiny_base, labels, method="classify", accept_unproven=True))
    assert result["labels"] == 5 and result["tuning"]["n_examples"] == 24
    assert all("account about a bag" in call["texts"] for call in seen.calls)


def test_a_file_whose_texts_have_no_labels_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    labels = tmp_path / "l.jsonl"
    labels.write_text('{"text": "a card", "labels": []}\n{"text": "a fee", "labels": []}\n')
    with pytest.raises(SourceError, match="no usable labelled rows"):
        run(tmp_path / "out", request_for(tiny_base, labels, multi_label=True))


def test_without_a_head_there_are_no_answers(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"There is no head in .*head\..*shoptalk finetune MODEL --labels FILE"):
        answers(tmp_path, ["hello"])


# --- what people type


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_text_with_nothing_in_it_has_no_label_and_is_out_of_scope(
    tiny_base: Path, tmp_path: Path, multi_label: bool
) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(6))
    run(tmp_path / "out", request_for(tiny_base, labels, multi_label=multi_label))
    texts = ["", "card card card", "   ", "\t\n", "\u200b\ufeff", "ticket ticket ticket", "\x00\x07"]
    said = answers(tmp_path / "out", texts)
    nothing = classifier.Answer(labels=(), probability=0.0, in_scope=False)
    assert [answer == nothing for answer in said] == [True, False, True, True, True, False, True]
    alone = answers(tmp_path / "out", ["card card card"])
    assert alone[0].labels == said[1].labels and alone[0].probability == pytest.approx(said[1].probability, abs=1e-4)
    assert answers(tmp_path / "out", ["", " "]) == [nothing, nothing]
    assert answers(tmp_path / "out", []) == []


def test_labels_in_several_spellings_are_one_class_and_the_test_is_spelled_like_them(
    tiny_base: Path, tmp_path: Path
) -> None:
    rows = [(text, label.upper() if i % 3 == 0 else label) for i, (text, label) in enumerate(rows_of(12))]
    shouted = [(text, f"{label.upper()}!") for text, label in rows_of(6, seed=1)]
    labels, test = csv_of(tmp_path / "p.csv", rows_of(12)), csv_of(tmp_path / "t.csv", rows_of(6, seed=1))
    plain = run(tmp_path / "plain", request_for(tiny_base, labels, test=test))
    listener = Listener()
    labels, test = csv_of(tmp_path / "l.csv", rows), csv_of(tmp_path / "s.csv", shouted)
    mixed = run(tmp_path / "mixed", request_for(tiny_base, labels, test=test), listener)
    assert (mixed["labels"], mixed["test"]) == (4, plain["test"])
    said = [line for line in listener.said if "spelled in several ways" in line]
    assert [line.split(":")[0] for line in said] == ["l.csv", "s.csv"]


def test_contradictory_rows_are_told_once_where_there_is_unlabelled_text_too(
    tiny_base: Path, tmp_path: Path, world: SmallWorld
) -> None:
    rows = rows_of(8)
    labels = csv_of(tmp_path / "l.csv", [*rows, (rows[0][0], "ticket"), (rows[0][0].upper(), "other")])
    listener = Listener()
    run(tmp_path / "out", request_for(tiny_base, labels, unlabelled=(world.conversations,)), listener)
    assert len([line for line in listener.said if "1 text is labelled in several ways" in line]) == 1
    drops = [json.loads(line) for line in (tmp_path / "out" / "corpus" / "drops.jsonl").read_text().splitlines()]
    assert [drop["reason"] for drop in drops if drop["source"] == "l.csv"] == ["contradiction"] * 3


@pytest.mark.parametrize("name", ["OOS", "Out of scope", "out-of-scope"])
def test_out_of_scope_is_understood_in_any_spelling(tiny_base: Path, tmp_path: Path, name: str) -> None:
    labels = csv_of(tmp_path / "l.csv", rows_of(12, strange=12, name=name))
    test = csv_of(tmp_path / "t.csv", rows_of(6, strange=9, seed=1, name=name.upper()))
    assert run(tmp_path / "out", request_for(tiny_base, labels, test=test))["labels"] == 4
    result = run(tmp_path / "named", request_for(tiny_base, labels, test=test, out_of_scope=name.lower()))
    assert (result["labels"], "out_of_scope_recall" in result["test"]) == (4, True)
