"""Waymo's metric once more, straight from its definition: every assignment is tried."""

import itertools
import math

import numpy as np
from kitti_oracle import intersection

CUTOFFS = [np.float32(i * 0.01) for i in range(101)]
EDGES = {"all": (0, math.inf), "0-30": (0, 30), "30-50": (30, 50), "50+": (50, math.inf)}


def outline(box):
    """Corners seen from above of x, y, z, length, width, height, yaw."""
    cos, sin = math.cos(box[6]), math.sin(box[6])
    return [
        (box[0] + cos * a - sin * b, box[1] + sin * a + cos * b)
        for a, b in (
            (box[3] / 2, box[4] / 2),
            (-box[3] / 2, box[4] / 2),
            (-box[3] / 2, -box[4] / 2),
            (box[3] / 2, -box[4] / 2),
        )
    ]


def overlap(one, other):
    """Intersection over union by volume, as float32."""
    if min(one[3:6]) <= 0.01 or min(other[3:6]) <= 0.01:
        return np.float32(0)
    top = min(one[2] + one[5] / 2, other[2] + other[5] / 2)
    bottom = max(one[2] - one[5] / 2, other[2] - other[5] / 2)
    if top <= bottom:
        return np.float32(0)
    shared = intersection(outline(one), outline(other)) * (top - bottom)
    return np.float32(shared / (math.prod(one[3:6]) + math.prod(other[3:6]) - shared))


def heading_accuracy(one, other):
    """1 for the same heading, 0 for the opposite."""
    error = abs(one - other) % (2 * math.pi)
    return 1 - min(error, 2 * math.pi - error) / math.pi


def best_assignment(preds, truths, least):
    """Pairs of indices of the largest total overlap, tried one by one."""
    weights = {}
    for (i, pred), (j, truth) in itertools.product(enumerate(preds), enumerate(truths)):
        value = overlap(pred["box"], truth["box"])
        if value >= np.float32(least):
            steps = math.floor(float(value * np.float32(1e6) + np.float32(0.5)))
            accuracy = heading_accuracy(pred["box"][6], truth["box"][6])
            weights[i, j] = (steps, math.floor(1024 * (1 + accuracy)))

    def search(j, free):
        if j == len(truths):
            return (0, 0), []
        best = search(j + 1, free)
        for i in free:
            if (i, j) in weights:
                rest, pairs = search(j + 1, free - {i})
                total = (rest[0] + weights[i, j][0], rest[1] + weights[i, j][1])
                if total > best[0]:
                    best = total, [*pairs, (i, j)]
        return best

    return search(0, frozenset(range(len(preds))))[1]


def distance(item):
    """Of the centre, in 3D."""
    return math.sqrt(sum(value**2 for value in item["box"][:3]))


def curve(frames, kind, least, ring, level):
    """Precision, precision by heading and recall at each cutoff."""
    low, high = EDGES[ring]
    points = []
    cache = {}
    for cutoff in CUTOFFS:
        right = wrong = missed = 0
        heading = 0.0
        for number, (preds, truths) in enumerate(frames):
            inside = [
                item for item in preds if item["type"] == kind and low <= distance(item) < high
            ]
            alive = [item for item in inside if np.float32(item["score"]) >= cutoff]
            there = [
                item
                for item in truths
                if item["type"] == kind and item["points"] > 0 and low <= distance(item) < high
            ]
            key = number, len(alive)
            if key not in cache:
                cache[key] = best_assignment(alive, there, least)
            pairs = cache[key]
            right += len(pairs)
            heading += sum(
                heading_accuracy(alive[i]["box"][6], there[j]["box"][6]) for i, j in pairs
            )
            matched_preds, matched_truths = {i for i, _ in pairs}, {j for _, j in pairs}
            wrong += sum(
                i not in matched_preds and not item["zone"] for i, item in enumerate(alive)
            )
            for j, item in enumerate(there):
                marked = item["difficulty"] or (2 if item["points"] <= 5 else 1)
                missed += j not in matched_truths and marked <= level
        recall = right / (right + missed) if right + missed else 0.0
        said = right + wrong
        precision = right / said if said else 0.0
        weighted = heading / said if said else 0.0
        points.append((recall, precision if recall else 1.0, weighted if recall else 1.0))
    return points


def area(points):
    """Area under (recall, precision) points with steps of 0.05."""
    best_at = {0.0: 1.0}
    for recall, precision in points:
        best_at[recall] = max(best_at.get(recall, 0.0), precision)
    steps, highest, last = [], 0.0, None
    for recall in sorted(best_at, reverse=True):
        while last is not None and last - recall > 0.05 + 1e-6:
            last -= 0.05
            steps.append((last, highest))
        highest = max(highest, best_at[recall])
        steps.append((recall, highest))
        last = recall
    if len(steps) > 1:
        steps[-1] = (steps[-1][0], steps[-2][1])
    return sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(steps))


def scores(frames, kind, least, ring, level):
    """AP and APH, or None without ground truth."""
    low, high = EDGES[ring]
    if not any(
        t["type"] == kind and t["points"] > 0 and low <= distance(t) < high
        for _, truths in frames
        for t in truths
    ):
        return None, None
    points = curve(frames, kind, least, ring, level)
    return area([(r, p) for r, p, _ in points]), area([(r, w) for r, _, w in points])
