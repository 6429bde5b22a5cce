"""How many frames a second the training loader gives, and how long a training step waits for it.

    python benchmarks/loader.py

Simulated drives are fed as they are (one sweep, the teacher preset) and in nuScenes' layout (ten
sweeps, CBGS, config/train/nuscenes_centerpoint_pillar.yaml), with pasted objects and augmentation.
"read", "change" and "encode" are the milliseconds of a frame in one process: decoding and joining
sweeps; pasting and augmenting; input and targets. "waiting" is the share of the training steps of
the preset given by --model in which the next batch was not there yet.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from kd3d_core.datasets.converting import convert_dataset
from kd3d_core.datasets.generate import generate
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.models.anchor_losses import detection_loss
from kd3d_core.models.detector import build_detector
from kd3d_core.models.losses import LossWeights
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.data import FrameModule
from kd3d_core.training.launch import prepare
from kd3d_core.training.sources import open_sampler
from kd3d_core.training.sources import open_sources

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the data, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="simulated data set; without it one is made")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 16])
    parser.add_argument("--model", default="tiny", help="preset whose steps are timed")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, Any] = {"cores": cores, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        for layout, config in configs(Path(name), options.data).items():
            figures[layout] = measure(config, options, cores)
    print(json.dumps(figures, indent=2))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def configs(root: Path, data: Path | None) -> dict[str, TrainConfig]:
    """The two runs that are fed."""
    if data is None:
        data = root / "simulated"
        drives = SimulationConfig(
            drives=2, frames_per_drive=12, interval=0.1, sensors=("hdl32e",), seed=3
        )
        generate(data, drives)
    convert_dataset(SimulatedDataset(data), root / "nuscenes", "nuscenes")
    published = ROOT / "config" / "train" / "nuscenes_centerpoint_pillar.yaml"
    nuscenes = prepare(published, data=root / "nuscenes", out=root / "run", max_steps=10**6)
    plain = TrainConfig(
        model="teacher", data=DataConfig(train=data), out=root / "run", max_steps=10**6
    )
    without = {"data": nuscenes.data.model_copy(update={"val": None})}
    return {"simulated": plain, "nuscenes": nuscenes.model_copy(update=without)}


def measure(config: TrainConfig, options: argparse.Namespace, cores: int) -> dict[str, Any]:
    """Figures of one run."""
    console = Console(quiet=True)
    model = config.model_config_resolved()
    sources = open_sources(config, console)
    sampler = open_sampler(config, sources, console)

    def feed(workers: int, fed: Any = model) -> FrameModule:
        data = config.data.model_copy(update={"workers": workers})
        run = config.model_copy(update={"data": data})
        return FrameModule(run, fed, sources.main, None, None, sampler, None, sources.balance)

    figures: dict[str, Any] = {"model": model.name, **stages(feed(0), options.seconds)}
    for workers in options.workers:
        if workers <= cores:
            batches = iter(feed(workers).train_dataloader())
            figures[f"frames/s, {workers} workers"] = rate(batches, config, options.seconds)
    timed = prepare_model(options.model, model.classes)
    workers = min(max(options.workers), cores)
    batches = iter(feed(workers, timed).train_dataloader())
    figures[f"waiting, {options.model}, {workers} workers"] = waiting(
        batches, timed, options.seconds
    )
    return figures


def prepare_model(name: str, classes: tuple[str, ...]) -> Any:
    """A preset with the classes of the data."""
    config = TrainConfig(model=name).model_config_resolved()
    return config.model_copy(update={"classes": classes})


def stages(module: FrameModule, seconds: float) -> dict[str, float]:
    """Milliseconds of each stage of a frame in one process."""
    samples, spent, frames = module.samples, np.zeros(3), 0
    samples[0]  # compiles
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        times = [time.perf_counter()]
        samples.labelled[frames]
        times.append(time.perf_counter())
        frame = samples.frame(frames)
        times.append(time.perf_counter())
        samples._encode(frame)
        times.append(time.perf_counter())
        spent += np.diff(times)
        frames += 1
    read, both, encode = 1e3 * spent / frames
    return {"read ms": read, "change ms": both - read, "encode ms": encode}


def rate(batches: Iterator[Any], config: TrainConfig, seconds: float) -> float:
    """Frames a second, after the workers have started and filled their queue."""
    for _ in range(4):
        next(batches)
    start, frames = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        frames += next(batches).inputs.size
    return frames / (time.perf_counter() - start)


def waiting(batches: Iterator[Any], model: Any, seconds: float) -> float:
    """Share of the time of training steps in which they wait for a batch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_detector(model).to(device)
    criterion = detection_loss(model, LossWeights())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    waited = start = 0.0
    for step in itertools.count():
        asked = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        if step == 3:  # the first steps compile, and find the queue full
            start, waited = asked, 0.0
        waited += got - asked
        moved = batch.to(device)
        loss = torch.stack(list(criterion(network(moved.inputs).outputs, moved.targets).values()))
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if step > 5 and time.perf_counter() - start > seconds:
            break
    return waited / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
