"""What requests and responses consist of, as `/openapi.json` describes them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from shoptalk.errors import InputError
from shoptalk.serve.access import KEY_NAME, ORIGIN, SITE_NAME, web_origin
from shoptalk.serve.outbox import EVENTS
from shoptalk.serve.rows import Holder
from shoptalk.serve.uploads import PICTURE_PATTERN


def _readable(text: str) -> str:
    """A text that any database can keep: no NUL, no half of a character pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("the text has a surrogate without its other half") from None
    text = text.replace("\x00", "")
    if not text.strip():
        raise ValueError("the text is empty")
    return text


def _without_nul(text: str) -> str:
    return _readable(text) if text.strip() else ""


def _origin(text: str) -> str:
    try:
        return web_origin(text)
    except InputError as error:
        raise ValueError(str(error)) from None


Words = Annotated[str, Field(min_length=1, max_length=200_000), AfterValidator(_readable)]
MaybeWords = Annotated[str, Field(max_length=200_000), AfterValidator(_without_nul)]
PictureData = Annotated[str, Field(max_length=20_000_000, pattern=PICTURE_PATTERN)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)]
Name = Annotated[str, Field(pattern=rf"^{KEY_NAME}$")]
Origin = Annotated[str, Field(max_length=200, json_schema_extra={"pattern": f"^{ORIGIN}$"}), AfterValidator(_origin)]


class Sent(BaseModel):
    """What a client sends; a field that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class AskedWithPicture(Sent):
    """A visitor's message: words, a picture, or both."""

    text: MaybeWords = ""
    picture: PictureData | None = None
    """An address that holds a picture's data, `data:image/jpeg;base64,...`; where the assistant knows pictures."""

    @model_validator(mode="after")
    def _says_something(self) -> "AskedWithPicture":
        if not self.text and self.picture is None:
            raise ValueError("the message has neither a text nor a picture")
        return self


class Given(BaseModel):
    """What the server gives."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ReplyRequest(AskedWithPicture):
    """A visitor's message."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "How much is it to take a bicycle?"}})
    conversation: Line | None = None
    """None begins a conversation."""
    visitor: Name | None = None
    """Your own name for the visitor, where a new conversation is to have it."""
    complete: bool | None = None
    """Whether the visitor's turn ends with this message. Unless true, a message to a conversation that is there waits
    two seconds for more."""
    stream: bool = False


class CitedSource(Given):
    """A passage that a reply rests on."""

    rank: int
    passage: str
    document: str
    title: str
    section: str
    start: int
    end: int
    link: str | None
    text: str
    score: float


class ReplyTrace(Given):
    """How a reply came about."""

    path: str = ""
    intent: str | None = None
    versions: dict[str, str] = {}
    seconds: dict[str, float] = {}


class ReplyResponse(Given):
    """What the assistant replied."""

    conversation: str
    message: str | None
    """The reply's id; none while a person has the conversation."""
    decision: Literal["answer", "clarify", "escalate", "decline"]
    reason: str
    text: str
    sources: list[CitedSource]
    confidence: float
    answers: list[str]
    """The ids of the visitor's messages that it answers."""
    trace: ReplyTrace


class ThreadMessage(Given):
    """One message of a conversation."""

    id: str
    number: int
    """Grows from message to message; `after` and `Last-Event-ID` refer to it."""
    role: Literal["visitor", "assistant", "agent"]
    text: str
    at: datetime
    author: str | None
    answers: list[str]
    decision: Literal["answer", "clarify", "escalate", "decline"] | None = None
    """Of a reply of the assistant; none where a person wrote, or it only gives notice."""
    sources: list[CitedSource] = []
    """The passages that a reply of the assistant rests on."""
    picture: str | None = None
    """The id of the picture that a visitor sent with it; `/v1/pictures/{id}` is its file."""


class ConversationResponse(Given):
    """A conversation."""

    id: str
    held_by: Holder
    agent: str | None
    created: datetime
    closed: bool
    messages: list[ThreadMessage]


class MessageTranslation(Given):
    """What a machine wrote for one message; nobody has checked it."""

    message: str
    text: str
    whole: bool
    """False where a sentence is longer than the model reads, so that its end is missing."""


class ThreadTranslation(Given):
    """A thread's messages in another language."""

    source: str
    """The language that the translator reads, as the column of its pairs is called."""
    target: str
    """The language that it writes."""
    left_out: int
    """Older messages that are not translated."""
    data: list[MessageTranslation]
    """Those that are, the oldest first."""


class MessageRequest(AskedWithPicture):
    """A visitor's message in a conversation; the reply comes with its events."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "How much is it to take a bicycle?"}})
    complete: bool | None = None
    person: bool = False
    """Whether this is the wish for a person: the conversation is then handed over instead of being answered."""
    language: Annotated[str, Field(max_length=200)] | None = None
    """In which a visitor who wants a person is told so, as `de` or an `Accept-Language`; else the message's own."""


class MessageAccepted(Given):
    """The message is stored and will be answered."""

    conversation: str
    message: str


FeedbackReason = Literal["incorrect", "inappropriate", "incomplete", "outdated", "other"]


class FeedbackRequest(Sent):
    """What a reader thinks of a reply."""

    model_config = ConfigDict(json_schema_extra={"example": {"thumbs": "down", "reason": "outdated"}})
    thumbs: Literal["up", "down"]
    reason: FeedbackReason | None = None
    correction: Annotated[str, Field(max_length=4000), AfterValidator(_readable)] | None = None


class HandoverRequest(Sent):
    """Why a person should have it."""

    note: Annotated[str, Field(max_length=4000), AfterValidator(_readable)] | None = None


class AssignRequest(Sent):
    """Who has it."""

    agent: Name | None = None
    """Otherwise the name of the key."""
    take_over: bool = False


class AgentMessage(Sent):
    """An agent's message."""

    text: Words
    agent: Name | None = None


class LeadRequest(Sent):
    """A visitor who wants to be written to."""

    name: Line
    email: Annotated[
        str, Field(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+\.[^@\s\x00]+$"), AfterValidator(_readable)
    ]
    consent: Literal[True]
    """Nothing is kept without it."""


class WebhookRequest(Sent):
    """Where events are sent to."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://example.com/hooks/shoptalk", "events": ["handover.requested"]}}
    )
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://[\x21-\x7e]+$")]
    events: Annotated[list[Literal[EVENTS]], Field(min_length=1, max_length=20)]  # type: ignore[valid-type]


class SiteRequest(Sent):
    """A site."""

    id: Annotated[str, Field(pattern=rf"^{SITE_NAME}$")]
    name: Line
    origins: Annotated[list[Origin], Field(max_length=50)] = []


class KeyRequest(Sent):
    """A key to be made."""

    name: Name
    scopes: Annotated[list[Literal["chat", "agent", "knowledge", "admin"]], Field(min_length=1, max_length=4)]


class TokenRequest(Sent):
    """What a chat on a website sends first: its site's public key, and what it was given last time."""

    site: Line
    resume: Annotated[str, Field(max_length=2000)] | None = None


class Listed(Given):
    """A list."""

    data: list[dict[str, Any]]
