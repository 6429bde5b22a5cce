"""`~/load_model`: another model without losing a cloud; and filters on the live node."""

from pathlib import Path
from typing import Any

import pytest
from detector_bench import NAME
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message
from detector_bench import renamed_bundle
from std_srvs.srv import Trigger

OTHERS = ("van", "lorry", "coach", "person", "bike", "moped")


@pytest.fixture
def bench(graph: Any, known: Any) -> Bench:
    return Bench(graph, known, skip_when_unsubscribed=False).start()


def classes_of(found: Any) -> list[str]:
    """The class of each detection."""
    return [detection.results[0].hypothesis.class_id for detection in found.detections]


def test_a_model_changes_only_when_the_service_is_called(bench: Bench, tmp_path: Path) -> None:
    path = renamed_bundle(bench.known, tmp_path / "other.kd3d", *OTHERS)
    labels: list[Any] = []
    bench.listen_labels(labels)
    assert bench.set(model=str(path)) == []
    assert classes_of(bench.detect(message(cluster(1.25, 1.25)))) == ["car"]
    answer = bench.call(Trigger, "load_model")
    assert answer.success, answer.message
    assert str(path) in answer.message
    assert classes_of(bench.detect(message(cluster(1.25, 1.25), offset=1))) == ["van"]
    bench.graph.until(lambda: len(labels) == 2)
    assert [item.class_name for item in labels[1].class_map] == list(OTHERS)
    values = {item.key: item.value for item in bench.status("model").values}
    assert values["name"] == "other"
    assert values["bundle"] == str(path)
    assert len(values["sha256"]) == 64


def test_a_swap_under_load_loses_no_cloud(bench: Bench, tmp_path: Path) -> None:
    path = renamed_bundle(bench.known, tmp_path / "other.kd3d", *OTHERS)
    bench.set(model=str(path))
    client = bench.peer.create_client(Trigger, f"{NAME}/load_model")
    bench.graph.until(client.service_is_ready)
    cloud, sent, future, after = cluster(1.25, 1.25), 0, None, 0
    while after < 3:
        after += future is not None and future.done()
        bench.clouds.publish(message(cloud, offset=sent))
        sent += 1
        # A cloud that is answered before the next comes has no excuse for being dropped.
        bench.graph.until(
            lambda wanted=sent: bench.count("received") == wanted and bench.accounted()
        )
        if sent == 5:
            future = client.call_async(Trigger.Request())
    assert future.result().success
    answers = bench.received["detections"]
    bench.graph.until(lambda: len(answers) == bench.count("processed"))
    assert bench.count("processed") == sent
    found = [classes_of(answer)[0] for answer in answers]
    assert found[0] == "car"
    assert found[-1] == "van"
    assert found == sorted(found)  # one change, no way back


@pytest.mark.parametrize("fault", ["corrupt", "missing", "graph", "classes"])
def test_a_model_that_fails_leaves_the_old_one_running(
    bench: Bench, tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "new.kd3d"
    if fault == "corrupt":
        path.write_bytes(bench.known.path.read_bytes()[:-200])
    elif fault == "graph":
        from kd3d_core.runtime.bundle import read_bundle
        from kd3d_core.runtime.bundle import write_bundle

        write_bundle(path, read_bundle(bench.known.path).manifest, b"no graph at all")
    elif fault == "classes":
        renamed_bundle(bench.known, path, *OTHERS)
        assert bench.set(class_remap=["truck=lorry"]) == []
    bench.set(model=str(path))
    answer = bench.call(Trigger, "load_model")
    assert not answer.success
    assert answer.message.startswith("the old model still runs")
    assert {"classes": "truck"}.get(fault, "new.kd3d") in answer.message
    assert classes_of(bench.detect(message(cluster(1.25, 1.25)))) == ["car"]
    status = bench.status("model")
    assert status.level == status.WARN
    assert "old model still runs" in status.message
    bench.set(model=str(bench.known.path))
    assert bench.call(Trigger, "load_model").success
    assert bench.status("model").level == status.OK


def test_load_model_needs_a_configured_node(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, autostart=False)
    answer = bench.call(Trigger, "load_model")
    assert not answer.success
    assert "not configured" in answer.message


def test_swaps_do_not_pile_up_models_or_threads(bench: Bench) -> None:
    import gc
    import threading

    from kd3d_core.runtime.detector import Detector

    def alive() -> tuple[int, int]:
        gc.collect()
        kept = {id(item._backend) for item in gc.get_objects() if isinstance(item, Detector)}
        return len(kept), threading.active_count()

    assert bench.call(Trigger, "load_model").success
    models, threads = alive()  # those of tests before this one included
    for _ in range(3):
        assert bench.call(Trigger, "load_model").success
    more_models, more_threads = alive()
    assert more_models <= models
    assert more_threads <= threads


def test_filters_change_while_detecting(bench: Bench) -> None:
    near = message(cluster(5.25, -3.25))
    assert classes_of(bench.detect(near)) == ["car"]
    assert bench.set(class_remap=["car=vehicle", "truck=vehicle"]) == []
    assert classes_of(bench.detect(near)) == ["vehicle"]
    assert bench.set(roi=[0.0, 0.0, 10.0, 10.0]) == []
    assert classes_of(bench.detect(near)) == []
    assert bench.set(roi=[0.0] * 4, class_remap=["car="]) == []
    assert classes_of(bench.detect(near)) == []
    assert bench.set(class_remap=[""], ego_box=[4.0, -4.0, -2.0, 6.0, -2.0, 1.0]) == []
    assert classes_of(bench.detect(near)) == []
    assert bench.set(ego_box=[0.0] * 6, score_thresholds=["*=1.0,0.1@6"]) == []
    assert classes_of(bench.detect(near)) == ["car"]  # at 6.2 m
    assert bench.set(score_thresholds=["*=1.0,0.1@7"]) == []
    assert classes_of(bench.detect(near)) == []
    (reason,) = bench.set(score_thresholds=["van=0.4"])
    assert "cyclist" in reason
    (reason,) = bench.set(class_remap=["van=car"])
    assert "cyclist" in reason
