"""Cars and vans: families of shells, drawn with KITTI's sizes."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import fitted
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.shell import Shell
from kd3d_core.simulation.shell import body_shell
from kd3d_core.simulation.sizes import CAR
from kd3d_core.simulation.sizes import CITY_CAR
from kd3d_core.simulation.sizes import MICROCAR
from kd3d_core.simulation.sizes import VAN

#: Body styles of passenger cars.
CAR_STYLES: dict[str, Shell] = {
    "hatchback": Shell((0.26, 0.44), (0.86, 0.965), 0.49, 0.64, 0.66, 0.62),
    "city": Shell(
        (0.2, 0.4), (0.88, 0.97), 0.5, 0.63, 0.64, 0.6, axles=(0.16, 0.85), seats=(0.52, 0.75)
    ),
    "saloon": Shell(
        (0.28, 0.44), (0.71, 0.85), 0.48, 0.64, 0.68, 0.65, pillars=(0.53, 0.68), seats=(0.5, 0.7)
    ),
    "estate": Shell((0.27, 0.42), (0.92, 0.975), 0.48, 0.63, 0.64, 0.6, pillars=(0.52, 0.7)),
    "suv": Shell(
        (0.26, 0.4), (0.88, 0.965), 0.54, 0.64, 0.64, 0.6, clearance=0.27, wheel_radius=0.37
    ),
    "mpv": Shell((0.17, 0.37), (0.92, 0.98), 0.44, 0.58, 0.58, 0.54, pillars=(0.5, 0.72)),
    "coupe": Shell(
        (0.32, 0.48), (0.64, 0.88), 0.49, 0.67, 0.7, 0.66, clearance=0.16, pillars=(),
        seats=(0.58,),
    ),
    "pickup": Shell(
        (0.25, 0.36), (0.55, 0.58), 0.53, 0.62, 0.6, 0.59, clearance=0.28, wheel_radius=0.37,
        pillars=(0.46,), seats=(0.42,), open_deck=True,
    ),
}  # fmt: skip
#: A car with two seats and hardly a bonnet, as short as a large one is wide.
MICRO = Shell(
    (0.12, 0.38), (0.84, 0.97), 0.52, 0.62, 0.63, 0.58, axles=(0.165, 0.86), clearance=0.18,
    wheel_radius=0.29, pillars=(0.66,), seats=(0.55,),
)  # fmt: skip
_CAR_SHARES = {
    "hatchback": 0.34, "city": 0.12, "saloon": 0.15, "estate": 0.16,
    "suv": 0.08, "mpv": 0.11, "coupe": 0.03, "pickup": 0.01,
}  # fmt: skip

#: Body styles of vans: a panel van, a window van and a small delivery van.
VAN_STYLES: dict[str, Shell] = {
    "panel": Shell(
        (0.13, 0.27), (0.985, 0.997), 0.36, 0.47, 0.5, 0.5, pillars=(), glazed=0.38,
        seats=(0.33,), corner=(0.82, 0.95), roof_width=0.86, wheel_radius=0.34,
        clearance=0.24, axles=(0.17, 0.78),
    ),
    "window": Shell(
        (0.12, 0.26), (0.965, 0.99), 0.4, 0.52, 0.52, 0.5, pillars=(0.42, 0.7),
        seats=(0.35, 0.6, 0.8), corner=(0.82, 0.94), roof_width=0.83, wheel_radius=0.33,
        clearance=0.22, axles=(0.18, 0.78),
    ),
    "delivery": Shell(
        (0.2, 0.36), (0.975, 0.995), 0.42, 0.55, 0.56, 0.55, pillars=(), glazed=0.48,
        seats=(0.43,), corner=(0.8, 0.93), roof_width=0.84, axles=(0.19, 0.8),
    ),
}  # fmt: skip


def draw_paint(rng: Generator) -> int:
    """Dark, light or metallic paint, as German car parks show them."""
    kinds = [Material.PAINT_DARK, Material.PAINT_LIGHT, Material.METAL]
    return int(rng.choice(kinds, p=[0.5, 0.32, 0.18]))


def _varied(shell: Shell, rng: Generator) -> Shell:
    """The same style with each proportion off by a little."""
    shift = rng.normal(0, 0.012, 4)
    rise = rng.normal(0, 0.012, 4)
    base, top = shell.windscreen
    end, foot = shell.rear_window
    foot = min(foot + shift[3] * 0.3, 0.998)
    return replace(
        shell,
        windscreen=(base + shift[0], top + shift[1]),
        rear_window=(min(end + shift[2], foot - 0.008), foot),
        nose=shell.nose + rise[0],
        cowl=shell.cowl + rise[1],
        deck=shell.deck + rise[2],
        tail=shell.tail + rise[3],
        axles=tuple(axle + rng.normal(0, 0.006) for axle in shell.axles),
        wheel_radius=shell.wheel_radius * rng.uniform(0.95, 1.06),
        clearance=shell.clearance * rng.uniform(0.85, 1.15),
        corner=(
            float(np.clip(shell.corner[0] + rng.normal(0, 0.03), 0.7, 0.97)),
            float(np.clip(shell.corner[1] + rng.normal(0, 0.03), 0.75, 0.98)),
        ),
    )


def car_mesh(rng: Generator, style: str | None = None) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A passenger car.

    Args:
        rng: Draws style, size and details.
        style: A key of `CAR_STYLES`; drawn where left out.

    Returns:
        The mesh, centred on its box with x along the heading, and the (3,) size [m].
    """
    size = CAR.draw(rng)
    shell = _varied(CAR_STYLES[style or _style_for(size, rng)], rng)
    paint = draw_paint(rng)
    parts = body_shell(shell, size.tolist(), paint, rng)
    if rng.random() < 0.12:
        parts.append(_roof_rails(size))
    return fitted(TriangleMesh.join(parts), size), size


def microcar_mesh(rng: Generator) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A car of 2.4 to 2.9 m: mesh and (3,) size [m] as of `car_mesh`."""
    size = MICROCAR.draw(rng)
    parts = body_shell(_varied(MICRO, rng), size.tolist(), draw_paint(rng), rng)
    return fitted(TriangleMesh.join(parts), size), size


def small_car_mesh(rng: Generator) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A microcar or, as often, a city car of 2.9 to 3.7 m: mesh and size [m] as of `car_mesh`."""
    if rng.random() < 0.5:
        return microcar_mesh(rng)
    size = CITY_CAR.draw(rng)
    parts = body_shell(_varied(CAR_STYLES["city"], rng), size.tolist(), draw_paint(rng), rng)
    return fitted(TriangleMesh.join(parts), size), size


def van_mesh(rng: Generator, style: str | None = None) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A van: as `car_mesh`, with a key of `VAN_STYLES`."""
    size = VAN.draw(rng)
    if style is None:
        tall = size[2] > 2.05
        style = str(rng.choice(["panel", "window"], p=[0.65, 0.35])) if tall else "delivery"
    parts = body_shell(_varied(VAN_STYLES[style], rng), size.tolist(), draw_paint(rng), rng)
    return fitted(TriangleMesh.join(parts), size), size


def _style_for(size: NDArray[np.float64], rng: Generator) -> str:
    """A style that suits a (3,) size [m]: small cars are no estates, flat ones no MPVs."""
    length, _, height = size
    share = dict(_CAR_SHARES)
    if length < 3.7:
        share.update(city=0.6, saloon=0.0, estate=0.0, suv=0.01, pickup=0.0, coupe=0.01)
    else:
        share["city"] = 0.0
    if length > 4.35:
        share.update(hatchback=0.05, saloon=0.4, estate=0.35)
    if height > 1.6:
        share.update(saloon=0.0, coupe=0.0, estate=0.02, hatchback=0.03, suv=0.3, mpv=0.45)
    elif height < 1.48:
        share.update(suv=0.0, mpv=0.01, pickup=0.0)
    weights = np.array(list(share.values()))
    return str(rng.choice(list(share), p=weights / weights.sum()))


def _roof_rails(size: NDArray[np.float64]) -> TriangleMesh:
    """Two rails and two bars on the roof of a car of (3,) size [m]."""
    length, width, height = size
    y = 0.32 * width
    starts = [[0.02 * length, y, height], [0.02 * length, -y, height]]
    ends = [[-0.33 * length, y, height], [-0.33 * length, -y, height]]
    rails = tubes(starts, ends, 0.02, Material.METAL, sides=4)
    bars = boxes(
        [[0.0, 0, height + 0.03], [-0.25 * length, 0, height + 0.03]],
        [[0.06, 2 * y, 0.03]] * 2,
        Material.METAL,
    )
    return TriangleMesh.join([rails, bars])
