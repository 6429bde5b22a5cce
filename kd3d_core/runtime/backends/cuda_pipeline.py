"""From the points of a cloud to boxes on the GPU: one copy in, the best boxes back.

A pass is one upload of the points, one CUDA graph (input, network, peaks, regressions), one
download of a few kilobytes. What does not pay there stays here: suppression takes 0.1 ms.
"""

from collections import deque
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import Protocol
from typing import runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import logit
from kd3d_core.codec.decode import per_class
from kd3d_core.codec.decode import suppress
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import task_of_class
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.backends.cuda_gpu import Address
from kd3d_core.runtime.backends.cuda_gpu import Gpu
from kd3d_core.runtime.backends.cuda_stages import COUNTERS
from kd3d_core.runtime.backends.cuda_stages import DROPPED
from kd3d_core.runtime.backends.cuda_stages import FIELDS
from kd3d_core.runtime.backends.cuda_stages import INSIDE
from kd3d_core.runtime.backends.cuda_stages import PEAKS
from kd3d_core.runtime.backends.cuda_stages import THRESHOLDS
from kd3d_core.runtime.backends.cuda_stages import AnchorStage
from kd3d_core.runtime.backends.cuda_stages import CenterStage
from kd3d_core.runtime.backends.cuda_stages import Feed
from kd3d_core.runtime.backends.cuda_stages import ImageStage
from kd3d_core.runtime.backends.cuda_stages import PillarStage
from kd3d_core.runtime.manifest import Manifest

#: Points that there is room for at first.
_CAPACITY = 1 << 18
#: Points that are copied to page-locked memory while the ones before are on their way.
_PART = 1 << 15
#: Clouds that may be under way: one is staged while the other is computed.
_SLOTS = 2


class DeviceNetwork(Protocol):
    """A compiled graph whose inputs and outputs lie in the memory of the GPU."""

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Inputs and outputs by their names in the graph, room for the largest of each."""
        ...

    @property
    def wide_cells(self) -> bool:
        """Whether the input `cells`, if there is one, is int64, not int32."""
        ...

    def enqueue(self) -> None:
        """Queue a pass on the GPU's stream, free dimensions at their largest."""
        ...


@runtime_checkable
class PointBackend(Protocol):
    """A backend that can take the points themselves."""

    def point_pipeline(self, manifest: Manifest) -> "PointPipeline | None":
        """The way from points to boxes for the bundle that the backend was made from.

        Returns:
            None where this machine lacks what compiles the kernels.
        """
        ...


@dataclass(frozen=True, eq=False)
class PointResult:
    """What a pass gives.

    Attributes:
        boxes: By falling score, after suppression.
        points_in_range: Points inside the grid.
        dropped_cells: Occupied cells that found no pillar.
    """

    boxes: Boxes3D
    points_in_range: int
    dropped_cells: int


class _Slot:
    """Page-locked memory of one cloud and its answer, and the pass that uses it.

    Attributes:
        cloud: The header, then the points.
        answer: The counters, then the boxes.
        mark: The end of the pass.
        config: How its boxes are suppressed.
    """

    def __init__(self, gpu: Gpu, header: int, numbers: int, limit: int) -> None:
        """Memory for `header` words, `numbers` of points and `limit` boxes."""
        self.cloud = gpu.pinned(header + numbers, np.float32)
        self.answer = gpu.pinned(COUNTERS + limit * FIELDS, np.float32)
        self.mark: Any = None
        self.config = DecodeConfig()


class PointPipeline:
    """Runs a bundle on clouds, start to end on the GPU. Not for several threads at once.

    `submit` returns before the GPU is done, so that the next cloud can be staged and the last
    one's boxes suppressed meanwhile; calling the pipeline does both for one cloud.
    """

    def __init__(
        self,
        gpu: Gpu,
        network: DeviceNetwork,
        manifest: Manifest,
        *,
        capacity: int = _CAPACITY,
        limit: int = 1000,
    ) -> None:
        """Take the memory.

        Args:
            gpu: Where; the network's stream is this one's.
            network: Of the manifest.
            manifest: Of the bundle.
            capacity: Points that there is room for at first; it grows.
            limit: Likewise peaks before suppression.
        """
        self._gpu, self._network, self._manifest = gpu, network, manifest
        self._classes = len(manifest.classes)
        # Points begin where vector loads would like them to.
        self._header = -(-(THRESHOLDS + self._classes) // 4) * 4
        taken = manifest.input
        self._width = 5 if isinstance(taken, PillarInput) and taken.time else 4
        self._decoder = self._make_decoder()
        self._waiting: deque[_Slot] = deque()
        self._next = self._passes = 0
        self._replay: Callable[[], None] | None = None
        self._reserve(capacity, limit)

    def __call__(
        self,
        points: NDArray[np.float32],
        config: DecodeConfig,
        time: NDArray[np.float32] | None = None,
        lift: float = 0.0,
    ) -> PointResult:
        """Detect objects in one cloud; see `submit`."""
        self.submit(points, config, time, lift)
        return self.collect()

    def submit(
        self,
        points: NDArray[np.float32],
        config: DecodeConfig,
        time: NDArray[np.float32] | None = None,
        lift: float = 0.0,
    ) -> None:
        """Send a cloud on its way.

        Args:
            points: (N, 4) float32: x, y, z [m], intensity [0, 1].
            config: How its boxes are read.
            time: (N,) float32 [s]; see `encode`.
            lift: How far the points are raised [m] before they are looked at.

        Raises:
            ValueError: Two clouds are on their way; `collect` the first.
            Kd3dError: The settings do not fit the classes, or the GPU failed.
        """
        if len(self._waiting) == _SLOTS:
            raise ValueError(f"{_SLOTS} clouds are on their way: collect the first")
        if len(points) > self._capacity or config.pre_nms > self._limit:
            if self._waiting:  # their memory is about to be left
                self._gpu.wait(self._gpu.mark())
            self._reserve(max(len(points), self._capacity), max(config.pre_nms, self._limit))
        slot = self._slots[self._next]
        self._next = (self._next + 1) % _SLOTS
        slot.config = config
        self._tell(slot.cloud, len(points), config, lift)
        self._stage(slot.cloud, points, time)
        self._run()
        used = COUNTERS + config.pre_nms * FIELDS
        self._gpu.download(slot.answer[:used], self._answer)
        slot.mark = self._gpu.mark()
        self._waiting.append(slot)

    def collect(self) -> PointResult:
        """Wait for the cloud that has been on its way longest.

        Raises:
            ValueError: There is none.
            Kd3dError: The GPU failed.
        """
        if not self._waiting:
            raise ValueError("no cloud is on its way: submit one")
        slot = self._waiting.popleft()
        self._gpu.wait(slot.mark)
        counts = slot.answer[:COUNTERS].view(np.uint32)
        found = min(int(counts[PEAKS]), slot.config.pre_nms)
        inside = int(counts[INSIDE])
        if inside == 0:
            found = 0  # what a network sees where there is nothing is nothing
        rows = slot.answer[COUNTERS : COUNTERS + found * FIELDS].reshape(found, FIELDS)
        boxes = Boxes3D(
            center=rows[:, 1:4],
            size=rows[:, 4:7],
            yaw=rows[:, 7],
            velocity=rows[:, 8:10],
            score=rows[:, 10],
            label=rows[:, 0].view(np.int32).astype(np.int64),
            classes=self._manifest.classes,
        )
        boxes = suppress(boxes, slot.config, slot.config.max_boxes)
        return PointResult(boxes, inside, int(counts[DROPPED]))

    def abandon(self) -> None:
        """Forget the clouds that are on their way, such as after an interruption."""
        while self._waiting:
            self._gpu.wait(self._waiting.popleft().mark)

    def repeat(self, passes: int) -> None:
        """Compute the last cloud again and wait, without any copy: to time the GPU alone."""
        for _ in range(passes):
            self._run()
        self._gpu.wait(self._gpu.mark())

    def close(self) -> None:
        """Give the GPU's memory back; the pipeline must not be used after."""
        self._gpu.close()

    def _make_decoder(self) -> CenterStage | AnchorStage:
        """What reads the outputs of this head."""
        about = self._manifest
        if isinstance(about.head, AnchorLayout):
            anchors = [about.head.anchors[name] for name in about.classes]
            return AnchorStage(self._gpu, about.grid, about.output_stride, anchors)
        task = task_of_class(self._classes, about.head.tasks)
        return CenterStage(self._gpu, about.grid, about.output_stride, task)

    def _reserve(self, capacity: int, limit: int) -> None:
        """Memory for so many points and peaks; what was there is kept by the GPU until its end."""
        capacity = 1 << max(capacity - 1, 1).bit_length()
        gpu, about = self._gpu, self._manifest
        self._capacity, self._limit = capacity, limit
        numbers = capacity * self._width
        cloud = gpu.allocate(4 * (self._header + numbers))
        self._feed = Feed(cloud, Address(cloud + 4 * self._header), self._width, capacity)
        self._answer = gpu.allocate(4 * (COUNTERS + limit * FIELDS))
        self._slots = [_Slot(gpu, self._header, numbers, limit) for _ in range(_SLOTS)]
        if isinstance(about.input, PillarInput):
            self._encoder: ImageStage | PillarStage = PillarStage(
                gpu, about.grid, about.input, capacity
            )
        else:
            self._encoder = ImageStage(gpu, about.grid, about.input)
        self._next = self._passes = 0
        self._replay = None

    def _tell(
        self, cloud: NDArray[np.float32], count: int, config: DecodeConfig, lift: float
    ) -> None:
        """Write what the kernels are told with a cloud."""
        classes = self._manifest.classes
        probability = per_class(config.score_threshold, classes, "score_threshold")
        anchored = isinstance(self._manifest.head, AnchorLayout)
        threshold = probability if anchored else logit(probability)
        cloud[:2].view(np.int32)[:] = count, config.pre_nms
        cloud[2:THRESHOLDS].view(np.float64)[0] = lift
        cloud[THRESHOLDS : THRESHOLDS + len(classes)] = threshold

    def _stage(
        self,
        cloud: NDArray[np.float32],
        points: NDArray[np.float32],
        time: NDArray[np.float32] | None,
    ) -> None:
        """Copy the points to page-locked memory and on to the GPU, part after part."""
        sent, width = 0, self._width
        for start in range(0, max(len(points), 1), _PART):
            part = points[start : start + _PART]
            end = self._header + (start + len(part)) * width
            rows = cloud[end - len(part) * width : end].reshape(-1, width)
            rows[:, :4] = part
            if width == 5:
                rows[:, 4] = 0 if time is None else time[start : start + _PART]
            self._gpu.upload(Address(self._feed.header + 4 * sent), cloud[sent:end])
            sent = end

    def _run(self) -> None:
        """Queue everything between the copies: plainly at first, then as a graph."""
        if self._passes == 1:  # libraries set themselves up in the first pass
            self._gpu.wait(self._gpu.mark())
            self._replay = self._gpu.record(self._queue)
        (self._replay or self._queue)()
        self._passes += 1

    def _queue(self) -> None:
        """Queue everything between the copies."""
        feed, counters, places = self._feed, self._answer, self._network.addresses
        self._gpu.launch("clear", COUNTERS, counters, COUNTERS)
        if isinstance(self._encoder, PillarStage):
            wide = self._network.wide_cells
            self._encoder.queue(feed, counters, places["pillars"], places["cells"], wide=wide)
        else:
            self._encoder.queue(feed, counters, places["image"])
        self._network.enqueue()
        boxes = Address(counters + 4 * COUNTERS)
        self._decoder.queue(feed.header, counters, places, boxes)
