"""A candidate ready to train: its spec, and what it must know of the whole corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoptalk.artifact import create, key_of, open_artifact
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import CALLED, Embedder, Kind, Product
from shoptalk.objective import Material, Spec, Targets
from shoptalk.readback import as_written
from shoptalk.stages.world import World
from shoptalk.text.corpus import Corpus


@dataclass(frozen=True)
class PreparedCandidate:
    """A pretext task ready to train, with what it knows of the whole corpus."""

    name: str
    spec: Spec
    """Of a curriculum, the first phase's."""
    targets: Targets | None
    then: Spec | None = None
    """Of a curriculum, the second phase's, whose targets come from the encoder that the first one leaves."""
    general: Material[Any] | None = None
    """Text to replay, where there is some."""

    def ceiling(self, product: Product) -> Embedder | None:
        """The encoder that meets its targets, where its spec and they can say what that is (`Spec.ceiling`)."""
        return self.spec.ceiling(product, self.targets) if self.spec.has_ceiling and self.targets is not None else None

    def learns_from(self, corpus: Corpus) -> bool:
        """Whether every phase finds something to learn from."""
        return all(len(spec.examples(corpus)) for spec in (self.spec, self.then) if spec is not None)


def unable(spec: Spec, corpus: Corpus, kind: Kind) -> str | None:
    """Why an objective cannot train a product of this kind on this corpus; None where it can."""
    if not spec.accepts(kind):
        takes = " and ".join(CALLED[each] for each in sorted(spec.takes))
        return f"it trains {takes}, and the base is one of the {CALLED[kind]}"
    if not len(spec.examples(corpus)):
        return f"it needs {spec.needs}"
    return None


def prepare_targets(world: World, name: str, spec: Spec, corpus: Corpus, product: Product, base: str) -> Targets | None:
    """What the objective must know of the whole corpus, from `RUN/targets/<name>` where it is there already."""
    settings, parents = spec.model_dump(), {"corpus": corpus.digest, "base": base_digest(base)}
    folder, key = world.run / "targets" / name, key_of(kind="targets", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        if spec.prepares:
            world.report.say(f"plan: preparing {name}")
        found = spec.prepare(corpus, product)
        if found is None:
            return None
        if (remark := spec.remark(found)) is not None:
            world.report.say(f"plan: {name} {remark}")
        with create(folder, kind="targets", config=settings, parents=parents) as inside:
            for part, array in found.items():
                np.save(inside / f"{part}.npy", array)
    return open_targets(folder)


def open_targets(folder: Path) -> Targets | None:
    """What `prepare_targets` has left in a folder; None where it left none."""
    if open_artifact(folder) is None:
        return None
    # Mapped into memory, not read: a large corpus's targets need not fit.
    with as_written(folder):
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
