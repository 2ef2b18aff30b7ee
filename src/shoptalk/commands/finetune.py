"""Finetune: from labels to an encoder with a classifier on it, as they are shipped for a task.

The encoder stays as it is (`frozen`: the kinds of heads in `nn/heads/kinds.py` compete), or is tuned too (`classify`,
`setfit`) and shipped where that is proven to be better (`lesson.py`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from shoptalk.artifact import create, handed_out, key_of, sound, write_text
from shoptalk.commands.lesson import FROZEN, Lesson, Outcome, tune_or_keep
from shoptalk.commands.tune import Method
from shoptalk.curate.against_test import COUNTED_WRONG, labels_unknown, texts_shared
from shoptalk.curate.clean import printable
from shoptalk.curate.consistency import spelling
from shoptalk.curate.curation import DROPS, by_reason, count_drops, write_drops
from shoptalk.curate.labels import labels_digest, read_label_sets, read_labels, refuse_missing
from shoptalk.curate.rare import without_rare
from shoptalk.curate.readable import refuse_unreadable
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import classifier, head_files
from shoptalk.nn.heads.classifier import Classifier
from shoptalk.nn.heads.names import EXAMPLES
from shoptalk.nn.heads.pool import MOST
from shoptalk.nn.product import CALLED, Embedder
from shoptalk.question import Question, claim, clear_work, withdraw
from shoptalk.readback import damaged, read_json
from shoptalk.records import Drop, Example, Frozen, LabelSet
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World, open_embedder
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.order import permuted

OUT_OF_SCOPE = ("oos", "out_of_scope", "out-of-scope")
"""Labels that mean "none of the others" where the user names none."""


class Request(Frozen):
    """The inputs and options of a fine-tuning."""

    model: str
    labels: Path
    test: Path | None
    task: str
    unlabelled: tuple[Path, ...]
    multi_label: bool
    out_of_scope: str | None
    scope_loss: float
    method: str
    accept_unproven: bool = False


def finetune(world: World, request: Request, *, force: bool = False) -> dict[str, Any]:
    """Fit heads and choose one; leaves `DIR/encoder` and `DIR/head`, and returns what `DIR/head/result.json` holds.

    The same call again returns at once.

    Raises:
        InputError: a file or a setting is wrong.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    _check(request)
    config = world.config
    files: dict[str, str] = {}
    if request.unlabelled:
        files |= source_fingerprint(request.unlabelled, config.curate, out=world.run)
    inputs = {"base": base_digest(request.model), "labels": labels_digest(request.labels, config.curate)}
    inputs |= {"test": labels_digest(request.test, config.curate)} if request.test is not None else {}
    parents = files | inputs
    settings = request.model_dump(mode="json", exclude={"labels", "test", "unlabelled", "model"})
    settings |= {"seed": config.seed, "curate": config.curate.model_dump(), "names": EXAMPLES}
    if request.method != FROZEN:
        settings |= {"objective": config.objectives.get(request.method, {}), "budget": config.budget}
    question_settings = {name: value for name, value in settings.items() if name != "accept_unproven"}
    hashes: dict[str, str | None] = {"test": None, **inputs}
    claim(world.run, Question.of("finetune", question_settings, sources=files, **hashes), force=force)
    folder = world.run / "head"
    if not _is_finished(world.run, settings, parents):
        product = open_embedder(config, request.model)
        _refuse_pictures(product, request.model)
        left_out: list[Drop] = []
        learn = _several if request.multi_label else _single
        product, head, result = learn(world, request, product, left_out)
        result |= _counted(world, request, left_out)
        card = plain_card(
            base_of(request.model),
            f"finetuned for {request.task}",
            f"Made by `shoptalk finetune`. {result['sentence']}{_of_tuning(result)}",
        )
        withdraw(world.run)
        with create(world.run / "encoder", kind="encoder", config=settings, parents=parents) as inside:
            product.save(inside, card=card)
        head_parents = parents | {"encoder": handed_out(world.run / "encoder").content}
        with create(folder, kind="head", config=settings, parents=head_parents, readings=dict(head.dev)) as inside:
            head_files.save(head, inside)
            write_text(inside / "result.json", json.dumps(result, indent=1, ensure_ascii=False))
            write_drops(inside, left_out)
        clear_work(world.run)  # the tuning's snapshots
    result = read_json(folder / "result.json", dict)
    if not {"task", "sentence", "test"} <= result.keys() or not isinstance(result["test"] or {}, dict):
        raise damaged(folder / "result.json", "it does not say what was learned")
    return result


def _counted(world: World, request: Request, left_out: Sequence[Drop]) -> dict[str, Any]:
    """How many texts were left out, by reason, and the file that lists them. With unlabelled text that is the file of
    the corpus, which includes rows of the labels and the test.
    """
    if request.unlabelled:
        return {"drops": count_drops(world.run / "corpus"), "drops_file": f"corpus/{DROPS}"}
    return {"drops": by_reason(left_out), "drops_file": f"head/{DROPS}"}


def _of_tuning(result: Mapping[str, Any]) -> str:
    """A sentence for the card."""
    return f". Tuning: {result['tuning']['sentence']}." if result["tuning"] is not None else ""


def _is_finished(run: Path, settings: Mapping[str, Any], parents: Mapping[str, str]) -> bool:
    """Whether the folder holds what these settings and inputs make: an encoder, and a head that was fitted on it."""
    encoder = sound(run / "encoder", key=key_of(kind="encoder", config=settings, parents=parents))
    if encoder is None:
        return False
    head_parents = dict(parents) | {"encoder": encoder.content}
    return sound(run / "head", key=key_of(kind="head", config=settings, parents=head_parents)) is not None


def _check(request: Request) -> None:
    known = (FROZEN, *get_args(Method))
    if request.method not in known:
        raise ConfigError(f"--method {request.method!r} is not known. Give one of: {', '.join(known)}.")
    if request.multi_label and (request.unlabelled or request.method != FROZEN or request.out_of_scope):
        raise ConfigError(
            "--multi-label fits a linear head on the frozen encoder, and takes a text without labels as out of scope. "
            "Leave out --unlabelled, --method and --out-of-scope."
        )
    if request.accept_unproven and request.method == FROZEN:
        raise ConfigError(
            "--accept-unproven ships a tuned encoder, and --method frozen tunes none: add --method classify or setfit, "
            "or leave --accept-unproven out."
        )
    if not 0 <= request.scope_loss <= 100:
        raise ConfigError(f"--scope-loss {request.scope_loss:g}: expected a number of points from 0 to 100.")
    for role, path in (("labels", request.labels), ("test", request.test)):
        if path is not None:
            refuse_missing(path, role)


def _refuse_pictures(product: Embedder, model: str) -> None:
    if product.kind in ("image", "pair"):
        raise ConfigError(
            f"{model!r} is one of the {CALLED[product.kind]}, and `finetune` fits heads for texts. For labelled "
            f"pictures: `shoptalk adapt PICTURES --task picture --base {model} --candidates none --labels FILE --out "
            "RUN`."
        )


# --- one label per text -------------------------------------------------------------------------------------------


def _single(
    world: World, request: Request, product: Embedder, left_out: list[Drop]
) -> tuple[Embedder, Classifier, dict[str, Any]]:
    """What is left out of labels and test is added to `left_out`."""
    config, seed = world.config, world.config.seed
    examples, drops = read_labels(request.labels, config.curate, say=world.report.say)
    refuse_unreadable(examples, product.kind, printable(request.labels.name))
    left_out += drops
    labels = {example.label for example in examples}
    none_of_them = OUT_OF_SCOPE if request.out_of_scope is None else (request.out_of_scope,)
    out_of_scope = _spelled_like(labels, none_of_them)
    if request.out_of_scope is not None and not out_of_scope:
        raise InputError(f"--out-of-scope {request.out_of_scope!r} is not a label of {request.labels}.")
    inside, rare, sentences = without_rare(
        [example for example in examples if example.label not in out_of_scope],
        printable(request.labels.name),
        config.curate,
        measuring=False,
    )
    for sentence in sentences:
        world.report.say(sentence)
    left_out += rare
    outside = [example for example in examples if example.label in out_of_scope]
    tests = _tests(world, request, [*inside, *outside], left_out)
    pool = _pool(world, request)
    world.report.say(f"finetune: {len(inside)} labelled texts, {len(outside)} out of scope, {len(pool)} unlabelled")
    lesson = Lesson.of(inside, pool)
    seen = lesson.seen_by(product)
    outcome = None
    if request.method != FROZEN:
        outcome = tune_or_keep(
            world,
            product,
            lesson,
            seen,
            method="setfit" if request.method == "setfit" else "classify",
            scope_loss=request.scope_loss,
            accept_unproven=request.accept_unproven,
        )
        if outcome.shipped is not None:
            tuned, head = outcome.shipped
            return tuned, head, _result(request, head, _judged(tests, tuned, head, out_of_scope), outcome)
    head = lesson.classifier(
        seen, outside=embed(product, _texts(outside)) if outside else None, scope_loss=request.scope_loss, seed=seed
    )
    return product, head, _result(request, head, _judged(tests, product, head, out_of_scope), outcome)


def _pool(world: World, request: Request) -> list[str]:
    """Unlabelled texts, without those that are labelled or tested; at most `MOST`."""
    if not request.unlabelled:
        return []
    corpus = curate_stage(
        world, request.unlabelled, request.labels, request.test, tell_labels=False, reads="text"
    ).train
    places = permuted(len(corpus), range(min(len(corpus), MOST)), seed=world.config.seed, epoch=1)
    return list(dict.fromkeys(corpus.texts[int(i)] for i in places))


def _spelled_like(labels: Iterable[str], names: Iterable[str]) -> set[str]:
    """The labels that equal one of the names in any spelling."""
    spellings = {spelling(name) for name in names}
    return {label for label in labels if spelling(label) in spellings}


def _tests(world: World, request: Request, examples: list[Example], left_out: list[Drop]) -> list[Example] | None:
    """The examples of the test file. Labels that no head can predict and texts that heads have seen are reported."""
    if request.test is None:
        return None
    config, say = world.config.curate, world.report.say
    taught = {example.label for example in examples}
    tests, drops = read_labels(request.test, config, like=taught, say=say)
    refuse_unreadable(tests, "text", printable(request.test.name))
    left_out += drops
    # Labels of what is out of scope are to be known without having been taught.
    known = taught | _spelled_like((example.label for example in tests), OUT_OF_SCOPE)
    names = {"test_name": printable(request.test.name), "labels_name": printable(request.labels.name)}
    unknown = labels_unknown(tests, known, **names, instead=COUNTED_WRONG)
    for sentence in (*unknown, *texts_shared(tests, examples, config, **names)):
        say(sentence)
    return tests


def _judged(
    tests: list[Example] | None, product: Embedder, head: Classifier, out_of_scope: set[str]
) -> dict[str, float] | None:
    """Accuracy on the test file, in per cent; where it has texts out of scope, also the gate's recall of them."""
    if tests is None:
        return None
    taught = set(head.head.labels.tolist())
    out_of_scope = out_of_scope | (_spelled_like((example.label for example in tests), OUT_OF_SCOPE) - taught)
    answers = head.answers(embed(product, _texts(tests)))
    inside = [
        (answer, example) for answer, example in zip(answers, tests, strict=True) if example.label not in out_of_scope
    ]
    right = [answer.labels == (example.label,) for answer, example in inside]
    right_and_admitted = [hit and answer.in_scope for hit, (answer, _) in zip(right, inside, strict=True)]
    result = {
        "accuracy": 100 * float(np.mean(right)),
        "accuracy_when_abstaining": 100 * float(np.mean(right_and_admitted)),
    }
    outside = [
        not answer.in_scope for answer, example in zip(answers, tests, strict=True) if example.label in out_of_scope
    ]
    if outside:
        result["out_of_scope_recall"] = 100 * float(np.mean(outside))
    return result


# --- several labels per text --------------------------------------------------------------------------------------


def _several(
    world: World, request: Request, product: Embedder, left_out: list[Drop]
) -> tuple[Embedder, Classifier, dict[str, Any]]:
    rows, drops = read_label_sets(request.labels, world.config.curate, say=world.report.say)
    left_out += drops
    tests = _tests_of_several(world, request, rows, left_out)
    head = classifier.train_multi(
        embed(product, _texts(rows)),
        [row.labels for row in rows],
        np.array([row.cluster for row in rows]),
        seed=world.config.seed,
    )
    judged = None
    if tests is not None:
        names = sorted({*head.head.labels.tolist(), *(label for row in tests for label in row.labels)})
        answered = [answer.labels for answer in head.answers(embed(product, _texts(tests)))]
        predicted = np.array([[name in labels for name in names] for labels in answered])
        true = np.array([[name in row.labels for name in names] for row in tests])
        exact = [set(labels) == set(row.labels) for labels, row in zip(answered, tests, strict=True)]
        judged = {"micro_f1": 100 * classifier.micro_f1(predicted, true), "exact_match": 100 * float(np.mean(exact))}
    return product, head, _result(request, head, judged)


def _tests_of_several(
    world: World, request: Request, rows: Sequence[LabelSet], left_out: list[Drop]
) -> list[LabelSet] | None:
    """As `_tests`, for texts with any number of labels; one that no head has learned counts as missed."""
    if request.test is None:
        return None
    config, say = world.config.curate, world.report.say
    tests, drops = read_label_sets(request.test, config, like={label for row in rows for label in row.labels}, say=say)
    left_out += drops
    names = {"test_name": printable(request.test.name), "labels_name": printable(request.labels.name)}
    for sentence in texts_shared(tests, rows, config, **names):
        say(sentence)
    return tests


def _texts(rows: Sequence[Example] | Sequence[LabelSet]) -> list[str]:
    return [row.text for row in rows]


def _result(
    request: Request, head: Classifier, judged: dict[str, float] | None, outcome: Outcome | None = None
) -> dict[str, Any]:
    return {
        "task": request.task,
        "kind": head.kind,
        "labels": len(head.head.labels),
        "dev": dict(head.dev),
        "temperature": head.temperature,
        "test": judged,
        "tuning": outcome.facts() if outcome is not None else None,
        "sentence": classifier.described(head),
    }
