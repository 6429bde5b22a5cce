"""The categories of Argoverse 2, and the classes of ours that they stand for."""

#: The 26 categories of the detection benchmark, in its order.
ARGOVERSE2_CLASSES = (
    "ARTICULATED_BUS",
    "BICYCLE",
    "BICYCLIST",
    "BOLLARD",
    "BOX_TRUCK",
    "BUS",
    "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE",
    "DOG",
    "LARGE_VEHICLE",
    "MESSAGE_BOARD_TRAILER",
    "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE",
    "MOTORCYCLIST",
    "PEDESTRIAN",
    "REGULAR_VEHICLE",
    "SCHOOL_BUS",
    "SIGN",
    "STOP_SIGN",
    "STROLLER",
    "TRUCK",
    "TRUCK_CAB",
    "VEHICULAR_TRAILER",
    "WHEELCHAIR",
    "WHEELED_DEVICE",
    "WHEELED_RIDER",
)

#: Category -> class. What is not here has no class of ours: trailers, signs and cones; and
#: BICYCLE and MOTORCYCLIST, because a rider and what is ridden have a box each there: the pair
#: counts once, as the cyclist (whose box holds most of it) or as the motorcycle.
CLASS_OF_CATEGORY = {
    "REGULAR_VEHICLE": "car",
    "BOX_TRUCK": "truck",
    "LARGE_VEHICLE": "truck",
    "TRUCK": "truck",
    "TRUCK_CAB": "truck",
    "ARTICULATED_BUS": "bus",
    "BUS": "bus",
    "SCHOOL_BUS": "bus",
    "OFFICIAL_SIGNALER": "pedestrian",
    "PEDESTRIAN": "pedestrian",
    "WHEELED_RIDER": "pedestrian",
    "BICYCLIST": "cyclist",
    "MOTORCYCLE": "motorcycle",
}

#: Class -> the category that it is written as.
CATEGORY_OF_CLASS = {
    "car": "REGULAR_VEHICLE",
    "truck": "TRUCK",
    "bus": "BUS",
    "pedestrian": "PEDESTRIAN",
    "cyclist": "BICYCLIST",
    "motorcycle": "MOTORCYCLE",
}


def label_of(category: str, classes: tuple[str, ...]) -> int:
    """The index in `classes` of a category, by its own name or that of our class; -1 for none."""
    for name in (category, CLASS_OF_CATEGORY.get(category)):
        if name in classes:
            return classes.index(name)
    return -1
