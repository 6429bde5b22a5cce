"""Another map size for a graph of convolutions, by editing the serialised ONNX model.

An exported graph says the sizes of its maps in two kinds of places: in the shapes of its inputs
and outputs, and, where points are scattered into a map, in the constants that give it its size.
Both are rewritten; the weights are copied as they are. This works on the wire format of protocol
buffers (https://protobuf.dev/programming-guides/encoding), with the field numbers of onnx.proto,
because a robot has no `onnx` package.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np

from kd3d_core.errors import Kd3dError

#: What becomes of a nested message or bytes: other bytes, or None to leave the field out.
_Edit = Callable[[bytes], bytes | None]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 5, 11, 12, 13
_VALUE_TYPE = 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_SHAPE = 2
_SHAPE_DIM = 1
_DIM_VALUE = 1
_TENSOR_DATA_TYPE, _TENSOR_INT64_DATA, _TENSOR_RAW_DATA = 2, 7, 9
_INT64 = 7

# Wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

#: Shapes are short: constants of more values are weights or tables.
_LONGEST_SHAPE = 6


def resize_maps(onnx: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The same network for maps of another size.

    Inputs and outputs of four axes (batch, channels, rows, columns) are scaled by new / old;
    constant shapes that hold the pair (rows, columns), or their product as their first number,
    get the new ones. Shapes between the layers are left out: every library infers them.

    Args:
        onnx: A serialised ModelProto whose maps are of `old` size.
        old: (rows, columns) of the grid.
        new: (rows, columns) that are wanted.

    Returns:
        The serialised model. Whether it computes what the first one does is not known yet: a
        layer that looks at the whole map would not.

    Raises:
        Kd3dError: The bytes are no such model, or a map's size is not divisible so.
    """

    def tensor_type(content: bytes) -> bytes:
        return _rewrite(content, {_TENSOR_TYPE_SHAPE: lambda shape: _scaled(shape, old, new)})

    def value(content: bytes) -> bytes:
        return _rewrite(
            content, {_VALUE_TYPE: lambda kind: _rewrite(kind, {_TYPE_TENSOR: tensor_type})}
        )

    edits: dict[int, _Edit] = {
        _GRAPH_INITIALIZER: lambda tensor: _constant(tensor, old, new),
        _GRAPH_INPUT: value,
        _GRAPH_OUTPUT: value,
        _GRAPH_VALUE_INFO: lambda _content: None,
    }
    try:
        return _rewrite(onnx, {_MODEL_GRAPH: lambda graph: _rewrite(graph, edits)})
    except (IndexError, ValueError) as error:
        raise Kd3dError(
            f"the graph's maps cannot be made {new[0]} x {new[1]}: {error}; export the bundle "
            "again."
        ) from error


def _scaled(shape: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """A TensorShapeProto with rows and columns scaled, if it has four axes."""
    if sum(number == _SHAPE_DIM for number, *_ in _fields(shape)) != 4:
        return shape
    axis = -1

    def dimension(content: bytes) -> bytes:
        nonlocal axis
        axis += 1
        if axis < 2:
            return content
        for number, kind, start, end in _fields(content):
            if number == _DIM_VALUE and kind == _VARINT:
                size, _ = _varint(content, start)
                wanted, rest = divmod(size * new[axis - 2], old[axis - 2])
                if rest:
                    raise ValueError(f"{size} cells cannot be scaled by {new} / {old}")
                return _tag(_DIM_VALUE, _VARINT) + _encoded(wanted) + content[end:]
        return content

    return _rewrite(shape, {_SHAPE_DIM: dimension})


def _constant(tensor: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """A TensorProto with the numbers of a map's shape replaced, if it holds some."""
    data: tuple[int, int, int] | None = None
    for number, kind, start, end in _fields(tensor):
        if number == _TENSOR_DATA_TYPE and _varint(tensor, start)[0] != _INT64:
            return tensor
        if number in (_TENSOR_RAW_DATA, _TENSOR_INT64_DATA) and kind == _BYTES:
            data = (number, start, end)
    if data is None or data[2] - data[1] > 8 * _LONGEST_SHAPE:
        return tensor
    number, start, end = data
    if number == _TENSOR_RAW_DATA:
        values = np.frombuffer(tensor[start:end], "<i8").tolist()
    else:
        values = list(_packed(tensor[start:end]))
    replaced = _other_shape(values, old, new)
    if replaced == values:
        return tensor
    raw = np.array(replaced, "<i8").tobytes()
    return _rewrite(tensor, {number: lambda _content: None}) + _field(_TENSOR_RAW_DATA, raw)


def _other_shape(values: list[int], old: tuple[int, int], new: tuple[int, int]) -> list[int]:
    """A shape with (rows, columns), or rows * columns in front, replaced."""
    for at in range(len(values) - 1):
        if (values[at], values[at + 1]) == old:
            return [*values[:at], *new, *values[at + 2 :]]
    if len(values) > 1 and values[0] == old[0] * old[1]:
        return [new[0] * new[1], *values[1:]]
    return values


def _rewrite(message: bytes, edits: Mapping[int, _Edit]) -> bytes:
    """A message with some of its nested messages edited and all else copied."""
    parts = []
    copied = 0
    for number, kind, start, end in _fields(message):
        if kind == _BYTES and number in edits:
            edited = edits[number](message[start:end])
            if edited is not None:
                parts.append(_field(number, edited))
        else:
            parts.append(message[copied:end])
        copied = end
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start, end) of the content of each field, in their order."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, end = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            end = at + length
        elif kind in (_FIXED64, _FIXED32):
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"it is no ONNX model (wire type {kind})")
        if end > len(message):
            raise ValueError("it is cut short")
        yield number, kind, at, end
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _packed(data: bytes) -> Iterator[int]:
    """Signed 64-bit numbers one after the other."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value - (1 << 64) if value >> 63 else value


def _encoded(value: int) -> bytes:
    """A number as `_varint` reads it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int, kind: int) -> bytes:
    """What stands before a field's content."""
    return _encoded(number << 3 | kind)


def _field(number: int, content: bytes) -> bytes:
    """A nested message or bytes as a field."""
    return _tag(number, _BYTES) + _encoded(len(content)) + content
