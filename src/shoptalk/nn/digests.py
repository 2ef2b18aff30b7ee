"""What a model is, as one hash."""

from shoptalk.artifact import digest, file_digest, open_artifact
from shoptalk.nn.bases import resolve, towers_of
from shoptalk.nn.features import feature_of, is_features
from shoptalk.nn.scratch import size_of
from shoptalk.nn.scratch_lm import lm_size_of
from shoptalk.nn.scratch_pictures import picture_size_of


def base_digest(ref: str) -> str:
    """The hash that identifies a base: the SHA-256 of its weights.

    A base that has yet to be made (`scratch:mini` from the corpus, `scratch:resnet-mini` from the seed) is identified
    by its architecture, and one that was made (`RUN/base`) by all of its folder: equal random weights may come with the
    tokenizer of another corpus. Features without weights are identified by their name, and a pair by its two towers.
    """
    size = size_of(ref) or picture_size_of(ref) or lm_size_of(ref)
    if size is not None:
        return digest(vars(size))
    if (named := feature_of(ref)) is not None:
        return digest(list(named))
    if (towers := towers_of(ref)) is not None:
        return digest([base_digest(tower) for tower in towers])
    folder = resolve(ref)
    if is_features(folder):
        return file_digest(folder / "config.json")
    artifact = open_artifact(folder)
    return (
        artifact.content
        if artifact is not None and artifact.kind == "base"
        else file_digest(folder / "model.safetensors")
    )
