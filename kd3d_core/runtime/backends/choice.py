"""What `auto` runs: the fastest backend that says what the graph says, measured on this machine.

The first load of a graph runs it a few times on each backend and remembers which was best; later
loads read that and measure nothing.
"""

import importlib.util
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.base import BACKENDS
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.backends.choice_cache import choice_path
from kd3d_core.runtime.backends.choice_cache import recall
from kd3d_core.runtime.backends.choice_cache import remember
from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend

#: Makes the backend of a name for an arithmetic.
Maker = Callable[[str, str], Backend]

_LOG = logging.getLogger(__name__)
#: Timed passes of each backend; the least counts, which a busy machine disturbs least.
_PASSES = 3
#: No further pass begins after this [s]: nobody waits for a robot that starts to measure.
_PATIENCE = 1.0
#: A backend later in `BACKENDS` must be faster than an earlier one by this factor, and not take
#: more CPU time than this one: otherwise chance, or what else the machine does at that moment,
#: would choose between equals.
_CLEARLY, _NO_MORE = 1.1, 1.02
#: Largest difference of a map in float32, over 1 + its largest value. `deployment.parity` allows
#: the export as much.
_EXACT = 1e-3
#: Largest RMS difference of a map in a coarser arithmetic, over its standard deviation. Rounding
#: leaves a few hundredths, arithmetic that overflows (int8 on CPUs without VNNI) more than 1.
_COARSE = 0.1
#: Rows of inputs with a free size, such as pillars.
_ROWS = 2000


@dataclass(frozen=True)
class _Candidate:
    """A backend that was tried.

    Attributes:
        backend: Built.
        off: How far its maps are from those of the reference, over what is allowed.
        milliseconds: The least wall time of a pass.
        cpu: The least CPU time of a pass, all threads [ms].
    """

    backend: Backend
    off: float
    milliseconds: float
    cpu: float

    @property
    def name(self) -> str:
        """The backend and its arithmetic."""
        return f"{self.backend.name} {self.backend.precision}"


def choose(onnx: bytes, threads: int | None, precision: str, make: Maker) -> Backend:
    """The backend that `auto` stands for, with its `reason` set.

    Args:
        onnx: The serialised graph.
        threads: CPU threads; None leaves it to the backend.
        precision: "f32" and "bf16" name the arithmetic; "auto" also tries what OpenVINO likes
            best on this CPU, bf16 where there is such arithmetic.
        make: Builds a backend by name and precision.

    Raises:
        Kd3dError: No backend is installed, none can run the graph, or none gives its results.
    """
    wanted = _wanted(precision)
    if len(wanted) == 1:
        only = make(*wanted[0])
        return _explained(only, f"auto: {only.name} {only.precision} is all there is to choose")
    path = choice_path(onnx, threads, precision)
    known = recall(path, wanted)
    if known is not None:
        name, arithmetic, reason = known
        return _explained(make(name, arithmetic), reason)
    tried, faults = _try(onnx, wanted, make)
    best = _best(tried, faults)
    reason = _reason(best, tried, faults)
    _LOG.info("%s", reason)
    arithmetic = next(a for (n, a), c in tried.items() if c is best)
    remember(path, best.backend.name, arithmetic, reason)
    return _explained(best.backend, reason)


def _wanted(precision: str) -> list[tuple[str, str]]:
    """Names and precisions of the backends that are worth a try.

    Raises:
        Kd3dError: No backend is installed.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise Kd3dError(
            "neither OpenVINO nor ONNX Runtime is installed: pip install 'kd3d_ros[cpu]'."
        )
    if precision == "bf16":
        return [("openvino", "bf16")]
    wanted = [(name, "f32") for name in installed]
    if precision == "auto" and "openvino" in installed and _has_bf16():
        wanted.insert(0, ("openvino", "bf16"))
    return wanted


def _has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this CPU."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _try(
    onnx: bytes, wanted: Sequence[tuple[str, str]], make: Maker
) -> tuple[dict[tuple[str, str], _Candidate], list[str]]:
    """Build the backends, hold their maps against the reference, time them in turns.

    Returns:
        What could be built, and why the rest could not.

    Raises:
        Kd3dError: None can run the graph.
    """
    built: dict[tuple[str, str], Backend] = {}
    faults: list[str] = []
    for each in wanted:
        try:
            built[each] = make(*each)
        except Kd3dError as error:
            faults.append(str(error))
    if not built:
        raise Kd3dError(faults[0])
    probe = _probe(next(iter(built.values())))
    truth = _reference(onnx, built).run(probe)
    off = {
        each: _off(truth, backend.run(probe), coarse=_is_coarse(onnx, backend))
        for each, backend in built.items()
    }
    walls: dict[tuple[str, str], list[float]] = {each: [] for each in built}
    cpus: dict[tuple[str, str], list[float]] = {each: [] for each in built}
    end = time.monotonic() + _PATIENCE
    for number in range(_PASSES):
        if number and time.monotonic() > end:
            break
        for each, backend in built.items():
            cpu, start = time.process_time(), time.perf_counter()
            backend.run(probe)
            walls[each].append(1e3 * (time.perf_counter() - start))
            cpus[each].append(1e3 * (time.process_time() - cpu))
    return {
        each: _Candidate(built[each], off[each], min(walls[each]), min(cpus[each]))
        for each in built
    }, faults


def _best(tried: dict[tuple[str, str], _Candidate], faults: Sequence[str]) -> _Candidate:
    """The fastest of those that agree with the reference; the earlier of two that are near.

    Raises:
        Kd3dError: None agrees.
    """
    right = [each for each in tried.values() if each.off <= 1]
    if not right:
        figures = ", ".join(f"{c.name} {c.off:.1f} times what is allowed" for c in tried.values())
        raise Kd3dError(
            f"backend auto: no backend gives the results of the graph on this machine ({figures}"
            f"{''.join(f'; {fault}' for fault in faults)}). Take a bundle in another precision, "
            "or name a backend to run it all the same."
        )
    best = right[0]
    for each in right[1:]:
        faster = _CLEARLY * each.milliseconds < best.milliseconds
        if faster and each.cpu <= _NO_MORE * best.cpu:
            best = each
    return best


def _reason(
    best: _Candidate, tried: dict[tuple[str, str], _Candidate], faults: Sequence[str]
) -> str:
    """Why it is the best, in words."""
    words = [f"auto: {best.name} takes {best.milliseconds:.1f} ms"]
    for each in tried.values():
        if each is not best:
            fit = "" if each.off <= 1 else ", and its results are wrong"
            words.append(f"{each.name} {each.milliseconds:.1f} ms{fit}")
    text = f"{words[0]}, {', '.join(words[1:])}" if words[1:] else words[0]
    text += f" (least of a few passes, results as the graph says, measured {date.today()})"
    return "; ".join([text, *faults])


def _reference(onnx: bytes, built: dict[tuple[str, str], Backend]) -> Backend:
    """What the graph says: ONNX Runtime operator by operator, without optimisations."""
    try:
        return OnnxRuntimeBackend(onnx, None, "f32", plain=True)
    except Kd3dError:  # not installed: float32 is the best there is
        return next((b for (_, a), b in built.items() if a == "f32"), next(iter(built.values())))


def _is_coarse(onnx: bytes, backend: Backend) -> bool:
    """Whether rounding alone makes a difference that can be seen."""
    # Graphs in fp16 cast their inputs; that in float32 some do, too, costs the check some rigour.
    return backend.precision != "f32" or b"QuantizeLinear" in onnx or b"Cast" in onnx


def _probe(backend: Backend) -> dict[str, NDArray[Any]]:
    """Something to run: like an image or pillars of a street, of which most is empty."""
    generator = np.random.default_rng(0)
    fed: dict[str, NDArray[Any]] = {}
    for name, shape in backend.inputs.items():
        sizes = tuple(_ROWS if size is None else size for size in shape)
        if len(sizes) == 1:  # the cells of pillars
            fed[name] = np.arange(sizes[0], dtype=np.int64)
            continue
        values = generator.random(sizes, np.float32)
        if len(sizes) == 4:
            values *= generator.random((sizes[0], 1, *sizes[2:])) < 0.1
        fed[name] = values
    return fed


def _off(wanted: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]], *, coarse: bool) -> float:
    """The largest difference of maps over what is allowed; above 1, or NaN, is too much."""
    worst = 0.0
    for one, other in zip(wanted, found, strict=True):
        if coarse:
            gap = float(np.sqrt(np.mean((one - other) ** 2)) / (one.std() + 1e-3)) / _COARSE
        else:
            gap = float(np.abs(one - other).max() / (1 + np.abs(one).max())) / _EXACT
        worst = max(worst, gap) if gap == gap else float("inf")
    return worst


def _explained(backend: Backend, reason: str) -> Backend:
    """The backend, which from now on says why it was taken."""
    backend.reason = reason
    return backend
