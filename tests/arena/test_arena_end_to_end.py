"""`kd3d_core arena` on toy frames: real trainings in real processes."""

import contextlib
import json
import signal
import threading

import pytest
import typer
import yaml
from arena_toys import settings
from arena_toys import write_files
from typer.testing import CliRunner

from kd3d_core.arena.curves import read_log
from kd3d_core.arena.processes import in_processes
from kd3d_core.arena.result import read_cell
from kd3d_core.arena.state import open_arena
from kd3d_core.arena.task import Task
from kd3d_core.arena.task import cell_task
from kd3d_core.arena.task import explain
from kd3d_core.arena.task import prepare_folder
from kd3d_core.cli.arena import arena
from kd3d_core.training.checkpoint import read_checkpoint

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(arena)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("arena"))


def write_yaml(files, name, **changes):
    path = files / f"{name}.yaml"
    data = settings(files, out=str(files / name), **changes)
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def run(*arguments, status=0):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(
        app, [str(each) for each in arguments], catch_exceptions=False
    )
    assert result.exit_code == status, result.output
    return result.output


def test_two_methods_two_seeds(files):
    path = write_yaml(files, "whole")
    output = run(path, "--only", "none")
    assert "[3/3]" in output
    assert "small kl" not in output
    kept = (files / "whole/cells/small/none/seed_0/result.json").stat().st_mtime_ns
    # What is done is kept, the teacher too; what was left out comes now.
    output = run(path, "--jobs", 2)
    assert "2 of 4 trainings have their result already" in output
    assert "[4/4]" in output
    assert "none seed 0:" not in output
    assert (files / "whole/cells/small/none/seed_0/result.json").stat().st_mtime_ns == kept

    data = json.loads((files / "whole/results.json").read_text())
    assert data["trainings"] == {"planned": 4, "done": 4}
    assert data["teacher"]["scores"]["frames"] == 4
    assert data["teacher"]["network"]["name"] == "small-pillars"
    assert [(r["student"], r["method"], r["seeds"]) for r in data["table"]] == [
        ("small", "none", [0, 1]),
        ("small", "kl", [0, 1]),
    ]
    assert data["machines"][0]["device"]
    for cell in data["cells"]:
        assert cell["cost"]["steps"] == 6
        assert 0 < cell["cost"]["step_seconds"] < 60
        assert 100 < cell["cost"]["peak_memory_mb"] < 8000
        assert 0 <= cell["scores"]["mean_ap"] <= 1
        assert 0 <= cell["scores"]["nds"] <= 1
        assert cell["network"]["parameters"] > 1000

    state = open_arena(path)
    by_cell = {(r.method, r.seed): r for r in state.results}
    assert set(by_cell["none", 0].curves) < set(by_cell["kl", 0].curves)
    assert "heatmap_kl" in by_cell["kl", 0].curves
    assert [step for step, _ in by_cell["kl", 0].curves["heatmap"]] == [0, 1, 2, 3, 4, 5]

    # Both methods start from the same weights and see the same frames.
    first = [by_cell[m, 0].curves["heatmap"][0][1] for m in ("none", "kl")]
    assert first[0] == pytest.approx(first[1], rel=1e-4)
    assert by_cell["none", 1].curves["heatmap"][0][1] != pytest.approx(first[0], rel=1e-4)

    before = (files / "whole/report.html").read_text()
    (files / "whole/report.html").unlink()
    output = run(path, "--report-only")
    assert (files / "whole/report.html").read_text() == before
    assert "small" in output


def test_a_failing_cell_is_told_and_the_others_go_on(files):
    students = settings(files)["students"]
    narrow = students["small"]["grid"] | {"y": [-5.12, 5.12]}
    students["odd"] = students["small"] | {"grid": narrow}
    path = write_yaml(files, "failing", students=students, seeds=[0])
    output = run(path, "--only", "odd", status=1)
    assert "odd kl seed 0 failed: it ended with status 2" in output
    assert "the teacher small-pillars covers y" in output
    assert "odd none seed 0: mean AP" in output
    assert "1 failed; mend the cause" in output
    data = json.loads((files / "failing/results.json").read_text())
    assert [(c["student"], c["method"]) for c in data["cells"]] == [("odd", "none")]


def test_an_interrupted_training_goes_on(files):
    train = settings(files)["train"] | {"max_steps": 40}
    path = write_yaml(files, "broken", methods={"none": None}, seeds=[0], train=train)
    (cell,) = open_arena(path).cells
    task = cell_task(cell)
    prepare_folder(task)
    running = in_processes([task], 1)
    with contextlib.closing(running):
        interrupt_when(lambda: task.log.is_file() and "step 3/40" in task.log.read_text(), running)
    assert not (cell.folder / "result.json").exists()
    reached = read_checkpoint(cell.folder / "last.ckpt").step
    assert 3 <= reached < 40

    prepare_folder(task)  # the same settings: nothing is thrown away
    (done,) = in_processes([task], 1)
    assert done.error is None
    result = read_cell(cell.folder, cell.hash)
    assert result.cost.steps == 40
    assert read_checkpoint(cell.folder / "model.ckpt").step == 40
    assert len(list(cell.folder.rglob("events.out.tfevents.*"))) == 2
    assert f"step {reached + 1}/40" in task.log.read_text()
    # The step that was broken off may have lost its entry.
    assert len(read_log(cell.folder, 40).curves["heatmap"]) >= 39
    assert not (cell.folder / "last.ckpt").exists()

    changed = task.model_copy(update={"hash": "other"})
    prepare_folder(changed)  # other settings: the old training goes
    assert {entry.name for entry in cell.folder.iterdir()} == {"task.json"}


def interrupt_when(condition, running):
    """Drive the generator until `condition`, then interrupt it as Ctrl-C would."""
    main, over = threading.main_thread().ident, threading.Event()

    def watch():
        while not over.wait(0.01):
            if condition():
                signal.pthread_kill(main, signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    # What a shell starts in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(running)
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGINT, before)


def test_exit_status_in_words(tmp_path):
    task = Task(name="t", folder=tmp_path, hash="0", train={})
    assert explain(task, 0) is None
    assert explain(task, -9) == (
        f"it was killed by signal 9, perhaps for want of memory; {task.log} is empty"
    )
    task.log.write_text("\n".join(f"line {i}" for i in range(20)) + "\n\n")
    told = explain(task, 1)
    assert told.startswith(f"it ended with status 1; {task.log} ends with:\n    line 12\n")
    assert told.endswith("line 19")


def test_ray(files):
    pytest.importorskip("ray", reason="ray is not installed: pip install ray")
    path = write_yaml(files, "ray", seeds=[0])
    output = run(path, "--ray")
    assert "[3/3]" in output
    assert json.loads((files / "ray/results.json").read_text())["trainings"]["done"] == 2
