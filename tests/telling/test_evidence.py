"""What a run keeps beside its verdict: evidence of the entry that it describes, the trace, the sources."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from shoptalk.adaptation import adapt
from shoptalk.artifact import open_artifact
from shoptalk.config import Config, load
from shoptalk.errors import ArtifactError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import head_files
from shoptalk.telling.facts import open_facts
from tests.attacks import reseal
from tests.conftest import Listener, SmallWorld

SMALL = [f"objectives.{name}.batch=8" for name in ("turns", "neighbours")]


def config_for(base: Path, **values: object) -> Config:
    usual = {"budget": "3ktok", "draws": 5, "shots": 2, "candidates": ("neighbours", "none")}
    return load(overrides=SMALL, base=str(base), **(usual | values))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return SmallWorld(tmp_path_factory.mktemp("world"), labels_per_class=8)


@pytest.fixture(scope="module")
def finished(world: SmallWorld, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    command = "shoptalk adapt conversations.jsonl --labels labels.csv --out run"
    config = config_for(tiny_base)
    adapt([world.conversations], out=out, config=config, report=Listener(), labels=world.labels, command=command)
    return out


@pytest.fixture(scope="module")
def facts(finished: Path) -> dict[str, Any]:
    return open_facts(finished).told()


def test_gains_are_told_per_shots_and_per_task(facts: dict[str, Any]) -> None:
    rows = {(row["task"], row["shots"]): row for row in facts["gains"]}
    assert list(rows) == [
        ("intent", 1),
        ("intent", 2),
        ("intent", 5),
        ("intent", "full"),
        ("retrieval", None),
    ]  # 80 % of 8 are 6
    for row in rows.values():
        assert row["gain"] == pytest.approx(row["adapted"] - row["base"], abs=1e-4)
        assert row["interval"][0] <= row["gain"] <= row["interval"][1]
    readings = {row["entry"]: row["values"] for row in facts["label_free"]}
    told = rows["retrieval", None]
    assert told["base"] == pytest.approx(readings["base"]["next-turn MRR"])
    assert told["adapted"] == pytest.approx(readings[facts["verdict"]["entry"]]["next-turn MRR"])
    assert "verdict rests on its own interval" in facts["gains_note"]


def test_changed_texts_have_neighbours_under_both_encoders(facts: dict[str, Any], world: SmallWorld) -> None:
    changed = facts["changed"]
    assert changed["entry"] == facts["verdict"]["entry"] and changed["draws"] == 5
    assert changed["head"] == facts["verdict"]["heads"]["adapted"]
    label_of = dict(line.split(",") for line in world.labels.read_text().splitlines()[1:])
    rows = [*changed["gained"], *changed["lost"]]
    assert len(changed["gained"]) == min(20, changed["n_gained"]) and len(changed["lost"]) == min(20, changed["n_lost"])
    for row in rows:
        assert label_of[row["text"]] == row["label"]
        for side in ("before", "after"):
            assert len(row[side]) == 3
            assert all(label_of[near["text"]] == near["label"] for near in row[side])
            cosines = [near["cosine"] for near in row[side]]
            assert cosines == sorted(cosines, reverse=True)
    assert all(row["base_share"] <= 0.5 < row["adapted_share"] for row in changed["gained"])
    assert all(row["adapted_share"] <= 0.5 < row["base_share"] for row in changed["lost"])


def test_the_map_has_every_labelled_text_first_and_columns_of_one_length(
    facts: dict[str, Any], world: SmallWorld
) -> None:
    drawn = facts["map"]
    lengths = {len(drawn[name]) for name in ("text", "class", "source", "before", "after")}
    assert lengths == {len(drawn["text"])}
    lines = [line.split(",") for line in world.labels.read_text().splitlines()[1:]]
    n = len(lines)
    assert drawn["text"][:n] == [text for text, _ in lines]
    assert [drawn["classes"][number] for number in drawn["class"][:n]] == [label for _, label in lines]
    assert set(drawn["class"][n:]) == {None}
    assert [drawn["sources"][i] for i in drawn["source"][n - 1 : n + 1]] == ["labels.csv", "conversations.jsonl"]
    for side in ("before", "after"):
        points = np.array(drawn[side])
        assert points.min() >= 0 and points.max() <= 1
    assert drawn["n_all"] == n + facts["kept"]["texts"]


def test_layers_and_moved_are_those_of_the_two_encoders(finished: Path, facts: dict[str, Any], tiny_base: Path) -> None:
    candidate = finished / "candidate" / "encoder"
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_base, candidate))
    names = [name for name in before if name.startswith("encoder.layer.0.")]
    change = sum(float(((after[name] - before[name]).astype(np.float64) ** 2).sum()) for name in names)
    whole = sum(float((before[name].astype(np.float64) ** 2).sum()) for name in names)
    told = {row["name"]: row["change"] for row in facts["layers"]}
    assert list(told) == ["embeddings", "layer 1", "layer 2"]
    assert told["layer 1"] == pytest.approx((change / whole) ** 0.5, rel=1e-5)
    texts = facts["map"]["text"]
    one, other = (embed(open_base(str(folder)), texts) for folder in (tiny_base, candidate))
    assert facts["moved"]["n"] == len(texts)
    assert facts["moved"]["mean"] == pytest.approx(float((one * other).sum(axis=1).mean()), abs=1e-5)


def test_every_node_of_the_trace_has_known_parents_and_its_manifests_hash(
    finished: Path, facts: dict[str, Any]
) -> None:
    nodes = facts["trace"]["nodes"]
    ids = [node["id"] for node in nodes]
    assert len(set(ids)) == len(ids)
    for place, node in enumerate(nodes):
        assert set(node["parents"]) <= set(ids[:place])
        assert len(node["hash"]) == 64
        if node["folder"] is not None and node["id"] != "decision":
            artifact = open_artifact(finished / node["folder"])
            assert artifact is not None and artifact.content == node["hash"]
    kinds = {node["kind"] for node in nodes}
    assert kinds == {
        "source",
        "corpus",
        "base",
        "baseline",
        "targets",
        "entry",
        "encoder",
        "head",
        "evidence",
        "decision",
    }
    told = {node["id"]: node for node in nodes}
    assert told["decision"]["hash"] == hashlib.sha256((finished / "verdict.json").read_bytes()).hexdigest()
    assert told["decision"]["hash"] == open_artifact(finished / "decision").files["verdict.json"]  # type: ignore[union-attr]
    assert told["candidate"]["parents"] == [f"entry:{facts['verdict']['entry']}"]
    assert told["head"]["parents"] == ["encoder", "corpus"]
    assert told["corpus"]["parents"] == ["source:conversations.jsonl", "labels:labels.csv"]
    entries = [f"entry:{row['entry']}" for row in facts["verdict"]["candidates"]]
    assert [node["id"] for node in nodes if node["kind"] == "entry"] == entries
    averages = [f"entry:{row['entry']}" for row in facts["verdict"]["candidates"] if "merge" in row]
    trained = [name for name in entries if name not in averages]
    assert averages
    assert all(told[name]["parents"] == ["baseline", "corpus", "base", "targets:neighbours"] for name in trained)
    assert all(told[name]["parents"] == [trained[-1], "baseline", "base"] for name in averages)


def test_evidence_is_a_timed_stage_that_is_opened_again_and_not_made_again(
    finished: Path, facts: dict[str, Any], world: SmallWorld, tiny_base: Path
) -> None:
    assert "evidence" in {row["stage"] for row in facts["cost"]["stages"]}
    before = open_artifact(finished / "evidence")
    listener = Listener()
    config = config_for(tiny_base, smallest_gain=1.5)  # another decision about the same entries
    adapt([world.conversations], out=finished, config=config, report=listener, labels=world.labels, force=True)
    assert open_artifact(finished / "evidence") == before
    assert not [line for line in listener.said if line.startswith("evidence")]
    again = open_facts(finished).told()
    assert again["map"] == facts["map"] and again["gains"] == facts["gains"]


def test_without_labels_there_are_the_map_the_network_and_retrieval(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    config = config_for(tiny_base, candidates=("turns", "none"))
    adapt([world.conversations], out=tmp_path / "run", config=config, report=Listener())
    facts = open_facts(tmp_path / "run").told()
    assert [row["task"] for row in facts["gains"]] == ["retrieval"]
    assert facts["changed"] is None
    assert facts["map"]["classes"] == [] and set(facts["map"]["class"]) == {None}
    assert facts["map"]["sources"] == ["conversations.jsonl"]
    assert facts["moved"]["n"] == len(facts["map"]["text"]) and facts["layers"]
    assert {node["kind"] for node in facts["trace"]["nodes"]} >= {"corpus", "entry", "decision"}
    assert "Label about 400 messages" in facts["next"][0]["say"]


def test_a_handful_of_documents_is_enough_to_pass(tiny_base: Path, tmp_path: Path) -> None:
    source = tmp_path / "three.jsonl"
    words = ("card", "delivery", "refund")
    source.write_text("\n".join(json.dumps({"text": f"where is my {word} number {word}"}) for word in words) + "\n")
    config = config_for(tiny_base, candidates=("mlm", "none"), budget="400tok")
    adapt([source], out=tmp_path / "run", config=config, report=Listener())
    facts = open_facts(tmp_path / "run").told()
    assert facts["sources"][0]["documents"] == facts["moved"]["n"] == 3
    assert facts["map"] is None and facts["gains"] == []


def test_where_nothing_was_trained_there_are_the_sources_largest_first_with_what_was_dropped_of_each(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(53):
        (folder / f"note{number:02}.md").write_text(f"Note {number}: where is the {'very ' * number}late parcel?\n")
    (folder / "again.md").write_text("Note 3: where is the very very very late parcel?\n")
    config = config_for(tiny_base, candidates=("none",))
    adapt([world.conversations, folder], out=tmp_path / "run", config=config, report=Listener())
    facts = open_facts(tmp_path / "run").told()
    assert not {"gains", "map", "changed", "layers", "moved"} & set(facts)
    assert not [node for node in facts["trace"]["nodes"] if node["kind"] in ("entry", "targets", "head")]
    rows = facts["sources"]
    assert len(rows) == 51
    assert (rows[0]["source"], rows[0]["documents"]) == ("conversations.jsonl", 40)
    assert [row["texts"] for row in rows[:-1]] == sorted((row["texts"] for row in rows[:-1]), reverse=True)
    assert rows[-1]["source"] == "5 more" and rows[-1]["samples"] == []
    assert sum(row["texts"] for row in rows) == facts["kept"]["texts"]
    assert sum(row["documents"] for row in rows) == facts["kept"]["documents"]
    assert sum(row["dropped"] for row in rows) == sum(row["count"] for row in facts["drops"]) == 1
    assert sum(row["share"] for row in rows) == pytest.approx(1.0, abs=0.01)
    assert rows[1]["samples"][0].startswith("Note ") and len(rows[0]["samples"][0]) <= 160
    assert [node["id"] for node in facts["trace"]["nodes"] if node["kind"] == "source"] == ["sources"]


def test_facts_of_another_form_are_refused_by_report_and_made_anew_by_adapt(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    config = config_for(tiny_base, candidates=("none",))
    run, listener = tmp_path / "run", Listener()
    adapt([world.conversations], out=run, config=config, report=Listener())
    path = run / "decision" / "facts.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"kept": {"documents": 40}}), encoding="utf-8")
    reseal(run / "decision")
    with pytest.raises(ArtifactError, match=r"facts\.json does not hold .*kept\.texts: Field required.*Delete"):
        open_facts(run)
    adapt([world.conversations], out=run, config=config, report=listener)
    assert any("decision of this run is missing or damaged, and is made anew" in line for line in listener.said)
    assert open_facts(run).kept.texts == told["kept"]["texts"]


def test_the_head_that_ships_is_of_the_kind_that_the_verdict_judged(finished: Path, facts: dict[str, Any]) -> None:
    verdict = facts["verdict"]
    side = "adapted" if verdict["choice"] == "adopt" else "base"
    assert head_files.load(finished / "head").kind == verdict["heads"][side]
