"""Drawing a face with given features; person, pose, light and noise come from a random generator.

Lengths are in units of half the picture's side, the origin is between the eyes and the y axis points down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from affect_dataset.faces.features import Features

_OVERSAMPLING = 3
_CURVE_POINTS = 24

Colour = tuple[int, int, int]
Point = tuple[float, float]

_SKINS: Sequence[Colour] = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 128),
    (190, 130, 92),
    (141, 90, 60),
    (96, 60, 42),
)
_HAIRS: Sequence[Colour] = ((38, 28, 24), (86, 56, 34), (140, 92, 48), (206, 164, 96), (150, 60, 36), (150, 150, 152))
_IRISES: Sequence[Colour] = ((70, 44, 28), (92, 112, 60), (72, 112, 150), (108, 86, 50))
_WHITE: Colour = (250, 248, 244)
_INK: Colour = (34, 24, 24)
_MOUTH: Colour = (92, 28, 34)
_TEETH: Colour = (250, 246, 238)
_TONGUE: Colour = (196, 92, 96)


@dataclass(frozen=True)
class _Person:
    """The looks of a person, which no expression changes."""

    skin: Colour
    hair: Colour
    iris: Colour
    background: Colour
    width: float
    height: float
    eye_distance: float
    long_hair: bool
    fringe: float


class _Canvas:
    """A picture, larger than the one asked for, on which shapes are drawn in the units of a face."""

    def __init__(self, side: int, scale: float, centre: Point, background: Colour) -> None:
        self.image = Image.new("RGB", (side, side), background)
        self._draw = ImageDraw.Draw(self.image)
        self._half = side / 2
        self._scale = scale
        self._centre = centre

    def ellipse(self, centre: Point, width: float, height: float, colour: Colour) -> None:
        (x0, y0), (x1, y1) = self._at(
            [(centre[0] - width, centre[1] - height), (centre[0] + width, centre[1] + height)]
        )
        self._draw.ellipse((x0, y0, x1, y1), colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon(self._at(points), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        pixels = self._at(points)
        thickness = max(1, round(width * self._half * self._scale))
        self._draw.line(pixels, colour, thickness, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            radius = thickness / 2
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def _at(self, points: Sequence[Point]) -> list[Point]:
        scale = self._scale
        return [
            ((1 + self._centre[0] + x * scale) * self._half, (1 + self._centre[1] + y * scale) * self._half)
            for x, y in points
        ]


def draw(features: Features, rng: np.random.Generator, side: int) -> Image.Image:
    """Draw one face as an RGB picture of ``side`` x ``side`` pixels."""
    person = _person(rng)
    centre = (rng.uniform(-0.08, 0.08), rng.uniform(-0.14, -0.04))
    canvas = _Canvas(side * _OVERSAMPLING, rng.uniform(0.88, 1.06), centre, person.background)
    _draw_head(canvas, person, features)
    _draw_mouth(canvas, person, features)
    for sign in (-1, 1):
        _draw_eye(canvas, person, features, sign)
        _draw_brow(canvas, person, features, sign)
    _draw_fringe(canvas, person)
    tilted = canvas.image.rotate(rng.normal(0, 5), Image.Resampling.BILINEAR, fillcolor=person.background)
    small = tilted.resize((side, side), Image.Resampling.BOX)
    return Image.fromarray(_with_light_and_grain(np.asarray(small, np.float32), rng))


def _person(rng: np.random.Generator) -> _Person:
    def pick(colours: Sequence[Colour], spread: float) -> Colour:
        return _shade(colours[int(rng.integers(len(colours)))], *rng.normal(0, spread, 3))

    hue = rng.uniform(0, 2 * np.pi)
    background = tuple(int(175 + 42 * np.cos(hue + shift)) for shift in (0.0, 2.1, 4.2))
    return _Person(
        skin=pick(_SKINS, 5),
        hair=pick(_HAIRS, 8),
        iris=pick(_IRISES, 8),
        background=(background[0], background[1], background[2]),
        width=rng.uniform(0.50, 0.58),
        height=rng.uniform(0.68, 0.76),
        eye_distance=rng.uniform(0.205, 0.245),
        long_hair=bool(rng.random() < 0.5),  # noqa: PLR2004 - half of the people
        fringe=rng.uniform(-0.6, 0.6),
    )


def _shade(colour: Colour, red: float, green: float, blue: float) -> Colour:
    mixed = np.clip(np.array(colour) + np.array((red, green, blue)), 0, 255).astype(int)
    return (int(mixed[0]), int(mixed[1]), int(mixed[2]))


def _darker(colour: Colour, factor: float) -> Colour:
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _draw_head(canvas: _Canvas, person: _Person, features: Features) -> None:
    width, height, skin = person.width, person.height, person.skin
    shadow = _darker(skin, 0.88)
    if person.long_hair:
        canvas.ellipse((0, 0.02), width + 0.13, height + 0.06, person.hair)
        canvas.polygon(
            [(-width - 0.12, 0), (width + 0.12, 0), (width + 0.06, 0.85), (-width - 0.06, 0.85)], person.hair
        )
    else:
        canvas.ellipse((0, -0.16), width + 0.06, height - 0.08, person.hair)
    canvas.polygon([(-0.2, 0.5), (0.2, 0.5), (0.24, 1.5), (-0.24, 1.5)], _darker(skin, 0.8))
    canvas.ellipse((0, 1.32), 0.85, 0.46, _darker(person.background, 0.5))
    for sign in (-1, 1):
        canvas.ellipse((sign * width, 0.08), 0.075, 0.13, shadow)
    canvas.ellipse((0, 0.06), width, height, skin)
    _draw_cheeks(canvas, person, features)
    _draw_nose(canvas, person, features)


def _draw_cheeks(canvas: _Canvas, person: _Person, features: Features) -> None:
    flush = float(np.clip(features.cheeks, 0, 1.3))
    colour = _shade(person.skin, 16 * flush, -16 * flush, -10 * flush)
    for sign in (-1, 1):
        canvas.ellipse((sign * 0.3, 0.27 - 0.03 * flush), 0.115, 0.08, colour)


def _draw_nose(canvas: _Canvas, person: _Person, features: Features) -> None:
    line = _darker(person.skin, 0.68)
    lifted = 0.035 * features.lip_raise
    bridge = [(-0.02, 0.06), (-0.055, 0.2 - lifted), (-0.05, 0.25 - lifted), (0.04, 0.265 - lifted)]
    canvas.stroke(bridge, 0.022, line)
    if features.lip_raise > 0.3:  # noqa: PLR2004 - only a clear movement wrinkles the nose
        for sign in (-1, 1):
            canvas.stroke([(sign * 0.03, 0.03), (sign * 0.075, 0.075)], 0.018, line)
            canvas.stroke([(sign * 0.03, 0.075), (sign * 0.075, 0.12)], 0.018, line)
            canvas.stroke(_curve((sign * 0.1, 0.22), (sign * 0.2, 0.27), (sign * 0.22, 0.42)), 0.018, line)


def _draw_eye(canvas: _Canvas, person: _Person, features: Features, sign: int) -> None:
    x, half_width = sign * person.eye_distance, 0.115
    opening = float(np.clip(0.062 + 0.04 * features.eye_open, 0.018, 0.115))
    lifted = 0.018 * max(features.cheeks, 0.0) + 0.02 * features.lip_raise
    outer, inner = (x + sign * half_width, 0.0), (x - sign * half_width, 0.012)
    upper = _curve(inner, (x, -2 * opening), outer)
    lower = _curve(outer, (x, 1.5 * opening - lifted), inner)
    canvas.polygon([*upper, *lower], _WHITE)
    radius = 0.054
    canvas.ellipse((x, -0.004), radius, min(radius, opening * 1.02), person.iris)
    canvas.ellipse((x, -0.004), 0.026, min(0.026, opening * 0.9), _INK)
    canvas.ellipse((x + 0.016, -0.02), 0.011, 0.011, _WHITE)
    # The lids cover the parts of the iris outside the opening of the eye.
    canvas.polygon([*upper, (outer[0], -0.14), (inner[0], -0.14)], person.skin)
    canvas.polygon([*lower, (inner[0], 0.13), (outer[0], 0.13)], person.skin)
    canvas.stroke(upper, 0.024, _INK)
    canvas.stroke(lower, 0.010, _darker(person.skin, 0.6))


def _draw_brow(canvas: _Canvas, person: _Person, features: Features, sign: int) -> None:
    y = -0.185 - 0.075 * features.brow_raise
    inner_x = sign * (person.eye_distance - 0.125 - 0.035 * features.brow_together)
    outer_x = sign * (person.eye_distance + 0.145)
    inner = (inner_x, y + 0.02 - 0.085 * features.brow_inner)
    outer = (outer_x, y + 0.03 + 0.02 * features.brow_inner)
    arch = (sign * (person.eye_distance + 0.03), y - 0.05 - 0.02 * features.brow_raise)
    canvas.stroke(_curve(inner, arch, outer), 0.042, _darker(person.hair, 0.75))
    if features.brow_together > 0.5:  # noqa: PLR2004 - only a clear frown shows the furrow
        canvas.stroke([(sign * 0.028, -0.17), (sign * 0.022, -0.09)], 0.014, _darker(person.skin, 0.68))


def _draw_mouth(canvas: _Canvas, person: _Person, features: Features) -> None:
    half_width = 0.185 + 0.06 * features.mouth_width
    y, curve = 0.44, features.mouth_curve
    left = (-half_width, y - 0.055 * curve)
    right = (half_width, y - 0.055 * curve - 0.095 * features.mouth_slant)
    parted = max(features.mouth_open, 0.0)
    middle = y + 0.075 * curve
    raised = 0.055 * features.lip_raise
    top = (0.0, middle - 0.09 * parted - raised)
    bottom = (0.0, middle + 0.30 * parted + 0.06 * features.lip_raise)
    upper, lower = _curve(left, top, right), _curve(right, bottom, left)
    lip = _shade(_darker(person.skin, 0.78), 30, -18, -8)
    thickness = 0.034 if features.mouth_open > -0.2 else 0.022  # noqa: PLR2004 - pressed lips are thin
    if parted + max(features.lip_raise, 0.0) > 0.12:  # noqa: PLR2004 - below it the lips still touch
        canvas.polygon([*upper, *lower], _MOUTH)
        _draw_teeth_and_tongue(canvas, upper, lower, features)
        canvas.stroke(lower, thickness, lip)
    else:
        canvas.stroke(_bent_down(upper, 0.028), thickness, lip)
    canvas.stroke(upper, thickness, _darker(lip, 0.82))
    if features.mouth_slant > 0.4:  # noqa: PLR2004 - only a clear smirk shows the fold
        fold = _curve((half_width + 0.03, 0.27), (half_width + 0.1, 0.33), (half_width + 0.06, 0.42))
        canvas.stroke(fold, 0.016, _darker(person.skin, 0.68))


def _draw_teeth_and_tongue(canvas: _Canvas, upper: list[Point], lower: list[Point], features: Features) -> None:
    below = list(reversed(lower))
    teeth = [(x, y + 0.42 * (under - y)) for (x, y), (_, under) in zip(upper, below, strict=True)]
    if features.mouth_width > -0.3:  # noqa: PLR2004 - a round mouth hides the teeth
        canvas.polygon([*upper, *reversed(teeth)], _TEETH)
    if features.mouth_open > 0.6:  # noqa: PLR2004 - only a wide-open mouth shows the tongue
        depth = below[len(below) // 2][1]
        canvas.ellipse((0.0, depth - 0.035), 0.075, 0.04, _TONGUE)


def _draw_fringe(canvas: _Canvas, person: _Person) -> None:
    width, top = person.width, 0.06 - person.height
    parting = person.fringe * width
    left = _curve((-width - 0.01, -0.1), (-width * 0.8, -0.42), (parting, top + 0.2))
    right = _curve((parting, top + 0.2), (width * 0.8, -0.42), (width + 0.01, -0.1))
    crown = [
        (width * np.cos(angle), top * 1.02 * np.sin(angle) - 0.06) for angle in np.linspace(0, np.pi, _CURVE_POINTS)
    ]
    canvas.polygon([*left, *right, *crown], person.hair)


def _curve(start: Point, control: Point, end: Point) -> list[Point]:
    """Return the points of a quadratic Bezier curve."""
    t = np.linspace(0, 1, _CURVE_POINTS)[:, None]
    points = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(control) + t**2 * np.array(end)
    return [(float(x), float(y)) for x, y in points]


def _bent_down(points: Sequence[Point], down: float) -> list[Point]:
    """Return a curve whose middle is moved ``down`` and whose ends stay where they are."""
    weights = np.sin(np.linspace(0, np.pi, len(points)))
    return [(x, y + down * float(weight)) for (x, y), weight in zip(points, weights, strict=True)]


def _with_light_and_grain(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add light from one side, an overall brightness and grain to pixels [height, width, 3] in 0 to 255."""
    side = pixels.shape[0]
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    light = rng.uniform(0.88, 1.08) * (1 + rng.uniform(0, 0.16) * slope)
    grain = rng.normal(0, rng.uniform(1, 6), pixels.shape)
    return np.asarray(np.clip(pixels * light[..., None] + grain, 0, 255), np.uint8)
