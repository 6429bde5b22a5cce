"""Run by torchrun: a short training on two processes that notes what each of them saw."""

import sys
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from test_training_run import toy_config
from toy_frames import ToyDataset

from kd3d_core.training.module import DetectionModule
from kd3d_core.training.run import train


class Noting(ToyDataset):
    """Notes which frames were asked for."""

    seen: list[int]

    def __init__(self, count):
        super().__init__(count)
        self.seen = []

    def __getitem__(self, index):
        self.seen.append(index)
        return super().__getitem__(index)


def main(out: Path) -> None:
    """Train three steps and leave what this rank saw and learned."""
    frames = Noting(24)

    def note(module):
        weights = {name: value.clone() for name, value in module.detector.named_parameters()}
        torch.save({"seen": frames.seen, "weights": weights}, out / f"rank{module.global_rank}.pt")

    DetectionModule.on_train_end = note
    train(toy_config(out / "run", 3, devices=2), train_frames=frames, console=Console(quiet=True))


main(Path(sys.argv[1]))
