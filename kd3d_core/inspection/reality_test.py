"""Can simulated be told from recorded? A classifier that tries, and what it goes by.

The test in the manner of Lopez-Paz and Oquab, "Revisiting classifier two-sample tests" (ICLR
2017): if a classifier of patches that it was not trained on does no better than chance, the two
kinds are alike in all that it can see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError


@dataclass(frozen=True)
class Difference:
    """One figure of the patches.

    Attributes:
        name: "family: what".
        auc: Of the figure alone, in [0.5, 1]: 0.5 where it tells nothing.
        real, simulated: Its medians.
    """

    name: str
    auc: float
    real: float
    simulated: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """How well simulated and recorded patches are told apart.

    Attributes:
        auc: Area under the ROC curve on held-out scenes; 0.5 is chance, 1 is always right.
        by_family: The same with the figures of one family only.
        differences: The figures, the most telling first.
        score: (N,) float64, the held-out probability that a patch is a recorded one.
    """

    auc: float
    by_family: dict[str, float]
    differences: tuple[Difference, ...]
    score: NDArray[np.float64]


def tell_apart(
    features: NDArray[np.floating[Any]],
    real: NDArray[np.bool_],
    scene: NDArray[np.integer[Any]],
    names: Sequence[str],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Verdict:
    """Train on some scenes, judge on the others, until every patch has been judged.

    Args:
        features: (N, F); NaN where there is nothing to measure.
        real: (N,) recorded, not simulated.
        scene: (N,) number of the place that a patch shows; no scene is on both sides of a split.
        names: Of the F features, "family: what".
        folds: Splits; both kinds need as many scenes.
        seed: Of the splits.

    Raises:
        Kd3dError: There are fewer scenes of one kind than folds, or scikit-learn is missing.
    """
    for kind, words in ((real, "recorded"), (~real, "simulated")):
        scenes = len(np.unique(scene[kind]))
        if scenes < folds:
            raise Kd3dError(
                f"{scenes} {words} scenes cannot be split {folds} ways: give more, or fewer folds."
            )
    score = _held_out(features, real, scene, folds, seed)
    families = sorted({name.split(":")[0] for name in names})
    by_family = {}
    for family in families:
        columns = [i for i, name in enumerate(names) if name.startswith(f"{family}:")]
        by_family[family] = area(_held_out(features[:, columns], real, scene, folds, seed), real)
    differences = []
    for i, name in enumerate(names):
        known = ~np.isnan(features[:, i])
        value, kind = features[known, i], real[known]
        if kind.any() and not kind.all():
            alone = area(value, kind)
            medians = float(np.median(value[kind])), float(np.median(value[~kind]))
            differences.append(Difference(name, max(alone, 1 - alone), *medians))
    return Verdict(
        auc=area(score, real),
        by_family=by_family,
        differences=tuple(sorted(differences, key=lambda d: -d.auc)),
        score=score,
    )


def area(score: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive one scores above another; ties are half."""
    values, index, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores
    yes = int(positive.sum())
    no = len(positive) - yes
    above = float(rank[index][positive].sum()) - yes * (yes + 1) / 2
    return above / (yes * no) if len(values) else 0.5


def _held_out(
    features: NDArray[np.floating[Any]],
    real: NDArray[np.bool_],
    scene: NDArray[np.integer[Any]],
    folds: int,
    seed: int,
) -> NDArray[np.float64]:
    """(N,) probability of being recorded, by models that saw no patch of the same scene."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
    except ImportError as error:
        raise Kd3dError(
            "telling patches apart needs scikit-learn: pip install scikit-learn."
        ) from error
    score = np.zeros(len(real))
    fold = _folds(real, scene, folds, seed)
    for number in range(folds):
        out = fold == number
        model = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.15, max_leaf_nodes=15, min_samples_leaf=15,
            class_weight="balanced", early_stopping=False, random_state=seed,
        )  # fmt: skip
        model.fit(features[~out], real[~out])
        score[out] = model.predict_proba(features[out])[:, 1]
    return score


def _folds(
    real: NDArray[np.bool_], scene: NDArray[np.integer[Any]], folds: int, seed: int
) -> NDArray[np.int64]:
    """(N,) the split that judges each patch: every one has scenes of both kinds."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(real), np.int64)
    for kind in (real, ~real):
        scenes = rng.permutation(np.unique(scene[kind]))
        for number, one in enumerate(scenes):
            fold[kind & (scene == one)] = number % folds
    return fold
