"""What a model is, as one hash."""

from shoptalk.artifact import digest, file_digest, open_artifact
from shoptalk.nn.bases import resolve
from shoptalk.nn.scratch import size_of


def base_digest(ref: str) -> str:
    """The hash that identifies a base: the SHA-256 of its weights.

    A base that has yet to be made from the corpus (`scratch:mini`) is identified by its architecture, and one that was
    made (`RUN/base`) by all of its folder: equal random weights may come with the tokenizer of another corpus.
    """
    size = size_of(ref)
    if size is not None:
        return digest(vars(size))
    folder = resolve(ref)
    artifact = open_artifact(folder)
    return (
        artifact.content
        if artifact is not None and artifact.kind == "base"
        else file_digest(folder / "model.safetensors")
    )
