import csv
import json
import random
import re
import runpy
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shoptalk.config import load
from shoptalk.curate.clean import repair
from shoptalk.curate.dedup import clusters
from shoptalk.curate.labels import read_labels
from shoptalk.curate.sources import stream_sources
from shoptalk.objectives import make_spec
from shoptalk.records import Document, Drop

HARBOUR = Path(__file__).parent.parent / "examples" / "harbour"


def test_harbour_has_the_documents_conversations_and_intents_that_its_readme_promises() -> None:
    assert len(list((HARBOUR / "documents").glob("*.md"))) == 40
    assert [chat["id"] for chat in conversations()] == [f"c{number:03}" for number in range(1, 401)]
    labels = labels_of("intents.csv")
    assert len(set(labels)) == 25 and min(labels.count(label) for label in set(labels)) >= 15
    assert labels_of("out_of_scope.csv") == ["oos"] * 80
    moods = labels_of("sentiment.csv")
    assert {mood: moods.count(mood) for mood in set(moods)} == {"positive": 70, "neutral": 70, "negative": 70}


def conversations() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HARBOUR / "conversations.jsonl").read_text(encoding="utf-8").splitlines()]


def labels_of(name: str) -> list[str]:
    with (HARBOUR / name).open(encoding="utf-8", newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def test_the_intents_and_counts_in_harbours_readme_are_those_of_its_files() -> None:
    page = (HARBOUR / "README.md").read_text(encoding="utf-8")
    intents = labels_of("intents.csv")
    sizes = Counter(intents).values()
    turns = sum(len(chat["turns"]) for chat in conversations())
    assert f"{len(intents)} customer messages" in page
    assert f"{len(set(intents))} intents of {min(sizes)} to {max(sizes)} messages" in page
    assert f"{len(conversations())} conversations between customers" in page and f"{turns:,} turns" in page
    listed = re.findall("`([a-z_]+)`", page.split("The 25 intents:")[1].split("\n")[0])
    assert listed == sorted(set(intents))


def test_shoptalk_reads_every_harbour_conversation_whole_and_in_order() -> None:
    documents = list(stream_sources([HARBOUR / "conversations.jsonl"], load().curate))
    assert not [item for item in documents if isinstance(item, Drop)]
    read = [[(turn.role, turn.text) for turn in item.turns] for item in documents if isinstance(item, Document)]
    assert read == [[(turn["role"], repair(turn["text"])) for turn in chat["turns"]] for chat in conversations()]
    assert all(turns[0][0] == "user" and {role for role, _ in turns} == {"user", "assistant"} for turns in read)


def test_no_two_harbour_conversations_open_alike_or_share_a_number() -> None:
    """Half of the character 5-grams in common is alike: well below what counts as a near duplicate elsewhere."""
    for role in ("user", "assistant"):
        openings = [next(turn["text"] for turn in chat["turns"] if turn["role"] == role) for chat in conversations()]
        openings = [text for text in openings if len(text) > 40]
        assert len(set(clusters(openings, 0.5).tolist())) == len(openings) > 200
    numbers = [set(re.findall(r"HB-\d+", json.dumps(chat))) for chat in conversations()]
    assert max(Counter(number for found in numbers for number in found).values()) == 1


def test_harbours_settings_are_valid() -> None:
    config = load(HARBOUR / "shoptalk.toml")
    for name, settings in config.objectives.items():
        make_spec(name, settings)


def test_no_harbour_message_is_a_near_duplicate_of_another(tmp_path: Path) -> None:
    """In one file: what is out of scope has one label only, which `read_labels` refuses to read by itself."""
    names = ("intents.csv", "out_of_scope.csv", "sentiment.csv")
    files = [(HARBOUR / name).read_text(encoding="utf-8").split("\n", 1)[1] for name in names]
    together = tmp_path / "together.csv"
    together.write_text("text,label\n" + "".join(files), encoding="utf-8")
    examples, drops = read_labels(together, load().curate)
    assert not drops
    assert len({example.cluster for example in examples}) == len(examples) == 558 + 80 + 210


def test_every_harbour_question_is_answered_by_a_passage_that_stands_once_in_its_document_alone() -> None:
    documents = {path.name: path.read_text(encoding="utf-8") for path in (HARBOUR / "documents").glob("*.md")}
    questions = [json.loads(line) for line in (HARBOUR / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({question["id"] for question in questions}) == len(questions) == 60
    assert len({question["document"] for question in questions}) >= 30
    for question in questions:
        found = {name: text.count(question["passage"]) for name, text in documents.items()}
        assert {name: count for name, count in found.items() if count} == {question["document"]: 1}, question["id"]


def test_every_harbour_picture_is_drawn_small_and_captioned_twice() -> None:
    pictures = HARBOUR / "pictures"
    captions = [json.loads(line) for line in (pictures / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    subjects = set(labels_of("intents.csv")) | {path.name for path in (HARBOUR / "documents").glob("*.md")}
    assert {caption["about"] for caption in captions} <= subjects
    assert [caption["language"] for caption in captions].count("de") == 6
    assert len({caption["caption"] for caption in captions}) == len(captions) == 40
    images = sorted(path.name for path in pictures.glob("*.png"))
    assert sorted(caption["image"] for caption in captions) == sorted(images * 2) and len(images) == 20
    assert {path.stem for path in pictures.glob("*.svg")} == {Path(image).stem for image in images}
    for image in images:
        assert png_size(pictures / image) == (640, 480)
        assert (pictures / image).stat().st_size < 40_000
        assert 'width="640" height="480"' in (pictures / image).with_suffix(".svg").read_text(encoding="utf-8")


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the first chunk of a PNG file."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


QUAY = HARBOUR.parent / "quay"


def test_every_picture_of_the_quay_has_a_label_or_captions_and_is_small() -> None:
    tables = {
        name: list(csv.DictReader((QUAY / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
        for name in ("labels", "captions")
    }
    labelled, captioned = ({row["image"] for row in rows} for rows in tables.values())
    assert not labelled & captioned
    counts = Counter(row["label"] for row in tables["labels"])
    assert set(counts.values()) == {30} and len(counts) == 6
    assert all(label in row["text"] for row in tables["captions"] for label in counts if row["text"].endswith(label))
    with zipfile.ZipFile(QUAY / "pictures.zip") as archive:
        assert {f"pictures.zip/{name}" for name in archive.namelist()} == labelled | captioned
        assert all(Image.open(archive.open(name)).size == (32, 32) for name in archive.namelist()[::20])
    assert (QUAY / "pictures.zip").stat().st_size < 400_000


def test_the_quay_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(QUAY / "draw.py"))
    rng, subjects = random.Random(1884), list(drawn["SUBJECTS"])
    order = [subject for subject in subjects for _ in range(drawn["LABELLED"])]
    order += [rng.choice(subjects) for _ in range(drawn["OTHERS"])]
    numbers = list(range(len(order)))
    rng.shuffle(numbers)
    with zipfile.ZipFile(QUAY / "pictures.zip") as archive:
        for place, subject in enumerate(order[:5]):
            image, _ = drawn["drawing"](subject, rng)
            kept = Image.open(archive.open(f"{numbers[place]:04}.png"))
            pixels = [np.asarray(one.convert("RGB"), dtype=float) for one in (image, kept)]
            assert np.abs(pixels[0] - pixels[1]).mean() < 3  # another Pillow may round in another way
