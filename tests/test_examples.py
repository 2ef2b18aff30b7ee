import csv
import json
from pathlib import Path

from shoptalk.config import load
from shoptalk.curate.labels import read_labels
from shoptalk.objectives import make_spec

HARBOUR = Path(__file__).parent.parent / "examples" / "harbour"


def test_harbour_has_the_documents_conversations_and_intents_that_its_readme_promises() -> None:
    assert len(list((HARBOUR / "documents").glob("*.md"))) == 20
    conversations = [json.loads(line) for line in (HARBOUR / "conversations.jsonl").read_text().splitlines()]
    assert len(conversations) == 100
    assert all(turn["text"].strip() for conversation in conversations for turn in conversation["turns"])
    with (HARBOUR / "intents.csv").open(encoding="utf-8") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert len(set(labels)) == 12 and {labels.count(label) for label in set(labels)} == {25}


def test_harbours_settings_are_valid() -> None:
    config = load(HARBOUR / "shoptalk.toml")
    for name, settings in config.objectives.items():
        make_spec(name, settings)


def test_no_harbour_message_is_a_near_duplicate_of_another() -> None:
    examples, drops = read_labels(HARBOUR / "intents.csv", load().curate)
    assert not drops
    assert len({example.cluster for example in examples}) == len(examples) == 300
