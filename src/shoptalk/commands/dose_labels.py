"""How many labels: heads on nested sets of labels, with the base and with the winner."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int

from shoptalk import decide
from shoptalk.artifact import create, key_of, open_artifact
from shoptalk.commands.dose_curves import told_curve
from shoptalk.commands.dosed_run import DosedRun
from shoptalk.evaluate import shot_gains
from shoptalk.nn.encoder import embed
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.readback import as_written
from shoptalk.report.dose_json import Accuracies, LabelsCurve
from shoptalk.stages.world import open_embedder
from shoptalk.tasks.judge import Classes

SHOTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def labels_curve(done: DosedRun, classes: Classes) -> LabelsCurve:
    """Base and adapted encoder against labels per class: the gain, and what the adapted one itself gains from more."""
    shots, points = _label_points(done, classes)
    seed, what, measure = done.world.config.seed, "labels per class", points.measure
    curve = told_curve(shots, decide.band(points, seed=seed), what, measure=measure)
    nothing = np.zeros_like(points.base)
    accuracies = {}
    for arm, correct in (("base", points.base), ("adapted", points.adapted)):
        band = decide.band(replace(points, base=nothing, adapted=correct), seed=seed)
        accuracies[arm] = told_curve(shots, band, what, measure=measure, level=f"{arm} accuracy")
    return LabelsCurve(**dict(curve), accuracy=Accuracies(**accuracies))


def _label_points(done: DosedRun, classes: Classes) -> tuple[list[int], decide.Points]:
    """Outcomes of both encoders at each number of labels, on nested draws; kept in `RUN/dose/labels`."""
    config = done.world.config
    labels, names, cluster = classes.labels, classes.names, done.judge.cluster
    most = min(SHOTS[-1], decide.most_shots(labels, cluster))
    largest = decide.draws(labels, cluster, shots=most, n_draws=shot_gains.DRAWS, seed=config.seed).training
    shots = [k for k in SHOTS if k <= most]
    settings = {"shots": shots, "draws": shot_gains.DRAWS, "seed": config.seed}
    parents = {"baseline": done.baseline.artifact.content, "entry": done.best.artifact.content}
    folder, key = done.world.run / "dose" / "labels", key_of(kind="dose-labels", config=settings, parents=parents)
    sets = [_first_of_each_class(largest, len(names), k) for k in shots]
    if open_artifact(folder, key=key) is None:
        done.world.report.say(f"dose: heads on {', '.join(map(str, shots))} labels per class, base and adapted")
        arms = []
        for model in (None, str(done.best.folder / "encoder")):
            vectors = embed(open_embedder(config, model), classes.items)
            arms.append(np.stack([kshot_outcomes(vectors, labels, chosen) for chosen in sets]))
        with create(folder, kind="dose-labels", config=settings, parents=parents) as inside:
            np.save(inside / "correct.npy", np.stack(arms))
    with as_written(folder):
        base, adapted = np.load(folder / "correct.npy", allow_pickle=False)
    tested = np.stack([_untouched(chosen, cluster) for chosen in sets])
    return shots, decide.Points(tuple(f"{k}-shot" for k in shots), base, adapted, tested, cluster)


def _first_of_each_class(training: Int[np.ndarray, "R K"], n_classes: int, k: int) -> Int[np.ndarray, "R k"]:
    """The k-shot sets that lie in larger ones: `decide.draws` gives the classes one after the other."""
    return training.reshape(len(training), n_classes, -1)[:, :, :k].reshape(len(training), -1)


def _untouched(training: Int[np.ndarray, "R K"], cluster: Int[np.ndarray, " N"]) -> Bool[np.ndarray, "R N"]:
    """The tests of each label set: the examples of clusters that it took none of."""
    return np.stack([~np.isin(cluster, cluster[chosen]) for chosen in training])
