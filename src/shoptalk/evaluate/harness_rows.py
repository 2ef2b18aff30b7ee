"""The scenarios of the harness's published table: what is planted, and in how many trials."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoptalk.evaluate.harness import FEW_DRAWS, Population, Scenario, scale_for_gain

_BANKING = Population(classes=77, noise=0.6)  # as many classes as BANKING77, of about its few-shot accuracy
_CUSTOMERS = Population(duplicates=3, apart=0.7)  # three messages each, alike and not near duplicates


@dataclass(frozen=True)
class PlannedRow:
    """A row of the published table."""

    scenario: Scenario
    trials: int
    gain: float | None = None
    """In points, to be planted in the last entry by the scale of its noise, which takes seconds to find."""
    at: Scenario | None = None
    """How that gain is measured; the row's own scenario without it."""

    def planted(self) -> Scenario:
        """The scenario with the gain in it, found anew."""
        if self.gain is None:
            return self.scenario
        *nulls, _ = self.scenario.scales
        return replace(self.scenario, scales=(*nulls, scale_for_gain(self.gain, self.at or self.scenario)))


def table_rows() -> list[PlannedRow]:
    """Every row of the published table."""
    plain: Sequence[tuple[Scenario, int]] = (*_nulls(), *_others())
    return [*(PlannedRow(scenario, trials) for scenario, trials in plain), *_powers()]


def _nulls() -> list[tuple[Scenario, int]]:
    null = Scenario("null", 385, smallest_gain=0.0)
    return [
        (replace(null, name="null, smallest gain 0.5", smallest_gain=0.5), 500),
        *((replace(null, labels=n), 500) for n in (60, 100, 150, 385)),
        *((replace(null, labels=n), 400) for n in (1000, 2500)),
        (replace(null, name="null, 77 classes", population=_BANKING), 400),
        (replace(null, name="null, 77 classes", labels=1155, population=_BANKING), 400),
        (replace(null, name="null, small perturbation", population=Population(shared=0.98)), 400),
        (replace(null, name="null, source sorted by class", order="sorted"), 400),
        (replace(null, name="null, logistic regression", labels=150, head="linear"), 400),
        (replace(null, name="null, 20 splits (a look)", draws=FEW_DRAWS), 500),
        *((replace(null, name=f"null, menu of {n}", scales=(1.0,) * n), 400) for n in (4, 12)),
        (replace(null, name="null, 12 correlated checkpoints", scales=(1.0,) * 12, correlated=0.5), 400),
        (replace(null, name="null, 4 merges (share 95 % of their own noise)", scales=(1.0,) * 4, correlated=0.95), 400),
    ]


def _others() -> list[tuple[Scenario, int]]:
    null = Scenario("null", 385, smallest_gain=0.0)
    test, ranks = replace(null, judged="test"), replace(null, judged="ranks")
    groups = replace(null, labels=600, population=_CUSTOMERS)
    twins = replace(null, labels=600, population=Population(duplicates=3))
    return [
        (replace(null, name="null, best heads with names", head="best"), 400),
        (replace(null, name="null, best heads with names, 77 classes", head="best", population=_BANKING), 400),
        (replace(test, name="null, --test of 400"), 500),
        (replace(test, name="null, --test of 400, 77 classes", population=_BANKING), 500),
        (replace(ranks, name="null, reply: reciprocal ranks, one draw"), 500),
        (replace(ranks, name="the same, 3 contexts to a conversation", labels=1200, population=_CUSTOMERS), 500),
        (replace(null, name="null, classes of 80 to 2 labels", skew=1.0), 500),
        (replace(null, name="null, 10 % of labels wrong", wrong=0.1), 500),
        (replace(twins, name="null, near-duplicate triples"), 400),
        (replace(twins, name="the same, clusters ignored (control)", clusters="ignored"), 400),
        (replace(groups, name="null, groups of 3 alike messages, told"), 400),
        (replace(groups, name="the same, not told (control)", clusters="ignored"), 400),
    ]


def _powers() -> list[PlannedRow]:
    """Power, and false adoption where the true gain is harm or too small: as verdicts were, and as they are."""
    rows = []
    for name, population in (("", Population()), (", 77 classes", _BANKING)):
        for labels in (385, 1000):
            for gain in (1.0, 2.0, 4.0):
                before = Scenario("", labels, population=population, judged="few shots", draws=FEW_DRAWS)
                few = replace(before, name=f"gain {gain:g} at 5 labels per class{name}: judged there, 20 sets")
                now = replace(few, name="the same encoders on all labels", judged="splits", draws=100)
                rows += [PlannedRow(few, 400, gain), PlannedRow(now, 400, gain, at=before)]
    rows.append(PlannedRow(Scenario("harm", 385), 400, -2.0))
    menu = Scenario("gain 2 in a menu of 4, others null", 1000, scales=(1.0, 1.0, 1.0, 1.0))
    rows.append(PlannedRow(menu, 400, 2.0, at=Scenario("", 1000)))
    return rows
