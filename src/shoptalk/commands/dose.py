"""How much is enough: the dose curves of a finished run's winner, from what the run has kept.

    found = dose(Path("runs/acme"), budget=None, report=console)       # leaves runs/acme/dose.json
    print(found.curves.texts.sentence)

| curve  | dose                | what it takes                                                           |
|--------|---------------------|-------------------------------------------------------------------------|
| tokens | of self-supervision | nothing: the winner's entries on the run's menu                         |
| texts  | unlabelled ones     | the winner's steps again on an eighth, a quarter and half of the corpus |
| labels | per class           | embedding the labelled texts with base and winner, heads on nested sets |

Every point is the gain over the base in the units of the run's judge, for the first two curves as looks during training
measure it. A task that needs no labels, such as `language_model`, has no third curve. What is made on the way are
artifacts in `RUN/dose`; the same command goes on where it was interrupted.
"""

import json
import shutil
from pathlib import Path

from shoptalk.artifact import locked, write_text
from shoptalk.commands.dose_curves import told_curve
from shoptalk.commands.dose_labels import labels_curve
from shoptalk.commands.dose_texts import texts_curve
from shoptalk.commands.dosed_run import DosedRun, open_dosed, verdict_to_dose
from shoptalk.config import Budget
from shoptalk.report.dose_json import CurvesByDose, DoseCurve, DoseCurves
from shoptalk.telling.facts import of_decision, write_page
from shoptalk.training.reporter import Reporter


def dose(run: Path, *, budget: Budget | None, report: Reporter) -> DoseCurves:
    """Measure the dose curves of a finished run's winner; leaves `run/dose.json` and returns what it holds.

    `budget` limits the new trainings; without one all fractions of the corpus are trained on.

    Raises:
        SourceError: this is not a finished run, it had nothing to judge by, or nothing was trained in it.
        ArtifactError: what the run has left does not belong together any more.
    """
    verdict = verdict_to_dose(run)
    with locked(run):
        done = open_dosed(run, verdict, report)
        measured = DoseCurves(
            objective=done.best.candidate,
            entry=done.best.name,
            task=done.judge.key,
            measure=done.judge.measure,
            looked=done.judge.looked,
            seed=done.world.config.seed,
            of=of_decision(done.decision) or "",
            curves=_curves(done, budget),
        )
        write_text(run / "dose.json", json.dumps(measured.told(), indent=1, ensure_ascii=False))
        write_page(run)
        for part in (run / "dose").glob("texts-*/work"):
            shutil.rmtree(part, ignore_errors=True)
    return measured


def _curves(done: DosedRun, budget: Budget | None) -> CurvesByDose:
    tokens, texts = _tokens_curve(done), texts_curve(done, budget)
    if done.judge.classes is None:
        return CurvesByDose(tokens=tokens, texts=texts)
    return CurvesByDose(tokens=tokens, texts=texts, labels=labels_curve(done, done.judge.classes))


def _tokens_curve(done: DosedRun) -> DoseCurve:
    """Gain against real training tokens, from the menu. Only the last checkpoint's learning rate has come down."""
    amounts = [entry.tokens for entry in done.entries]
    return told_curve(amounts, done.gains(done.entries), "tokens of self-supervision", measure=done.judge.measure)
