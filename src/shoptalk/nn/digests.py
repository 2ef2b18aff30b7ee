"""What a model is, as one hash."""

from pathlib import Path

from shoptalk.artifact import digest, file_digest, open_artifact
from shoptalk.nn.admission import weight_files
from shoptalk.nn.bases import BASES, resolve, towers_of
from shoptalk.nn.features import feature_of, is_features
from shoptalk.nn.scratch import size_of
from shoptalk.nn.scratch_lm import lm_size_of
from shoptalk.nn.scratch_pictures import picture_size_of
from shoptalk.nn.smollm2 import SMOLLM2

_BESIDE = (
    "config.json", "generation_config.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "[0-9]*_*/config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab*.json", "vocab*.txt", "merges.txt", "*.model", "*.spm", "*.tiktoken",
    "chat_template.json", "*.jinja", "additional_chat_templates/*.jinja",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""Files beside the weights that decide what a text or a picture becomes. Others, such as what a command leaves in the
folder, change nothing, and must not make a finished run look like another question's."""


def base_digest(ref: str) -> str:
    """The hash that identifies a base: of its weights, in however many files, and of the tokenizer, chat template and
    settings beside them. A base that is known by name is identified by the SHA-256 of its weights, which is pinned.

    A base that has yet to be made (`scratch:mini` from the corpus, `scratch:resnet-mini` from the seed) is identified
    by its architecture, and one that was made (`RUN/base`) by all of its folder: equal random weights may come with the
    tokenizer of another corpus. Features without weights are identified by their name, and a pair by its two towers.

    Raises:
        BaseModelError: the reference is unknown, or its folder holds no weights.
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
    if artifact is not None and artifact.kind == "base":
        return artifact.content
    weights = weight_files(folder, ref)
    if ref in BASES or ref == SMOLLM2.name:
        return file_digest(weights[0])
    return digest({name: file_digest(folder / name) for name in _deciding(folder, weights)})


def _deciding(folder: Path, weights: list[Path]) -> list[str]:
    """The names of the files, below the folder, by which a model is identified."""
    beside = (path for pattern in _BESIDE for path in folder.glob(pattern) if path.is_file())
    return sorted({path.relative_to(folder).as_posix() for path in (*weights, *beside)})
