"""What follows for a run once a person was asked: its verdict, its report, and what it ships."""

import json

from shoptalk.artifact import create, discard, open_artifact, open_manifest, write_text
from shoptalk.commands.ask_run import AskedRun, base_model
from shoptalk.readback import read_json
from shoptalk.report.verdict_json import PeopleAnswered
from shoptalk.telling.reship import reship
from shoptalk.telling.settled import ASKED, SETTLED, about, asked_about, settles


def settle(done: AskedRun, asked: PeopleAnswered | None, *, asking: str) -> None:
    """Let the run's verdict, report, encoder and head follow what was answered about base and challenger; `asked` is
    None where every answer was taken back.

    What another asking has settled, with another bank, stands until this one settles something itself.

    Raises:
        ArtifactError: the run has changed or is damaged.
        StorageError: its folder cannot be written.
    """
    folder = done.run / SETTLED
    candidate, baseline = (open_manifest(done.run / name) for name in ("candidate/encoder", "baseline"))
    assert candidate is not None
    assert baseline is not None
    parents = about(
        entry=candidate.parents["entry"], corpus=done.curated.artifact.content, base=baseline.parents["base"]
    )
    before, settled = open_artifact(folder), asked_about(done.run, parents)
    if settles(settled) and not settles(asked) and before is not None and before.config.get("asking") != asking:
        done.world.report.say("ask: what was settled with another bank stands, until this one settles something too")
    elif asked is not None:
        with create(folder, kind=SETTLED, config={"asking": asking}, parents=parents) as inside:
            write_text(inside / ASKED, json.dumps(asked.told(), indent=1, ensure_ascii=False))
    elif before is not None and before.config.get("asking") == asking:
        discard(folder)
    elif settled is not None or "asked" not in read_json(done.run / "verdict.json", dict):
        return  # else a kill between the two has left a verdict of answers that were taken back
    reship(done.world, done.curated, base=base_model(done))
