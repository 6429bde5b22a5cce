"""`Detector`: a bundle in, boxes out. What the node, the command line and evaluation run."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core import ground
from kd3d_core.codec.bev_image import BevCanvas
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.inputs import NetworkInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.intensity import remap
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.backends.cuda_pipeline import PointBackend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import check_signature
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.levelling import ByCloud
from kd3d_core.runtime.levelling import Leveller
from kd3d_core.runtime.levelling import Levelling
from kd3d_core.runtime.levelling import Room
from kd3d_core.runtime.manifest import Manifest


@dataclass(frozen=True, eq=False)
class Detection:
    """The result for one cloud.

    A backend that takes the points to a GPU does all three stages there: they are then the way
    to the GPU, everything up to the boxes, and what is left to do with those.

    Attributes:
        boxes: In the cloud's frame, by falling score.
        preprocess_ms: Points to network input.
        inference_ms: The network.
        postprocess_ms: Maps to boxes.
        points_in_range: Points inside the grid.
        dropped_cells: Occupied cells beyond the input's limit; above 0, objects may be missed.
        levelling: Where the ground was taken to be, or None where the network takes clouds as
            they come.
    """

    boxes: Boxes3D
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    points_in_range: int
    dropped_cells: int
    levelling: Levelling | None = None

    @property
    def total_ms(self) -> float:
        """All three stages."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True, eq=False)
class _Pass:
    """What a backend made of one cloud: the fields of `Detection`, and when stages ended [s]."""

    boxes: Boxes3D
    points_in_range: int
    dropped_cells: int
    encoded: float
    inferred: float


class Detector:
    """Runs a bundle on clouds. Needs no torch.

    May be shared by threads: calls wait for each other, because a backend holds one set of
    buffers. For parallel work load one detector a thread.
    """

    def __init__(self, bundle: Bundle, backend: Backend, source: str = "bundle") -> None:
        """Join a bundle and the backend that was made from it; `load` does both.

        Raises:
            Kd3dError: The graph does not fit the manifest.
        """
        check_signature(bundle.manifest, backend.inputs, backend.outputs, source)
        self._manifest = bundle.manifest
        self._backend = backend
        self._decode = bundle.manifest.decode
        height = bundle.manifest.ground_height_m
        self._leveller: Leveller | None = None if height is None else ByCloud(height)
        self._room = Room()
        intensity = bundle.manifest.intensity.map
        self._intensity = None if intensity is None else intensity.table()
        self._source = source
        self._lock = threading.Lock()
        # Used under the lock: what is drawn lives until the network has seen it.
        about = bundle.manifest
        self._canvas = (
            BevCanvas(about.grid, about.input, channels_last=backend.channels_last)
            if isinstance(about.input, BevImageInput)
            else None
        )
        self._pipeline = (
            backend.point_pipeline(about) if isinstance(backend, PointBackend) else None
        )

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        backend: str = "auto",
        threads: int | None = None,
        *,
        precision: str = "f32",
        cache_dir: str | None = None,
    ) -> "Detector":
        """Read a bundle and compile its graph.

        Args:
            path: A `*.kd3d` file or the name of a shipped model (`bundle_path`); None takes the
                shipped student, in int8 for CPUs.
            backend: "auto", "openvino", "onnxruntime", "tensorrt" or "tensorrt-rtx"; see
                `make_backend`.
            threads: CPU threads for the network; None leaves it to the backend.
            precision: "f32", "bf16" or "auto"; see `make_backend`.
            cache_dir: Where OpenVINO and TensorRT keep compiled models.

        Raises:
            Kd3dError: The bundle cannot be read, or the backend cannot run it.
        """
        path = bundle_path(path, backend)
        bundle = read_bundle(path)
        runner = make_backend(
            backend,
            bundle.onnx,
            threads=threads,
            precision=precision,
            cache_dir=cache_dir,
            largest=bundle.manifest.largest,
        )
        return cls(bundle, runner, str(path))

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about its network."""
        return self._manifest

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return self._backend

    @property
    def source(self) -> str:
        """The path of the bundle."""
        return self._source

    @property
    def decode_config(self) -> DecodeConfig:
        """How maps become boxes: the manifest's settings, or those of `with_decode`."""
        return self._decode

    def with_decode(self, **changes: Any) -> "Detector":
        """The same network, other decoding settings, such as `score_threshold=0.3`.

        Both detectors share the backend and its lock.
        """
        other = object.__new__(Detector)
        other.__dict__.update(self.__dict__)
        other._decode = DecodeConfig.model_validate({**self._decode.model_dump(), **changes})
        return other

    @property
    def leveller(self) -> Leveller | None:
        """What says where the ground is: every cloud by itself, or that of `with_leveller`."""
        return self._leveller

    def with_leveller(self, leveller: Leveller | None) -> "Detector":
        """The same network, with another say about where the ground is.

        Args:
            leveller: Such as `leveller_for_stream`, which is cheaper and steadier than every cloud
                by itself; None takes clouds as they come.
        """
        other = object.__new__(Detector)
        other.__dict__.update(self.__dict__)
        other._leveller = leveller
        return other

    def warm_up(self) -> None:
        """Compile and run everything once, so that the first real cloud is as quick as any."""
        grid = self._manifest.grid
        generator = np.random.default_rng(0)
        low, high = np.array([grid.x, grid.y, grid.z, (0.0, 1.0)]).T
        # Without the leveller, whose memory is not to see this.
        bare = self.with_leveller(None)
        bare(PointCloud(generator.uniform(low, high, (2000, 4)).astype(np.float32)))
        if self._leveller is not None:
            ground.warm_up()

    def __call__(self, cloud: PointCloud) -> Detection:
        """Detect objects in one cloud.

        Args:
            cloud: In the sensor's frame (x forward, y left, z up).

        Returns:
            The boxes in the same frame, with the time each stage took.
        """
        with self._lock:
            start = time.perf_counter()
            points, lift, levelling = self._prepare(cloud)
            way = self._by_maps if self._pipeline is None else self._by_points
            made = way(points, cloud.time, lift)
            boxes = made.boxes if levelling is None else levelling.back(made.boxes)
            done = time.perf_counter()
        return Detection(
            boxes=boxes,
            preprocess_ms=1e3 * (made.encoded - start),
            inference_ms=1e3 * (made.inferred - made.encoded),
            postprocess_ms=1e3 * (done - made.inferred),
            points_in_range=made.points_in_range,
            dropped_cells=made.dropped_cells,
            levelling=levelling,
        )

    def raw_maps(
        self, cloud: PointCloud
    ) -> HeadMaps[NDArray[np.float32]] | AnchorMaps[NDArray[np.float32]]:
        """The network's output maps, (channels, rows, columns) float32, before decoding."""
        with self._lock:
            points, lift, _ = self._prepare(cloud)
            fed = self._encode(points, cloud.time, lift)
            outputs = self._backend.run(_batched(fed.arrays))
        anchored = isinstance(self._manifest.head, AnchorLayout)
        return (AnchorMaps if anchored else HeadMaps)(*(output[0] for output in outputs))

    def _prepare(self, cloud: PointCloud) -> tuple[NDArray[np.float32], float, Levelling | None]:
        """Points as the network knows them, how far they are yet to be raised [m], and why."""
        points, lift, levelling = cloud.points, 0.0, None
        if self._leveller is not None:
            levelling = self._leveller(cloud)
            points, lift = levelling.forth(points, self._room)
        if self._intensity is not None and cloud.has_intensity:
            points = remap(points, self._intensity)
        return points, lift, levelling

    def _by_maps(
        self, points: NDArray[np.float32], times: NDArray[np.float32] | None, lift: float
    ) -> _Pass:
        """Input and boxes by the codec, maps by the backend."""
        fed = self._encode(points, times, lift)
        arrays = _batched(fed.arrays)
        encoded = inferred = time.perf_counter()
        if fed.points_in_range == 0:  # nothing to see, and graphs dislike empty inputs
            boxes = Boxes3D.empty(self._manifest.classes)
        else:
            outputs = self._backend.run(arrays)
            inferred = time.perf_counter()
            boxes = self._boxes(outputs)
        return _Pass(boxes, fed.points_in_range, fed.dropped_cells, encoded, inferred)

    def _by_points(
        self, points: NDArray[np.float32], times: NDArray[np.float32] | None, lift: float
    ) -> _Pass:
        """Everything by the backend's GPU."""
        assert self._pipeline is not None
        self._pipeline.abandon()  # what an interrupted call left is not this cloud's
        self._pipeline.submit(points, self._decode, times, lift)
        sent = time.perf_counter()
        found = self._pipeline.collect()
        return _Pass(
            found.boxes, found.points_in_range, found.dropped_cells, sent, time.perf_counter()
        )

    def _encode(
        self, points: NDArray[np.float32], times: NDArray[np.float32] | None, lift: float
    ) -> NetworkInput:
        """What the network takes; an image is valid until the next call."""
        about = self._manifest
        return encode(points, about.grid, about.input, times, self._canvas, lift)

    def _boxes(self, outputs: tuple[NDArray[Any], ...]) -> Boxes3D:
        """Decode maps (1, channels, rows, columns)."""
        return decode_outputs(
            [output[0] for output in outputs],
            self._manifest.head,
            self._manifest.grid,
            self._manifest.output_stride,
            self._manifest.classes,
            self._decode,
        )


def _batched(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Pillars are a list, which needs no batch axis; an image gets one."""
    return {name: a[None] if name == "image" else a for name, a in arrays.items()}
