"""The trace: everything that entered and was made on the way to a verdict, each with its content hash and parents.

A manifest names its parents by hash; here these hashes are found again among the other nodes, so an edge of the trace
is what the artifact itself says it was made of. Entries are the exception: their manifests name the baseline, and for
the texts, the base and the targets the plan that these went into.
"""

from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import Artifact, digest, open_artifact
from shoptalk.nn.product import folder_of
from shoptalk.objectives.recipe import Recipe
from shoptalk.report.facts_json import NodeKind, TraceNode
from shoptalk.report.nouns import Nouns, nouns_for
from shoptalk.report.sentences import standing
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.entry import Entry
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.telling.tally import files_of

MOST_SOURCES = 12
"""Source files that are nodes of their own; more are one node."""


def trace(
    world: World,
    curated: Curated,
    baseline: Baseline,
    prepared: Prepared | None,
    entries: Sequence[Entry],
    *,
    verdict: Verdict,
    verdict_hash: str,
) -> tuple[TraceNode, ...]:
    """The nodes, parents before children. `verdict_hash` is the SHA-256 of `verdict.json`, which the decision holds."""
    made = _Made(world.run)
    sources = _sources(made, curated)
    nouns = nouns_for(baseline.kind)
    texts = f"{len(curated.train):,} {nouns.kept} from {curated.n_documents:,} documents"
    made.artifact("corpus", "corpus", "corpus", texts, more=sources)
    _base(made, world, baseline)
    says = f"{world.base_name} measured before anything was learned"
    seconds = baseline.seconds + baseline.final_seconds + baseline.other_seconds
    made.artifact("baseline", "baseline", "baseline", says, seconds=seconds)
    taught = (
        {name: _prepared(made, prepared, name, nouns) for name in prepared.candidates} if prepared is not None else {}
    )
    for entry in entries:
        says = f"{entry.candidate} after {entry.step:,} steps, {entry.tokens:,} {nouns.units}"
        if entry.merge is not None:
            says = f"{entry.merge:g} of {entry.candidate} after {entry.step:,} steps, {1 - entry.merge:g} of the base"
        folder = entry.folder.relative_to(world.run).as_posix()
        # An average is made of the entry that its manifest names and of the base; nothing was trained for it.
        more = ["base"] if entry.merge is not None else ["corpus", "base", *taught.get(entry.candidate, ())]
        made.artifact(f"entry:{entry.name}", "entry", folder, says, more=more, seconds=entry.seconds)
    rests_on = [node.id for node in made.nodes if node.kind in ("baseline", "entry")]
    shipped, served = folder_of(baseline.kind), standing(verdict.told())
    if verdict.entry is not None:
        made.artifact("candidate", "encoder", f"candidate/{shipped}", f"{verdict.entry}, whatever was decided")
    made.artifact(shipped, "encoder", shipped, f"The {shipped} that is {served}")
    if curated.examples:
        made.artifact("head", "head", "head", f"The classifier of {len(curated.examples):,} labelled {nouns.asked}")
    made.artifact("evidence", "evidence", "evidence", "What this report shows beside the verdict")
    says = f"{verdict.choice}; the hash is that of verdict.json"
    made.nodes.append(_node("decision", "decision", "decision", verdict_hash, rests_on, None, says))
    return tuple(made.nodes)


class _Made:
    """The nodes so far, and whose hash is whose."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._ids: dict[str, str] = {}
        self.nodes: list[TraceNode] = []

    def add(self, node: TraceNode) -> None:
        self._ids[node.hash] = node.id  # of equal contents the later one's: a head's encoder is the served one
        if all(one.id != node.id for one in self.nodes):  # two candidates may share a first phase
            self.nodes.append(node)

    def artifact(
        self, id: str, kind: NodeKind, folder: str, says: str, *, more: Sequence[str] = (), seconds: float | None = None
    ) -> list[str]:
        """A finished artifact's node, if there is one: its parents by their hashes, and `more` of them. Returns its id
        in a list, or none.
        """
        artifact = open_artifact(self._run / folder)
        if artifact is None:
            return []
        parents = list(dict.fromkeys([*self._known(artifact), *more]))
        taken = artifact.seconds if seconds is None else seconds
        self.add(_node(id, kind, folder, artifact.content, parents, taken, says))
        return [id]

    def _known(self, artifact: Artifact) -> list[str]:
        # A sample of a corpus is named by the corpus's hash and how it was drawn.
        hashes = [hash_.split(":")[0] for hash_ in artifact.parents.values()]
        return [self._ids[hash_] for hash_ in hashes if hash_ in self._ids]


def _node(
    id: str, kind: NodeKind, folder: str | None, hash_: str, parents: Sequence[str], seconds: float | None, says: str
) -> TraceNode:
    return TraceNode(
        id=id,
        kind=kind,
        folder=folder,
        hash=hash_,
        parents=tuple(parents),
        seconds=None if seconds is None else round(seconds, 3),
        says=says,
    )


def _sources(made: _Made, curated: Curated) -> list[str]:
    files = files_of(curated.artifact.parents)
    given = {name: hash_ for name, hash_ in curated.artifact.parents.items() if name not in files}
    before = len(made.nodes)
    if len(files) > MOST_SOURCES:
        # No file has this hash: it is that of all their names and hashes.
        made.add(_node("sources", "source", None, digest(files), [], None, f"{len(files):,} files"))
    else:
        for name, hash_ in files.items():
            made.add(_node(f"source:{name}", "source", None, hash_, [], None, name))
    for name, hash_ in given.items():
        role, _, file = name.partition(":")
        made.add(_node(name, "source", None, hash_, [], None, f"{file}, the {role}"))
    return [node.id for node in made.nodes[before:]]


def _base(made: _Made, world: World, baseline: Baseline) -> None:
    hash_ = baseline.artifact.parents["base"]
    if open_artifact(world.run / "base") is not None and world.asked_base is not None:
        made.artifact("base", "base", "base", f"{world.base_name}, made from this corpus")
    else:
        made.add(_node("base", "base", None, hash_, [], None, f"{world.base_name}, as it was before"))


def _prepared(made: _Made, prepared: Prepared, candidate: str, nouns: Nouns) -> list[str]:
    """What a candidate's entries were made of besides what their manifests name: its targets, and of a curriculum what
    the first phase has left, from which the second one's targets come.

    Seconds of targets are those of the plan, which has timed the candidate, too.
    """
    first, *then = (phase.name for phase in Recipe.parse(candidate).phases)
    says, taken = f"What {first} has looked up in all {nouns.many}", prepared.plan.preparing_seconds.get(candidate)
    found = made.artifact(f"targets:{first}", "targets", f"targets/{first}", says, seconds=taken)
    if then:
        says = f"{first}, the first phase of {candidate}"
        phase = ["corpus", "base", *found]
        found += made.artifact(f"entry:{candidate}, phase 1", "entry", f"phases/{candidate}", says, more=phase)
        says = f"What {then[0]} has looked up in all {nouns.many} after the first phase"
        found += made.artifact(f"targets:{candidate}", "targets", f"targets/{candidate}", says, more=found[-1:])
    return found
