"""Loading a model: at configuration, and beside the running one."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from kd3d_core.datasets import pointcloud2
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends import choice_cache
from kd3d_core.runtime.backends.base import PRECISIONS
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.backends.tensorrt import TensorRtBackend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.cropping import load_crops
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.detector import Detector
from kd3d_ros.detector import engine_cache
from kd3d_ros.detector.model_view import ModelView
from kd3d_ros.detector.settings import DetectorSettings


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A detector that has run once.

    Attributes:
        detector: Loaded and warm.
        bundle: What it was made from.
        engine: How its compiled network came about, in words.
        notes: What the user should know, such as a cache that cannot be used.
        crops: The same for smaller ranges, from the largest to the smallest; None while no
            latency budget has asked for them.
    """

    detector: Detector
    bundle: Bundle
    engine: str
    notes: tuple[str, ...] = ()
    crops: tuple[Detector, ...] | None = None

    @property
    def extents(self) -> tuple[Detector, ...]:
        """The detectors of all ranges, from the whole one to the smallest."""
        return (self.detector, *(self.crops or ()))

    def lacks_crops(self, settings: DetectorSettings) -> bool:
        """Whether the settings want smaller ranges and nobody has tried to make them."""
        return settings.latency_budget_ms > 0 and self.crops is None


def load_model(settings: DetectorSettings) -> LoadedModel:
    """Read, compile and warm up what the settings name.

    Raises:
        Kd3dError: The bundle cannot be read or run, or the settings do not fit its classes.
    """
    given = Path(settings.model).expanduser() if settings.model else None
    path = bundle_path(given, settings.backend)
    bundle = read_bundle(path)
    slot = engine_cache.open_slot(
        settings.engine_cache,
        settings.backend,
        bundle.manifest.onnx_sha256,
        renew=settings.force_engine_update,
    )
    if settings.force_engine_update:
        choice_cache.forget(bundle.onnx)
    start = time.monotonic()
    backend = make_backend(
        settings.backend,
        bundle.onnx,
        threads=settings.threads or None,
        precision=settings.precision,
        cache_dir=None if slot.folder is None else str(slot.folder),
        largest=bundle.manifest.largest,
    )
    detector = Detector(bundle, backend, str(path))
    ModelView.make(detector, settings)  # refuses settings that do not fit
    detector.warm_up()
    pointcloud2.warm_up()
    took = time.monotonic() - start
    on_gpu = isinstance(backend, TensorRtBackend)
    cached = backend.cached if on_gpu else slot.filled
    engine = f"{'from the cache' if cached else 'compiled'}, warm after {took:.1f} s"
    notes = (slot.note, backend.note if on_gpu else "", engine_cache.seal(slot))
    loaded = LoadedModel(detector, bundle, engine, tuple(filter(None, notes)))
    return with_crops(loaded, settings) if loaded.lacks_crops(settings) else loaded


def with_crops(loaded: LoadedModel, settings: DetectorSettings) -> LoadedModel:
    """The model with its smaller ranges as well, compiled and warm; takes as long as loading it.

    Args:
        loaded: Without them.
        settings: That it was loaded with.
    """
    manifest, backend = loaded.bundle.manifest, loaded.detector.backend
    # What "auto" has chosen for the whole network is right for its parts.
    chosen = backend.precision in PRECISIONS
    precision = backend.precision if chosen else settings.precision
    # In the folder of the whole network: libraries tell the graphs apart by themselves.
    slot = engine_cache.open_slot(settings.engine_cache, backend.name, manifest.onnx_sha256)
    made = load_crops(
        loaded.detector,
        loaded.bundle,
        lambda onnx: make_backend(
            backend.name,
            onnx,
            threads=settings.threads or None,
            precision=precision,
            cache_dir=None if slot.folder is None else str(slot.folder),
            largest=manifest.largest,
        ),
    )
    notes = (*loaded.notes, *made.notes, engine_cache.seal(slot))
    return replace(loaded, notes=tuple(filter(None, notes)), crops=made.detectors)


class ModelLoader:
    """Loads one model at a time in a thread, while the present one goes on."""

    def __init__(self) -> None:
        """Nothing is loading."""
        self._thread: threading.Thread | None = None
        self._abandoned = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a model is being loaded."""
        return self._thread is not None and self._thread.is_alive()

    def start(
        self, load: Callable[[], LoadedModel], done: Callable[[LoadedModel | Exception], None]
    ) -> None:
        """Start loading; must not be called while busy.

        Args:
            load: Called in the thread; gives the model.
            done: Called in the thread with the model, or with what went wrong.
        """

        def work() -> None:
            try:
                result: LoadedModel | Exception = load()
            # Whatever a broken model makes a library raise, the running one must not end by it.
            except Exception as error:
                result = error
            if not abandoned.is_set():
                done(result)

        abandoned = self._abandoned = threading.Event()
        self._thread = threading.Thread(target=work, name="model_loader", daemon=True)
        self._thread.start()

    def join(self, timeout: float = 60.0, *, abandon: bool = False) -> bool:
        """Wait for a load to end, since no library lets itself be interrupted.

        Args:
            timeout: How long [s].
            abandon: Do not call `done` any more.

        Returns:
            False when it is still under way.
        """
        if abandon:
            self._abandoned.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()


def reason(error: Exception) -> str:
    """What went wrong, for the user."""
    return str(error) if isinstance(error, Kd3dError) else f"{type(error).__name__}: {error}"
