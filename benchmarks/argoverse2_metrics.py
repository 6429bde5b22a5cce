"""How much quicker the Argoverse 2 metrics are than the published evaluation, which they equal.

    python benchmarks/argoverse2_metrics.py

Both see the same 1,000 frames in one run, and their metrics are compared before the times are
printed. The published evaluation has its tables made beforehand and its imports done.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "evaluation"))

from argoverse2_official import CLASSES
from argoverse2_official import METRICS
from argoverse2_official import frames_of
from argoverse2_official import random_cases

from kd3d_core.evaluation.argoverse2 import Argoverse2Accumulator


def main() -> None:
    """Run both and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="processes of the published one")
    options = parser.parse_args()

    from av2.evaluation.detection.eval import evaluate
    from av2.evaluation.detection.eval import summarize_metrics
    from av2.evaluation.detection.utils import DetectionCfg

    cases = list(random_cases(options.frames))
    run(cases[:20])  # compiles
    start = time.perf_counter()
    result = run(cases)
    ours = time.perf_counter() - start

    config = DetectionCfg(categories=CLASSES, eval_only_roi_instances=False)
    pred, truth = frames_of(cases, "pred"), frames_of(cases, "truth")
    start = time.perf_counter()
    pred, truth, _ = evaluate(pred, truth, config, n_jobs=options.jobs)
    published = time.perf_counter() - start

    table = summarize_metrics(pred, truth, config)
    gap = max(
        abs(getattr(entry, metric.lower()) - table.loc[name, metric])
        for name, entry in result.classes.items()
        for metric in METRICS
    )
    print(f"{options.frames} frames, {len(truth):,} truths, {len(pred):,} detections")
    print(f"largest difference of a metric  {gap:.1e}")
    print(f"published, {options.jobs} processes        {published:8.2f} s")
    print(f"kd3d, one process               {ours:8.2f} s  ({published / ours:.0f} x)")


def run(cases: list) -> object:
    """Our metrics of all cases."""
    accumulator = Argoverse2Accumulator(CLASSES)
    for case in cases:
        accumulator.add(case.pred, case.truth, case.num_points)
    return accumulator.result()


if __name__ == "__main__":
    main()
