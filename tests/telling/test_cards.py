"""The cards of encoder folders: read back by the hub's own parser, and the same on every resume."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard
from sentence_transformers import SentenceTransformer

from shoptalk.adaptation import adapt
from shoptalk.artifact import open_artifact
from shoptalk.config import Config, load
from shoptalk.nn.tiny import tiny_product
from shoptalk.report.verdict_json import Verdict
from shoptalk.telling.cards import encoder_cards, plain_card
from shoptalk.telling.origin import Base, CorpusFacts, Told, base_of, command_of
from tests.conftest import Listener, SmallWorld
from tests.report.report_facts import entry, facts

CORPUS = CorpusFacts(
    documents=1_200,
    train=2_800,
    held_out=90,
    labelled=385,
    classes=77,
    test=0,
    sources={"chats|a.jsonl": "c" * 64, "intents.csv": "d" * 64},
    by_source={"chats|a.jsonl": 1_200},
    dropped_by_source={"chats|a.jsonl": 12},
    drops={"empty": 2, "duplicate": 10},
)
TOLD = Told(
    base=Base("minilm", "sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    corpus=CORPUS,
    labels="intents.csv",
    test=None,
    training={"lr": 2e-5, "batch": 64, "precision": "float32", "seed": 0},
    versions={"torch": "2.13.0"},
    command="shoptalk adapt chats.jsonl --out RUN",
)


def verdict(**more: Any) -> Verdict:
    told = facts()["verdict"] | {
        "choice": "adopt",
        "objective": "neighbours",
        "entry": "neighbours@180",
        "metric": "accuracy",
        "base": 78.1,
        "adapted": 80.412,
        "gain": 2.3,
        "interval": [1.3, 3.3],
        "n_examples": 2310,
        "n_draws": 100,
        "shots": None,
        "sentence": "Adopt neighbours@180.",
        "heads": {
            "base": "linear",
            "adapted": "smoothed",
            "plain_gain": 2.1,
            "sentence": "Each answers with its best head.",
        },
        "on_test": False,
        "candidates": [entry("neighbours", 180, 2.3, tokens=731_000, seconds=99.0)],
    }
    return Verdict.model_validate(told | more)


UNLABELLED = {"base": None, "adapted": None, "gain": None, "interval": None, "metric": None, "shots": None}


def test_the_model_cards_head_says_what_the_hub_asks_for() -> None:
    data = ModelCard(encoder_cards(TOLD, verdict(), adapted=True)["README.md"]).data
    assert (data.library_name, data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    assert (data.base_model, data.license) == ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0")
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert {"shoptalk", "neighbours", "sentence-transformers"} <= set(data.tags)


@pytest.mark.parametrize(("adapted", "value", "head"), [(True, 80.41, "smoothed"), (False, 78.1, "linear")])
def test_the_measured_accuracy_is_a_result_of_the_model_index(adapted: bool, value: float, head: str) -> None:
    data = ModelCard(encoder_cards(TOLD, verdict(), adapted=adapted)["README.md"]).data
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", value, "intents.csv")
    splits = "80/20 splits of all labels, mean of 100"
    assert result.metric_name == f"accuracy in per cent, {splits}, {head} head"
    assert result.dataset_args == {"draws": 100, "examples": 2310}


def test_a_verdict_of_an_earlier_run_tells_its_labels_per_class() -> None:
    (result,) = ModelCard(
        encoder_cards(TOLD, verdict(shots=5, n_draws=20), adapted=True)["README.md"]
    ).data.eval_results
    assert result.metric_name == "accuracy in per cent, 5 labels per class, mean of 20 label sets, smoothed head"
    assert result.dataset_args == {"shots": 5, "draws": 20, "examples": 2310}


def test_a_supplied_test_set_is_named_as_what_was_measured_on() -> None:
    told = replace(TOLD, test="official.csv", corpus=replace(CORPUS, sources={**CORPUS.sources, "official.csv": "e"}))
    card = encoder_cards(told, verdict(on_test=True), adapted=True)["README.md"]
    (result,) = ModelCard(card).data.eval_results
    assert (result.dataset_name, result.dataset_split) == ("official.csv", "test")
    assert "the supplied test set `official.csv`" in card


def test_without_labels_there_is_no_result_and_the_sentence_says_why() -> None:
    found = verdict(**UNLABELLED, choice="inconclusive", sentence="There are no labels.")
    card = encoder_cards(TOLD, found, adapted=True)["README.md"]
    assert ModelCard(card).data.eval_results is None
    assert "Verdict: `inconclusive`. There are no labels." in card


def test_the_model_card_has_every_section_with_the_verdict_and_its_interval() -> None:
    text = ModelCard(encoder_cards(TOLD, verdict(), adapted=True)["README.md"]).text
    parts = ["What it is", "How it was judged", "Training data", "Training procedure", "Limits and intended use",
             "How to open it", "Reproduce"]  # fmt: skip
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == parts
    assert "Adopt neighbours@180." in text and "+1.3 to +3.3 points" in text
    assert "| steps | 180 |" in text and "| lr | 2e-05 |" in text and "| tokens | 731,000 |" in text
    assert TOLD.command in text and "torch 2.13.0" in text
    assert "99" not in text.replace("2e-05", "")  # seconds would differ from process to process


def test_the_card_has_what_each_step_adds() -> None:
    card = encoder_cards(TOLD, verdict(), adapted=True)["README.md"]
    for row in (
        "| step | accuracy | gain in points | 95 % interval, all at once |",
        "| plain head | 61.5 % |  |  |",
        "| labels' names | 73.0 % | +11.5 | +10.3 to +12.7 |",
        "| in all, up to adapted encoder |  | +18.9 | +17.0 to +20.8 |",
    ):
        assert row in card
    assert "What each step adds" not in encoder_cards(TOLD, verdict(ladder=[], in_all=None), adapted=True)["README.md"]


def test_the_card_of_an_unchanged_base_does_not_claim_to_be_trained() -> None:
    card = ModelCard(encoder_cards(TOLD, verdict(choice="keep_base"), adapted=False)["README.md"])
    assert card.text.lstrip().startswith("# minilm, unchanged")
    assert "None: these are the weights of the base model." in card.text
    assert "base_model_relation" not in card.data.to_dict() and "neighbours" not in card.data.tags


def test_a_run_that_trained_nothing_says_so() -> None:
    found = verdict(
        objective=None, entry=None, choice="keep_base", sentence="Keep the base.", heads=None, candidates=[]
    )
    assert "Nothing was trained" in encoder_cards(TOLD, found, adapted=False)["README.md"]


def test_the_dataset_card_has_sources_counts_drops_and_splits() -> None:
    card = DatasetCard(encoder_cards(TOLD, verdict(), adapted=True)["DATASET.md"])
    assert card.data.size_categories == "1K<n<10K"
    assert card.data.task_categories == ["feature-extraction", "text-classification"]
    assert f"| `chats\\|a.jsonl` | 1,200 documents | 12 | `{'c' * 64}` |" in card.text
    assert f"| `intents.csv` | 385 labelled texts | 0 | `{'d' * 64}` |" in card.text
    assert card.text.index("| duplicate | 10 |") < card.text.index("| empty | 2 |")
    assert "| training, unlabelled | 2,800 |" in card.text and "| held out, unlabelled | 90 |" in card.text
    assert "has not looked for personal data" in card.text


def test_a_plain_card_is_a_model_card_without_results() -> None:
    card = ModelCard(plain_card(base_of("minilm"), "trained with mlm", "Not measured."))
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2" and card.data.eval_results is None
    assert "# minilm, trained with mlm\n\nNot measured." in card.text


def test_a_base_in_a_folder_is_told_without_the_folders_path_and_by_its_own_card(tmp_path: Path) -> None:
    mine = tmp_path / "acme" / "encoder"
    tiny_product().save(mine, card=plain_card(TOLD.base, "x", "y"))
    assert base_of(str(mine)) == Base("acme", "sentence-transformers/all-MiniLM-L6-v2", "apache-2.0")
    (mine / "README.md").write_text("---\nlicense: [broken\n---\n# odd\n")
    assert base_of(str(mine)) == Base("acme")
    (mine / "README.md").write_text("# no head\n")
    assert base_of(str(tmp_path / "acme")) == Base("acme")
    assert base_of("scratch:mini") == Base("scratch:mini")


def test_the_command_names_files_without_folders_and_only_what_is_not_at_its_default() -> None:
    config = load(overrides=["objectives.mlm.lr=2e-5", "smallest_gain=1.5"], candidates=("mlm", "none"), shots=2)
    words = command_of([Path("/home/me/chats.jsonl"), Path("docs")], Path("/x/intents.csv"), None, config,
                       accept_unproven=True)  # fmt: skip
    assert words == (
        "shoptalk adapt chats.jsonl docs --out RUN --labels intents.csv --candidates mlm,none --shots 2 "
        "--accept-unproven --set smallest_gain=1.5 --set objectives.mlm.lr=2e-05"
    )
    assert command_of([Path("a.txt")], None, None, Config(), accept_unproven=False) == "shoptalk adapt a.txt --out RUN"
    money = load(budget="0.50eur", price_per_hour=1.2)
    assert command_of([Path("a.txt")], None, None, money, accept_unproven=False).endswith("--budget 0.5eur@1.2")


def test_the_command_of_a_run_that_replays_general_text_names_its_files() -> None:
    config = load(task="language_model", overrides=['replay.sources=["/home/me/wiki", "b.txt"]'])
    assert command_of([Path("a.txt")], None, None, config, accept_unproven=False) == (
        "shoptalk adapt a.txt --out RUN --task language_model --candidates clm,clm-replay-5,clm-replay-25,none "
        "--replay wiki --replay b.txt"
    )


def test_the_dataset_card_has_the_text_that_was_replayed() -> None:
    corpus = replace(TOLD.corpus, replayed=1_500, general={"wiki.txt": "e" * 64})
    card = encoder_cards(replace(TOLD, corpus=corpus, kind="lm"), verdict(), adapted=True)["DATASET.md"]
    assert "| general, unlabelled | 1,500 | replayed beside the training texts |" in card
    assert f"| `wiki.txt` | replayed |  | `{'e' * 64}` |" in card


# --- a whole run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A finished run and the call that made it."""
    folder = tmp_path_factory.mktemp("cards")
    world = SmallWorld(folder)
    config = load(
        overrides=["objectives.mlm.batch=8"], base=str(tiny_base), budget="4ktok", draws=5, shots=2,
        candidates=("mlm", "none"),
    )  # fmt: skip

    def again(**more: Any) -> dict[str, Any]:
        return adapt([world.conversations], out=folder / "run", config=config, report=Listener(), labels=world.labels,
                     **more).told()  # fmt: skip

    again()
    return folder / "run", again


def test_both_encoders_of_a_run_carry_both_cards_and_open_elsewhere(done: tuple[Path, Any]) -> None:
    run, _ = done
    found = json.loads((run / "verdict.json").read_text())
    for folder in (run / "encoder", run / "candidate" / "encoder"):
        model, data = ModelCard.load(folder / "README.md"), DatasetCard.load(folder / "DATASET.md")
        assert found["sentence"] in model.text and "conversations.jsonl" in data.text
        assert str(run.parent) not in model.content + data.content
        assert SentenceTransformer(str(folder)).encode(["hello"]).shape == (1, 32)
    result = ModelCard.load(run / "candidate" / "encoder" / "README.md").data.eval_results[0]
    assert result.metric_value == pytest.approx(found["adapted"], abs=0.006)


def test_a_run_that_was_killed_before_its_decision_writes_the_same_encoders_again(done: tuple[Path, Any]) -> None:
    run, again = done
    folders = [run / "encoder", run / "candidate" / "encoder", run / "head"]
    before = [open_artifact(folder) for folder in folders]
    shutil.rmtree(run / "decision")
    again()
    assert [open_artifact(folder) for folder in folders] == before  # not made again, down to the time of making
    shutil.rmtree(run / "decision")
    shutil.rmtree(run / "encoder")
    again()
    after = open_artifact(run / "encoder")
    assert before[0] is not None and after is not None and after.content == before[0].content


@pytest.mark.parametrize(
    ("kind", "base", "library", "opens"),
    [
        ("image", "scratch:resnet-mini", "transformers", "AutoImageProcessor.from_pretrained(folder)"),
        ("pair", "scratch:resnet-mini+minilm", "transformers", "VisionTextDualEncoderModel.from_pretrained(folder)"),
        ("image", "hog", "shoptalk", 'open_base("path/to/this/folder")'),
    ],
)
def test_the_cards_of_encoders_of_pictures_speak_of_pictures(kind: str, base: str, library: str, opens: str) -> None:
    told = replace(TOLD, base=Base(base), kind=kind)
    cards = encoder_cards(told, verdict(), adapted=base != "hog")
    data = ModelCard(cards["README.md"]).data
    assert data.library_name == library and "sentence" not in cards["README.md"].partition("# ")[0]
    assert data.eval_results[0].task_type == "image-classification"
    assert opens in cards["README.md"] and "pictures" in cards["README.md"]
    for card in cards.values():
        own = card.replace("documents, passages or rows", "")
        assert not re.search(r"\b(conversations?|messages?|passages)\b", own)


def test_the_command_of_a_run_on_pictures_names_its_task_and_what_is_not_that_tasks_default() -> None:
    source, labels = Path("pictures.zip"), Path("labels.csv")
    plain = command_of([source], labels, None, Config(task="picture"), accept_unproven=False)
    assert plain == "shoptalk adapt pictures.zip --out RUN --labels labels.csv --task picture"
    changed = Config(task="picture", base="scratch:vit-nano", candidates=("mae", "none"))
    assert command_of([source], labels, None, changed, accept_unproven=False) == (
        "shoptalk adapt pictures.zip --out RUN --labels labels.csv --task picture --bases scratch:vit-nano,pixels,hog "
        "--candidates mae,none"
    )
    paired = command_of([Path("c.csv")], None, None, Config(task="caption", budget="5m"), accept_unproven=False)
    assert paired == "shoptalk adapt c.csv --out RUN --task caption --budget 5m"


def test_bases_of_pictures_are_named_as_they_are_and_by_no_hub() -> None:
    for ref in ("scratch:resnet-mini@64", "hog", "pixels@64", "scratch:resnet-mini+minilm"):
        assert base_of(ref) == Base(ref)
