"""What readers outlined lies on the same pixels in the box a net is shown."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cxr.contract import manifest
from cxr.learning import decoding, regions
from cxr.learning.regions import Region

SIDES = st.integers(20, 400)


@given(SIDES, SIDES, st.integers(32, 128), st.integers(32, 128))
def test_a_place_is_where_the_letterbox_puts_the_image(height, width, rows, columns):
    box = decoding.letterbox(np.ones((height, width), np.float32), (rows, columns))

    at = decoding.place((height, width), (rows, columns))

    filled = np.argwhere(box == 255)
    assert filled.min(axis=0).tolist() == [at.top, at.left]
    assert (filled.max(axis=0) + 1).tolist() == [at.top + at.rows, at.left + at.columns]
    assert len(filled) == at.rows * at.columns


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (90, 400)])
def test_a_box_drawn_around_something_bright_is_around_it_in_the_letterbox(shape):
    image = np.zeros(shape, np.float32)
    x0, y0, x1, y1 = 40, 20, 100, 80
    image[y0:y1, x0:x1] = 1
    size = (150, 150)

    box = decoding.letterbox(image, size)
    outline = regions.shape(
        Region("Edema", "rectangle", ((x1, y0), (x0, y1))), decoding.place(shape, size)
    )

    rows, columns = np.nonzero(box > 127)
    seen = shapely.box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert outline.intersection(seen).area / outline.union(seen).area > 0.9
    inside = shapely.contains_xy(outline, *np.meshgrid(np.arange(150) + 0.5, np.arange(150) + 0.5))
    assert box[inside].mean() > 0.9 * 255
    assert box[~inside].mean() < 3


def test_an_ellipse_is_as_large_in_the_box_as_the_scale_says():
    points = ((10.0, 50.0), (90.0, 50.0), (50.0, 30.0), (50.0, 70.0))
    ellipse = Region("Edema", "ellipse", points)

    outline = regions.shape(ellipse, decoding.place((100, 100), (50, 50)))

    assert outline.area == pytest.approx(np.pi * 20 * 10, rel=0.01)
    assert outline.centroid.coords[0] == pytest.approx((25, 25))


def test_a_scribble_that_encloses_nothing_still_says_where():
    line = Region("Edema", "polygon", ((10.0, 10.0), (20.0, 20.0), (10.0, 10.0)))

    found = regions.shape(line, decoding.place((100, 100), (100, 100)))

    assert found.distance(shapely.Point(15, 15)) == pytest.approx(0, abs=1e-9)
    assert not found.is_empty


def roi(label="Edema", worker="w1", kind="rectangle", points=((1, 2), (3, 4)), **more):
    return {
        "label": label, "workerId": worker, "id": "r", "type": kind,
        "points": [list(point) for point in points], "state": "present",
    } | more  # fmt: skip


def labelled(rois, consensus=None, state="present"):
    value = {
        "schema": manifest.SCHEMA,
        "findings": [
            {"label": "Edema", "state": state},
            {"label": "Mass", "state": "absent"},
        ],
        "rois": list(rois),
        "consensus": consensus,
    }
    return manifest.labelled({"source": "s", "job": value, "job-metadata": {}})


SHARED = {"label": "Edema", "type": "rectangle", "points": [[5, 5], [9, 9]]}
BOX = Region("Edema", "rectangle", ((1.0, 2.0), (3.0, 4.0)))


def test_an_adjudicators_region_counts_before_what_readers_share_and_that_before_each_alone():
    own, decided = roi(), roi(worker="chief", points=((7, 7), (8, 8)), adjudicator=True)

    assert regions.told(labelled([own, own])) == (BOX, BOX)
    (shared,) = regions.told(labelled([own, own], [SHARED]))
    assert shared.points == ((5.0, 5.0), (9.0, 9.0))
    (last,) = regions.told(labelled([own, decided], [SHARED]))
    assert last.points == ((7.0, 7.0), (8.0, 8.0))


def test_only_regions_of_findings_that_are_present_say_where():
    length = roi(kind="length")

    assert regions.told(labelled([roi(), length])) == (BOX,)
    assert regions.told(labelled([roi()], state="absent")) == ()
    assert regions.told(labelled([roi(label="Mass")])) == ()
    assert regions.told(labelled([roi(state="uncertain")])) == ()
    assert regions.told(labelled([roi(kind="point", points=((1, 2),), state="present")])) == (
        Region("Edema", "point", ((1.0, 2.0),)),
    )


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(max_size=5)
        | st.just("Edema"),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["label", "type", "points", "state"]), inner)
        ),
        max_leaves=8,
    )
)
def test_what_is_no_region_is_passed_over(odd):
    point = roi(kind="point", points=((1, 2),)) | {"points": [odd]}
    given = labelled([odd, roi() | {"points": odd}, point, roi()], [odd] if odd else odd)

    found = regions.told(given)

    assert BOX in found
    assert all(np.isfinite(region.points).all() for region in found)
