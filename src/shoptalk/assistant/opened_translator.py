"""The run's translator, where its held-out figure allows that people read what it writes.

    translator, remark = opened_translator(run)      # (None, None) where the run has no RUN/translation

`shoptalk finetune MODEL PAIRS --task translate --out RUN/translation` makes one. The remark, for the server's start,
says what it does, or why it is not used (`decide/translating.py`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, FiniteFloat

from shoptalk.artifact import Artifact, handed_out, open_artifact
from shoptalk.decide.translating import why_unused
from shoptalk.errors import ArtifactError
from shoptalk.readback import read_record

if TYPE_CHECKING:
    from shoptalk.assistant.thread_translator import ThreadTranslator

FOLDER, MODEL, JUDGED = "translation", "model", "translation"
_RESULT = "result.json"
Score = Annotated[FiniteFloat, Field(ge=0, le=100)]


class _Unchanged(BaseModel):
    """The sources left as they are."""

    chrf: Score


class _Test(BaseModel):
    """What the model wrote for sources that training has not seen."""

    chrf: Score
    chrf_interval: tuple[Score, Score]
    written: Annotated[int, Field(ge=0)]


class _Figures(BaseModel):
    """What `result.json` must say; what else it says is passed over."""

    test: _Test
    unchanged: _Unchanged | None = None
    """None where an earlier version made it."""
    columns: tuple[str, str] = ("source", "target")


def opened_translator(run: Path) -> tuple["ThreadTranslator | None", str | None]:
    """The translator of a run, where there is one that may be used; and what is to be said of it.

    Raises:
        ArtifactError: it is damaged.
    """
    folder = run / FOLDER
    model, judged = open_artifact(folder / MODEL), open_artifact(folder / JUDGED)
    if model is None and judged is None:
        return None, None
    if model is None or judged is None or not _is_of(judged, model):  # half made, or of another command
        return None, f"Threads are not translated: {_lacking(folder, 'no translator beside its own figure')}"
    handed_out(folder / JUDGED)
    figures = read_record(folder / JUDGED / _RESULT, _Figures)
    test, unchanged = figures.test, figures.unchanged
    low, high = test.chrf_interval
    baseline = None if unchanged is None else unchanged.chrf
    why = why_unused(low=low, unchanged=baseline, written=test.written)
    if why is not None:
        return None, _not_used(folder, why, earlier=unchanged is None)
    source, target = (name[:40] for name in figures.columns)
    remark = (
        f"Threads can be translated at the desk, {source} to {target}: chrF {test.chrf:.1f} on {test.written:,} pairs "
        f"that training has not seen (95 % interval {low:.1f} to {high:.1f}; the sources left as they are have "
        f"{baseline:.1f}). It is marked as unverified, and no visitor sees it."
    )
    return _opened(folder, (source, target)), remark


def _not_used(folder: Path, why: str, *, earlier: bool) -> str:
    again = f"shoptalk finetune MODEL PAIRS --task translate --out {folder}"
    # The same question again would find finished work.
    then = f"Delete the folder and run `{again}`." if earlier else f"`{again} --force` puts another in its place."
    return f"Threads are not translated: of the translator in {folder}, {why}. {then}"


def _opened(folder: Path, languages: tuple[str, str]) -> "ThreadTranslator":
    # The libraries of language models, which few servers need.
    from shoptalk.assistant.thread_translator import ThreadTranslator
    from shoptalk.nn.bases import open_model
    from shoptalk.nn.encoder_decoder import EncoderDecoder

    handed_out(folder / MODEL)
    product = open_model(str(folder / MODEL))
    if not isinstance(product, EncoderDecoder):
        raise ArtifactError(_lacking(folder, "a model that is no encoder–decoder"))
    return ThreadTranslator(product, languages=languages)


def _is_of(judged: Artifact, model: Artifact) -> bool:
    """Whether the figure is about this model, whose content hash it then names."""
    return judged.kind == "translation" and judged.parents.get("model") == model.content


def _lacking(folder: Path, what: str) -> str:
    return (
        f"{folder} holds {what}. Delete the folder, or run `shoptalk finetune MODEL PAIRS --task translate --out "
        f"{folder}` again."
    )
