"""Another project's detector or voxeliser, timed on the same clouds: a program, not a module.

`kd3d_core bench --against NAME` runs it, by the interpreter of `--peer-python`, which needs the
peer's packages and nothing of kd3d:

    PYTHON bench_peer.py NAME FOLDER OPTIONS

FOLDER holds the clouds as 0.npy, 1.npy, ...: (N, 4) float32 x, y, z [m], intensity [0, 1]. OPTIONS
is JSON: `threads` (or null), and for the voxeliser `range` (x, y, z low, then high [m]) and `cell`
[m]. It answers in lines of JSON on standard output: first what it is, or why it cannot run; then,
to each line with a list of cloud numbers, the times of each cloud but the first of the list, which
warms the caches that others used in the meantime.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

#: Times of the stages [ms], and how many boxes or voxels came out.
Run = Callable[[Any], tuple[dict[str, float], int]]
#: Points of a pillar and pillars of a cloud, as PointPillars' KITTI settings have them at test.
_MAX_POINTS, _MAX_PILLARS = 32, 40_000


class _Clock:
    """Times the stages of a pass."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now."""
        now = time.perf_counter()
        self.stages[stage] = 1e3 * (now - self._last)
        self._last = now


def open3d_pointpillars(options: dict[str, Any]) -> tuple[dict[str, Any], Run]:
    """PointPillars of Open3D-ML with its own KITTI settings, in PyTorch, without gradients.

    The weights are drawn: they change what is found, not how long the network takes. At its score
    threshold few boxes come out, so that its decoding is quicker than in use.
    """
    import open3d
    import open3d.ml as o3dml
    import open3d.ml.torch as ml3d
    import torch

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    torch.manual_seed(0)
    settings = Path(open3d.__file__).parent / "_ml3d" / "configs" / "pointpillars_kitti.yml"
    config = o3dml.utils.Config.load_from_file(str(settings))
    about = {**config.model, "device": "cpu"}
    about.pop("ckpt_path", None)
    model = ml3d.models.PointPillars(**about).eval()

    class _Inputs:
        calib = (None,)

    def run(points: Any) -> tuple[dict[str, float], int]:
        clock = _Clock()
        with torch.no_grad():
            cropped = model.preprocess({"point": points, "calib": None}, {"split": "test"})
            fed = torch.from_numpy(cropped["point"])
            voxels, counts, places = model.voxelize([fed])
            clock.lap("encode")
            image = model.middle_encoder(model.voxel_encoder(voxels, counts, places), places, 1)
            maps = model.bbox_head(model.neck(model.backbone(image)))
            clock.lap("network")
            boxes = model.inference_end(maps, _Inputs)[0]
            clock.lap("decode")
        return clock.stages, len(boxes)

    facts = {
        "name": f"Open3D-ML {open3d.__version__} PointPillars, KITTI settings, drawn weights",
        "precision": "f32",
        "libraries": {"torch": torch.__version__, "open3d": open3d.__version__},
        "parameters": sum(each.numel() for each in model.parameters()),
        "threads": torch.get_num_threads(),
        "range": list(config.model["point_cloud_range"]),
    }
    return facts, run


def spconv_voxels(options: dict[str, Any]) -> tuple[dict[str, Any], Run]:
    """The voxel generator of spconv on the CPU, over kd3d's own grid: pillars of one cell."""
    import torch
    from spconv.pytorch.cppcore import torch_tensor_to_tv
    from spconv.utils import Point2VoxelCPU3d

    low, high = options["range"][:3], options["range"][3:]
    generator = Point2VoxelCPU3d(
        [options["cell"], options["cell"], high[2] - low[2]],
        [*low, *high],
        4,
        _MAX_PILLARS,
        _MAX_POINTS,
    )

    def run(points: Any) -> tuple[dict[str, float], int]:
        clock = _Clock()
        # By way of torch, because cumm's own view of NumPy arrays fails with NumPy 2.
        fed = torch_tensor_to_tv(torch.from_numpy(points))
        _, places, _ = generator.point_to_voxel(fed)
        clock.lap("encode")
        return clock.stages, int(places.shape[0])

    found = _versions("spconv", "spconv-cu120", "spconv-cu121", "spconv-cu124", "spconv-cu126")
    facts = {
        "name": f"spconv {next(iter(found.values()), '')} voxel generator (CPU)",
        "precision": "f32",
        "libraries": found,
        "parameters": 0,
        "threads": 1,
        "range": options["range"],
    }
    return facts, run


def mmdet3d_pointpillars(options: dict[str, Any]) -> tuple[dict[str, Any], Run]:
    """PointPillars of MMDetection3D with its own KITTI settings, through its own `apis`."""
    import mmcv.ops  # noqa: F401  (compiled; mmcv-lite has none)
    import mmdet3d
    import torch
    from mmdet3d.apis import inference_detector
    from mmdet3d.apis import init_model

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    folder = Path(mmdet3d.__file__).parent / ".mim" / "configs" / "pointpillars"
    settings = folder / "pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
    model = init_model(str(settings), device="cpu")

    def run(points: Any) -> tuple[dict[str, float], int]:
        clock = _Clock()
        found, _ = inference_detector(model, points)
        clock.lap("whole")
        return clock.stages, len(found.pred_instances_3d.scores_3d)

    facts = {
        "name": f"MMDetection3D {mmdet3d.__version__} PointPillars, KITTI settings, drawn weights",
        "precision": "f32",
        "libraries": {"torch": torch.__version__, "mmdet3d": mmdet3d.__version__},
        "parameters": sum(each.numel() for each in model.parameters()),
        "threads": torch.get_num_threads(),
        "range": [0, -39.68, -3, 69.12, 39.68, 1],
    }
    return facts, run


PEERS = {
    "open3d-pointpillars": open3d_pointpillars,
    "spconv-voxels": spconv_voxels,
    "mmdet3d": mmdet3d_pointpillars,
}


def _versions(*names: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _resident_mb() -> float | None:
    """Memory of this process [MB], where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _turn(run: Run, clouds: list[Any], numbers: list[int]) -> list[dict[str, Any]]:
    """The clouds of a turn, timed but for the first."""
    run(clouds[numbers[0]])
    passes = []
    for number in numbers[1:]:
        cpu, start = time.process_time(), time.perf_counter()
        stages, count = run(clouds[number])
        total = 1e3 * (time.perf_counter() - start)
        used = 1e3 * (time.process_time() - cpu)
        passes.append({"stages": {**stages, "total": total}, "cpu_ms": used, "boxes": count})
    return passes


def main(arguments: list[str]) -> None:
    """Say what can run, then run what is asked for until standard input ends."""
    name, folder, options = arguments[0], Path(arguments[1]), json.loads(arguments[2])
    # Libraries print what they like; the answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    count = len(list(folder.glob("*.npy")))
    clouds = [np.load(folder / f"{i}.npy") for i in range(count)]
    try:
        facts, run = PEERS[name](options)
        for cloud in clouds[:2]:
            run(cloud)
    # Whatever keeps a peer from running is told, and the others run on without it.
    except Exception as error:
        answer({"absent": f"{type(error).__name__}: {error}"})
        return
    answer(facts)
    for line in sys.stdin:
        passes = _turn(run, clouds, json.loads(line))
        answer({"passes": passes, "rss_mb": _resident_mb()})


if __name__ == "__main__":
    main(sys.argv[1:])
