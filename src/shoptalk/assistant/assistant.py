"""The assistant: everything that answers a visitor, opened from a run's folder.

    assistant = Assistant.open(Path("runs/acme"))
    reply = assistant.reply([Turn(role="visitor", text="How much is it to take a bicycle?")])
    reply.decision, reply.text, [source.document for source in reply.cited]

A reply embeds the visitor's message and nothing else. Many threads may ask for replies at once, while the knowledge is
being changed.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from zoneinfo import ZoneInfo

import numpy as np
from jaxtyping import Float

from shoptalk.artifact import digest, handed_out, open_artifact
from shoptalk.assistant.album import Album
from shoptalk.assistant.asked_turn import OURS, AskedTurn
from shoptalk.assistant.assistant_settings import AssistantSettings, load_settings
from shoptalk.assistant.bulk import BulkEncoder, in_faster_arithmetic
from shoptalk.assistant.business_rules import BusinessRule, first_rule, load_rules
from shoptalk.assistant.calibration_file import opened_calibration
from shoptalk.assistant.clock import Clock
from shoptalk.assistant.confidence import ConfidenceWeights, Support, features_of_answer
from shoptalk.assistant.decide_reply import Decided, Signals, decide
from shoptalk.assistant.desk_hours import is_open
from shoptalk.assistant.extract import Picked, pick, stitch, worded
from shoptalk.assistant.ground import Marks, ground
from shoptalk.assistant.knowledge import Knowledge, KnowledgeChange
from shoptalk.assistant.marker import opened_marker
from shoptalk.assistant.note import note_of
from shoptalk.assistant.opened_generator import about_generator, opened_generator
from shoptalk.assistant.opened_head import NO_HEAD, opened_head, opened_reader
from shoptalk.assistant.phrases import phrase
from shoptalk.assistant.progress_lines import ProgressLines
from shoptalk.assistant.reply import Decision, Reply, Sentence, Source, Versions
from shoptalk.assistant.reply import Path as ReplyPath
from shoptalk.assistant.retrieve import Found, retrieve
from shoptalk.assistant.shelf import Embeds, Shelf
from shoptalk.assistant.shown import unknown_picture, with_caption, with_picture
from shoptalk.assistant.wishes import anger, is_greeting, is_thanks, wants_person
from shoptalk.nn.heads.classifier import Classifier
from shoptalk.readback import refuse_no_run
from shoptalk.records import Document, Turn

THRESHOLD = 0.5
"""Least confidence of an answer where neither settings nor a calibration say another."""
AGAIN = 0.9
"""Cosine from which a visitor asks the same again."""
CONTEXT = 1.0
"""Weight of the reading with the turn before beside the question alone (docs/decisions says how it was measured)."""
_REMEMBERED = 4096
"""Texts whose vectors are kept."""


class Assistant:
    """Answers turns of visitors. `open` makes one."""

    def __init__(
        self,
        run: Path,
        encoder: Embeds,
        head: Classifier | None,
        knowledge: Knowledge,
        settings: AssistantSettings,
        versions: Versions,
        *,
        bulk: Embeds | None = None,
        album: Album | None = None,
        marker: Marks | None = None,
        rules: Sequence[BusinessRule] = (),
        about_words: Sequence[str] = (),
    ) -> None:
        self.run = run
        self.marker = marker
        self.album = album
        self.settings = settings
        self.head = head
        self.knowledge = knowledge
        self.rules = tuple(rules)
        calibration, stale = opened_calibration(run)
        self.remarks = tuple(
            remark for remark in (None if head is not None else NO_HEAD, stale, *about_words) if remark
        )
        """What its owner should know, such as that the run has no head."""
        promised = calibration.threshold if calibration else None
        self.confidence = calibration.weights if calibration and promised is not None else ConfidenceWeights()
        self.threshold = next(limit for limit in (settings.threshold, promised, THRESHOLD) if limit is not None)
        self.generator = opened_generator(settings)
        self._encoder = encoder
        self._bulk = bulk or encoder
        self._versions = versions
        self._vectors: OrderedDict[str, Float[np.ndarray, " D"]] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        run: Path,
        *,
        settings: AssistantSettings | None = None,
        through: Callable[[Embeds], Embeds] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> "Assistant":
        """The assistant of a run, from its folders alone: encoder, head where there is one, and knowledge.

        What visitors write is embedded `through` what this makes of the encoder, such as one that puts the texts of
        many threads into one batch. `tell` says what is to be known where knowledge is made, which may take long.

        Raises:
            ArtifactError: one of them is missing or damaged, or the head is of another encoder.
            ConfigError, InputError: settings or rules cannot be used; the run is no folder, or no run.
        """
        refuse_no_run(run)
        chosen = settings if settings is not None else load_settings(run)
        rules = load_rules(Path(chosen.rules)) if chosen.rules else ()  # first: the rest may take minutes
        encoder = handed_out(run / "encoder")
        product = opened_reader(run)
        head = opened_head(run, encoder, product.dim)
        product = in_faster_arithmetic(product)
        bulk = BulkEncoder(product)
        knowledge = Knowledge.open(
            run, bulk, encoder_content=encoder.content, dim=product.dim, tell=ProgressLines(tell)
        )
        parts = {
            name: artifact.content for name in ("encoder", "head", "corpus") if (artifact := open_artifact(run / name))
        }
        album = Album.open(Path(chosen.pictures), tell=tell) if chosen.pictures else None
        versions = Versions(digest(parts)[:12], encoder.content[:12], knowledge.shelf.content[:12])
        asked = through(product) if through is not None else product
        marker = opened_marker(run) if chosen.generator else None
        return cls(
            run,
            asked,
            head,
            knowledge,
            chosen,
            versions,
            bulk=bulk,
            album=album,
            marker=marker,
            rules=rules,
            about_words=about_generator(run, chosen, marked=marker is not None),
        )

    # --- knowledge ----------------------------------------------------------------------------------------------------

    def add(self, sources: Sequence[Path]) -> KnowledgeChange:
        """Add documents to the knowledge while replies go on (`Knowledge.add`)."""
        return self.knowledge.add(sources, self._bulk)

    def put(self, documents: Sequence[Document]) -> KnowledgeChange:
        """Add documents that are already read (`Knowledge.put`)."""
        return self.knowledge.put(documents, self._bulk)

    def remove(self, names: Sequence[str], *, ids: bool = False) -> KnowledgeChange:
        """Take documents from the knowledge while replies go on (`Knowledge.remove`)."""
        return self.knowledge.remove(names, self._bulk, ids=ids)

    # --- replies ------------------------------------------------------------------------------------------------------

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of texts; those of late are remembered."""
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        with self._lock:
            known = {text: self._vectors[text] for text in readable if text in self._vectors}
        if fresh := [text for text in dict.fromkeys(readable) if text not in known]:
            vectors = self._encoder.embed(fresh)
            with self._lock:
                for text, vector in zip(fresh, vectors, strict=True):
                    known[text] = self._vectors[text] = vector
                while len(self._vectors) > _REMEMBERED:
                    self._vectors.popitem(last=False)
        return np.stack([known[text] for text in readable]) if readable else self._encoder.embed([])

    def reply(
        self,
        turns: Sequence[Turn],
        *,
        now: datetime | None = None,
        earlier: Sequence[Decision] = (),
        picture: bytes | None = None,
    ) -> Reply:
        """The reply to a conversation's last turn or turns, which are the visitor's.

        Args:
            turns: the conversation, the oldest turn first.
            now: for rules, hours and the days on which documents hold.
            earlier: what was decided in this conversation before, the oldest first: so that it does not ask back twice.
            picture: a file that the visitor shows with the last turn.

        Raises:
            RefusedPicture: that file cannot be read.
        """
        clock, message = Clock(), turns[-1].text if turns else ""
        seen = self.album.recognise(picture) if picture is not None and self.album is not None else None
        if picture is not None:
            clock.lap("picture")
            if seen is None and not message.strip():
                reply = unknown_picture(message, self.settings.texts, self._versions)
                return replace(reply, seconds=clock.seconds())
        considered = self.consider(with_caption(turns, seen), now=now, earlier=earlier, clock=clock)
        decided = self.decided(considered, threshold=self.threshold)
        reply = self._worded(decided, considered)
        if picture is not None:
            reply = with_picture(reply, seen, message, self.settings.texts)
        clock.lap("word")
        return replace(reply, seconds=clock.seconds())

    def consider(
        self,
        turns: Sequence[Turn],
        *,
        now: datetime | None = None,
        earlier: Sequence[Decision] = (),
        clock: Clock | None = None,
    ) -> "Considered":
        """What is known of a conversation's last turn before anything is decided."""
        clock = clock or Clock()
        moment = (now or datetime.now(UTC)).astimezone(ZoneInfo(self.settings.timezone))
        shelf = self.knowledge.shelf
        asked = AskedTurn.of(turns)
        vector = self.embed([asked.message, *([asked.last] if asked.last else []), *asked.before])[0]  # one batch
        clock.lap("embed")
        readings = self._readings(asked, vector)
        hits = retrieve(shelf, readings, k=self.settings.passages, day=moment.date())
        clock.lap("retrieve")
        picked = pick(shelf, hits, asked.message, readings[-1][1])
        clock.lap("pick")
        considered = self._considered(asked, vector, shelf, hits, picked, moment, tuple(earlier))
        clock.lap("consider")
        return considered

    def decided(self, considered: "Considered", *, threshold: float) -> Decided:
        """The decision about it."""
        return decide(considered.signals, self.settings, threshold=threshold)

    def suggest(self, turns: Sequence[Turn], *, most: int = 3) -> tuple[str, ...]:
        """Replies for an agent to choose from, the likeliest first: one from each passage that fits best."""
        considered = self.consider(turns)
        texts: list[str] = []
        for rank in dict.fromkeys(entry.rank for entry in considered.picked):
            of_one = [entry for entry in considered.picked if entry.rank == rank]
            text = worded(stitch(of_one, most=self.settings.most_sentences), considered.hits)
            if text and text not in texts:
                texts.append(text)
        return tuple(texts[:most])

    def summary(self, turns: Sequence[Turn], *, most: int = 5) -> str:
        """A note for the person who takes over: the visitor's own messages that say most, in their order."""
        messages = [turn.text.strip() for turn in turns if turn.role not in OURS and turn.text.strip()]
        return "\n".join(f"- {messages[place]}" for place in note_of(messages, most=most))

    def _readings(
        self, asked: "AskedTurn", vector: Float[np.ndarray, " D"]
    ) -> list[tuple[str, Float[np.ndarray, " D"], float]]:
        """The question alone, and together with the turn before it, which often names what the question is about."""
        readings = [(asked.message, vector, 1.0)]
        if asked.last:
            both = vector + self.embed([asked.last])[0]
            both = both / max(float(np.linalg.norm(both)), 1e-9)
            readings.append((f"{asked.last} {asked.message}", both, CONTEXT))
        return readings

    def _considered(
        self,
        asked: "AskedTurn",
        vector: Float[np.ndarray, " D"],
        shelf: Shelf,
        hits: Sequence[Found],
        picked: Sequence[Picked],
        moment: datetime,
        earlier: Sequence[Decision],
    ) -> "Considered":
        intent, probability, in_scope = None, 0.0, True
        if self.head is not None and asked.readable:
            answer = self.head.answers(vector[None])[0]
            intent, probability, in_scope = next(iter(answer.labels), None), answer.probability, answer.in_scope
        features = features_of_answer(picked, hits, asked.message, Support(probability, in_scope))
        before = self.embed(asked.before) if asked.before else np.zeros((0, len(vector)), dtype=np.float32)
        open_now = is_open(self.settings, moment)
        first = first_rule(
            self.rules, asked.message, intent=intent, probability=probability, now=moment, is_open=open_now
        )
        signals = Signals(
            message=asked.message,
            rule=first.rule,
            too_slow=first.too_slow,
            readable=asked.readable,
            wants_person=wants_person(asked.message),
            anger=anger(asked.message),
            angry_before=bool(asked.before) and anger(asked.before[-1]) > 0,
            asked_before=int((before @ vector >= AGAIN).sum()),
            greeting=is_greeting(asked.message),
            thanks=is_thanks(asked.message),
            intent=intent,
            probability=probability,
            in_scope=in_scope,
            pinned=any(hit.pinned for hit in hits),
            confidence=self.confidence(features) if picked else 0.0,
            earlier=earlier,
        )
        sentences = stitch(picked, most=self.settings.most_sentences)
        return Considered(signals, hits, picked, sentences, features, moment, shelf.content)

    def _worded(self, decided: Decided, considered: "Considered") -> Reply:
        signals, hits = considered.signals, considered.hits
        sentences: tuple[Sentence, ...] = ()
        path: ReplyPath = "rule"
        if decided.words == "found":
            sentences, path = self._generated(considered), "generator"
            text = " ".join(sentence.text for sentence in sentences)
            if not sentences:
                sentences, path = considered.sentences, "extractive"
                text = worded(sentences, hits)
        elif decided.words == "rule":
            assert signals.rule is not None
            text = signals.rule.text
        elif decided.words == "canned":
            assert signals.intent is not None
            text, path = self.settings.canned[signals.intent], "canned"
        elif decided.words == "greeting":
            text, path = self.settings.greeting or self._phrase("greeting", signals), "canned"
        else:
            text, path = self._own_words(decided, considered), "canned"
        used = {rank for sentence in sentences for rank in sentence.sources}
        return Reply(
            decision=decided.decision,
            reason=decided.reason,
            text=text,
            sentences=sentences or (Sentence(text, ()),),
            sources=tuple(_source(hit, rank, rank in used) for rank, hit in enumerate(hits, start=1)),
            confidence=signals.confidence,
            intent=signals.intent,
            path=path,
            versions=replace(self._versions, index=considered.index[:12]),
            too_slow=signals.too_slow,
        )

    def _generated(self, considered: "Considered") -> tuple[Sentence, ...]:
        """The generator's sentences that stand in what was read; none where there is no generator, or it fails."""
        if self.generator is None or considered.signals.pinned:
            return ()
        words = self.generator.words(considered.signals.message, considered.hits)
        return ground(words, considered.hits, self.marker).sentences if words else ()

    def _own_words(self, decided: Decided, considered: "Considered") -> str:
        key, signals, hits = decided.phrase, considered.signals, considered.hits
        if key == "escalate":
            key = "escalate" if is_open(self.settings, considered.moment) else "escalate_closed"
            first = f"{self._phrase('missing', signals)} " if decided.reason == "missing_knowledge" else ""
            return first + self._phrase(key, signals)
        if key == "clarify":
            headings = list(dict.fromkeys(hit.passage.heading for hit in hits if hit.passage.heading))[:3]
            if not headings:
                return self._phrase("clarify_plain", signals)
            return "\n".join([self._phrase("clarify", signals), *(f"- {heading}" for heading in headings)])
        return self._phrase(key, signals)

    def _phrase(self, key: str, signals: Signals) -> str:
        return phrase(key, signals.message, self.settings.texts)


@dataclass(frozen=True)
class Considered:
    """What is known of a visitor's turn before anything is decided, and the answer that its knowledge gives."""

    signals: Signals
    hits: Sequence[Found]
    picked: Sequence[Picked]
    sentences: tuple[Sentence, ...]
    """The extractive answer."""
    features: Float[np.ndarray, " F"]
    """What the confidence was computed from."""
    moment: datetime
    index: str
    """Content hash of the knowledge that was read."""


def _source(hit: Found, rank: int, used: bool) -> Source:
    passage = hit.passage
    return Source(
        passage=passage.id,
        document=passage.document,
        title=passage.title,
        section=passage.section,
        start=passage.start,
        end=passage.end,
        link=passage.facts.link,
        text=passage.text,
        score=hit.score,
        rank=rank,
        used=used,
    )
