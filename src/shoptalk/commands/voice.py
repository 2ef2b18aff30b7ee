"""`shoptalk voice RUN SOURCE... --model REF`: do answers sound more like the brand's agents when a model rewords them?

    result = measure_voice(Path("runs/acme"), "smollm2", [Path("conversations/")], config, report)
    result.choice       # "adopt": the assistant of the run rewords from its next start on; else "keep_extractive"

Half of the conversations, at random, say how agents write: some of their replies are shown to the model, and a
classifier learns to tell what agents say from what customers say and what documents say. On the other half the
assistant answers what customers ask, by extracts and in the brand's words behind the gate (`assistant/brand_voice.py`),
and the classifier says for how sure it takes each for an agent's. Nobody labels anything: who said what is the label.

What is adopted must have gained, with its interval above 0, by a classifier that tells unseen texts apart, and have
lost no number and no name. Documents that the tried answers come from teach the classifier nothing: it would know them.
"""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from shoptalk.artifact import create, digest, locked, write_text
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import load_settings
from shoptalk.assistant.brand_voice import FILE, FOLDER, BrandVoice, Voice, VoiceMeasures
from shoptalk.assistant.extract import worded
from shoptalk.assistant.ground import sentences_of
from shoptalk.assistant.marker import opened_marker
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import Found
from shoptalk.commands.batch_journal import BatchJournal
from shoptalk.config import Config
from shoptalk.curate.dedup import normalise
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.decide.pooled import gain
from shoptalk.errors import SourceError
from shoptalk.evaluate.text_scores import share, support
from shoptalk.nn.decoding.generation import Continues
from shoptalk.nn.decoding.writer import open_writer
from shoptalk.nn.digests import base_digest
from shoptalk.nn.heads.logistic import LinearHead, fit, log_softmax
from shoptalk.quantities import span
from shoptalk.records import Document, Frozen, Turn
from shoptalk.text.chat import PASSAGES
from shoptalk.text.dialogue import AGENTS, TOOLS
from shoptalk.text.order import permuted
from shoptalk.text.stated_facts import NAME
from shoptalk.training.reporter import Reporter

FEWEST, MOST = 30, 120
"""Answers that are tried: one of a conversation."""
BATCH = 16
"""Of them, how many are reworded at once: at most so many are lost to Ctrl-C."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress."""
EXAMPLES = 4
"""Replies of agents that the model reads."""
EXAMPLE_WORDS = range(6, 31)
MANNER_OF = 3
"""Conversations in which agents say a sentence from which it is a manner of speaking."""
TELLS = 70.0
"""Per cent of unseen texts that a classifier must tell right: below that its opinion is none. Chance is 50."""
_SILENT = {*TOOLS, *PASSAGES, "system"}
_BRAND, _OTHER = "brand", "other"


@dataclass(frozen=True)
class TriedAnswer:
    """What the assistant quotes in answer to what a customer asks."""

    extract: tuple[Sentence, ...]
    found: Sequence[Found]

    @property
    def text(self) -> str:
        """As it goes out."""
        return worded(self.extract, self.found)


def measure_voice(run: Path, model: str, sources: Sequence[Path], config: Config, report: Reporter) -> BrandVoice:
    """Measure and decide; leaves `RUN/voice`, which the assistant of the run opens if it was adopted.

    Raises:
        SourceError: the conversations cannot be read, or hold too few that the assistant answers.
        ArtifactError, InputError: the run is none, or damaged; the model is no decoder.
        BaseModelError: the model cannot be opened.
        StorageError: another process is changing the run.
    """
    model = str(Path(model).resolve()) if Path(model).is_dir() else model  # the assistant may start elsewhere
    settings = load_settings(run).model_copy(update={"generator": None})
    parents = source_fingerprint(sources, config.curate, out=run) | {"model": base_digest(model)}
    assistant = Assistant.open(run, settings=settings, tell=report.say, reworded=False)
    writer = open_writer(model)
    learned, unseen = _halves(_conversations(sources, config, run), seed=config.seed)
    report.say(f"voice: {len(learned):,} conversations to learn from, {len(unseen):,} to try")
    work = run / "work" / FOLDER
    with locked(work):
        voice = _measured(assistant, writer, learned, unseen, model, config, work, report)
        parents["knowledge"] = assistant.knowledge.shelf.content
        made = {"seed": config.seed, "model": model}
        with locked(run), create(run / FOLDER, kind="voice", config=made, parents=parents) as inside:
            write_text(inside / FILE, voice.model_dump_json(indent=1))
        shutil.rmtree(work, ignore_errors=True)
    return voice


def _measured(
    assistant: Assistant, writer: Continues, learned: Sequence[Sequence[Turn]], unseen: Sequence[Sequence[Turn]],
    model: str, config: Config, work: Path, report: Reporter,
) -> BrandVoice:  # fmt: skip
    tried = _answers(assistant, unseen, report)
    if len(tried) < FEWEST:
        raise SourceError(
            f"Of {len(unseen):,} conversations the assistant answers a question in {len(tried):,}, and at least "
            f"{FEWEST} are needed to tell anything. Give more conversations (half of them are tried), or documents "
            "that answer what they ask to the run's knowledge."
        )
    classifier = _classifier(assistant, learned, tried, seed=config.seed)
    examples = _typical(assistant, classifier, learned)
    manners = _manners(learned)
    voice = Voice(examples, manners, writer)
    written = _written(voice, tried, work, model, report)
    marker = opened_marker(assistant.run)
    let_through = [
        voice.let_through(text, answer.extract, answer.found, marker)
        for text, answer in zip(written, tried, strict=True)
    ]
    extracts = [answer.text for answer in tried]
    going_out = [
        " ".join(sentence.text for sentence in kept) or extract
        for kept, extract in zip(let_through, extracts, strict=True)
    ]
    before, after = (_sure(assistant, classifier, texts) for texts in (extracts, going_out))
    difference = gain(_rows(after), _rows(before), share, seed=config.seed)
    assert difference is not None
    measures = VoiceMeasures(
        tried=len(tried),
        reworded=sum(bool(kept) for kept in let_through),
        accuracy=_accuracy(assistant, classifier, unseen, tried),
        extractive=100 * float(before.mean()),
        voiced=100 * float(after.mean()),
        gain=difference.value,
        interval=(difference.low, difference.high),
        facts=_facts(extracts, going_out),
        ungated=_facts(extracts, written),
    )
    choice, sentence = decided(measures)
    return BrandVoice(
        choice=choice, sentence=sentence, model=model, examples=examples, manners=manners, measures=measures
    )


class RewordedExtract(Frozen):
    """What the model wrote for an extract; empty where it wrote nothing whole."""

    text: str


def _written(voice: Voice, tried: Sequence[TriedAnswer], work: Path, model: str, report: Reporter) -> list[str]:
    """What the model writes for each extract, whatever it says; the same prompts go on where they were stopped."""
    key = digest([base_digest(model), *(voice.prompt(answer.extract) for answer in tried)])
    journal = BatchJournal(work / f"{key[:16]}.jsonl", RewordedExtract, total=len(tried), batch=BATCH)
    begun, before = time.monotonic(), len(journal.rows)
    while (done := len(journal.rows)) < len(tried):
        texts = voice.written([answer.extract for answer in tried[done : done + BATCH]])
        journal.append([RewordedExtract(text=text) for text in texts])
        left = (time.monotonic() - begun) / (len(journal.rows) - before) * (len(tried) - len(journal.rows))
        report.say(f"voice: {len(journal.rows):,} of {len(tried):,} answers reworded, about {span(left)} left")
    return [row.text for row in journal.rows]


def decided(measures: VoiceMeasures) -> tuple[Literal["adopt", "keep_extractive"], str]:
    """The choice, and why in one sentence."""
    low, high = measures.interval
    went = f"{measures.reworded:,} of {measures.tried:,} rewordings pass the gate"
    told = (
        f"the classifier takes what would go out for an agent's with {measures.voiced:.1f} % against "
        f"{measures.extractive:.1f} % of the extracts ({measures.gain:+.1f} points, 95 % interval {low:+.1f} to "
        f"{high:+.1f})"
    )
    if measures.accuracy < TELLS:
        return "keep_extractive", (
            f"The extracts stay: the classifier tells {measures.accuracy:.1f} % of unseen texts right, and below "
            f"{TELLS:.0f} % its opinion says nothing ({went})."
        )
    if measures.facts is not None and measures.facts < 100.0:
        return "keep_extractive", (
            f"The extracts stay: {100 - measures.facts:.1f} % of their numbers and names would be lost ({went})."
        )
    if low <= 0:
        return "keep_extractive", f"The extracts stay: {went}, and {told}, which is no proven gain."
    return "adopt", f"Adopted: {went}, {told}, and no number or name is lost."


# --- conversations ----------------------------------------------------------------------------------------------------


def _conversations(sources: Sequence[Path], config: Config, run: Path) -> list[tuple[Turn, ...]]:
    """Those in which an agent speaks, with the roles that the assistant knows."""
    every = []
    for item in stream_sources(sources, config.curate, out=run, pictures=False):
        if not isinstance(item, Document) or not any(is_agents(turn) for turn in item.turns):
            continue
        said = [turn for turn in item.turns if turn.text.strip() and turn.role.casefold() not in _SILENT]
        every.append(
            tuple(Turn(role="assistant" if is_agents(turn) else "visitor", text=turn.text.strip()) for turn in said)
        )
    if not every:
        raise SourceError(
            "The sources hold no conversation in which an agent speaks. Give JSON Lines with turns or messages, whose "
            f"role is one of {', '.join(AGENTS)} where an agent speaks."
        )
    return every


def is_agents(turn: Turn) -> bool:
    """Whether an agent speaks."""
    role = turn.role.casefold()
    return role in AGENTS and role != "system"


def _halves(
    conversations: Sequence[tuple[Turn, ...]], *, seed: int
) -> tuple[list[tuple[Turn, ...]], list[tuple[Turn, ...]]]:
    order = permuted(len(conversations), range(len(conversations)), seed=seed, epoch=0).tolist()
    half = len(order) // 2
    learned, unseen = ([conversations[n] for n in part] for part in (order[:half], order[half:]))
    return learned, unseen


def _said(conversations: Sequence[Sequence[Turn]], *, by_agent: bool) -> list[str]:
    """Each text once, in their order."""
    texts = (turn.text for turns in conversations for turn in turns if (turn.role == "assistant") == by_agent)
    return list(dict.fromkeys(texts))


def _answers(assistant: Assistant, conversations: Sequence[Sequence[Turn]], report: Reporter) -> list[TriedAnswer]:
    """Of each conversation the first extract that the assistant would answer with, in place of an agent's reply."""
    tried: list[TriedAnswer] = []
    begun = said = time.monotonic()
    for number, turns in enumerate(conversations, 1):
        if (answer := _answer(assistant, turns)) is not None:
            tried.append(answer)
        if len(tried) == MOST:
            break
        if (now := time.monotonic()) - said > SAY_EVERY:
            rest = span((now - begun) / number * (len(conversations) - number))
            report.say(f"voice: {number:,} of {len(conversations):,} conversations asked about, at most {rest} left")
            said = now
    return tried


def _answer(assistant: Assistant, turns: Sequence[Turn]) -> TriedAnswer | None:
    for place in range(1, len(turns)):
        if turns[place].role == "assistant" and turns[place - 1].role != "assistant":
            considered = assistant.consider(turns[:place])
            decision = assistant.decided(considered, threshold=assistant.threshold)
            if decision.words == "found" and considered.sentences and not considered.signals.pinned:
                return TriedAnswer(considered.sentences, considered.hits)
    return None


def _manners(conversations: Sequence[Sequence[Turn]]) -> tuple[str, ...]:
    """Sentences without numbers and names that agents say in several conversations, the most frequent first."""
    counts = Counter[str]()
    for turns in conversations:
        parts = (part for turn in turns if turn.role == "assistant" for part in sentences_of(turn.text))
        counts.update({normalise(part) for part in parts if not any(map(str.isdigit, part)) and not NAME.search(part)})
    return tuple(part for part, count in counts.most_common() if count >= MANNER_OF)


# --- the classifier ---------------------------------------------------------------------------------------------------


def _classifier(
    assistant: Assistant, learned: Sequence[Sequence[Turn]], tried: Sequence[TriedAnswer], *, seed: int
) -> LinearHead:
    """Tells what agents say from what customers and documents say: as many of the two as there are of the first."""
    agents, customers = (_said(learned, by_agent=by_agent) for by_agent in (True, False))
    documents = _of_documents(assistant, tried, used=False)
    half = max(1, len(agents) // 2)
    others = [*_some(customers, half, seed=seed), *_some(documents, half, seed=seed)]
    labels = np.array([_BRAND] * len(agents) + [_OTHER] * len(others))
    return fit(assistant.embed([*agents, *others]), labels, C=1.0)


def _of_documents(assistant: Assistant, tried: Sequence[TriedAnswer], *, used: bool) -> list[str]:
    """The sentences of documents that tried answers come from, or those of all the others."""
    shelf = assistant.knowledge.shelf
    documents = {
        answer.found[rank - 1].passage.document for answer in tried for s in answer.extract for rank in s.sources
    }
    passages = (shelf.passage(number) for number in range(len(shelf)))
    lines = (line.text for passage in passages if (passage.document in documents) == used for line in passage.lines)
    return list(dict.fromkeys(lines))


def _some(texts: Sequence[str], most: int, *, seed: int) -> list[str]:
    places = permuted(len(texts), range(min(most, len(texts))), seed=seed, epoch=1).tolist()
    return [texts[place] for place in places]


def _sure(assistant: Assistant, classifier: LinearHead, texts: Sequence[str]) -> Float[np.ndarray, " N"]:
    """For how sure each is an agent's, from 0 to 1."""
    chances = np.exp(log_softmax(classifier.scores(assistant.embed(texts))))
    return np.asarray(chances[:, list(classifier.labels).index(_BRAND)], dtype=np.float64)


def _accuracy(
    assistant: Assistant, classifier: LinearHead, unseen: Sequence[Sequence[Turn]], tried: Sequence[TriedAnswer]
) -> float:
    """Per cent of unseen texts that are told right: the mean over agents', customers' and documents', the latter two
    together as much as the first.
    """
    agents, customers = (_said(unseen, by_agent=by_agent) for by_agent in (True, False))
    parts = [customers, _of_documents(assistant, tried, used=True)]
    right = float((_sure(assistant, classifier, agents) > 0.5).mean())
    wrong = [float((_sure(assistant, classifier, texts) > 0.5).mean()) for texts in parts if texts]
    return 100 * (right + 1 - float(np.mean(wrong))) / 2


def _typical(assistant: Assistant, classifier: LinearHead, learned: Sequence[Sequence[Turn]]) -> tuple[str, ...]:
    """Replies of a middling length that are most surely an agent's."""
    replies = [
        text for text in _said(learned, by_agent=True) if len(text.split()) in EXAMPLE_WORDS and "\n" not in text
    ]
    if not replies:
        return ()
    order = np.argsort(-_sure(assistant, classifier, replies), kind="stable")
    return tuple(replies[place] for place in order[:EXAMPLES].tolist())


def _rows(sure: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N 2"]:
    return np.stack([sure, np.ones_like(sure)], axis=1)


def _facts(extracts: Sequence[str], said: Sequence[str]) -> float | None:
    """Of the extracts' numbers and names, the share in per cent that is said; None where they have none."""
    score = support(extracts, [[text] for text in said])
    value = float(score.of(score.statistics.sum(axis=0, keepdims=True))[0])
    return None if np.isnan(value) else value
