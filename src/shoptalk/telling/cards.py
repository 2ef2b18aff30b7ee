"""The model card and the dataset card of an encoder folder, in the forms of the Hugging Face hub.

    cards = encoder_cards(told, verdict, adapted=True)          # {"README.md": ..., "DATASET.md": ...}
    plain_card(base_of("minilm"), "trained with mlm", "Made by ...")      # for an encoder that no run has judged

Cards are a part of the encoder artifact and so of its hash: they hold no clock reading, no duration and no folder of
this machine, and a resumed run writes the same bytes.
"""

import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

from shoptalk.nn.encoder import MODEL_CARD
from shoptalk.records import ACCURACY, Measure
from shoptalk.report.verdict_json import Ends, Verdict
from shoptalk.telling.origin import Base, Told

DATASET_CARD = "DATASET.md"

_OPEN = """```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/to/this/folder").encode(["How do I change my booking?"])
```"""
_USES = """For comparing short texts of the kind it was trained on: finding the intent of a message, finding passages or
earlier conversations that resemble it. Vectors have unit length; their cosine is the similarity.

What was measured stands under "How it was judged": these labels, and nothing else. Not measured: other domains and
languages, how it treats groups of people, texts that are meant to deceive it. A gain on one label set does not carry
over to another. Training on a narrow domain can cost an encoder what it knew of the language at large; the run guards
against a part of that (`general similarity`). An encoder can reveal something of the texts that it was trained on:
where those are confidential, so is the encoder. Similarity alone should not decide about people."""
_PERSONAL = """Shoptalk has not looked for personal data. Conversations usually hold some (names, addresses, order
numbers), and nothing was removed for being personal. Whoever publishes these texts, or an encoder trained on them, must
check that first."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def plain_card(base: Base, what: str, about: str) -> str:
    """The model card of an encoder that was made of `base` and not judged by a run: what it is and how to open it."""
    head = _model_data(base, trained=True).to_yaml()
    return f"---\n{head}\n---\n\n# {base.name}, {what}\n\n{about}\n\n## How to open it\n\n{_OPEN}\n"


def encoder_cards(told: Told, verdict: Verdict, *, adapted: bool) -> dict[str, str]:
    """Both cards of an encoder that a run hands out, by file name.

    Args:
        told: where the encoder comes from.
        verdict: the run's. Of `spent` nothing is told: it differs from process to process.
        adapted: whether this is the challenger that the verdict describes, or the base as it was.
    """
    return {MODEL_CARD: _model_card(told, verdict, adapted=adapted), DATASET_CARD: _dataset_card(told)}


# --- the model ----------------------------------------------------------------------------------------------------


def _model_card(told: Told, verdict: Verdict, *, adapted: bool) -> str:
    name = told.base.name
    title = f"{name}, adapted with {verdict.objective}" if adapted else f"{name}, unchanged"
    data = _model_data(told.base, trained=adapted, objective=verdict.objective if adapted else None)
    result = _result(told, verdict, adapted=adapted)
    if result is not None:
        data.model_name, data.eval_results, data.metrics = title, [result], [result.metric_type]
    parts = {
        "What it is": _what(told, verdict, adapted=adapted),
        "How it was judged": _judged(told, verdict),
        "Training data": _data_summary(told, adapted=adapted),
        "Training procedure": _procedure(told, verdict)
        if adapted
        else "None: these are the weights of the base model.",
        "Limits and intended use": _USES,
        "How to open it": _OPEN,
        "Reproduce": _reproduce(told),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in parts.items())
    return f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{body}\n"


def _model_data(base: Base, *, trained: bool, objective: str | None = None) -> ModelCardData:
    """The card's head. What is not known is left out: the hub takes a missing field, and refuses a wrong one."""
    named = [] if objective is None else [re.sub(r"[^\w.+*-]", "-", objective)]
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if trained and base.hub_id else {}
    return ModelCardData(
        base_model=base.hub_id,
        license=base.license,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "shoptalk", *named],
        **relation,
    )


def _result(told: Told, verdict: Verdict, *, adapted: bool) -> EvalResult | None:
    """The measured accuracy as the hub's model index has it; None without labels."""
    value = verdict.adapted if adapted and verdict.objective else verdict.base
    if (
        value is None
        or verdict.metric is None
        or told.labels is None
        or not (verdict.labelled or verdict.objective is None)
    ):
        return None
    head = (verdict.heads.adapted if adapted else verdict.heads.base) if verdict.heads else None
    return EvalResult(
        task_type="text-classification",
        task_name="Text classification from labels, encoder frozen",
        dataset_type="custom",  # the labels are the user's own file, on no hub
        dataset_name=told.test if verdict.on_test and told.test else told.labels,
        dataset_split="test" if verdict.on_test else None,
        dataset_args=({} if verdict.shots is None else {"shots": verdict.shots})
        | {"draws": verdict.n_draws, "examples": verdict.n_examples},
        metric_type=verdict.metric,
        metric_name=f"{verdict.metric} in per cent, {_learned(verdict)}{f', {head} head' if head else ''}",
        metric_value=round(value, 2),
    )


def _learned(verdict: Verdict) -> str:
    """What the heads learned from."""
    if verdict.shots is not None:
        return f"{verdict.shots} labels per class, mean of {verdict.n_draws} label sets"
    return "all labels" if verdict.on_test else f"80/20 splits of all labels, mean of {verdict.n_draws}"


def _what(told: Told, verdict: Verdict, *, adapted: bool) -> str:
    base = told.base
    source = f"`{base.name}`" + (f" ([{base.hub_id}](https://huggingface.co/{base.hub_id}))" if base.hub_id else "")
    if not adapted:
        return (
            f"A text encoder: {source} as it was, in float32. A Shoptalk run compared it with encoders that were "
            "trained further on unlabelled text, and did not replace it."
        )
    share = next((row.merge for row in verdict.candidates if row.entry == verdict.entry), None)
    average = (
        ""
        if share is None
        else f" Its weights are an average: {share:g} of the trained ones, {1 - share:g} of the base's."
    )
    return (
        f"A text encoder: {source}, trained further on unlabelled text by self-supervision "
        f"(`{verdict.objective}`). It is the entry `{verdict.entry}` of the run's menu of candidates and "
        f"checkpoints.{average}"
    )


def _judged(told: Told, verdict: Verdict) -> str:
    if verdict.gain is None or verdict.interval is None:
        return f"Verdict: `{verdict.choice}`. {verdict.sentence}"
    if verdict.objective is None:
        return f"Verdict: `{verdict.choice}`. {verdict.sentence} Nothing was trained to compare the base model with."
    low, high = verdict.interval
    measure, sets = verdict.measure or ACCURACY, f", {_learned(verdict)}" if verdict.labelled else ""
    rows = [
        ("base model", measure.shown(verdict.base or 0.0)),
        ("best challenger", measure.shown(verdict.adapted or 0.0)),
        ("gain", f"{measure.change(verdict.gain)} {measure.difference}"),
        (
            "95 % interval of the gain",
            f"{measure.change(low or 0.0)} to {measure.change(high or 0.0)} {measure.difference}",
        ),
        ("examples" if verdict.labelled else measure.examples, f"{verdict.n_examples:,}"),
    ]
    measured = _table(["measure", f"{verdict.metric}{sets}"], rows) + _ladder(verdict, measure)
    if not verdict.labelled:
        return f"Verdict: `{verdict.choice}`. {verdict.sentence}\n\n{measured}"
    where = (
        f"the supplied test set `{_code(told.test)}`, read for this encoder alone"
        if verdict.on_test
        else f"examples of `{_code(told.labels)}` that it has not learned from"
    )
    heads = verdict.heads.sentence if verdict.heads else ""
    return "\n\n".join(
        [
            f"Verdict: `{verdict.choice}`. {verdict.sentence}",
            measured,
            f"Accuracy is that of a head on the frozen encoder, on {where}. {heads}".rstrip(),
        ]
    )


def _ladder(verdict: Verdict, measure: Measure) -> str:
    """A table of the measured steps, where there are several."""
    if len(verdict.ladder) < 2:
        return ""
    whole = verdict.in_all
    rows = [
        (step.step, measure.shown(step.value), *_rise(step.gain, step.interval, measure)) for step in verdict.ladder
    ]
    if whole is not None and whole.gain is not None:
        rows.append((f"in all, up to {whole.step}", "", *_rise(whole.gain, whole.interval, measure)))
    head = ["step", str(verdict.metric), f"gain in {measure.difference}", "95 % interval, all at once"]
    return f"\n\nWhat each step adds to the one above it:\n\n{_table(head, rows)}"


def _rise(gain: float | None, interval: Ends | None, measure: Measure) -> tuple[str, str]:
    if gain is None or interval is None:
        return "", ""
    low, high = (measure.change(end) for end in interval)
    return measure.change(gain), f"{low} to {high}"


def _data_summary(told: Told, *, adapted: bool) -> str:
    data = told.corpus
    learned = "Trained on" if adapted else "The challengers were trained on"
    held = f"; {data.held_out:,} of held-out conversations were kept for measuring" if data.held_out else ""
    dropped = sum(data.drops.values())
    return (
        f"{learned} texts (turns of conversations, passages of documents) from {data.documents:,} documents: "
        f"{data.train:,} for training{held}. {dropped:,} documents, passages or rows were left out, each with its "
        "reason. Labelled and test texts, and near duplicates of them, were never trained on. "
        f"[{DATASET_CARD}]({DATASET_CARD}) has the sources and the counts."
    )


def _procedure(told: Told, verdict: Verdict) -> str:
    row = next(row for row in verdict.candidates if row.entry == verdict.entry)
    rows = [("objective", row.objective), ("steps", f"{row.step:,}"), ("tokens", f"{row.tokens:,}")]
    rows += [(key, _shown(value)) for key, value in told.training.items()]
    return _table(["setting", "value"], rows)


def _reproduce(told: Told) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    return (
        f"```sh\n{told.command}\n```\n\nwith the files that {DATASET_CARD} lists. Made with {versions}. A budget in "
        "time or money becomes a number of steps by the speed of the machine; the run's `plan.json` has it. The "
        "evidence is in the run's `report.html` and `verdict.json`."
    )


# --- the data -----------------------------------------------------------------------------------------------------


def _dataset_card(told: Told) -> str:
    data = told.corpus
    texts = data.train + data.held_out
    head = DatasetCardData(
        pretty_name="Training data of an encoder adapted by Shoptalk",
        size_categories=next((name for most, name in _SIZES if texts < most), "n>1M"),
        task_categories=["feature-extraction", *(["text-classification"] if data.labelled else [])],
        tags=["shoptalk", "self-supervised-learning"],
    )
    splits = [
        ("training, unlabelled", f"{data.train:,}", "what self-supervision learned from"),
        ("held out, unlabelled", f"{data.held_out:,}", "turns of conversations kept for measuring"),
        ("labelled", f"{data.labelled:,}", f"{data.classes:,} classes; heads and the verdict, never self-supervision"),
        ("test", f"{data.test:,}", "read once for the verdict, never trained on"),
    ]
    if data.bank:
        splits.append(("bank, unlabelled", f"{data.bank:,}", "held out to ask a person about, never trained on"))
    if told.pairs:
        splits.append(("questions", f"{data.questions:,}", "asked of every model for the passage that answers"))
    kept = {name: f"{data.by_source.get(name, 0):,} documents" for name in data.sources}
    kept |= {told.labels: f"{data.labelled:,} labelled texts"} if told.labels else {}
    kept |= {told.test: f"{data.test:,} test texts"} if told.test else {}
    kept |= {told.pairs: f"{data.questions:,} questions"} if told.pairs else {}
    sources = [
        (f"`{_code(name)}`", kept[name], f"{data.dropped_by_source.get(name, 0):,}", f"`{digest}`")
        for name, digest in data.sources.items()
    ]
    drops = [(reason, f"{count:,}") for reason, count in sorted(data.drops.items(), key=lambda item: -item[1])]
    parts = {
        "What it is": (
            "The texts that a Shoptalk run read to adapt and judge the encoder in this folder. The texts themselves "
            "are not here: the run keeps them in `corpus/` (`documents.jsonl`, `drops.jsonl`)."
        ),
        "Sources": _table(["file", "kept", "left out", "SHA-256"], sources),
        "Splits": _table(["split", "texts", "use"], splits)
        + "\n\nA text is a turn of a conversation or a passage of a document. Conversations are held out whole.",
        "What was left out": _table(["reason", "count"], drops) if drops else "Nothing.",
        "Languages": "Not recorded: Shoptalk does not tell languages apart.",
        "Personal data": _PERSONAL,
        "Licence": "Not recorded: it is that of the sources.",
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in parts.items())
    return f"---\n{head.to_yaml()}\n---\n\n# Training data of {told.base.name}, adapted\n\n{body}\n"


# --- Markdown -----------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """A cell on one line, in which no bar ends it."""
    return " ".join(text.split()).replace("|", "\\|")


def _code(name: str | None) -> str:
    """A file's name between backticks."""
    return (name or "").replace("`", "'")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
