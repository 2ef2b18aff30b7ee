"""What OpenAI's clients send. What they may send and nothing here needs, tools among it, is read past politely."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shoptalk.records import Turn
from shoptalk.serve.refusals import Refused
from shoptalk.serve.shapes import Words


class Lenient(BaseModel):
    """What a client of another make sends: fields that nothing here reads are no error."""

    model_config = ConfigDict(extra="ignore")


class PictureAddress(Lenient):
    """Where a picture is; only addresses that hold its data are read."""

    url: Annotated[str, Field(max_length=20_000_000)]


class TextPart(Lenient):
    """A part of a message: texts are read, and of the last messages a picture."""

    type: str
    text: str | None = None
    image_url: PictureAddress | str | None = None


class ChatMessage(Lenient):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None


class StreamOptions(Lenient):
    """How a stream is to be."""

    include_usage: bool = False


class ChatRequest(Lenient):
    """`/v1/chat/completions`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"model": "shoptalk", "messages": [{"role": "user", "content": "How much is a bicycle?"}]}
        }
    )
    model: Annotated[str, Field(max_length=200)] = "shoptalk"
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=500)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=80, pattern=r"^[\w.@-]+$")] | None = None


class InputItem(Lenient):
    """One item of a response's input."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[TextPart] | None = None


class ResponseRequest(Lenient):
    """`/v1/responses`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "shoptalk", "input": "How much is it to take a bicycle?"}}
    )
    model: Annotated[str, Field(max_length=200)] = "shoptalk"
    input: Words | Annotated[list[InputItem], Field(min_length=1, max_length=500)]
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=200)] | None = None
    stream: bool | None = False
    metadata: dict[str, str] | None = None
    user: Annotated[str, Field(max_length=80, pattern=r"^[\w.@-]+$")] | None = None


class EmbeddingRequest(Lenient):
    """`/v1/embeddings`."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "shoptalk", "input": ["a bicycle", "a dog"]}})
    model: Annotated[str, Field(max_length=200)] = "shoptalk"
    input: Words | Annotated[list[Words], Field(min_length=1, max_length=256)]
    encoding_format: Literal["float", "base64"] = "float"


def text_of(content: str | list[TextPart] | None) -> str:
    """The text of a message in parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if part.text)


def picture_in(messages: Sequence[tuple[str, str | list[TextPart] | None]]) -> str | None:
    """The address of the last picture among the user's last messages, which are to be answered (`turns_of`)."""
    for role, content in reversed(messages):
        if role == "assistant" and _clean(text_of(content)):
            return None
        parts = content if role == "user" and isinstance(content, list) else []
        pictures = [part.image_url for part in parts if part.image_url is not None]
        if pictures:
            last = pictures[-1]
            return last if isinstance(last, str) else last.url
    return None


def turns_of(messages: list[tuple[str, str]], *, show: bool = False) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """What was said before, and the user's last messages, which are to be answered. What a system or tool says is left
    aside: the assistant's instructions are its owner's settings. Where the user's last messages `show` a picture, the
    last of them may have no text.

    Raises:
        Refused: the last message is not the user's.
    """
    spoken = [(role, clean) for role, text in messages if role in ("user", "assistant") and (clean := _clean(text))]
    last = len(spoken)
    while last > 0 and spoken[last - 1][0] == "user":
        last -= 1
    asked = [text for _, text in spoken[last:]]
    if show and not _clean(next((text for role, text in reversed(messages) if role == "user"), "")):
        asked.append("")
    if not asked:
        raise Refused(400, "no_question", "The last message must be the user's, with a text: it is what is answered.")
    return tuple(Turn(role=role, text=text) for role, text in spoken[:last]), tuple(asked)


def _clean(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    return text if text.strip() else ""


def usage_of(read: int, written: int) -> dict[str, Any]:
    """Words and signs, in the place of tokens."""
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
