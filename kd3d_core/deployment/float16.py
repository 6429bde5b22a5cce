"""A graph in float16, with what must stay exact in float32."""

import onnx


def to_fp16(graph: bytes) -> bytes:
    """Weights and arithmetic in float16; inputs, outputs and a pillar encoder in float32.

    The pillar encoder is fed coordinates in metres, which float16 would round to 3 cm at 50 m.

    Args:
        graph: A serialised model in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_from_string(graph)
    converted = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=_pillar_encoder(model.graph)
    )
    _drop_round_trips(converted.graph, onnx.load_from_string(graph).graph)
    OnnxModel(converted).topological_sort()  # the converter appends its casts at the end
    onnx.checker.check_model(converted)
    return bytes(converted.SerializeToString(deterministic=True))


def _pillar_encoder(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that the scatter of pillars depends on, itself included."""
    maker = {name: node for node in graph.node for name in node.output}
    left = [node for node in graph.node if node.op_type == "ScatterND"]
    found: dict[str, None] = {}
    while left:
        node = left.pop()
        if node.name not in found:
            found[node.name] = None
            left += [maker[name] for name in node.input if name in maker]
    return list(found)


def _drop_round_trips(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Let float32 nodes read float32, in place.

    The converter puts float16 between all nodes, also between a float32 input and a float32 node,
    and between two of those: float32 → float16 → float32, which rounds what was to stay exact. It
    does the same to weights.
    """
    maker = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in original.initializer}
    kept = {tensor.name: tensor for tensor in graph.initializer}
    exact: dict[str, str] = {}
    for node in graph.node:
        if _casts_to(node, onnx.TensorProto.FLOAT):
            source = maker.get(node.input[0])
            if node.input[0] in kept:
                kept[node.input[0]].CopyFrom(weights[node.input[0]])
                exact[node.output[0]] = node.input[0]
            elif source is not None and _casts_to(source, onnx.TensorProto.FLOAT16):
                exact[node.output[0]] = source.input[0]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = exact.get(name, name)
    _drop_unread_casts(graph)


def _drop_unread_casts(graph: onnx.GraphProto) -> None:
    """Remove casts whose result nothing reads, in place."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {each.name for each in graph.output}
        dead = [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in read]
        if not dead:
            return
        for node in dead:
            graph.node.remove(node)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    """Whether a node casts to a type."""
    return node.op_type == "Cast" and any(a.name == "to" and a.i == kind for a in node.attribute)
