"""Write the pins anew: `python -m tests.golden`. The change belongs into the commit, where a reader sees it.

Only additions are written. What is gone or has another default breaks somebody's script: `--breaking` writes that too,
and CHANGELOG.md says it.
"""

import json
import sys

from tests.golden import surface


def main() -> None:
    broken: list[str] = []
    for name, read in surface.pins().items():
        path, now = surface.HERE / f"{name}.json", read()
        added, lost = surface.differences(surface.pinned(name), now) if path.exists() else ([], [])
        sys.stdout.write("\n".join([f"{name}: {len(added)} added, {len(lost)} changed or gone", *added, *lost]) + "\n")
        if lost and "--breaking" not in sys.argv:
            broken += lost
        else:
            path.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if broken:
        sys.exit("Left as it was. Additions are written; what breaks scripts only with --breaking.")


if __name__ == "__main__":
    main()
