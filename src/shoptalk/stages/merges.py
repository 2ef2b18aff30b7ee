"""Merges: averages of the base's weights and of those that the winner was trained to, each measured once.

They are menu entries like the others: guards, the choice and what it costs in confidence are the same.
"""

import json
import time
from collections.abc import Sequence

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.evaluate.bench import measure, refuse_other, save_measured
from shoptalk.nn.merge import average
from shoptalk.readback import as_written
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.entry import Entry, EntryProgress, open_entry, report_look
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, best_device, open_product
from shoptalk.training.advance import read_log
from shoptalk.training.forecast import peak_memory


def merge_stage(
    world: World, prepared: Prepared, baseline: Baseline, entries: Sequence[Entry], *, failed: bool
) -> list[Entry]:
    """The merges of the base and the winner's last entry, which has been decayed: as many as the plan has paid for.

    There are none of a training that failed or was stopped because it over-fits: its last weights are not decayed.
    """
    last = entries[-1] if entries else None
    if last is None or failed or (last.alarm is not None and last.alarm.fires):
        return []
    return [_merge(world, baseline, last, share) for share in prepared.plan.merges]


def _merge(world: World, baseline: Baseline, entry: Entry, share: float) -> Entry:
    settings, parents = {"merge": share}, {"entry": entry.artifact.content, "baseline": baseline.artifact.content}
    folder = world.run / "menu" / f"{entry.candidate}-{entry.step}x{share:g}"
    key = key_of(kind="entry", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        begun = time.perf_counter()
        base, adapted = open_product(world.config), open_product(world.config, str(entry.folder / "encoder"))
        product = average(base, adapted, share)
        measured = measure(product, baseline.bench, base=baseline.measured)
        with create(folder, kind="entry", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            rows = read_log(entry.folder)  # of the training that it comes from
            write_text(inside / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            title = f"# {entry.name}, {share:g} of it and {1 - share:g} of the base"
            product.save(inside / "encoder", card=f"{title}\n\nAn average of weights, of a Shoptalk run.\n")
            progress = EntryProgress(
                step=entry.step,
                tokens=entry.tokens,
                seconds=round(time.perf_counter() - begun, 3),
                memory_bytes=peak_memory(best_device()),
                merge=share,
            )
            write_text(inside / "progress.json", progress.model_dump_json())
    merged = open_entry(folder, entry.candidate)
    with as_written(folder):
        refuse_other(merged.measured, baseline.bench)
    report_look(world, merged, baseline)
    return merged
