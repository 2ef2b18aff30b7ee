"""Predictions of a shipped folder: its encoder's vectors, then its head's answers."""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import Artifact, handed_out, open_artifact
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import head_files
from shoptalk.nn.heads.classifier import Answer
from shoptalk.nn.lean import open_to_read
from shoptalk.records import Item, Picture

NO_ANSWER = Answer(labels=(), probability=0.0, in_scope=False)
"""The answer to an empty text: any label would be a guess from the training set alone."""


def answers(model: Path, items: Sequence[Item]) -> list[Answer]:
    """The predictions of the encoder and the head in a folder (of a run, or of `finetune`), one per text or picture.

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
    readable = [_readable(item) for item in items if _has_something(item)]
    if not readable:
        return [NO_ANSWER] * len(items)
    product, fitted = open_to_read(model / "encoder"), head_files.load(model / "head")
    if (width := fitted.head.weights.shape[1]) != product.dim:
        raise ArtifactError(
            f"The head in {model / 'head'} reads vectors of {width:,} numbers, and the encoder in {model / 'encoder'} "
            f"makes some of {product.dim:,}. Delete both, and run the command that made them again."
        )
    predictions = iter(fitted.answers(embed(product, readable)))
    return [next(predictions) if _has_something(item) else NO_ANSWER for item in items]


def _readable(item: Item) -> Item:
    """Half a character, which a message from bytes that are no UTF-8 may hold, is none that a tokenizer takes."""
    return item.encode("utf-8", "replace").decode("utf-8") if isinstance(item, str) else item


def belongs(head: Artifact, encoder: Artifact) -> bool:
    """Whether a head was fitted on this encoder, whose content hash it then names."""
    # A head of `finetune` before 0.1.0 shares its encoder's parents where later ones name the encoder itself.
    return head.parents.get("encoder") == encoder.content or head.parents == encoder.parents


def _has_something(item: Item) -> bool:
    """Whether an item is a picture, or has a character that can be seen; one that only joins others cannot."""
    return isinstance(item, Picture) or any(letter.isprintable() and not letter.isspace() for letter in item)
