"""`~/load_model`: another model without a pause."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from kd3d_core.errors import Kd3dError
from kd3d_ros.detector.model_swap import LoadedModel
from kd3d_ros.detector.model_swap import ModelLoader
from kd3d_ros.detector.model_swap import load_model
from kd3d_ros.detector.model_swap import reason
from kd3d_ros.detector.model_swap import with_crops
from kd3d_ros.detector.settings import DetectorSettings

if TYPE_CHECKING:
    from kd3d_ros.detector.pipeline import Pipeline


class ModelService:
    """Loads what the parameter `model` names beside the running model, then changes over.

    Attributes:
        problem: Why the latest call changed nothing, or empty.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], DetectorSettings],
        pipeline: Callable[[], "Pipeline | None"],
    ) -> None:
        """Offer the service.

        Args:
            node: That owns it.
            settings: Gives the node's settings of the moment.
            pipeline: Gives what the model is to run in, None while the node is not configured.
        """
        self.problem = ""
        self._node = node
        self._settings = settings
        self._pipeline = pipeline
        self._loader = ModelLoader()
        # A group of its own: clouds must go on while its answer is waited for.
        self._service = node.create_service(
            Trigger, "~/load_model", self._called, callback_group=ReentrantCallbackGroup()
        )

    def join(self, *, abandon: bool = False) -> None:
        """Wait until nothing is being loaded.

        Args:
            abandon: Nobody waits for the answer any more.
        """
        self._loader.join(abandon=abandon)

    def complete(self) -> None:
        """Make what new settings need of the running model, beside it: its smaller ranges."""
        pipeline, settings = self._pipeline(), self._settings()
        if pipeline is None or self._loader.busy or not pipeline.loaded.lacks_crops(settings):
            return
        loaded = pipeline.loaded
        self._loader.start(
            lambda: with_crops(loaded, settings), lambda result: self._completed(loaded, result)
        )

    def _completed(self, before: LoadedModel, result: LoadedModel | Exception) -> None:
        """In the loader's thread: use the smaller ranges, unless another model runs by now."""
        pipeline = self._pipeline()
        if pipeline is None or pipeline.loaded is not before:
            return
        if isinstance(result, Exception):
            result = replace(before, notes=(*before.notes, reason(result)), crops=())
        for note in result.notes[len(before.notes) :]:
            self._node.get_logger().warning(note)
        pipeline.use(result, self._settings())

    async def _called(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Load in a thread, answer when it is done."""
        if self._pipeline() is None:
            response.message = "the node is not configured; configuring it loads the model"
            return response
        if self._loader.busy:
            response.message = "a model is being loaded already; call again when it is there"
            return response
        loaded: Future = Future(executor=self._node.executor)
        # Something has to wake the executor when the result is there.
        loaded.add_done_callback(lambda _done: None)
        settings = self._settings()
        self._loader.start(lambda: load_model(settings), loaded.set_result)
        self.problem = self._change_over(await loaded)
        self.complete()
        named = settings.model or "the bundle of the package"
        response.success = not self.problem
        response.message = f"{named} runs"
        if self.problem:
            why = self.problem if named in self.problem else f"{named}: {self.problem}"
            response.message = f"the old model still runs; {why}"
            self._node.get_logger().error(response.message)
        return response

    def _change_over(self, result: LoadedModel | Exception) -> str:
        """Run a loaded model from the next cloud on; why that was not possible, or empty."""
        pipeline = self._pipeline()
        if pipeline is None:
            return "the node was cleaned up meanwhile"
        if isinstance(result, Exception):
            return reason(result)
        try:
            pipeline.use(result, self._settings())
        except Kd3dError as error:
            return str(error)
        tell_of(self._node, result)
        return ""


def tell_of(node: Node, loaded: LoadedModel) -> None:
    """Log which model runs now."""
    detector, log = loaded.detector, node.get_logger()
    log.info(
        f"{detector.manifest.name} from {detector.source} runs on {detector.backend.name} "
        f"({loaded.engine}): {', '.join(detector.manifest.classes)}"
    )
    if detector.backend.reason:
        log.info(detector.backend.reason)
    for note in loaded.notes:
        log.warning(note)
