"""An assistant that needs no model: what it says depends on the words that it is asked."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.knowledge import KnowledgeChange
from shoptalk.assistant.reply import Reply, Sentence, Source, Versions
from shoptalk.assistant.translated_text import TranslatedText
from shoptalk.records import Document, Turn

TARIFF = "A bicycle travels for 4 euros. Dogs travel free."


class FakeKnowledge:
    """Documents by their ids."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}

    def refresh(self) -> bool:
        return False

    def status(self) -> dict[str, object]:
        rows = [{"id": name, "passages": 1} for name in self.documents]
        return {"documents": len(rows), "passages": len(rows), "index": "index1", "sources": rows}


class FakeAssistant:
    """Answers about bicycles, hands over on request, declines the weather."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[tuple[Turn, ...]] = []
        self.failing = 0
        self.lock = threading.Lock()
        self.knowledge = FakeKnowledge()
        self.settings = AssistantSettings(name="Harbour")
        self.remarks: tuple[str, ...] = ()

    def put(self, documents: Sequence[Document]) -> KnowledgeChange:
        replaced = tuple(document.id for document in documents if document.id in self.knowledge.documents)
        self.knowledge.documents |= {document.id: document for document in documents}
        return KnowledgeChange(len(documents), len(self.knowledge.documents), len(documents), replaced=replaced)

    def remove(self, names: Sequence[str], *, ids: bool = False) -> KnowledgeChange:
        for name in names:
            del self.knowledge.documents[name]
        return KnowledgeChange(0, len(self.knowledge.documents), 0, removed=tuple(names))

    def reply(self, turns: Sequence[Turn], **_: Any) -> Reply:
        with self.lock:
            self.asked.append(tuple(turns))
            if self.failing > 0:
                self.failing -= 1
                raise RuntimeError("the model broke on someone@example.com")
        time.sleep(self.seconds)
        words = turns[-1].text.casefold()
        versions = Versions("run1", "encoder1", "index1")
        source = Source("d#0", "tariff.md", "Tariff", "Bicycles", 0, 30, None, TARIFF, 0.9, 1, True)
        other = Source("d#1", "house.md", "House rules", "Dogs", 0, 10, "https://a.example/x", "Rules", 0.2, 2, False)
        seconds = {"total": self.seconds}
        if "person" in words:
            return Reply(
                "escalate",
                "customer_request",
                "I am passing you on to a person.",
                (),
                (),
                1.0,
                None,
                "rule",
                versions,
                seconds,
            )
        if "useless" in words:
            sentence = "I am sorry. I am passing you on to a person."
            return Reply("escalate", "sentiment", sentence, (), (), 1.0, None, "rule", versions, seconds)
        if "weather" in words:
            return Reply(
                "decline", "out_of_scope", "I cannot help with that.", (), (), 0.9, None, "rule", versions, seconds
            )
        if "unicorn" in words:
            return Reply(
                "clarify", "missing_knowledge", "What do you mean?", (), (other,), 0.1, None, "rule", versions, seconds
            )
        text = "A bicycle travels for 4 euros."
        return Reply(
            "answer",
            "supported",
            text,
            (Sentence(text, (1,)),),
            (source, other),
            0.9,
            "price",
            "extractive",
            versions,
            seconds,
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), text.count("e"), 1.0] for text in texts], dtype=np.float32)

    def suggest(self, turns: Sequence[Turn]) -> tuple[str, ...]:
        return ("It is 4 euros.", "Dogs are free.")

    def summary(self, turns: Sequence[Turn]) -> str:
        return f"The visitor said: {turns[-1].text}"


class FakeTranslator:
    """Says that it is German, in angle brackets; remembers what it was asked, and in which thread."""

    languages = ("en", "de")

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.failing = False
        self.asked: list[list[str]] = []
        self.busy = self.busiest = 0
        self.threads: set[str] = set()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def translated(self, texts: Sequence[str]) -> list[TranslatedText]:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        self.asked.append(list(texts))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        self.busy -= 1
        if self.failing:
            raise RuntimeError("the translator broke on someone@example.com")
        return [TranslatedText(f"<b>de</b>: {text}", whole="endless" not in text) for text in texts]
