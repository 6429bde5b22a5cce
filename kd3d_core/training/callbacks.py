"""Callbacks: the averaged weights, and lines that say how training goes."""

import time
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor


class EmaCallback(WeightAveraging):
    """Exponential moving average of weights and batch statistics, with a warm-up.

    The average follows quickly at first, as min(decay, (1 + n) / (10 + n)) after n updates: a
    short training must not be an average over its own beginning.

    Args:
        decay: Share of the old average that stays at each update, after the warm-up.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        super().__init__(multi_avg_fn=self._update)

    @torch.no_grad()
    def _update(
        self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int
    ) -> None:
        """Move the averaged tensors towards the current ones; counters are copied."""
        taken = int(count)
        weight = 1 - min(self.decay, (1 + taken) / (10 + taken))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), weight)
        else:
            torch._foreach_copy_(list(averaged), list(current))


class ReportCallback(lightning.Callback):
    """Prints a line each so many steps, which also reads well in a log file.

    Args:
        interval: Steps between lines.
        console: Where to print.
    """

    def __init__(self, interval: int, console: Console) -> None:
        self.interval = interval
        self.console = console
        self._since = time.monotonic()
        self._steps = 0

    def on_train_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Start the clock."""
        self._since, self._steps = time.monotonic(), trainer.global_step

    @rank_zero_only
    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Say the losses and the time a step takes."""
        step = trainer.global_step
        if step % self.interval or step == self._steps:
            return
        now = time.monotonic()
        each = 1000 * (now - self._since) / (step - self._steps)
        self._since, self._steps = now, step
        terms = {
            name.removeprefix("train/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/")
        }
        text = "  ".join(f"{name} {value:.3f}" for name, value in terms.items())
        self.console.print(f"step {step}/{trainer.max_steps}  {each:.0f} ms  {text}")
