"""The pages and forms of one asking, and who may see and send them.

What is on the page is private, and an answer changes what is shipped. So every address begins with a secret; `Host`
must be this server (or another name could be made to lead here); and a form must come from this server's own page
(`Origin`, `Sec-Fetch-Site`). Answers are taken one at a time, and only to the question that is asked now: what comes
from an older page, another window or a second click changes nothing.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from shoptalk.records import Turn
from shoptalk.report.question_json import NONES, AskedPage, Asks, NeighbourShown, QuestionShown, StandingShown
from shoptalk.report.question_page import message_page, question_page
from shoptalk.report.verdict_json import Choice
from shoptalk.report.wording import cut

_SHOWN = 2.0
"""Seconds in which a browser fetches the page that tells of the end."""
_LARGEST_FORM = 4096
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "frame-ancestors 'none'",  # the page's own policy stands in the page
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Under "no-referrer" browsers send forms with `Origin: null`, which says nothing.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_OLD = "Another window or an earlier click had answered that question. Nothing was changed; this is the question now."


@runtime_checkable
class PageQuestion(Protocol):
    """A question, as a session gives it."""

    @property
    def text(self) -> str:
        """The message."""

    @property
    def number(self) -> int:
        """Its number, from 1."""

    @property
    def options(self) -> Sequence[str]:
        """What it may be answered with, in an order that gives nothing away."""

    @property
    def context(self) -> Sequence[tuple[str, str]]:
        """The turns before it, oldest first: role and text."""

    @property
    def key(self) -> str:
        """What its answer belongs to."""


@runtime_checkable
class Answerable(Protocol):
    """One asking of two systems, in which each answer is on disk before `answer` returns."""

    @property
    def systems(self) -> tuple[str, str]:
        """The old one and the new one."""

    @property
    def asks(self) -> Asks:
        """What a person is asked."""

    @property
    def labels(self) -> Sequence[str]:
        """What may be answered; empty where replies or texts are compared."""

    @property
    def smallest_gain(self) -> float:
        """In points."""

    @property
    def standing(self) -> object:
        """What `StandingShown` says, as attributes."""

    @property
    def path(self) -> Sequence[object]:
        """The standing after each answer."""

    @property
    def choice(self) -> Choice:
        """What is settled, where other things than the answers may forbid to adopt."""

    @property
    def finished(self) -> bool:
        """Whether nothing more is asked."""

    @property
    def sentence(self) -> str:
        """How it stands, in words."""

    def question(self) -> PageQuestion | None:
        """The question that is asked now; None where nothing more is asked."""

    def answer(self, key: str, label: str | None, given: str = "none") -> None:
        """Take an answer; None is none of the options, and then `given` says which of `NONES` it is."""

    def skip(self, key: str) -> None:
        """Leave a question for later."""

    def undo(self) -> bool:
        """Take the last answer back; whether there was one."""

    def neighbours(self, key: str) -> Sequence[tuple[str, str | None]]:
        """Messages near the question's, with their labels."""


class Desk:
    """The pages and forms of one asking. Whatever touches the session holds the lock."""

    def __init__(self, session: Answerable, *, run: str, place: str, linger: float, again: str = "") -> None:
        self.session, self.run, self.place, self.linger = session, run, place, linger
        self.again = again or run
        self.secret, self.once = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.turn = 0
        self.failure: Exception | None = None
        self._last: tuple[str | None, str] | None = None
        self._did = ""
        """What the last form did, in words."""
        self._stale = False
        """Whether a form of an earlier turn has come that nobody was told of yet."""
        self._lock = threading.Lock()
        self._finished_at: float | None = None
        self._closed_at: float | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{self.place}/{self.secret}/"

    @property
    def address_for_once(self) -> str:
        """Leads there once: other users of this machine can see what a browser is started with."""
        return f"http://{self.place}/once/{self.once}"

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/once/{once}", self._enter, methods=["GET"]),
                Route("/{secret}/", self._page, methods=["GET"]),
                Route("/{secret}/turn", self._turn, methods=["GET"]),
                Route("/{secret}/{verb}", self._form, methods=["POST"]),
                Route("/{rest:path}", self._elsewhere, methods=["GET", "POST"]),
            ]
        )

    def ended(self) -> bool:
        """Whether the server has nothing left to do."""
        now = time.monotonic()
        if self._closed_at is not None:
            return now - self._closed_at > _SHOWN
        return self._finished_at is not None and now - self._finished_at > self.linger

    # --- requests -------------------------------------------------------------------------------------------------

    async def _enter(self, request: Request) -> Response:
        if self._refused(request, secret=None) or not _same(request.path_params["once"], self.once):
            return _message(404, "Nothing is here", "This address led to the asking once. The terminal has the other.")
        self.once = secrets.token_urlsafe(24)
        return RedirectResponse(self.address, 303, headers=_HEADERS)

    async def _page(self, request: Request) -> Response:
        refusal = self._refused(request, secret=request.path_params["secret"])
        if refusal is not None:
            return refusal
        asks = request.query_params
        return await run_in_threadpool(self._shown, near=asks.get("near") == "1", search=asks.get("q", "")[:200])

    async def _turn(self, request: Request) -> Response:
        refusal = self._refused(request, secret=request.path_params["secret"])
        if refusal is not None:
            return refusal
        if self._closed_at is not None:
            return Response(status_code=410, headers=_HEADERS)
        return PlainTextResponse(str(self.turn), headers=_HEADERS)

    async def _form(self, request: Request) -> Response:
        refusal = self._refused(request, secret=request.path_params["secret"])
        if refusal is not None:
            return refusal
        if not self._from_own_page(request):
            return _message(403, "This form is refused", "It comes from another site. Answer on the page itself.")
        fields = await _fields(request)
        if fields is None:
            return _message(400, "This form is refused", "It cannot be read. Go back and answer again.")
        return await run_in_threadpool(self._taken, request.path_params["verb"], fields)

    async def _elsewhere(self, request: Request) -> Response:
        return self._refused(request, secret="") or _nothing_here()

    def _refused(self, request: Request, *, secret: str | None) -> Response | None:
        """Why a request is not answered; None where it is."""
        port = self.place.rpartition(":")[2]
        if request.headers.get("host") not in (self.place, f"localhost:{port}"):
            return _message(421, "Nothing is here", "Open the address that the terminal shows.")
        if secret is not None and not _same(secret, self.secret):
            return _nothing_here()
        return None

    def _from_own_page(self, request: Request) -> bool:
        """Browsers say which page a form comes from."""
        origin = request.headers.get("origin")
        here = origin is None or origin == f"http://{request.headers.get('host')}"
        return here and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"

    # --- the session ----------------------------------------------------------------------------------------------

    def _shown(self, *, near: bool, search: str) -> Response:
        """The page as things stand."""
        with self._lock:
            if self._closed_at is not None:
                return self._over()
            try:
                page = self._as_it_stands(near=near, search=search)
            except Exception as error:
                return self._failed(error)
        return HTMLResponse(question_page(page), headers=_HEADERS)

    def _as_it_stands(self, *, near: bool, search: str) -> AskedPage:
        question, standing = self.session.question(), _standing(self.session.standing)
        self._look_whether_it_ends()
        notice, self._stale = _OLD if self._stale else self._did, False
        return AskedPage(
            run=self.run,
            systems=self.session.systems,
            smallest_gain=self.session.smallest_gain,
            question=None if question is None else _question(question),
            standing=standing,
            choice=self.session.choice,
            path=tuple(map(_standing, self.session.path)),
            sentence=self.session.sentence,
            asks=self.session.asks,
            labels=tuple(self.session.labels),
            turn=self.turn,
            notice=notice or None,
            neighbours=None if question is None or not near else self._near(question.key),
            search=search,
            undo=self.turn > 0 or standing.asked > 0,
        )

    def _look_whether_it_ends(self) -> None:
        """Nothing left to ask: from now on the command ends after a while, whether a browser comes again or not."""
        if not self.session.finished:
            self._finished_at = None
        elif self._finished_at is None:
            self._finished_at = time.monotonic()

    def _over(self) -> Response:
        if self.failure is not None:
            return self._failed(self.failure)
        words = f"Every answer is kept. You may close this window. `shoptalk ask {self.again}` goes on where it was."
        return _message(200, "The asking has ended", words)

    def _failed(self, error: Exception) -> Response:
        """The command ends with what went wrong; the page says it too."""
        if self.failure is None:
            self.failure, self._closed_at = error, time.monotonic()
        return _message(500, "The asking had to end", f"{error} Every answer before that is kept.")

    def _near(self, key: str) -> tuple[NeighbourShown, ...]:
        return tuple(NeighbourShown(text=text, label=label) for text, label in self.session.neighbours(key))

    def _taken(self, verb: str, fields: dict[str, str]) -> Response:
        """What a form asks for, where it belongs to the present turn; then the page again."""
        choice = fields.get("choice", "")
        with self._lock:
            if self._closed_at is not None:
                return self._over()
            if fields.get("turn") != str(self.turn):
                # The second half of a double click needs no words.
                self._stale = (fields.get("turn"), choice) != self._last
                return self._back()
            try:
                words = self._done(verb, choice)
                self._look_whether_it_ends()
            except Exception as error:
                return self._failed(error)
            if words is None:
                return _message(
                    400, "This form is refused", "It does not belong to this question. Go back and answer again."
                )
            self._last, self._did = (str(self.turn), choice), words
            self.turn += 1
        return self._back()

    def _done(self, verb: str, choice: str) -> str | None:
        """Do it, and say so; None where it cannot be meant."""
        if verb == "close":
            self._closed_at = time.monotonic()
            return ""
        if verb == "undo":
            return "The last answer is taken back." if self.session.undo() else "There is nothing to take back."
        question = self.session.question()
        if question is None:
            return None
        if verb == "skip":
            self.session.skip(question.key)
            return "Skipped: it is asked again after all others."
        if verb != "answer":
            return None
        none = next((none for none in NONES[self.session.asks] if none.choice == choice), None)
        if none is not None:
            self.session.answer(question.key, None, none.choice)
            return f"Kept: {none.kept}."
        label = self._label(question, choice)
        if label is None:
            return None
        self.session.answer(question.key, label)
        return f"Kept: {cut(label, 80)}"

    def _label(self, question: PageQuestion, choice: str) -> str | None:
        """The label that a button stands for: "o2" is the third option, "l17" the label at 17."""
        among = {"o": question.options, "l": self.session.labels}.get(choice[:1], ())
        place = int(choice[1:]) if choice[1:].isascii() and choice[1:].isdigit() and len(choice) < 10 else len(among)
        return among[place] if place < len(among) else None

    def _back(self) -> Response:
        return RedirectResponse("./", 303, headers=_HEADERS)


def _same(given: str, secret: str) -> bool:
    """Takes as long whatever was given."""
    return secrets.compare_digest(given.encode(), secret.encode())


def _question(question: PageQuestion) -> QuestionShown:
    return QuestionShown(
        number=question.number,
        text=question.text,
        context=tuple(Turn(role=role, text=text) for role, text in question.context),
        options=tuple(question.options),
    )


def _standing(standing: object) -> StandingShown:
    return StandingShown.model_validate(standing, from_attributes=True)


def _message(status: int, heading: str, words: str) -> Response:
    return HTMLResponse(message_page(heading, words), status, headers=_HEADERS)


def _nothing_here() -> Response:
    return _message(
        404, "Nothing is here", "This address is of an asking that has ended. The terminal has the one of now."
    )


async def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a form that a browser sent the usual way; None where it is none, or too large."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            return None
    with contextlib.suppress(ValueError):
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=8, errors="strict"))
    return None
