"""The loop closed without a label: shadow, mine, distil, and shadow again on another drive.

Everything is done by the verbs of `kd3d_core`, each in a process of its own:

1. simulate the streets of a team's own data ("home"), frames for thresholds, and drives A and B
   through all kinds of streets, as bags
2. train a deliberately weak student: few sweeps of one kind of street, few steps
3. shadow it against the teacher on the bags of A, which mines the frames it is worst on
4. distil it on the mined frames; the labels of A are never read. For comparison the same student
   is trained on for as many steps on the data of home alone ("control")
5. shadow weak, control and distilled student on the bags of B, and score them on B's ground truth

Run it as `python benchmarks/shadow_loop.py TEACHER.ckpt`. What is done is not done again, so it
may be interrupted. It leaves `result.json` and one report a student in the output folder.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from kd3d_core.files import write_text

#: The area of the map that a training step looks at: half of it makes a step cost half.
CROP = {"x": [-51.2, 51.2], "y": [-25.6, 25.6]}
STUDENTS = ("weak", "control", "distilled")


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        home: Streets of the team's own data, of one kind, with four sweeps each.
        drives: Streets in A and in B each.
        sweeps: Of each of these drives, a second apart.
        held: Streets of the frames that thresholds are chosen with, with two sweeps each.
        weak_steps: Training steps of the weak student.
        steps: Of distillation, and of the control.
        mine: Frames to mine from A.
    """

    home: int
    drives: int
    sweeps: int
    held: int
    weak_steps: int
    steps: int
    mine: int


class Loop:
    """The steps, each skipped when what it makes is there."""

    def __init__(self, out: Path, teacher: Path, size: Size, options: argparse.Namespace) -> None:
        self.out = out
        self.teacher = teacher
        self.size = size
        self.options = options
        self.seconds: dict[str, float] = {}

    def run(self, name: str, made: Path | None, *arguments: str | Path) -> None:
        """Run a verb unless `made` exists; its output goes to the terminal."""
        if made is not None and made.exists():
            return
        start = time.monotonic()
        command = [sys.executable, "-m", "kd3d_core.cli.main", *map(str, arguments)]
        print(f"\n[{name}] kd3d_core {' '.join(command[3:])}", flush=True)
        subprocess.run(command, check=True)
        self.seconds[name] = round(time.monotonic() - start, 1)

    def simulate(self) -> None:
        """Home, the frames for thresholds, A and B."""
        size, seed = self.size, self.options.seed
        home = {"drives": size.home, "frames_per_drive": 4, "interval": 1.5, "seed": seed + 1}
        home["scene"] = {"street": self.options.home_street, "riders": 0.0, "driving": 0.3}
        held = {"drives": size.held, "frames_per_drive": 2, "interval": 2.0, "seed": seed + 2}
        away = {"drives": size.drives, "frames_per_drive": size.sweeps, "interval": 1.0}
        plans = {"home": home, "held": held, "a": away | {"seed": seed + 3}}
        plans["b"] = away | {"seed": seed + 4}
        for name, plan in plans.items():
            file = self.out / f"{name}.yaml"
            write_text(file, yaml.safe_dump(plan | {"sensors": [self.options.sensor]}))
            bags = ["--bag"] if name in ("a", "b") else []
            # The verb itself keeps what is there.
            more = ("--config", file, *bags)
            self.run(f"simulate {name}", None, "simulate", self.out / name, *more)

    def train(self, name: str, steps: int, lr: float, start: Path | None) -> None:
        """Train a student on home alone."""
        config = self.settings(steps, lr) | {"val_interval": steps}
        if start is not None:
            config["init"] = str(start)
        file = self.out / f"{name}.yaml"
        write_text(file, yaml.safe_dump(config))
        folder = self.out / name
        more = ("--config", file, "--data", self.out / "home", "--out", folder)
        self.run(f"train {name}", folder / "model.ckpt", "train", *more)

    def settings(self, steps: int, lr: float) -> dict[str, Any]:
        """What all trainings share."""
        return {
            "model": "tiny",
            "data": {"augment": {"rotation": 3.14159}, "crop": CROP},
            "optimizer": {"lr_max": lr, "warm_up": 0.2, "ema_decay": 0.99},
            "max_steps": steps,
            "threads": self.options.threads,
            "seed": self.options.seed,
        }

    def distil(self) -> None:
        """The weak student on the mined frames, beside home."""
        config = yaml.safe_load(Path(self.options.config).read_text(encoding="utf-8"))
        shared = self.settings(self.size.steps, config["optimizer"]["lr_max"])
        config["data"] |= shared.pop("data")
        file = self.out / "distilled.yaml"
        write_text(file, yaml.safe_dump(config | shared))
        folder = self.out / "distilled"
        self.run(
            "distil",
            folder / "model.ckpt",
            *("distill", "--bag", self.out / "shadow_a" / "mined", "--teacher", self.teacher),
            *("--student", self.checkpoint("weak"), "--config", file),
            *("--data", self.out / "home", "--out", folder),
        )

    def export(self, name: str, checkpoint: Path) -> None:
        """A bundle, its thresholds chosen on the same frames for all."""
        more = ("--calibrate", self.out / "held", "--name", name)
        made = self.bundle(name)
        self.run(f"export {name}", made, "export", checkpoint, made, *more)

    def shadow(self, name: str, drive: str, folder: str, mine: int) -> None:
        """Compare with the teacher on the bags of a drive."""
        made = self.out / folder
        self.run(
            folder,
            made / "agreement.json",
            *("shadow", self.bundle(name), self.bundle("teacher"), self.out / drive / "bags"),
            *("--out", made, "--mine", str(mine), "--min-gap", "0.5"),
            *("--threads", str(self.options.threads)),
        )

    def score(self, name: str) -> None:
        """Compare with the ground truth of B."""
        made = self.out / f"truth_{name}.json"
        more = ("--out", made, "--center-distance", "2.0")
        self.run(f"score {name}", made, "evaluate", self.bundle(name), self.out / "b", *more)

    def checkpoint(self, name: str) -> Path:
        """Of a student."""
        return self.out / name / "model.ckpt"

    def bundle(self, name: str) -> Path:
        """Of a student or the teacher."""
        return self.out / f"{name}.kd3d"

    def __call__(self) -> dict[str, Any]:
        """All steps; gives the result."""
        self.simulate()
        self.train("weak", self.size.weak_steps, 3e-3, None)
        self.export("weak", self.checkpoint("weak"))
        self.export("teacher", self.teacher)
        self.shadow("weak", "a", "shadow_a", self.size.mine)
        self.distil()
        tuned = yaml.safe_load((self.out / "distilled.yaml").read_text(encoding="utf-8"))
        lr = tuned["optimizer"]["lr_max"]
        self.train("control", self.size.steps, lr, self.checkpoint("weak"))
        for name in STUDENTS:
            if name != "weak":
                self.export(name, self.checkpoint(name))
            self.shadow(name, "b", f"shadow_b_{name}", 0)
        for name in (*STUDENTS, "teacher"):
            self.score(name)
        return self.result()

    def result(self) -> dict[str, Any]:
        """Agreement with the teacher and precision against the truth, on B."""
        agreement = {
            name: _read(self.out / f"shadow_b_{name}" / "agreement.json")["agreement"]
            for name in STUDENTS
        }
        truth = {
            name: _read(self.out / f"truth_{name}.json")["metrics"]["all"]
            for name in (*STUDENTS, "teacher")
        }
        return {
            "size": vars(self.size),
            "seed": self.options.seed,
            "mined": _read(self.out / "shadow_a" / "agreement.json")["mined"],
            "agreement": agreement,
            "truth": truth,
            "seconds": self.seconds,
        }


def _read(path: Path) -> Any:
    """JSON of a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def show(result: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    table = Table(title="Agreement with the teacher on drive B [%]: recall / precision / F1")
    table.add_column("class")
    for name in STUDENTS:
        table.add_column(name, justify="right")
    classes = ("all", *result["agreement"]["weak"]["classes"])
    for label in classes:
        cells = []
        for name in STUDENTS:
            found = result["agreement"][name]
            cell = found["total"] if label == "all" else found["by_class"][label]
            cells.append(" / ".join(_percent(cell[key]) for key in ("recall", "precision", "f1")))
        table.add_row(label, *cells)
    console.print(table)
    table = Table(title="Average precision against the truth of drive B [%], centres within 2 m")
    table.add_column("class")
    for name in result["truth"]:
        table.add_column(name, justify="right")
    for label in classes[1:]:
        aps = (entry.get(label, {}).get("ap") for entry in result["truth"].values())
        table.add_row(label, *map(_percent, aps))
    console.print(table)


def _percent(value: float | None) -> str:
    """A share in per cent."""
    return "-" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", type=Path, help="checkpoint with the range of the tiny preset")
    parser.add_argument("--out", type=Path, default=Path("runs/shadow_loop"))
    parser.add_argument("--config", default="config/distill/mined.yaml")
    parser.add_argument("--sensor", default="hdl64e")
    parser.add_argument("--home-street", default="residential")
    parser.add_argument("--seed", type=int, default=910000)
    parser.add_argument("--threads", type=int, default=2)
    defaults = Size(home=15, drives=10, sweeps=12, held=20, weak_steps=300, steps=400, mine=80)
    for name, value in vars(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    options = parser.parse_args()
    size = Size(**{name: getattr(options, name) for name in vars(defaults)})
    result = Loop(options.out, options.teacher, size, options)()
    write_text(options.out / "result.json", json.dumps(result, indent=2) + "\n")
    show(result, Console())


if __name__ == "__main__":
    main()
