"""Which sizes of objects are plausible, by the name of their class.

The limits are wide: they are to catch exchanged columns, other units and typing errors, not a long
truck. They hold for the names of KITTI, nuScenes, Waymo and Argoverse 2 and for our own.
"""

from typing import NamedTuple


class Plausible(NamedTuple):
    """Limits of a class.

    Attributes:
        length, width, height: Smallest and largest [m].
        long: Objects are longer than wide.
        faces_motion: Objects move the way they face.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    long: bool = True
    faces_motion: bool = True


_CAR = Plausible((2.0, 8.0), (1.1, 3.2), (0.9, 3.6))
_TRUCK = Plausible((3.0, 26.0), (1.4, 4.2), (1.2, 5.5))
_BUS = Plausible((4.0, 28.0), (1.7, 4.2), (1.8, 5.2))
_TRAILER = Plausible((1.0, 26.0), (0.8, 4.2), (0.5, 5.5))
_PERSON = Plausible((0.15, 2.2), (0.15, 2.2), (0.5, 2.6), long=False, faces_motion=False)
_BIKE = Plausible((0.3, 3.2), (0.2, 1.8), (0.5, 2.8))
_SMALL = Plausible((0.05, 3.5), (0.05, 3.5), (0.1, 4.5), long=False, faces_motion=False)

#: Words in a class's name, the first that fits decides.
_BY_WORD = (
    ("trailer", _TRAILER),
    ("tram", _BUS._replace(length=(5.0, 80.0))),
    ("train", _BUS._replace(length=(5.0, 80.0))),
    ("bus", _BUS),
    ("truck", _TRUCK),
    ("construction_vehicle", _TRUCK),
    ("large_vehicle", _TRUCK),
    ("rider", _PERSON),
    ("van", _CAR),
    ("car", _CAR),
    ("vehicle", _CAR._replace(length=(2.0, 26.0), width=(1.1, 4.2), height=(0.9, 5.5))),
    ("cyclist", _BIKE),
    ("motorcycl", _BIKE),
    ("bicycl", _BIKE),
    ("pedestrian", _PERSON),
    ("person", _PERSON),
    ("cone", _SMALL),
    ("barrier", _SMALL),
    ("barrel", _SMALL),
    ("bollard", _SMALL),
    ("sign", _SMALL),
)


def plausible(name: str) -> Plausible | None:
    """The limits of a class by its name; None for names that say nothing to us."""
    words = name.lower().replace(" ", "_").replace("-", "_")
    if "sign" in words.split("_") or words.endswith("crossing_sign"):
        return _SMALL
    return next((limits for word, limits in _BY_WORD if word in words), None)
