"""The encoder of a run, and its head, which tells intents and what is out of scope."""

from pathlib import Path

from shoptalk.artifact import Artifact, handed_out, open_artifact
from shoptalk.errors import ArtifactError, ConfigError
from shoptalk.nn.encoder import TextEncoder, text_encoder
from shoptalk.nn.heads import head_files
from shoptalk.nn.heads.answering import belongs
from shoptalk.nn.heads.classifier import Classifier
from shoptalk.nn.lean import open_to_read
from shoptalk.nn.product import CALLED

NO_HEAD = (
    "The run has no head, so no intent is told: fixed answers, person_intents and rules with intents do nothing, and "
    "messages out of scope are told by the knowledge alone. `shoptalk adapt --labels` makes one."
)


def opened_reader(run: Path) -> TextEncoder:
    """The run's encoder, which reads what visitors write.

    Raises:
        ArtifactError: it is damaged.
        ConfigError: it reads pictures.
    """
    product = open_to_read(run / "encoder")
    if product.kind != "text":
        raise ConfigError(
            f"{run} is a run of pictures: its encoder is one of the {CALLED[product.kind]}, and visitors write texts. "
            f"Name a run of texts here, and in its assistant.toml, below [assistant], pictures = "
            f"{str(run.absolute())!r}: then its assistant recognises pictures that visitors show."
        )
    return text_encoder(product)


def opened_head(run: Path, encoder: Artifact, dim: int) -> Classifier | None:
    """The head; None where the run has none.

    Raises:
        ArtifactError: it is damaged, or of another encoder.
    """
    artifact = open_artifact(run / "head")
    if artifact is None:
        return None
    if not belongs(artifact, encoder):
        raise ArtifactError(
            f"The head in {run / 'head'} was fitted on another encoder than the one in {run / 'encoder'}. Run the "
            "command that made the folder again."
        )
    handed_out(run / "head")
    head = head_files.load(run / "head")
    if head.head.weights.shape[1] != dim:
        raise ArtifactError(f"The head in {run / 'head'} reads vectors of another width than {dim}. Make it again.")
    return head
