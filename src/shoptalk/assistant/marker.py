"""The second half of the gate: the run's grounding head marks words of a generator's sentences that no passage says.

    marker = opened_marker(run)              # None where the run has no RUN/grounding
    marker.marked(("It costs 9 crowns.",), ("A bicycle costs 4 crowns.",))       # ("9",)

`shoptalk finetune MODEL SOURCE... --task ground --out RUN/grounding` makes one from the documents alone.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from shoptalk.artifact import handed_out, open_artifact
from shoptalk.assistant.bulk import in_faster_arithmetic
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import text_encoder
from shoptalk.nn.heads import grounding_files
from shoptalk.nn.heads.answering import belongs
from shoptalk.nn.heads.grounding import Claim, Grounding
from shoptalk.nn.lean import open_to_read

FOLDER, HEAD = "grounding", "grounding_head"


class Marker:
    """Marks words of sentences; many threads may ask, and take turns."""

    def __init__(self, grounding: Grounding) -> None:
        self.grounding = grounding
        self._lock = Lock()

    def marked(self, sentences: Sequence[str], passages: Sequence[str]) -> tuple[str, ...]:
        """Of each sentence the words that the passages do not say; empty where they say all of it.

        The sentences are read together, as one reply.
        """
        reply = " ".join(sentences)
        with self._lock:
            (found,) = self.grounding.marks([Claim(tuple(passages), reply)])
        words, begin = [], 0
        for sentence in sentences:
            end = begin + len(sentence)
            inside = [reply[max(a, begin) : min(b, end)] for a, b in found.spans if a < end and b > begin]
            words.append(" … ".join(inside))
            begin = end + 1
        return tuple(words)


def opened_marker(run: Path) -> Marker | None:
    """The marker of a run; None where it has none.

    Raises:
        ArtifactError: it is damaged, or its head is of another encoder.
    """
    folder = run / FOLDER
    head, encoder = open_artifact(folder / HEAD), open_artifact(folder / "encoder")
    if head is None and encoder is None:
        return None
    if head is None or encoder is None or not belongs(head, encoder):
        raise ArtifactError(
            f"{folder} holds no encoder with a grounding head that was fitted on it. Delete the folder, or run "
            f"`shoptalk finetune MODEL SOURCE... --task ground --out {folder}` again."
        )
    for name in ("encoder", HEAD):
        handed_out(folder / name)
    product = in_faster_arithmetic(text_encoder(open_to_read(folder / "encoder")))
    return Marker(grounding_files.load(folder / HEAD, product))
