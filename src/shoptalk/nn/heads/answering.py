"""Predictions of a shipped folder: its encoder's vectors, then its head's answers."""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import Artifact, handed_out, open_artifact
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import head_files
from shoptalk.nn.heads.classifier import Answer
from shoptalk.nn.lean import open_to_read

NO_ANSWER = Answer(labels=(), probability=0.0, in_scope=False)
"""The answer to an empty text: any label would be a guess from the training set alone."""


def answers(model: Path, texts: Sequence[str]) -> list[Answer]:
    """The predictions of the encoder and the head in a folder (of a run, or of `finetune`), one per text.

    A text with nothing in it to read (empty, spaces, invisible characters) has no label and is out of scope.

    Raises:
        ArtifactError: there is no head, it was fitted on another encoder, or one of the two is damaged.
    """
    head = open_artifact(model / "head")
    if head is None:
        raise ArtifactError(
            f"There is no head in {model / 'head'}. `predict` needs the folder of a run that was given labels, or one "
            "that `shoptalk finetune MODEL --labels FILE --out DIR` left."
        )
    encoder = open_artifact(model / "encoder")
    if encoder is None or not belongs(head, encoder):
        raise ArtifactError(
            f"The head in {model / 'head'} was fitted on another encoder than the one in {model / 'encoder'}, and "
            "would answer wrongly. Run the command that made the folder again, or give the folder of another run."
        )
    for part in ("encoder", "head"):
        handed_out(model / part)
    # Half a character, which a message from bytes that are no UTF-8 may hold, is none that a tokenizer takes.
    readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts if _has_something(text)]
    if not readable:
        return [NO_ANSWER] * len(texts)
    product, fitted = open_to_read(model / "encoder"), head_files.load(model / "head")
    if (width := fitted.head.weights.shape[1]) != product.dim:
        raise ArtifactError(
            f"The head in {model / 'head'} reads vectors of {width:,} numbers, and the encoder in {model / 'encoder'} "
            f"makes some of {product.dim:,}. Delete both, and run the command that made them again."
        )
    predictions = iter(fitted.answers(embed(product, readable)))
    return [next(predictions) if _has_something(text) else NO_ANSWER for text in texts]


def belongs(head: Artifact, encoder: Artifact) -> bool:
    """Whether a head was fitted on this encoder, whose content hash it then names."""
    # A head of `finetune` before 0.1.0 shares its encoder's parents where later ones name the encoder itself.
    return head.parents.get("encoder") == encoder.content or head.parents == encoder.parents


def _has_something(text: str) -> bool:
    """Whether a text has a character that can be seen; one that only joins or directs others cannot."""
    return any(character.isprintable() and not character.isspace() for character in text)
