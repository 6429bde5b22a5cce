"""kd3d against what else can be installed, on the same clouds in the same run.

    .venv/bin/python benchmarks/peers.py --data FOLDER_OF_CLOUDS

makes an environment for Open3D-ML inside the project's own (the first time), because its
requirements are not wanted there, runs `kd3d_core bench --against ...` and writes
benchmarks/results/peers.json and docs/images/peers.png. Run it on a machine that does nothing
else.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Pinned, so that a later run measures the same. What `open3d-cpu[ml]` names beside these is for
#: notebooks, or lent by the project's environment, as PyTorch is in the version it wants.
PACKAGES = (
    "open3d-cpu==0.20.0",
    "addict==2.4.0",
    "configargparse==1.9.0",
    "dash==4.4.1",
    "flask==3.1.3",
    "nbformat==5.11.1",
    "plotly==7.1.0",
    "werkzeug==3.1.9",
)
PEERS = ("open3d-pointpillars", "spconv-voxels", "mmdet3d")


def peer_python(folder: Path) -> Path:
    """The interpreter of the peers' environment, made where there is none.

    Args:
        folder: For the environment.
    """
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site = next(folder.glob("lib/python3*/site-packages"))
        lent = Path(sys.prefix) / "lib" / site.parent.name / "site-packages"
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        # Before the other packages can be seen, so that pip judges by what it installs itself.
        subprocess.run([*pip, *PACKAGES[1:]], check=True)
        subprocess.run([*pip, "--no-deps", PACKAGES[0]], check=True)
        (site / "zz_project.pth").write_text(f"{lent}\n")
        ready.touch()
    return python


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="clouds; synthetic ones without it")
    parser.add_argument("--model", type=Path, help="bundle; the shipped one without it")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--peer-frames", type=int, default=30)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--environment", type=Path, default=Path(sys.prefix) / "peers")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "peers.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "images" / "peers.png")
    options = parser.parse_args()
    command = [sys.executable, "-m", "kd3d_core.cli.main", "bench"]
    command += [str(options.model)] if options.model else []
    command += ["--data", str(options.data)] if options.data else ["--synthetic"]
    command += ["--threads", str(options.threads)] if options.threads else []
    command += ["--backend", "auto", "--backend", "openvino", "--backend", "onnxruntime"]
    for peer in PEERS:
        command += ["--against", peer]
    command += ["--peer-python", str(peer_python(options.environment))]
    command += ["--frames", str(options.frames), "--peer-frames", str(options.peer_frames)]
    command += ["--out", str(options.out), "--plot", str(options.plot)]
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
