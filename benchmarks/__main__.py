"""Every speed comparison: `python -m benchmarks [--quick] [--only mlm,embed]`; needs SHOPTALK_DATA.

Each comparison runs in a process of its own; one that fails is told and the others go on. The results replace their
sections between the markers in benchmarks/README.md as soon as each is done. With --quick they are only printed: one
small round proves that a comparison runs, and no more.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import command_line, data, table, timing
from benchmarks.timing import ROOT, Options, Row

README = ROOT / "benchmarks" / "README.md"
COMPARISONS = ("mlm", "simcse", "embed", "peak", "neighbour", "scaling", "index_scale", "memory")
# These have options of their own and print a Markdown table: what they are called with in full, and with --quick.
OWN_TABLES = {
    "scaling": ([], ["--texts", "2000,4000"]),
    "index_scale": (["--sizes", "125000,250000,500000,1000000"], ["--sizes", "10000,20000"]),
}


def words_of(name: str, options: Options) -> list[str]:
    """The words after `python -m benchmarks.NAME` for these options."""
    threads: dict[str, object] = {"threads": options.threads}
    if name in OWN_TABLES:
        # `scaling` counts CPU time of all threads, and has no option for them.
        return [*OWN_TABLES[name][options.quick], *timing.options_to_words(threads if name == "index_scale" else {})]
    given: dict[str, object] = {
        "repeats": options.repeats,
        "steps": options.steps,
        "minutes": options.minutes,
        "quick": options.quick,
    }
    return timing.options_to_words(given | threads)


def run(name: str, words: list[str]) -> tuple[str, bool]:
    """One comparison's table, and whether it came to its end."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *words, *([] if name in OWN_TABLES else ["--json"])]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=subprocess.PIPE, text=True, check=False
    )
    if name in OWN_TABLES:
        return done.stdout.strip(), done.returncode == 0
    rows = [row for line in done.stdout.splitlines() if (row := read_row(line)) is not None]
    return table.markdown(rows), done.returncode == 0


def read_row(line: str) -> Row | None:
    """The row that a line of output holds; None where it is something else."""
    try:
        found = json.loads(line)
        return Row(**found) if isinstance(found, dict) else None
    except (ValueError, TypeError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COMPARISONS), help="names separated by commas (all)")
    parser.add_argument("--readme", type=Path, help="where the tables go (benchmarks/README.md; quick: nowhere)")
    command_line.add_options(parser)
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in COMPARISONS]:
        raise SystemExit(f"No comparison {unknown[0]!r}. There is: {', '.join(COMPARISONS)}.")
    data.pack()
    options = command_line.read_options(given)
    readme = given.readme or (None if given.quick else README)
    failed = []
    for name in names:
        timing.say(f"== {name}")
        begun = time.perf_counter()
        words = words_of(name, options)
        body, finished = run(name, words)
        if not finished:
            failed.append(name)
            timing.say(f"{name} failed; its section stays as it was")
            continue
        command = " ".join(["python", "-m", f"benchmarks.{name}", *words])
        text = table.section(name, body, command=command, seconds=time.perf_counter() - begun)
        print(text, end="\n\n", flush=True)
        if readme is not None:
            old = readme.read_text(encoding="utf-8") if readme.exists() else ""
            readme.write_text(table.place(old, {name: text}, order=COMPARISONS), encoding="utf-8")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
