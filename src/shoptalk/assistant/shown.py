"""A picture that a visitor shows: what it adds to the turn that is read, and to the reply that is given.

    turns = with_caption(turns, seen)          # "A folding bicycle. How much is it?" is what is looked up
    reply = with_picture(reply, seen, ...)     # "This looks like: a folding bicycle. It is 4.50 a trip."

A picture that is not recognised is said to be so, and nothing is made of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shoptalk.assistant.album import Recognised
from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.phrases import phrase
from shoptalk.assistant.reply import Reply, Sentence, Source, Versions
from shoptalk.records import Turn

NOTHING_MORE = ("missing_knowledge", "out_of_scope", "ambiguous", "pending_clarification", "nothing_to_read")
"""Reasons for which a picture that is recognised, and shown without a word, is answered by its caption alone."""


def with_caption(turns: Sequence[Turn], seen: Recognised | None) -> tuple[Turn, ...]:
    """The turns, where the picture's caption stands before what the visitor wrote with it."""
    if seen is None or not seen.caption or not turns:
        return tuple(turns)
    last = turns[-1]
    return (*turns[:-1], Turn(role=last.role, text=f"{_ended(seen.caption)} {last.text}".strip()))


def unknown_picture(message: str, texts: Mapping[str, str], versions: Versions) -> Reply:
    """The reply to a picture alone that is not recognised."""
    words = phrase("unknown_picture", message, texts)
    return Reply("clarify", "unknown_picture", words, (Sentence(words, ()),), (), 0.0, None, "canned", versions)


def with_picture(reply: Reply, seen: Recognised | None, message: str, texts: Mapping[str, str]) -> Reply:
    """The reply, after a sentence that says what the picture shows and cites its document, or that it is not
    recognised. Where the picture is known and nothing else is asked or found, that sentence is the answer; where it is
    not, and what was written with it says nothing by itself ("What is this?"), the reply asks what it shows.
    """
    names_it = seen is not None and not message.strip() and reply.reason in NOTHING_MORE
    unknown = Sentence(phrase("unknown_picture", message, texts), ())
    if seen is None and reply.reason == "missing_knowledge" and COMMON_STEMS.issuperset(stems(message)):
        asked = replace(reply, decision="clarify", reason="unknown_picture", text=unknown.text, sentences=(unknown,))
        return replace(asked, path="canned", sources=tuple(replace(source, used=False) for source in reply.sources))
    if reply.decision in ("escalate", "decline") and not names_it:
        return reply
    if seen is None:
        return replace(reply, text=f"{unknown.text} {reply.text}", sentences=(unknown, *reply.sentences))
    named = Sentence(f"{phrase('picture', message, texts)} {_ended(seen.caption or seen.document.id)}", (1,))
    picture = _source(seen)
    others = tuple(replace(source, rank=source.rank + 1) for source in reply.sources)
    if names_it:
        return replace(
            reply,
            decision="answer",
            reason="recognised",
            text=named.text,
            sentences=(named,),
            sources=(picture, *(replace(source, used=False) for source in others)),
            confidence=seen.confidence,
            path="extractive",
        )
    sentences = tuple(
        replace(sentence, sources=tuple(rank + 1 for rank in sentence.sources)) for sentence in reply.sentences
    )
    return replace(reply, text=f"{named.text} {reply.text}", sentences=(named, *sentences), sources=(picture, *others))


def _source(seen: Recognised) -> Source:
    document = seen.document
    text = "\n".join(turn.text for turn in document.turns if turn.text.strip())
    link = document.metadata.get("link") or document.metadata.get("url")
    return Source(
        passage=f"{document.id}#picture",
        document=document.id,
        title=seen.caption or document.id,
        section="",
        start=0,
        end=len(text),
        link=link if isinstance(link, str) else None,
        text=text,
        score=seen.confidence,
        rank=1,
        used=True,
    )


def _ended(sentence: str) -> str:
    """With a full stop, where it ends with no sign."""
    return sentence if sentence[-1:] in ".!?…。؟" else f"{sentence}."
