"""The guides read as programs: their commands, the files they say are left, and the names that their prose uses.

A page is Markdown. Its commands are the lines of its code blocks (fenced, or indented by four spaces) that begin with
`shoptalk`, a backslash joining lines; those behind `torchrun` are read and not run. Everything else is read from its
inline code: commands and options, `--set` keys, paths.
"""

import json
import random
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from PIL import Image

from shoptalk.cli import app
from shoptalk.nn.tiny import WORDS
from shoptalk.objectives import OBJECTIVES

BUDGET, STEPS, BATCH = "2ktok", "3", "4"
TOPICS = ("card", "delivery")
LABELS = 12
"""Of each topic."""


def options() -> dict[str, set[str]]:
    """The options of every command, by its name; `""` has those of all."""
    group: Any = typer.main.get_command(app.app)
    found = {
        name: {
            option
            for part in (command, *getattr(command, "commands", {}).values())
            for parameter in part.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, command in group.commands.items()
    }
    return {name: own | {"--help"} for name, own in found.items()} | {"": {"--help"}.union(*found.values())}


@dataclass(frozen=True)
class Command:
    """A `shoptalk` command of a page: the words after that name, and the line it begins on."""

    line: int
    words: tuple[str, ...]
    runs: bool
    """False behind `torchrun`: processes of their own, with names of machines that are not here."""

    @property
    def out(self) -> str | None:
        """What `--out` names."""
        places = [place for place, word in enumerate(self.words[:-1]) if word == "--out"]
        return self.words[places[0] + 1].removeprefix("./") if places else None

    def small(self) -> tuple[str, ...]:
        """The words as they are run. This is the one place where they differ from the page's:

        - the value of `--budget` is `BUDGET`, that of `--steps` is `STEPS`;
        - a command with settings gets the same budget where it names none, `neighbours` as its only candidate (`clm` of
          language models), 5 draws of 2 labels per class and batches of `BATCH` texts. These come first: what the page
          itself sets still holds;
        - language models have short rows, and where general text is replayed, the candidates are those that come of it.
        """
        words = list(self.words)
        for option, value in (("--budget", BUDGET), ("--steps", STEPS)):
            for place in [place for place, word in enumerate(words[:-1]) if word == option]:
                words[place + 1] = value
        if "--set" not in options().get(words[0], ()):  # what there is not will say so when it is run
            return tuple(words)
        batches = [
            f"objectives.{name}.batch={BATCH}"
            for name, spec in OBJECTIVES.items()
            if not spec.supervised or spec.takes == {"seq2seq"}
        ]
        few = ["objectives.clm.context=16"] if "--replay" in words else []
        if "--replay" not in words:
            candidate = "clm" if "language_model" in words else "neighbours"
            few = [f'candidates=["{candidate}", "none"]', "objectives.clm.context=32"]
        settings = [f"budget={BUDGET}", *few, "draws=5", "shots=2", *batches]
        return (words[0], *(word for setting in settings for word in ("--set", setting)), *words[1:])


@dataclass(frozen=True)
class Fence:
    """A fenced block: the word after its opening marks, its text, and the paragraph before it."""

    language: str
    text: str
    before: str


class Page:
    """A Markdown page, taken apart."""

    def __init__(self, text: str) -> None:
        self.code: list[tuple[int, str]] = []
        """The lines of code blocks with their numbers, joined where they end with a backslash."""
        self.fences: list[Fence] = []
        self.paragraphs: list[str] = []
        self._read(text.splitlines())

    def commands(self) -> list[Command]:
        """In the page's order."""
        found = []
        for number, line in self.code:
            match = re.match(r"\s*((?:\w+=\S+ +)*shoptalk|.*-m shoptalk) +(\w.*)", line)
            if match:
                words = shlex.split(match[2], comments=True)
                found.append(Command(number, tuple(words), runs="-m shoptalk" not in match[1]))
        return found

    def spans(self) -> list[str]:
        """Inline code, on one line each."""
        return [" ".join(span.split()) for part in self.paragraphs for span in re.findall(r"`([^`]+)`", part)]

    def links(self) -> list[str]:
        """What is linked, without addresses of the web."""
        found = [target for part in self.paragraphs for target in re.findall(r"\]\(([^)\s]+)\)", part)]
        return [target for target in found if "://" not in target]

    def left(self) -> list[str]:
        """What inline code says is there when the commands have run: paths inside what some `--out` names.

        `RUN/...`, `OUT/...` and `DIR/...` stand for any of them. Braces, stars and capitals are placeholders.
        """
        outs = sorted({command.out for command in self.commands() if command.out and command.runs})
        found = []
        for span in self.spans():
            path = span.removeprefix("./").rstrip("/")
            general = re.fullmatch(r"(?:RUN|OUT|DIR)/([\w./-]+)", path)
            if general:
                found.append(" or ".join(f"{out}/{general[1]}" for out in outs) or path)
            elif any(path == out or path.startswith(f"{out}/") for out in outs) and " " not in path:
                found.append(path)
        return list(dict.fromkeys(found))

    def _read(self, lines: Sequence[str]) -> None:
        place, paragraph = 0, list[str]()

        def close() -> None:
            if paragraph:
                self.paragraphs.append("\n".join(paragraph))
                paragraph.clear()

        while place < len(lines):
            line = lines[place]
            fence = re.match(r"```(\w*)", line)
            if fence:
                close()
                end = next(i for i in range(place + 1, len(lines)) if lines[i].startswith("```"))
                inside = lines[place + 1 : end]
                before = self.paragraphs[-1] if self.paragraphs else ""
                self.fences.append(Fence(fence[1], "\n".join(inside) + "\n", before))
                self._code(inside, place + 2)
                place = end
            elif line.startswith("    ") and not paragraph:
                end = place
                while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                    end += 1
                self._code(lines[place:end], place + 1)
                place = end - 1
            elif line.strip():
                paragraph.append(line)
            else:
                close()
            place += 1
        close()

    def _code(self, lines: Sequence[str], first: int) -> None:
        held, begun = "", first
        for number, line in enumerate(lines, start=first):
            begun = begun if held else number
            held += line.rstrip().removesuffix("\\")
            if not line.rstrip().endswith("\\"):
                self.code.append((begun, held))
                held = ""


def keys_of(value: Any, prefix: str = "") -> Iterator[str]:
    """The keys of JSON objects inside each other, such as `spent.seconds`; of a list, those of its first item."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield prefix + key
            yield from keys_of(inner, f"{prefix}{key}.")
    elif isinstance(value, list) and value:
        yield from keys_of(value[0], prefix)


def lay_out_world(folder: Path) -> None:
    """The small world of the guides, under the names that they use: chats and documents about two topics, and labels
    that tell the topic.
    """
    rng = random.Random(0)
    (folder / "conversations").mkdir()
    with (folder / "conversations" / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(30):
            texts = [_text(rng, TOPICS[number % 2]) for _ in range(4)]
            turns = [{"role": ("user", "assistant")[i % 2], "text": text} for i, text in enumerate(texts)]
            file.write(json.dumps({"id": f"c{number}", "turns": turns}) + "\n")
    (folder / "documents").mkdir()
    for topic in TOPICS:
        paragraphs = "\n\n".join(_text(rng, topic, words=8) for _ in range(4))
        (folder / "documents" / f"{topic}.md").write_text(f"# {topic}\n\n{paragraphs}\n", encoding="utf-8")
    for name in ("faq.md", "faq-deutsch.md"):
        (folder / "documents" / name).write_text(f"# {_text(rng, 'help', words=30)}\n", encoding="utf-8")
    passages = (folder / "documents" / "card.md").read_text(encoding="utf-8").split("\n\n")[1:]
    pairs = [{"question": _text(rng, "how does", words=5), "passage": passage.strip()} for passage in passages]
    quoting = "".join(
        json.dumps({"turns": [{"role": "user", "text": _text(rng, "asked", words=7)},
                              {"role": "agent", "text": f"Well, {paragraph}"}]}) + "\n"
        for paragraph in (folder / "documents" / "faq.md").read_text(encoding="utf-8").split("\n\n")
    )  # fmt: skip
    (folder / "conversations" / "quoting.jsonl").write_text(quoting, encoding="utf-8")
    apart = random.Random(2)
    sides = [[_text(apart, topic), _text(apart, topic)] for topic in TOPICS for _ in range(40)]
    (folder / "pairs.tsv").write_text("\n".join(["en\tde", *map("\t".join, sides)]) + "\n", encoding="utf-8")
    (folder / "questions.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    for name in ("intents.csv", "train.csv", "test.csv", "german.csv"):
        rows = [f"{_text(rng, topic)},{topic}" for _ in range(LABELS) for topic in TOPICS]
        (folder / name).write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    _lay_out_pictures(folder, rng)
    (folder / "manuals").mkdir()
    chapters = random.Random(1)
    for number in range(40):  # as many as it takes to hold some out
        text = f"# Chapter {number}\n\n{_text(chapters, TOPICS[number % 2], words=30)}\n"
        (folder / "manuals" / f"{number}.md").write_text(text, encoding="utf-8")
    (folder / "general").mkdir()
    rivers = [f"A river has {number} bends. {_text(chapters, 'good', words=12)}" for number in range(30)]
    (folder / "general" / "rivers.txt").write_text("\n".join(rivers), encoding="utf-8")
    later = [(_text(rng, TOPICS[i % 2]), TOPICS[i % 2]) for i in range(150)]
    both = random.Random(3)  # of both topics, so that on any machine two systems differ on some
    later += [(f"{_text(both, TOPICS[i % 2])} {_text(both, TOPICS[1 - i % 2])}", TOPICS[i % 2]) for i in range(150)]
    (folder / "later.csv").write_text("\n".join(["text", *(text for text, _ in later)]) + "\n", encoding="utf-8")
    answered = [json.dumps({"text": text, "label": label}) + "\n" for text, label in later]
    (folder / "answered.jsonl").write_text("".join(answered), encoding="utf-8")
    _lay_out_generated(folder, rng)


def _lay_out_pictures(folder: Path, rng: random.Random) -> None:
    """A folder of pictures without labels, labelled ones in `kinds.csv`, and captioned ones in `captions.csv`."""
    tables = {
        "pictures": ([], ""),
        "labelled": (["image,label"], "kinds.csv"),
        "captioned": (["image,text"], "captions.csv"),
    }
    for name, (rows, table) in tables.items():
        (folder / name).mkdir()
        for number in range(2 * LABELS):
            topic = TOPICS[number % 2]
            noise = bytes(rng.randrange(128) + 128 * ((number + place // 16) % 2) for place in range(8 * 8 * 3))
            Image.frombytes("RGB", (8, 8), noise).resize((32, 32)).save(folder / name / f"{number}.png")
            said = topic if name == "labelled" else f"{topic} number {number}"
            rows.append(f"{name}/{number}.png,{said}")
        if table:
            (folder / table).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _lay_out_generated(folder: Path, rng: random.Random) -> None:
    """What two systems wrote for the same prompts, and which of the two is preferred."""
    rows: dict[str, list[dict[str, Any]]] = {"old": [], "new": [], "preferred": []}
    for number in range(40):
        source, asked = _text(rng, TOPICS[number % 2], words=20), f"Question {number}: what of it?"
        row = {"prompt": asked, "source": source, "reference": " ".join(source.split()[:8])}
        new, old = (" ".join(source.split()[:kept]) for kept in (9, 4))
        rows["new"].append({**row, "candidate": new})
        rows["old"].append({**row, "candidate": old})
        rows["preferred"].append({"text": asked, "label": new})
    for name, of_file in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_file), encoding="utf-8")


def _text(rng: random.Random, topic: str, *, words: int = 6) -> str:
    return " ".join([topic, *rng.sample(WORDS, words)])
