"""Which room may import which: the table of docs/architecture.md, held by a test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Modules of kd3d_core that every room may import.
FOUNDATION = {"errors", "config", "files", ""}

ALLOWED = {
    "geometry": set(),
    "pointcloud": {"geometry"},
    "frame": {"geometry", "pointcloud"},
    "ground": {"geometry", "pointcloud"},
    "codec": {"geometry", "pointcloud"},
    "simulation": {"geometry", "pointcloud", "frame"},
    "datasets": {"geometry", "pointcloud", "frame", "simulation"},
    "models": {"geometry", "codec"},
    "distillation": {"geometry", "codec", "models"},
    "evaluation": {"geometry", "pointcloud", "frame", "datasets"},
    "training": {
        "geometry",
        "pointcloud",
        "frame",
        "ground",
        "codec",
        "datasets",
        "models",
        "distillation",
        "evaluation",
    },
    "runtime": {"geometry", "pointcloud", "ground", "codec"},
    "deployment": {
        "geometry",
        "pointcloud",
        "frame",
        "codec",
        "datasets",
        "models",
        "evaluation",
        "training",
        "runtime",
    },
    "visualization": {"geometry", "pointcloud"},
    "replay": {
        "geometry",
        "pointcloud",
        "frame",
        "codec",
        "datasets",
        "evaluation",
        "runtime",
        "visualization",
    },
    "inspection": {
        "geometry",
        "pointcloud",
        "frame",
        "ground",
        "datasets",
        "evaluation",
        "visualization",
        "replay",
    },
    "adaptation": {
        "geometry",
        "pointcloud",
        "frame",
        "ground",
        "codec",
        "datasets",
        "models",
        "distillation",
        "evaluation",
        "training",
        "runtime",
        "deployment",
        "replay",
        "inspection",
    },
    "arena": {
        "geometry",
        "pointcloud",
        "frame",
        "codec",
        "datasets",
        "models",
        "distillation",
        "evaluation",
        "training",
        "replay",
    },
}
#: Rooms that run without training: these packages must not appear there, at any depth of a file.
NO_TORCH = (
    "geometry",
    "codec",
    "pointcloud",
    "frame",
    "ground",
    "runtime",
    "simulation",
    "datasets",
    "evaluation",
    "replay",
    "inspection",
)
ROS_PACKAGES = {"rclpy", "sensor_msgs", "vision_msgs", "std_msgs", "launch", "launch_ros"}


def imports(path: Path) -> set[str]:
    """Every module name that `path` imports, anywhere in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "kd3d_core":
                found |= {f"kd3d_core.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> str | None:
    """The room of kd3d_core that a module name lies in, or None for other packages."""
    parts = module.split(".")
    return None if parts[0] != "kd3d_core" else (parts[1] if len(parts) > 1 else "")


CORE_FILES = sorted((ROOT / "kd3d_core").rglob("*.py"))


def test_core_has_no_unknown_room():
    rooms = {p.relative_to(ROOT / "kd3d_core").parts[0].removesuffix(".py") for p in CORE_FILES}
    assert rooms == set(ALLOWED) | {"cli", "errors", "config", "files", "__init__"}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_room_imports_only_what_it_may(room):
    for path in CORE_FILES:
        if path.relative_to(ROOT / "kd3d_core").parts[0].removesuffix(".py") != room:
            continue
        for module in imports(path):
            target = room_of(module)
            if target is not None and target not in FOUNDATION | {room}:
                assert target in ALLOWED[room], f"{path.relative_to(ROOT)} imports {module}"
            if room in NO_TORCH:
                assert module.split(".")[0] not in {"torch", "lightning"}, f"{path} imports torch"


def test_core_never_imports_ros():
    for path in CORE_FILES:
        packages = {module.split(".")[0] for module in imports(path)}
        assert not packages & (ROS_PACKAGES | {"kd3d_ros"}), path


def test_nodes_import_only_what_a_robot_has():
    allowed = FOUNDATION | {
        "geometry",
        "pointcloud",
        "frame",
        "ground",
        "codec",
        "runtime",
        "evaluation",
        "datasets",
        "simulation",
        "visualization",
    }
    for path in sorted((ROOT / "kd3d_ros").rglob("*.py")):
        for module in imports(path):
            target = room_of(module)
            assert target is None or target in allowed, f"{path.name} imports {module}"
            assert module.split(".")[0] != "torch", path
