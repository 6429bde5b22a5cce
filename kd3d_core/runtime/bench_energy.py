"""Energy, where the device reports it: Intel and AMD processors, NVIDIA GPUs, Jetson boards.

What is read is the energy of a whole package or board, of all that runs on it: meaningful on a
machine that does nothing else.
"""

import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

#: Rails that feed a whole Jetson module, by generation.
_BOARD_RAILS = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")


class EnergyMeter:
    """Counts energy from the moment it is made."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        """Find what can be read.

        Args:
            root: Where sysfs is mounted.
        """
        self._sources = {**_powercap(root), **_nvml(), **_jetson(root)}
        self._first = self._now()

    @property
    def sources(self) -> tuple[str, ...]:
        """What is counted, such as "package-0"; empty where the device reports nothing."""
        return tuple(self._sources)

    def read(self) -> dict[str, float]:
        """Energy by source since the meter was made [J]."""
        return {name: value - self._first[name] for name, value in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: source() for name, source in self._sources.items()}


class _Counter:
    """A counter in microjoules that begins again at 0 when it is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._range = int((path.parent / "max_energy_range_uj").read_text(encoding="ascii"))
        self._last = self._raw()
        self._turns = 0

    def __call__(self) -> float:
        """Joules, rising for ever."""
        now = self._raw()
        self._turns += now < self._last
        self._last = now
        return 1e-6 * (now + self._turns * self._range)

    def _raw(self) -> int:
        return int(self._path.read_text(encoding="ascii"))


class _Power:
    """A power gauge, added up between readings."""

    def __init__(self, watts: Callable[[], float]) -> None:
        self._watts = watts
        self._joules = 0.0
        self._before = watts(), time.monotonic()

    def __call__(self) -> float:
        """Joules since the first reading, by the trapezoid rule."""
        power, moment = self._watts(), time.monotonic()
        before, earlier = self._before
        self._joules += 0.5 * (power + before) * (moment - earlier)
        self._before = power, moment
        return self._joules


def _powercap(root: Path) -> dict[str, Callable[[], float]]:
    """RAPL of processor packages (Intel, and AMD since Zen), which by default root alone reads."""
    found: dict[str, Callable[[], float]] = {}
    # Zones with one colon are packages; those with two are parts of them.
    for zone in sorted(root.glob("class/powercap/intel-rapl:[0-9]*")):
        if zone.name.count(":") == 1:
            try:
                name = (zone / "name").read_text(encoding="ascii").strip()
                found[name] = _Counter(zone / "energy_uj")
            except (OSError, ValueError):
                continue  # not for this user: as good as absent
    return found


def _nvml() -> dict[str, Callable[[], float]]:
    """The counters of NVIDIA GPUs (Volta and later), with the package nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return {}
    found: dict[str, Callable[[], float]] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)

        def joules(handle: object = handle) -> float:
            return 1e-3 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

        try:
            joules()
        except pynvml.NVMLError:
            continue
        found[f"gpu-{index}"] = joules
    return found


def _jetson(root: Path) -> dict[str, Callable[[], float]]:
    """The input rail of a Jetson module, measured by its INA3221."""
    found: dict[str, Callable[[], float]] = {}
    for label in _labels(root):
        rail = label.read_text(encoding="ascii").strip()
        number = label.name.removeprefix("in").removesuffix("_label")
        volts = label.with_name(f"in{number}_input")
        amperes = label.with_name(f"curr{number}_input")
        if rail not in _BOARD_RAILS or not (volts.is_file() and amperes.is_file()):
            continue

        def watts(volts: Path = volts, amperes: Path = amperes) -> float:
            # In millivolts and milliamperes.
            return 1e-6 * float(volts.read_text()) * float(amperes.read_text())

        found[rail] = _Power(watts)
    return found


def _labels(root: Path) -> Iterator[Path]:
    """The names of the rails that INA3221 gauges measure."""
    for name in sorted(root.glob("class/hwmon/hwmon*/name")):
        if name.read_text(encoding="ascii").strip() == "ina3221":
            yield from sorted(name.parent.glob("in*_label"))
