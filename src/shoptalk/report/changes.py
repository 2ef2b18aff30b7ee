"""What changed per class, and the texts that changed sides, each with its neighbours before and after."""

from collections.abc import Sequence

from shoptalk.report import wording
from shoptalk.report.album_panels import thumbnail
from shoptalk.report.charts import Number, bar, figure, line, make_axis, picture, write
from shoptalk.report.figures import Fact, fig, named, told
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, paragraphs, table
from shoptalk.report.nouns import nouns_of
from shoptalk.report.wording import signed

_MOST_CHANGED = 8
_OPEN_TEXTS = 3


def classes(facts: Fact) -> Html | None:
    """All classes at one glance, the largest changes, and the numbers of every class; None where no class was measured:
    of tasks without labels, and where nothing was trained.
    """
    every, asked = facts.per_class, nouns_of(facts).asked
    if not every:
        return None
    known = sorted((row for row in every if row.gain.number is not None), key=lambda row: -(row.gain.number or 0.0))
    rises = [row for row in known if (row.gain.number or 0.0) > 0][:_MOST_CHANGED]
    falls = [row for row in reversed(known) if (row.gain.number or 0.0) < 0][:_MOST_CHANGED]
    if not rises and not falls:
        return paragraphs("No class changed.")
    shown = [*rises, *reversed(falls)]
    largest = max(abs(row.gain.number or 0.0) for row in shown)
    some: list[list[Child]] = [
        [
            named(row.label),
            fig(wording.count, row.n),
            bar(row.gain.number or 0.0, largest),
            fig(signed, row.gain),
        ]
        for row in shown
    ]
    head: list[Child] = ["Class", asked.capitalize(), el("span", "loss | gain", class_="middle"), "Points"]
    return join(
        el(
            "p",
            "Of ",
            fig(wording.how_many, every),
            " classes ",
            fig(wording.gaining, every),
            " gained and ",
            fig(wording.losing, every),
            f" lost. Single classes have few {asked} and no interval of their own: look for a pattern, not at one row.",
        ),
        _skyline([row.gain.number or 0.0 for row in known]) if len(known) > 2 * _MOST_CHANGED else None,
        table("The largest gains and losses, in points", head, some, words={2}),
        disclosure(join("All ", fig(wording.how_many, every), " classes"), _all(every, asked)),
    )


def _all(every: Fact, asked: str) -> Html:
    rows = sorted(every, key=lambda row: row.label.value)
    return table(
        "Accuracy per class",
        ["Class", asked.capitalize(), "Base", "Adapted", "Gain"],
        [
            [
                named(row.label),
                fig(wording.count, row.n),
                fig(wording.percent, row.base),
                fig(wording.percent, row.adapted),
                fig(signed, row.gain),
            ]
            for row in rows
        ],
    )


def traffic(facts: Fact) -> Html | None:
    """The classes' listed among labels and in the traffic."""
    shares = facts.traffic
    if not shares:
        return None
    lines: list[list[Child]] = [
        [
            named(row.label),
            fig(wording.hundred, row.labels),
            fig(wording.hundred, row.traffic),
            join(fig(wording.hundred, row.interval[0]), " to ", fig(wording.hundred, row.interval[1])),
        ]
        for row in shares.classes
    ]
    listed = table("The share of each class", ["Class", "Of labels", "Of traffic, about", "Interval"], lines)
    return join(el("p", told(shares.sentence)), disclosure("All classes", listed))


def _skyline(gains: Sequence[float]) -> Html:
    """A bar for each class, the largest gain first: whether many gained a little or a few gained much."""

    def draw(width: Number, suffix: str) -> Html:
        height = 150
        y = make_axis(min(0.0, *gains), max(0.0, *gains), height - 14, 22, most=4)
        parts = [write(0, 12, "gain in points, a bar for each class", class_="soft")]
        for tick in y.ticks:
            parts.append(line(44, y(tick), width, y(tick), "zero" if tick == 0 else "grid"))
            parts.append(write(38, y(tick) + 4, signed(tick, y.digits), anchor="end", class_="tick"))
        room = (width - 48) / len(gains)
        for place, gain in enumerate(gains):
            top, bottom = sorted((y(gain), y(0)))
            parts.append(
                el(
                    "rect",
                    x=round(46 + place * room, 1),
                    y=round(top, 1),
                    width=round(max(room * 0.78, 0.6), 1),
                    height=round(bottom - top, 1),
                    class_="up" if gain > 0 else "down",
                )
            )
        description = "Bars up are gains, bars down losses; the table of all classes has the numbers."
        return picture(f"classes-{suffix}", "Gain of every class", description, width, height, *parts)

    return figure(draw)


# --- texts that changed sides -------------------------------------------------------------------------------------


def texts(facts: Fact) -> Html | None:
    """The labelled texts that one encoder gets right and the other wrong."""
    changed, many = facts.changed, nouns_of(facts).many
    if not changed:
        return None
    about = el(
        "p",
        fig(wording.count, changed.n_gained),
        f" labelled {many} are answered rightly more often by ",
        named(changed.entry),
        " than by the base, ",
        fig(wording.count, changed.n_lost),
        " less often, over ",
        fig(wording.count, changed.draws),
        " draws of labels",
        f". Each is shown with the three other labelled {many} that lie nearest to it: ",
        el("span", "✓", class_="yes"),
        " marks one of the same class, ",
        el("mark", "both"),
        " one that is near before and after.",
    )
    answered = note("Head of the base: ", told(changed.base_head), "; of the adapted model: ", told(changed.head), ".")
    return join(about, answered, _side("Gained", changed.gained, facts), _side("Lost", changed.lost, facts))


def _side(title: str, rows: Fact, facts: Fact) -> Html:
    if not rows:
        return join(el("h3", title), paragraphs("None."))
    cards = [_card(row, facts) for row in rows]
    rest = cards[_OPEN_TEXTS:]
    return join(
        el("h3", title),
        el("div", *cards[:_OPEN_TEXTS], class_="cards"),
        disclosure(f"More that {title.lower()}", el("div", *rest, class_="cards"), on_paper=False) if rest else None,
    )


def _card(row: Fact, facts: Fact) -> Html:
    label = row.label.value
    before = {near.text.value for near in row.before}
    shared = before & {near.text.value for near in row.after}
    return el(
        "article",
        thumbnail(facts, str(row.text.value)),
        el("blockquote", told(row.text), dir="auto"),
        el("p", "Its label: ", el("strong", named(row.label)), class_="label"),
        el(
            "div",
            _arm("Before", row.base, row.base_share, row.before, label, shared, facts),
            _arm("After", row.adapted, row.adapted_share, row.after, label, shared, facts),
            class_="arms",
        ),
    )


def _arm(title: str, said: Fact, share: Fact, near: Fact, label: object, shared: set[str], facts: Fact) -> Html:
    right = said.value == label
    answer = join(
        el("span", "✓ " if right else "✗ ", class_="yes" if right else "no"),
        named(said),
        " ",
        el("small", "right in ", fig(wording.whole_hundred, share), " of draws"),
    )
    return el(
        "div", el("h4", title), el("p", answer), el("ol", *(_neighbour(one, label, shared, facts) for one in near))
    )


def _neighbour(one: Fact, label: object, shared: set[str], facts: Fact) -> Html:
    same = one.label.value is not None and one.label.value == label
    about: list[Child] = [el("span", "✓ ", class_="yes") if same else None]
    about += [named(one.label), ", "] if one.label.value is not None else []
    about += ["cosine ", fig(wording.cosine, one.cosine)]
    both = join(" ", el("mark", "both")) if one.text.value in shared else None
    return el("li", thumbnail(facts, str(one.text.value)), told(one.text), both, el("small", *about))
