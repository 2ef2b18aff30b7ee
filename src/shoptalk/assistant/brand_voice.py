"""The extractive answer in the words of the brand's own agents, where that has been measured to be worth it.

    voice = opened_voice(run)                   # None where `shoptalk voice` has not adopted one
    voice.reworded(extract, found, marks)       # sentences; empty where the extract itself must serve

A language model reads some replies of the brand's agents and the extract, and writes the extract anew. What it writes
goes out only where nothing is added and nothing is lost: each of its sentences must stand in the passages that the
extract rests on, by the rules of the gate (`ground.py`) and its head where there is one, or be one that agents say
again and again, which states nothing; and each sentence of the extract must stand in what it writes, by the same rules.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from shoptalk.artifact import handed_out, open_artifact
from shoptalk.assistant.generator import CircuitBreaker
from shoptalk.assistant.ground import Marks, ground, sentences_of, unsupported
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import Found
from shoptalk.curate.dedup import normalise
from shoptalk.errors import ArtifactError
from shoptalk.nn.decoding.generation import Continues, GenerationRequest
from shoptalk.readback import read_record
from shoptalk.records import Published

FOLDER, FILE = "voice", "voice.json"
MOST_TOKENS = 160
SECONDS = 8.0
"""After which the extract serves."""
FAILURES, PAUSE = 3, 30.0
"""After so many times in a row without a whole text the model is left alone for so many seconds."""
STOP = ("\n",)
_NOTE = "The swimming hall opens at 7:00. Children under six enter free."
_SAID = "We open at 7:00, and children under six get in free."
"""A worked example of ours: what it is to say the same in other words."""


class VoiceMeasures(Published):
    """What was measured on conversations that nothing was learned from."""

    tried: int
    """Answers."""
    reworded: int
    """Of them, how many the gate let through in the brand's words."""
    accuracy: float
    """Of the classifier, in per cent of unseen texts, agents' and others' weighing the same."""
    extractive: float
    """For how sure the classifier takes the extracts for the brand's agents', in per cent."""
    voiced: float
    """The same of what would go out: the rewording, or the extract where the gate let none through."""
    gain: float
    interval: tuple[float, float]
    facts: float | None
    """Of the extracts' numbers and names, the share that stands in what would go out; None where they have none."""
    ungated: float | None
    """The same of what the model writes without the gate."""


class BrandVoice(Published):
    """`RUN/voice/voice.json`."""

    choice: Literal["adopt", "keep_extractive"]
    sentence: str
    """Why, for people."""
    model: str
    examples: tuple[str, ...]
    """Replies of agents that the model reads."""
    manners: tuple[str, ...]
    """Sentences that agents say again and again, normalised."""
    measures: VoiceMeasures


class Voice:
    """Rewords extracts; many threads may ask."""

    def __init__(self, examples: Sequence[str], manners: Sequence[str], writer: Continues) -> None:
        self._examples, self._manners, self._writer = tuple(examples), frozenset(manners), writer
        self._breaker = CircuitBreaker(failures=FAILURES, pause=PAUSE)

    def reworded(
        self, extract: Sequence[Sentence], found: Sequence[Found], marks: Marks | None = None
    ) -> tuple[Sentence, ...]:
        """The extract's sentences in the brand's words, with the ranks of what they rest on; none where the extract
        itself must serve.
        """
        if self._breaker.resting:
            return ()
        try:
            (written,) = self.written([extract], seconds=SECONDS)
        except (RuntimeError, MemoryError):  # as torch says what it cannot do
            written = ""
        self._breaker.count(failed=not written)
        return self.let_through(written, extract, found, marks)

    def written(self, extracts: Sequence[Sequence[Sentence]], *, seconds: float | None = None) -> list[str]:
        """What the model writes for each, whatever it says; empty where there is no room, or not all of it was written
        in `seconds`, waiting for others included.
        """
        prompts = [self._writer.prompt(self.prompt(extract)) for extract in extracts]
        fitting = [n for n, ids in enumerate(prompts) if len(ids) + MOST_TOKENS <= self._writer.context]
        requests = [GenerationRequest(prompts[n], max_tokens=MOST_TOKENS, stop=STOP, seconds=seconds) for n in fitting]
        texts = [""] * len(extracts)
        for number, generated in zip(fitting, self._writer.write(requests) if requests else [], strict=True):
            if generated.reason in ("end", "stop"):  # else it was cut
                texts[number] = generated.text.strip()
        return texts

    def prompt(self, extract: Sequence[Sentence]) -> str:
        """The brand's replies, a worked example of ours, and the extract."""
        manner = "".join(f"- {example}\n" for example in self._examples)
        note = " ".join(sentence.text for sentence in extract)
        return f"Our agents write like this:\n{manner}\nNote: {_NOTE}\nAgent: {_SAID}\n\nNote: {note}\nAgent:"

    def let_through(
        self, written: str, extract: Sequence[Sentence], found: Sequence[Found], marks: Marks | None = None
    ) -> tuple[Sentence, ...]:
        """The gate: the sentences of what was written, or none."""
        parts = sentences_of(written)
        if any(unsupported(sentence.text, written, where="rewording") is not None for sentence in extract):
            return ()
        ranks = sorted({rank for sentence in extract for rank in sentence.sources})
        read = [found[rank - 1] for rank in ranks]
        sentences: list[Sentence] = []
        for part in parts:
            if is_manner(part, self._manners):
                sentences.append(Sentence(part, ()))
                continue
            grounded = ground(part, read, marks)
            if grounded.refused or not grounded.sentences:
                return ()
            sentences += [
                Sentence(kept.text, tuple(ranks[rank - 1] for rank in kept.sources)) for kept in grounded.sentences
            ]
        return tuple(sentences)


def is_manner(sentence: str, manners: frozenset[str]) -> bool:
    """Whether a sentence is one that agents say again and again, and holds no number."""
    return re.search(r"\d", sentence) is None and normalise(sentence) in manners


def opened_voice(run: Path) -> Voice | None:
    """The voice of a run; None where it has none, or keeps to extracts.

    Raises:
        ArtifactError: it is damaged, or its model is not the one that was measured.
        BaseModelError, InputError: its model cannot be opened.
    """
    artifact = open_artifact(run / FOLDER)
    if artifact is None:
        return None
    handed_out(run / FOLDER)
    voice = read_record(run / FOLDER / FILE, BrandVoice)
    if voice.choice != "adopt":
        return None
    from shoptalk.nn.decoding.writer import open_writer  # the libraries of language models, which few assistants need
    from shoptalk.nn.digests import base_digest

    if base_digest(voice.model) != artifact.parents.get("model"):
        raise ArtifactError(
            f"{run / FOLDER} was measured with another model than {voice.model!r} is now. Run `shoptalk voice {run}` "
            "again, or delete that folder to answer in the documents' own words."
        )
    return Voice(voice.examples, voice.manners, open_writer(voice.model))
