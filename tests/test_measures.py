"""Lengths and areas in millimetres against shapely, on square pixels and on others."""

import json
import math
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract import measures
from cxr.contract.annotation import Roi
from cxr.labeling import regions

SPACINGS = st.tuples(*[st.floats(0.2, 2)] * 2)
PLACES = st.tuples(*[st.floats(-100, 3000)] * 2)
SHARED = Path(__file__).parents[1] / "templates" / "viewer" / "test" / "spacings.json"
ANISOTROPIC = {"pixelSpacing": [0.2, 0.1]}  # rows 0.2 mm apart, columns 0.1 mm


def measure(kind, points, image=ANISOTROPIC):
    return measures.measure(Roi("r", kind, "Edema", tuple(map(tuple, points))), image)


def in_mm(shape, spacing):
    row, column = spacing
    return shapely.transform(shape, lambda xy: xy * [column, row])


@given(SPACINGS, PLACES, PLACES)
def test_a_length_equals_shapely(spacing, one, other):
    found = measure("length", [one, other], {"pixelSpacing": list(spacing)})

    expected = in_mm(shapely.LineString([one, other]), spacing).length
    assert found["lengthMm"] == pytest.approx(expected, abs=1e-3)


@given(SPACINGS, PLACES, PLACES)
def test_the_area_of_a_rectangle_equals_shapely(spacing, one, other):
    found = measure("rectangle", [one, other], {"pixelSpacing": list(spacing)})

    expected = in_mm(shapely.box(*one, *other), spacing).area
    assert found["areaMm2"] == pytest.approx(expected, abs=1e-3, rel=1e-9)


@given(SPACINGS, st.lists(st.floats(10, 400), min_size=3, max_size=40), PLACES)
def test_the_area_of_a_polygon_equals_shapely(spacing, radii, middle):
    turns = [2 * math.pi * k / len(radii) for k in range(len(radii))]
    ring = [
        (middle[0] + r * math.cos(t), middle[1] + r * math.sin(t))
        for r, t in zip(radii, turns, strict=True)
    ]

    found = measure("polygon", ring, {"pixelSpacing": list(spacing)})

    expected = in_mm(shapely.Polygon(ring), spacing).area
    assert found["areaMm2"] == pytest.approx(expected, abs=1e-3, rel=1e-6)


@given(SPACINGS, PLACES, st.floats(5, 400), st.floats(5, 400), st.floats(0, math.pi))
def test_the_area_of_an_ellipse_equals_shapely_however_it_lies(spacing, middle, a, b, turn):
    x, y, c, s = *middle, math.cos(turn), math.sin(turn)
    ends = [(x - a * c, y - a * s), (x + a * c, y + a * s),
            (x + b * s, y - b * c), (x - b * s, y + b * c)]  # fmt: skip

    found = measure("ellipse", ends, {"pixelSpacing": list(spacing)})

    expected = in_mm(regions.outline("ellipse", ends), spacing).area
    assert found["areaMm2"] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    exact = math.pi * a * b * spacing[0] * spacing[1]
    assert found["areaMm2"] == pytest.approx(exact, rel=1e-6, abs=1e-3)


def test_rows_and_columns_are_not_mixed_up():
    assert measure("length", [(0, 0), (100, 0)])["lengthMm"] == 10
    assert measure("length", [(0, 0), (0, 100)])["lengthMm"] == 20


def test_the_detectors_spacing_is_taken_last_and_said():
    both = {"pixelSpacing": [0.1, 0.1], "imagerPixelSpacing": [0.2, 0.2]}
    detector = {"pixelSpacing": None, "imagerPixelSpacing": [0.2, 0.2]}
    tube = [(0, 0), (100, 0)]

    assert measure("length", tube, both) == {"lengthMm": 10, "spacing": "PixelSpacing"}
    assert measure("length", tube, detector) == {"lengthMm": 20, "spacing": "ImagerPixelSpacing"}


@pytest.mark.parametrize(
    "image",
    [
        None, "page", {}, {"pixelSpacing": None}, {"pixelSpacing": [0.2]},
        {"pixelSpacing": ["0.2", "0.2"]}, {"pixelSpacing": [0, 0.2]},
        {"pixelSpacing": [float("nan"), 1]}, {"pixelSpacing": [float("inf"), 1]},
        {"pixelSpacing": [-1, 1]}, {"pixelSpacing": {"row": 1}},
    ],
)  # fmt: skip
def test_without_a_spacing_nothing_is_measured(image):
    assert measure("length", [(0, 0), (100, 0)], image) is None


@pytest.mark.parametrize("case", json.loads(SHARED.read_text())["cases"], ids=str)
def test_a_spacing_counts_here_if_it_counts_on_the_page(case):
    found = measures.spacing(case)

    assert found == (case["from"] and (case["from"], tuple(case["spacing"])))


def test_what_is_measured_is_json_however_odd_the_spacing():
    for case in json.loads(SHARED.read_text())["cases"]:
        json.dumps(measure("rectangle", [(-1e6, -1e6), (1e6, 1e6)], case), allow_nan=False)


def test_a_point_has_no_size():
    assert measure("point", [(3, 4)]) is None


def test_a_pixel_spacing_that_repeats_the_detectors_is_the_detectors():
    same = {"pixelSpacing": [0.2, 0.2], "imagerPixelSpacing": [0.2, 0.2]}
    calibrated = {"pixelSpacing": [0.18, 0.18], "imagerPixelSpacing": [0.2, 0.2]}

    assert measures.spacing(same) == ("ImagerPixelSpacing", (0.2, 0.2))
    assert measures.spacing(calibrated) == ("PixelSpacing", (0.18, 0.18))
