"""KITTI's protocol once more: slow, plain, one object at a time, from lines of its file formats.

Written from the description of the benchmark and nothing of the package: lists, dictionaries and
a polygon cut by half-planes.
"""

import math

POSITIONS = 40
MIN_HEIGHT = {"easy": 40, "moderate": 25, "hard": 25}
MAX_OCCLUSION = {"easy": 0, "moderate": 1, "hard": 2}
MAX_TRUNCATION = {"easy": 0.15, "moderate": 0.3, "hard": 0.5}
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}


def parse(line):
    """A label or result line as a dictionary."""
    words = line.split()
    names = [
        "truncated",
        "occluded",
        "alpha",
        "left",
        "top",
        "right",
        "bottom",
        "height",
        "width",
        "length",
        "x",
        "y",
        "z",
        "turn",
        "score",
    ]
    return {"type": words[0], **dict(zip(names, map(float, words[1:]), strict=False))}


def outline(box):
    """The four corners seen from above, in the camera's x-z plane, counter-clockwise."""
    cos, sin = math.cos(box["turn"]), math.sin(box["turn"])
    corners = []
    for along, across in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        a, b = along * box["length"] / 2, across * box["width"] / 2
        # Ahead is (cos, -sin), its left (seen with z up) is (sin, cos).
        corners.append((box["x"] + cos * a + sin * b, box["z"] - sin * a + cos * b))
    return corners


def area(polygon):
    """Shoelace."""
    total = 0.0
    for i, (x, y) in enumerate(polygon):
        u, v = polygon[(i + 1) % len(polygon)]
        total += x * v - u * y
    return total / 2


def intersection(one, other):
    """Area shared by two convex polygons: cut one by every side of the other."""
    result = list(one)
    for i, (px, py) in enumerate(other):
        qx, qy = other[(i + 1) % len(other)]

        def side(point, px=px, py=py, qx=qx, qy=qy):
            return (qx - px) * (point[1] - py) - (qy - py) * (point[0] - px)

        kept = []
        for j, here in enumerate(result):
            there = result[(j + 1) % len(result)]
            a, b = side(here), side(there)
            if a >= 0:
                kept.append(here)
            if (a > 0 > b) or (a < 0 < b):
                t = a / (a - b)
                kept.append(
                    (here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1]))
                )
        result = kept
        if not result:
            return 0.0
    return area(result)


def overlap(one, other, metric):
    """Intersection over union."""
    if min(one["length"], one["width"], other["length"], other["width"]) <= 0:
        return 0.0
    shared = intersection(outline(one), outline(other))
    of_one, of_other = one["length"] * one["width"], other["length"] * other["width"]
    if metric == "3d":
        bottom = min(one["y"], other["y"])
        top = max(one["y"] - one["height"], other["y"] - other["height"])
        shared *= max(0.0, bottom - top)
        of_one, of_other = of_one * one["height"], of_other * other["height"]
    return shared / (of_one + of_other - shared)


def covered(detection, region):
    """The share of a detection's image box inside a region."""
    width = min(detection["right"], region["right"]) - max(detection["left"], region["left"])
    height = min(detection["bottom"], region["bottom"]) - max(detection["top"], region["top"])
    if width <= 0 or height <= 0:
        return 0.0
    whole = (detection["right"] - detection["left"]) * (detection["bottom"] - detection["top"])
    return width * height / whole


def sort_out(labels, detections, name, difficulty):
    """Marks 0 (counts), 1 (ignored) or -1 (of no interest) for labels and detections."""
    of_labels = []
    for label in labels:
        too_hard = (
            label["occluded"] > MAX_OCCLUSION[difficulty]
            or label["truncated"] > MAX_TRUNCATION[difficulty]
            or label["bottom"] - label["top"] < MIN_HEIGHT[difficulty]
        )
        if label["type"] == name:
            of_labels.append(1 if too_hard else 0)
        elif label["type"] == NEIGHBOURS.get(name):
            of_labels.append(1)
        else:
            of_labels.append(-1)
    of_detections = []
    for detection in detections:
        if int(detection["bottom"] - detection["top"]) < MIN_HEIGHT[difficulty]:
            of_detections.append(1)
        else:
            of_detections.append(0 if detection["type"] == name else -1)
    return of_labels, of_detections


def scores_found(frame, name, difficulty, metric, least):
    """First pass over a frame."""
    labels, detections = frame
    of_labels, of_detections = sort_out(labels, detections, name, difficulty)
    used, scores = set(), []
    for label, mark in zip(labels, of_labels, strict=True):
        if mark == -1:
            continue
        best = None
        for j, detection in enumerate(detections):
            if of_detections[j] == -1 or j in used or overlap(detection, label, metric) <= least:
                continue
            if best is None or detection["score"] > detections[best]["score"]:
                best = j
        if best is not None:
            used.add(best)
            if mark == 0 and of_detections[best] == 0:
                scores.append(detections[best]["score"])
    return scores


def outcomes(frame, name, difficulty, metric, least, threshold, excuse):
    """Second pass over a frame: right, wrong, missed."""
    labels, detections = frame
    of_labels, of_detections = sort_out(labels, detections, name, difficulty)
    alive = [detection["score"] >= threshold for detection in detections]
    used = set()
    right = missed = 0
    for label, mark in zip(labels, of_labels, strict=True):
        if mark == -1:
            continue
        candidates = [
            (j, overlap(detection, label, metric))
            for j, detection in enumerate(detections)
            if alive[j] and j not in used and of_detections[j] != -1
        ]
        candidates = [(j, value) for j, value in candidates if value > least]
        counting = [item for item in candidates if of_detections[item[0]] == 0]
        if counting:
            best = max(counting, key=lambda item: (item[1], -item[0]))[0]
        elif candidates:
            best = candidates[0][0]
        else:
            missed += mark == 0
            continue
        used.add(best)
        right += mark == 0 and of_detections[best] == 0
    wrong = 0
    regions = [label for label in labels if label["type"] == "DontCare"]
    for j, detection in enumerate(detections):
        if not alive[j] or j in used or of_detections[j] != 0:
            continue
        if excuse and any(covered(detection, region) > least for region in regions):
            continue
        wrong += 1
    return right, wrong, missed


def average_precision(frames, name, difficulty, metric, least, excuse=False):
    """AP over frames of (labels, detections), or None without ground truth."""
    truths = sum(
        sort_out(labels, detections, name, difficulty)[0].count(0) for labels, detections in frames
    )
    if truths == 0:
        return None
    scores = [s for f in frames for s in scores_found(f, name, difficulty, metric, least)]
    scores.sort(reverse=True)
    thresholds, wanted = [], 0.0
    for i, score in enumerate(scores):
        last = i == len(scores) - 1
        left = (i + 1) / truths
        right = left if last else (i + 2) / truths
        if right - wanted < wanted - left and not last:
            continue
        thresholds.append(score)
        wanted += 1 / POSITIONS
    precision = [0.0] * (POSITIONS + 1)
    for position, threshold in enumerate(thresholds):
        counts = [outcomes(f, name, difficulty, metric, least, threshold, excuse) for f in frames]
        tp, fp = sum(c[0] for c in counts), sum(c[1] for c in counts)
        precision[position] = tp / (tp + fp) if tp + fp else 0.0
    best = [max(precision[i:]) for i in range(POSITIONS + 1)]
    return sum(best[1:]) / POSITIONS
