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
from shoptalk.report.nouns import nouns_for
from shoptalk.report.verdict_json import Ends, Verdict
from shoptalk.telling.card_words import TEXT, CardWords, words_of
from shoptalk.telling.origin import Base, Told

DATASET_CARD = "DATASET.md"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def plain_card(base: Base, what: str, about: str, *, kind: str = "text") -> str:
    """The model card of an encoder that was made of `base` and not judged by a run: what it is and how to open it."""
    words = words_of(kind, base=base.name)
    head = _model_data(base, words, trained=True).to_yaml()
    return f"---\n{head}\n---\n\n# {base.name}, {what}\n\n{about}\n\n## How to open it\n\n{words.opens}\n"


def encoder_cards(told: Told, verdict: Verdict, *, adapted: bool) -> dict[str, str]:
    """Both cards of an encoder that a run hands out, by file name.

    Args:
        told: where the encoder comes from.
        verdict: the run's. Of `spent` nothing is told: it differs from process to process.
        adapted: whether this is the challenger that the verdict describes, or the base as it was.
    """
    words = words_of(told.kind, base=told.base.name)
    return {
        MODEL_CARD: _model_card(told, verdict, words, adapted=adapted),
        DATASET_CARD: _dataset_card(told, words),
    }


# --- the model ----------------------------------------------------------------------------------------------------


def _model_card(told: Told, verdict: Verdict, words: CardWords, *, adapted: bool) -> str:
    name = told.base.name
    title = f"{name}, adapted with {verdict.objective}" if adapted else f"{name}, unchanged"
    data = _model_data(told.base, words, trained=adapted, objective=verdict.objective if adapted else None)
    result = _result(told, verdict, words, adapted=adapted)
    if result is not None:
        data.model_name, data.eval_results, data.metrics = title, [result], [result.metric_type]
    parts = {
        "What it is": _what(told, verdict, words, adapted=adapted),
        "How it was judged": _judged(told, verdict),
        "Training data": _data_summary(told, words, adapted=adapted),
        "Training procedure": _procedure(told, verdict)
        if adapted
        else "None: these are the weights of the base model.",
        "Limits and intended use": words.uses,
        "How to open it": words.opens,
        "Reproduce": _reproduce(told),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in parts.items())
    return f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{body}\n"


def _model_data(base: Base, words: CardWords, *, trained: bool, objective: str | None = None) -> ModelCardData:
    """The card's head. What is not known is left out: the hub takes a missing field, and refuses a wrong one."""
    named = [] if objective is None else [re.sub(r"[^\w.+*-]", "-", objective)]
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if trained and base.hub_id else {}
    return ModelCardData(
        base_model=base.hub_id,
        license=base.license,
        library_name=words.library,
        pipeline_tag=words.pipeline,
        tags=[*words.tags, "shoptalk", *named],
        **relation,
    )


def _result(told: Told, verdict: Verdict, words: CardWords, *, adapted: bool) -> EvalResult | None:
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
        task_type=words.classification[0],
        task_name=words.classification[1],
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


def _what(told: Told, verdict: Verdict, words: CardWords, *, adapted: bool) -> str:
    base = told.base
    source = f"`{base.name}`" + (f" ([{base.hub_id}](https://huggingface.co/{base.hub_id}))" if base.hub_id else "")
    if not adapted:
        return (
            f"{words.product}: {source} as it was, in float32. A Shoptalk run compared it with challengers that were "
            f"trained further on {words.unlabelled}, and did not replace it."
        )
    share = next((row.merge for row in verdict.candidates if row.entry == verdict.entry), None)
    average = (
        ""
        if share is None
        else f" Its weights are an average: {share:g} of the trained ones, {1 - share:g} of the base's."
    )
    return (
        f"{words.product}: {source}, trained further on {words.unlabelled} by self-supervision "
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


def _data_summary(told: Told, words: CardWords, *, adapted: bool) -> str:
    data = told.corpus
    learned = "Trained on" if adapted else "The challengers were trained on"
    kept = "of held-out conversations were kept for measuring" if words == TEXT else f"held-out {words.items} were kept"
    held = f"; {data.held_out:,} {kept}" if data.held_out else ""
    dropped = sum(data.drops.values())
    return (
        f"{learned} {words.items} ({words.are}) from {data.documents:,} documents: "
        f"{data.train:,} for training{held}. {dropped:,} documents, passages or rows were left out, each with its "
        f"reason. Labelled and test {words.items}, and near duplicates of them, were never trained on. "
        f"[{DATASET_CARD}]({DATASET_CARD}) has the sources and the counts."
    )


def _procedure(told: Told, verdict: Verdict) -> str:
    row = next(row for row in verdict.candidates if row.entry == verdict.entry)
    rows = [("objective", row.objective), ("steps", f"{row.step:,}"), (nouns_for(told.kind).units, f"{row.tokens:,}")]
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


def _dataset_card(told: Told, words: CardWords) -> str:
    data = told.corpus
    texts = data.train + data.held_out
    head = DatasetCardData(
        pretty_name=f"Training data of {words.product[0].lower()}{words.product[1:]} adapted by Shoptalk",
        size_categories=next((name for most, name in _SIZES if texts < most), "n>1M"),
        task_categories=[words.features, *([words.classification[0]] if data.labelled else [])],
        tags=["shoptalk", "self-supervised-learning"],
    )
    splits = [
        ("training, unlabelled", f"{data.train:,}", "what self-supervision learned from"),
        ("held out, unlabelled", f"{data.held_out:,}", words.held),
        ("labelled", f"{data.labelled:,}", f"{data.classes:,} classes; heads and the verdict, never self-supervision"),
        ("test", f"{data.test:,}", "read once for the verdict, never trained on"),
    ]
    if data.bank:
        splits.append(("bank, unlabelled", f"{data.bank:,}", "held out to ask a person about, never trained on"))
    if data.replayed:
        splits.append(("general, unlabelled", f"{data.replayed:,}", "replayed beside the training texts"))
    if told.pairs:
        splits.append(("questions", f"{data.questions:,}", "asked of every model for the passage that answers"))
    kept = {name: f"{data.by_source.get(name, 0):,} documents" for name in data.sources}
    kept |= {told.labels: f"{data.labelled:,} {words.labelled}"} if told.labels else {}
    kept |= {told.test: f"{data.test:,} test {words.asked}"} if told.test else {}
    kept |= {told.pairs: f"{data.questions:,} questions"} if told.pairs else {}
    sources = [
        (f"`{_code(name)}`", kept[name], f"{data.dropped_by_source.get(name, 0):,}", f"`{digest}`")
        for name, digest in data.sources.items()
    ]
    sources += [(f"`{_code(name)}`", "replayed", "", f"`{digest}`") for name, digest in data.general.items()]
    drops = [(reason, f"{count:,}") for reason, count in sorted(data.drops.items(), key=lambda item: -item[1])]
    parts = {
        "What it is": (
            f"The {words.items} that a Shoptalk run read to adapt and judge the "
            f"{words.product.partition(' ')[2]} in this folder. {words.where} (`documents.jsonl`, `drops.jsonl`)."
        ),
        "Sources": _table(["file", "kept", "left out", "SHA-256"], sources),
        "Splits": _table(["split", words.items, "use"], splits) + f"\n\n{words.each}",
        "What was left out": _table(["reason", "count"], drops) if drops else "Nothing.",
        "Languages": "Not recorded: Shoptalk does not tell languages apart.",
        "Personal data": words.personal,
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
