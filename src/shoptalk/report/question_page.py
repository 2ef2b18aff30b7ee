"""The page on which a person answers, one question at a time: by forms, and by keys where scripts run.

Nothing on it tells which system gave which answer: the order of the options is that of the record.
"""

import unicodedata
from collections.abc import Mapping, Sequence

from shoptalk.report.asked_words import many
from shoptalk.report.figures import breaking
from shoptalk.report.frame import document
from shoptalk.report.markup import Child, Html, definitions, disclosure, el, join
from shoptalk.report.narrowing import narrowing
from shoptalk.report.question_json import NONES, AskedPage, Asks, NeighbourShown, QuestionShown
from shoptalk.report.wording import cut, sentence

KEYS = 9
"""Options that have a key."""
_LONG = 220
"""Letters from which on a message is written smaller."""
_HUGE = 900
"""Letters from which on a message scrolls in a frame of its own."""
_ASKED: Mapping[Asks, str] = {
    "labels": "Which label fits this message?",
    "replies": "Which of these two replies fits?",
    "texts": "Which of these two texts is better?",
}
_LAYOUT: Mapping[Asks, str] = {"labels": "options", "replies": "options replies", "texts": "options replies sides"}
_BLIND = (
    "Which of the two gains is shown at the end: a picture that moves with your answers would tell which of them wrote "
    "what."
)
_READ = "What both had to read"
_NOTHING = "(nothing was written)"
_SIGNS = {"adopt": "✓", "keep_base": "=", "inconclusive": "?"}
_STOPPED = (
    "Shoptalk no longer asks: the command has ended, and what was answered is kept. To go on, run `shoptalk ask` again "
    "and open the address that it prints."
)
_ALLOWED = "As many as were allowed are answered; `--most` allows more."
_OVER = "The command has ended, and every answer is kept. You may close this window."


def question_page(page: AskedPage) -> str:
    """The question, or what was settled, as one HTML page. Everything in `page` is escaped."""
    asks = page.question is not None
    name = f"Question {page.question.number}" if page.question else _headline(page)
    skip = el("a", "Skip to the answers", href="#answers", class_="skip") if asks else None
    stopped = el("p", *_coded(_STOPPED if asks else _OVER), id="stopped", role="alert", hidden="", class_="banner")
    soon = el("span", f" · {_forecast(page)}", class_="soon") if asks else None
    above = el("div", el("p", "Shoptalk asks about ", el("bdi", page.run or "a run"), soon), class_="soft")
    main = [_asking(page, page.question)] if page.question is not None else [_settled(page)]
    body = el("main", above, _notice(page), *main, data_turn=page.turn)
    aside = el("aside", *_standing(page), aria_labelledby="standing-title")
    return document(
        el("title", f"{name} · {_forecast(page)}" if asks else name),
        stopped,
        skip,
        body,
        aside,
        script="question.js",
        styles=("report.css", "question.css"),
        answers=True,
        class_="asking of-texts" if page.asks == "texts" else "asking",
    )


def message_page(heading: str, words: str) -> str:
    """A page that says one thing: that an address is out of date, or that the asking has ended."""
    body = el("main", el("h1", heading), el("p", *_coded(words)))
    return document(el("title", heading), body, script=None, styles=("report.css", "question.css"), class_="asking")


def matching(labels: Sequence[str], search: str) -> list[tuple[int, str]]:
    """The labels that hold every word of `search`, however written, with their places."""
    wanted = plain_letters(search).split()
    return [(i, label) for i, label in enumerate(labels) if all(word in plain_letters(label) for word in wanted)]


def plain_letters(text: str) -> str:
    """A text without case, accents and the marks between its words, to search in."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(bare.casefold().replace("_", " ").replace("-", " ").split())


# --- the question -------------------------------------------------------------------------------------------------


def _asking(page: AskedPage, question: QuestionShown) -> Html:
    heading = el("h1", el("span", f"Question {question.number}. ", class_="soft"), _ASKED[page.asks], id="asked")
    return join(
        heading,
        _message(question, page.asks, notice="notice" if page.notice else None),
        el(
            "form",
            el("input", type="hidden", name="turn", value=page.turn),
            _options(question, page.asks),
            _others(page),
            id="answers",
            method="post",
            action="answer",
            aria_labelledby="asked",
            tabindex="-1",
        ),
        _search(page, question) if page.asks == "labels" else None,
        _near(page.neighbours) if page.neighbours is not None else None,
        _about_keys(page.asks),
        el("p", el("button", "Stop for now", form="answers", formaction="close"), class_="stop"),
    )


def _message(question: QuestionShown, asks: Asks, *, notice: str | None) -> Html:
    """The message; where replies are compared the conversation before them, and where texts are both.

    `notice` is what describes it: who listens to the page begins here, and hears what became of the last answer too.
    """
    turns = [
        el("li", el("span", turn.role, class_="role"), el("div", turn.text, dir="auto", class_="said"))
        for turn in question.context
    ]
    told = _READ if asks == "texts" else "The conversation so far"
    scrolls = "0" if asks == "texts" else None
    context = el("ol", *turns, class_="context", aria_label=told, tabindex=scrolls) if turns else None
    if turns and asks == "replies":
        return el("div", context, id="message", tabindex="-1", aria_describedby=notice)
    size = "huge" if len(question.text) > _HUGE else "long" if len(question.text) > _LONG else None
    kind = " ".join(filter(None, ("message", size)))
    text = el(
        "blockquote",
        question.text,
        dir="auto",
        class_=kind,
        id="message",
        tabindex="0" if size == "huge" else "-1",
        aria_describedby=notice,
    )
    return join(context, text)


def _options(question: QuestionShown, asks: Asks) -> Html:
    buttons = []
    for place, option in enumerate(question.options):
        key = str(place + 1) if place < KEYS else None
        buttons.append(el("li", _button(f"o{place}", option if option.strip() else _NOTHING, key, kind="option")))
    return el("ol", *buttons, class_=_LAYOUT[asks])


def _others(page: AskedPage) -> Html:
    nones = [_button(none.choice, none.words, none.key) for none in NONES[page.asks]]
    near = (
        el(
            "a",
            _kbd("n"),
            "Similar messages",
            href="?near=1#near",
            data_key="n",
            aria_keyshortcuts="n",
            class_="button",
        )
        if page.neighbours is None and page.asks == "labels"
        else None
    )
    undo = _button("undo", "Undo", "u", action="undo") if page.undo else None
    return el("p", *nones, _button("skip", "Skip", "s", action="skip"), undo, near, class_="others")


def _button(choice: str, words: str, key: str | None, *, kind: str | None = None, action: str | None = None) -> Html:
    return el(
        "button",
        _kbd(key) if key is not None else None,
        _words(words),
        name="choice",
        value=choice,
        formaction=action,
        class_=kind,
        data_key=key,
        aria_keyshortcuts=key,
    )


def _words(label: str) -> Html:
    """A label, which keeps its own direction and may break after its marks: card_payment_fee_charged."""
    return breaking(el("bdi", label))


def _kbd(key: str) -> Html:
    return el("kbd", key, aria_hidden="true")


def _search(page: AskedPage, question: QuestionShown) -> Html | None:
    """All labels, and a field to search them; nothing where the options are all of them."""
    if set(page.labels) <= set(question.options):
        return None
    matches = matching(page.labels, page.search)
    field = el(
        "form",
        el("label", "Another label", for_="search"),
        el(
            "input",
            type="search",
            id="search",
            name="q",
            value=page.search,
            autocomplete="off",
            spellcheck="false",
            dir="auto",
            aria_keyshortcuts="/",
            aria_describedby="matches",
        ),
        el("button", "Search"),
        method="get",
        action="#labels",
        role="search",
        class_="search",
    )
    summary = f"{len(matches):,} of {len(page.labels):,} labels" if page.search else f"All {len(page.labels):,} labels"
    items = [
        el("li", el("button", _words(label), name="choice", value=f"l{i}", form="answers")) for i, label in matches
    ]
    opened = "" if page.search else None
    listed = el("ul", *items, class_="labels") if items else el("p", "No label has these words.")
    every = el("details", el("summary", summary, id="matches", aria_live="polite"), listed, open=opened, id="labels")
    return el("section", field, every, aria_label="All labels")


def _near(neighbours: Sequence[NeighbourShown]) -> Html:
    items = [
        el(
            "li",
            el("div", one.text, dir="auto"),
            el("small", "labelled ", el("b", _words(one.label))) if one.label is not None else el("small", "no label"),
        )
        for one in neighbours
    ]
    listed = el("ul", *items) if items else el("p", "There are none.")
    return el(
        "section",
        el("h2", "Similar messages", id="near", tabindex="-1"),
        listed,
        class_="near",
        aria_labelledby="near",
    )


def _about_keys(asks: Asks) -> Html:
    """The keys, and a way to turn them off: for people who speak to their browser, or whose hand is not steady."""
    rows: list[tuple[str, str]] = [
        ("1–9", "the options"),
        *((none.key, none.words[0].lower() + none.words[1:]) for none in NONES[asks]),
        ("s", "skip: it is asked again after all others"),
        ("u", "undo the last answer"),
    ]
    if asks == "labels":
        rows += [("n", "similar messages"), ("/", "search all labels; ↓ goes to the first that was found")]
    keys = definitions([(el("kbd", key), use) for key, use in rows], class_="keys")
    switch = el("label", el("input", type="checkbox", id="keys", checked=""), " Single keys answer")
    return el("div", disclosure("Keys", el("p", switch), keys, on_paper=False), id="about-keys", hidden="")


# --- what has become of it ----------------------------------------------------------------------------------------


def _notice(page: AskedPage) -> Html | None:
    return el("p", page.notice, role="status", id="notice", dir="auto") if page.notice else None


def _settled(page: AskedPage) -> Html:
    now = page.standing
    sign = el("span", _SIGNS[page.choice], class_="sign", aria_hidden="true")
    undo = _button("undo", "Undo the last answer", "u", action="undo") if page.undo else None
    close = el(
        "button", el("span", "Done: end the asking"), name="choice", value="close", formaction="close", class_="option"
    )
    return join(
        el("h1", sign, _headline(page), class_=page.choice, id="message", tabindex="-1"),
        el("p", sentence(page.sentence), class_="lead"),
        None if now.settled or now.exhausted else el("p", *_coded(_ALLOWED)),
        el(
            "form",
            el("input", type="hidden", name="turn", value=page.turn),
            el("p", close, undo, class_="others"),
            method="post",
            action="close",
        ),
        el("p", "The command ends by itself in a minute; every answer is kept.", class_="note"),
    )


def _headline(page: AskedPage) -> str:
    now, (old, new) = page.standing, page.systems
    if page.choice == "adopt":
        return f"Settled by {many(now.asked, 'answer')}: take {new}"
    if page.choice == "keep_base":
        return f"Settled by {many(now.asked, 'answer')}: keep {old}"
    return f"Open after {many(now.asked, 'answer')}"


def _forecast(page: AskedPage) -> str:
    """Without its full stop: "about 12 more would settle it". Of texts only how many are answered: a number that falls
    after one text and rises after the other would tell which system wrote what.
    """
    now = page.standing
    if page.asks == "texts":
        return f"{now.asked:,} of {now.disagree:,} answered"
    if now.settled:
        return "Settled"
    if now.more is None:
        return "All were answered" if now.exhausted else "These questions may be too few to settle it"
    return f"About {now.more:,} more would settle it"


def _standing(page: AskedPage) -> list[Child]:
    """How it stands: the forecast, the picture, the sentence and the counts."""
    now, (old, new) = page.standing, page.systems
    if page.asks == "texts" and page.question is not None:
        return [
            el("h2", "How it stands", id="standing-title"),
            el("p", f"{_forecast(page)}.", class_="lead"),
            el("p", _BLIND),
        ]
    counts: list[tuple[Child, Child]] = [
        ("Answered", f"{now.asked:,} of {now.disagree:,}"),
        (_only(new, page.asks), f"{now.right:,}"),
        (_only(old, page.asks), f"{now.wrong:,}"),
        ("Neither" if page.asks == "labels" else "Neither, or both", f"{now.neither:,}"),
    ]
    return [
        el("h2", "How it stands", id="standing-title"),
        el("p", f"{_forecast(page)}.", class_="lead") if page.question is not None else None,
        narrowing(page.path, page.smallest_gain, "prompts" if page.asks == "texts" else "messages"),
        el("p", sentence(page.sentence)) if page.question is not None else None,
        definitions(counts, class_="counts"),
    ]


def _only(system: str, asks: Asks) -> Html:
    name = el("bdi", cut(system))
    return join(name, " better") if asks == "texts" else join("Only ", name, " right")


def _coded(text: str) -> list[Child]:
    """A sentence whose parts between backticks are code."""
    return [el("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))]
