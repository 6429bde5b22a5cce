"""Two processes train one model."""

import os
import subprocess
import sys
from pathlib import Path

import torch


def test_two_processes_share_the_frames_and_end_alike(tmp_path):
    script = Path(__file__).with_name("ddp_run.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), str(tmp_path)]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{i}.pt", weights_only=True) for i in range(2))
    # Three steps of four frames on each of two ranks are one time round 24 frames.
    assert sorted(first["seen"] + second["seen"]) == list(range(24))
    assert len(first["seen"]) == len(second["seen"]) == 12
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    assert (tmp_path / "run" / "model.ckpt").is_file()
