"""What of a run's corpus the assistant knows."""

import json
from pathlib import Path

from shoptalk.artifact import create
from shoptalk.assistant.knowledge import _of_corpus
from shoptalk.records import Document, Turn


def test_messages_of_the_file_with_the_labels_and_conversations_are_not_knowledge(tmp_path: Path) -> None:
    documents = [
        Document(id="faq.csv#1", source="faq.csv", text="It costs ten crowns."),
        Document(id="messages.csv#2", source="messages.csv", text="you charged me twice"),
        Document(id="asked.csv#1", source="asked.csv", text="where is my parcel"),
        Document(id="chat.jsonl#1", source="chat.jsonl", turns=(Turn(role="customer", text="hello"),)),
    ]
    with create(tmp_path / "corpus", kind="corpus", config={}, parents={}) as inside:
        lines = "".join(f"{document.model_dump_json()}\n" for document in documents)
        (inside / "documents.jsonl").write_text(lines, encoding="utf-8")
        for name, file in (("labels", "messages.csv"), ("test", "asked.csv")):
            row = {"id": f"{file}#7", "text": "a", "label": "b"}
            (inside / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [document.id for document in _of_corpus(tmp_path)] == ["faq.csv#1"]
