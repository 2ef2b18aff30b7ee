"""A run's folders without a run: an encoder, a corpus of a few documents, and a head where one is asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shoptalk.artifact import create, open_artifact
from shoptalk.curate.curation import write_corpus
from shoptalk.nn.bases import open_base
from shoptalk.nn.heads import classifier, head_files
from shoptalk.records import Document, Metadata, Turn

HARBOUR = Path(__file__).parents[2] / "examples" / "harbour"


def documents_of_harbour(*names: str) -> list[Document]:
    return [
        Document(
            id=f"documents/{name}",
            source=f"documents/{name}",
            text=(HARBOUR / "documents" / name).read_text(encoding="utf-8").strip(),
        )
        for name in names
    ]


def small_run(
    run: Path,
    documents: Sequence[Document],
    *,
    base: str = "minilm",
    labelled: Sequence[tuple[str, str]] = (),
) -> Path:
    product = open_base(base)
    with create(run / "encoder", kind="encoder", config={}, parents={"base": base}) as folder:
        product.save(folder, card="# a test's\n")
    with create(run / "corpus", kind="corpus", config={}, parents={}) as folder:
        write_corpus(folder, documents, passage_characters=600, held_out=lambda document: False)
    encoder = open_artifact(run / "encoder")
    assert encoder is not None
    if labelled:
        texts, labels = [text for text, _ in labelled], [label for _, label in labelled]
        head = classifier.train(product.embed(texts), labels, np.arange(len(texts)))
        with create(run / "head", kind="head", config={}, parents={"encoder": encoder.content}) as folder:
            head_files.save(head, folder)
    return run


def visitor(*texts: str) -> list[Turn]:
    """A conversation: the visitor's and the assistant's turns by turns, the visitor's first."""
    return [Turn(role="assistant" if n % 2 else "visitor", text=text) for n, text in enumerate(texts)]


def row(id: str, text: str, **metadata: str | bool) -> Document:
    return Document(id=id, source=id, text=text, metadata=Metadata(metadata))
