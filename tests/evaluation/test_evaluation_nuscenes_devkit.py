"""Our nuScenes metrics against the real nuscenes-devkit, on data written in its layout."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nuscenes_drives import random_drive
from nuscenes_drives import street_drive
from nuscenes_oracle import assert_equal_metrics
from nuscenes_oracle import devkit
from nuscenes_oracle import official_metrics
from nuscenes_oracle import perturbed

from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes_submission import write_submission
from kd3d_core.datasets.nuscenes_writer import write_nuscenes
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.nuscenes_submission import NuScenesScorer
from kd3d_core.evaluation.nuscenes_submission import evaluate_submission
from kd3d_core.geometry.boxes import Boxes3D

VERSION = "v1.0-sim"


def compare(
    root,
    predict,
    *,
    tables=lambda folder: None,
    results=lambda content: None,
    version=VERSION,
    split="all",
):
    """Write predictions and hold both evaluations to each other.

    Args:
        root: Of the data.
        predict: Index, frame -> boxes.
        tables: Changes the tables before they are read.
        results: Changes the submission after it is written.
        version: Folder of the tables.
        split: Which scenes.
    """
    tables(root / version)
    dataset = NuScenesDataset(root, split=split, sweeps=1)
    boxes = [(i, predict(i, dataset[i])) for i in range(len(dataset))]
    path = root / "submission.json"
    write_submission(path, dataset, boxes)
    content = json.loads(path.read_text())
    results(content["results"])
    path.write_text(json.dumps(content))
    official = official_metrics(root, version, path, root / "official", split)
    ours = evaluate_submission(dataset, path)
    assert_equal_metrics(ours, official)
    return dataset, boxes, ours, official


@pytest.fixture
def small(tmp_path):
    """Two drives with objects of every class."""
    devkit()
    write_nuscenes([random_drive(seed, frames=4, points=5) for seed in (1, 2)], tmp_path)
    return tmp_path


def noisy(seed=0, **settings):
    """A predictor that perturbs the truth."""
    generator = np.random.default_rng(seed)
    return lambda i, frame: perturbed(generator, frame.boxes, **settings)


def test_a_thousand_simulated_frames_agree(tmp_path):
    devkit()
    drives = [street_drive(seed, frames=60, interval=0.33) for seed in range(4)]
    drives += [random_drive(seed, frames=40, objects=24, points=3) for seed in range(20)]
    write_nuscenes(drives, tmp_path)
    dataset, boxes, ours, official = compare(tmp_path, noisy())
    assert len(dataset) == 1040
    assert 0.1 < ours.mean_ap < 0.9
    assert sum(entry.truths for entry in ours.classes.values()) > 8000
    # The same from the detector's float32 boxes in the sensor frame, sample by sample.
    scorer = NuScenesScorer(dataset)
    for index, pred in boxes:
        scorer.add(index, pred)
    assert_equal_metrics(scorer.result(), official)


def shuffle(results):
    """Name the samples in another order."""
    order = np.random.default_rng(5).permutation(list(results)).tolist()
    moved = {token: results[token] for token in order}
    results.clear()
    results.update(moved)


def tied(i, frame):
    """Detections of three scores only."""
    boxes = noisy(i)(i, frame)
    return replace(boxes, score=np.round(boxes.score * 2) / 2)


def test_equal_scores_agree_in_any_order_of_the_tables(small):
    def reverse(folder):
        path = folder / "sample.json"
        path.write_text(json.dumps(json.loads(path.read_text())[::-1]))

    _, _, in_order, _ = compare(small, tied)
    _, _, shuffled, _ = compare(small, tied, results=shuffle)
    # The devkit takes the samples of a split of one's own in the order of the table.
    assert shuffled.mean_ap == in_order.mean_ap
    _, _, reversed_, _ = compare(small, tied, tables=reverse)
    # The order does matter, so that agreement says something.
    assert reversed_.mean_ap != in_order.mean_ap


def test_equal_scores_agree_in_any_order_of_an_official_split(tmp_path):
    devkit()
    drives = [random_drive(seed, frames=4, points=5) for seed in (1, 2)]
    folder = write_nuscenes(drives, tmp_path, version="v1.0-mini")
    scenes = json.loads((folder / "scene.json").read_text())
    for scene, name in zip(scenes, ("scene-0916", "scene-0103"), strict=True):
        scene["name"] = name
    (folder / "scene.json").write_text(json.dumps(scenes))
    options = {"version": "v1.0-mini", "split": "mini_val"}
    _, _, in_order, _ = compare(tmp_path, tied, **options)
    _, _, shuffled, _ = compare(tmp_path, tied, results=shuffle, **options)
    assert shuffled.mean_ap != in_order.mean_ap


def test_all_scores_equal_and_all_zero_agree(small):
    for score in (0.5, 0.0):
        compare(small, lambda i, f, s=score: constant(noisy(i)(i, f), s))


def constant(boxes, score):
    """The same boxes, all with one score."""
    return replace(boxes, score=np.full(len(boxes), score))


def test_empty_frames_agree(small):
    def sparse(i, frame):
        return noisy(i)(i, frame) if i % 3 == 0 else Boxes3D.empty(frame.boxes.classes)

    def without_annotations(folder):
        """Of the second and third sample nothing is annotated."""
        path = folder / "sample_annotation.json"
        samples = [r["token"] for r in json.loads((folder / "sample.json").read_text())]
        records = json.loads(path.read_text())
        kept = [r for r in records if r["sample_token"] not in samples[1:3]]
        tokens = {r["token"] for r in kept}
        for record in kept:
            for side in ("prev", "next"):
                record[side] = record[side] if record[side] in tokens else ""
        path.write_text(json.dumps(kept))

    compare(small, sparse, tables=without_annotations)


def test_classes_never_seen_agree(small):
    def only_cars(i, frame):
        boxes = noisy(i)(i, frame)
        return boxes[boxes.label == 0]

    def no_buses(folder):
        """Whatever was a bus is a lorry: buses are detected, never there."""
        categories = {
            r["name"]: r["token"] for r in json.loads((folder / "category.json").read_text())
        }
        path = folder / "instance.json"
        records = json.loads(path.read_text())
        for record in records:
            if record["category_token"] == categories["vehicle.bus.rigid"]:
                record["category_token"] = categories["vehicle.truck"]
        path.write_text(json.dumps(records))

    _, _, ours, _ = compare(small, only_cars)
    assert ours.classes["bus"].detections == 0
    _, _, ours, _ = compare(small, noisy(), tables=no_buses)
    assert ours.classes["bus"].truths == 0
    assert ours.classes["bus"].detections > 0


def test_unknown_velocities_agree(small, tmp_path):
    def blind(i, frame):
        boxes = noisy(i)(i, frame)
        return replace(boxes, velocity=np.full((len(boxes), 2), np.nan))

    _, _, ours, _ = compare(small, blind)
    assert ours.errors["vel_err"] == 1.0
    # Truths without velocity: objects that are seen once.
    drive = [replace(f, track_id=None) for f in random_drive(3, frames=4, points=5)]
    write_nuscenes([drive, random_drive(4, points=5)], tmp_path / "once")
    dataset, _, _, _ = compare(tmp_path / "once", noisy())
    assert np.isnan(dataset[0].boxes.velocity).all()


def test_boxes_without_points_agree(small):
    def radar(folder):
        """No LiDAR points anywhere, points of a radar in every other box."""
        path = folder / "sample_annotation.json"
        records = json.loads(path.read_text())
        for i, record in enumerate(records):
            record.update(num_lidar_pts=0, num_radar_pts=i % 2)
        path.write_text(json.dumps(records))

    full = compare(small, noisy())[2]
    half = compare(small, noisy(), tables=radar)[2]
    counts = [sum(entry.truths for entry in result.classes.values()) for result in (full, half)]
    assert 0 < counts[1] < counts[0]


def test_bicycle_racks_agree(small):
    def racks(folder):
        """A rack around every third bicycle or motorcycle."""
        read = {
            name: json.loads((folder / f"{name}.json").read_text())
            for name in ("category", "instance", "sample_annotation")
        }
        kinds = {r["token"]: r["name"] for r in read["category"]}
        kind_of = {r["token"]: kinds[r["category_token"]] for r in read["instance"]}
        read["category"].append(
            {"token": "rack", "name": "static_object.bicycle_rack", "description": ""}
        )
        cycles = [
            r
            for r in read["sample_annotation"]
            if kind_of[r["instance_token"]] in ("vehicle.bicycle", "vehicle.motorcycle")
        ]
        for i, record in enumerate(cycles[::3]):
            instance = {"token": f"rack{i}", "category_token": "rack", "nbr_annotations": 1}
            read["instance"].append(
                instance | {"first_annotation_token": f"r{i}", "last_annotation_token": f"r{i}"}
            )
            read["sample_annotation"].append(
                record
                | {"token": f"r{i}", "instance_token": f"rack{i}", "prev": "", "next": ""}
                | {"size": [2.0, 5.0, 3.0], "attribute_tokens": []}
            )
        for name, records in read.items():
            (folder / f"{name}.json").write_text(json.dumps(records))

    before = compare(small, noisy())[2]
    after = compare(small, noisy(), tables=racks)[2]
    assert after.classes["bicycle"].truths < before.classes["bicycle"].truths
    assert after.classes["bicycle"].detections < before.classes["bicycle"].detections


def test_missing_attributes_agree(small):
    def bare(folder):
        """Every other annotation has no attribute, and no pedestrian has one."""
        path = folder / "sample_annotation.json"
        records = json.loads(path.read_text())
        names = {
            r["token"]: r["name"] for r in json.loads((folder / "attribute.json").read_text())
        }
        for i, record in enumerate(records):
            walks = any(names[t].startswith("pedestrian") for t in record["attribute_tokens"])
            if i % 2 or walks:
                record["attribute_tokens"] = []
        path.write_text(json.dumps(records))

    ours = compare(small, noisy(), tables=bare)[2]
    assert ours.classes["pedestrian"].errors["attr_err"] == 1.0


def test_too_few_hits_and_perfect_ones_agree(small):
    ours = compare(small, lambda i, frame: frame.boxes[:1])[2]
    assert ours.classes["barrier"].errors["trans_err"] == 1.0
    perfect = compare(small, lambda i, frame: frame.boxes)[2]
    assert perfect.errors["trans_err"] < 1e-5


def test_submissions_that_do_not_fit_are_refused(small):
    dataset, _, _, _ = compare(small, noisy())
    path = small / "submission.json"
    content = json.loads(path.read_text())
    token, boxes = next(iter(content["results"].items()))
    changed = {
        "lacks": {t: b for t, b in content["results"].items() if t != token},
        "other samples": content["results"] | {"strange": []},
        "more than 500": content["results"] | {token: boxes[:1] * 501},
        "no class 'tram'": content["results"] | {token: [boxes[0] | {"detection_name": "tram"}]},
        "lacks a field": content["results"] | {token: [{"detection_name": "car"}]},
        "size of a box is not positive": content["results"]
        | {token: [boxes[0] | {"size": [0, 1, 1]}]},
        "score of a box is not finite": content["results"]
        | {token: [boxes[0] | {"detection_score": float("nan")}]},
    }
    for message, results in changed.items():
        path.write_text(json.dumps({"meta": {}, "results": results}))
        with pytest.raises(Kd3dError, match=message):
            evaluate_submission(dataset, path)
    path.write_text("[]")
    with pytest.raises(Kd3dError, match="no nuScenes submission"):
        evaluate_submission(dataset, path)
    with pytest.raises(Kd3dError, match="cannot read"):
        evaluate_submission(dataset, small / "absent.json")
