"""One cell on several devices: `python -m kd3d_core.arena FOLDER`, which Lightning runs again."""

import sys
from pathlib import Path

from kd3d_core.arena.work import work

if __name__ == "__main__":
    work(Path(sys.argv[1]))
