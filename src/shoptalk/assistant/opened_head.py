"""The head of a run, which tells intents and what is out of scope."""

from pathlib import Path

from shoptalk.artifact import Artifact, handed_out, open_artifact
from shoptalk.errors import ArtifactError
from shoptalk.nn.heads import head_files
from shoptalk.nn.heads.answering import belongs
from shoptalk.nn.heads.classifier import Classifier

NO_HEAD = (
    "The run has no head, so no intent is told: fixed answers, person_intents and rules with intents do nothing, and "
    "messages out of scope are told by the knowledge alone. `shoptalk adapt --labels` makes one."
)


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
