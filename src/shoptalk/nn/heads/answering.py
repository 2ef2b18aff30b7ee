"""What a folder that is handed out says of a text: its encoder, then its head."""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import open_artifact
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import classifier
from shoptalk.nn.heads.classifier import Answer
from shoptalk.nn.lean import open_to_read


def answers(model: Path, texts: Sequence[str]) -> list[Answer]:
    """What the encoder and the head in a folder (of a run, or of `finetune`) say of each text.

    Raises:
        ArtifactError: there is no head.
    """
    if open_artifact(model / "head") is None:
        raise ArtifactError(
            f"There is no head in {model / 'head'}. `predict` needs the folder of a run that was given labels, or one "
            "that `shoptalk finetune MODEL --labels FILE --out DIR` left."
        )
    return classifier.load(model / "head").answers(embed(open_to_read(model / "encoder"), list(texts)))
