"""Regions of several readers are matched, and what they share is one shape."""

import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cxr.labeling import regions


def region(worker, points, *, kind="rectangle", label="Edema", name="r1"):
    return {"workerId": worker, "id": name, "type": kind, "label": label, "points": points}


def box(worker, x, y, size=100, **changes):
    return region(worker, [[x, y], [x + size, y + size]], **changes)


def circle(worker, x, y, radius, **changes):
    ends = [[x - radius, y], [x + radius, y], [x, y - radius], [x, y + radius]]
    return region(worker, ends, kind="ellipse", **changes)


def area(shape):
    return regions.outline(shape["type"], shape["points"])


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def test_three_rectangles_become_the_one_of_median_sides():
    shared, alone = regions.consensus([box("a", 0, 0), box("b", 10, 0), box("c", 20, 6)], 3)

    assert alone == []
    (found,) = shared
    assert found["type"] == "rectangle"
    assert found["points"] == [[10, 0], [110, 100]]
    assert (found["label"], found["workers"]) == ("Edema", ["a", "b", "c"])
    assert found["ids"] == ["r1"] * 3


def test_iou_is_the_mean_over_pairs():
    drawn = [box("a", 0, 0), box("b", 10, 0), box("c", 0, 20)]

    ((found,), _) = regions.consensus(drawn, 3)

    a, b, c = map(area, drawn)
    assert found["iou"] == pytest.approx(np.mean([iou(a, b), iou(a, c), iou(b, c)]), abs=1e-4)


def test_opposite_corners_may_come_in_any_order():
    turned = region("b", [[100, 0], [0, 100]])

    ((found,), _) = regions.consensus([box("a", 0, 0), turned], 2)

    assert found["points"] == [[0, 0], [100, 100]]
    assert found["iou"] == 1


def test_two_shapes_share_what_both_drew():
    drawn = [circle("a", 100, 100, 50), circle("b", 120, 100, 50)]

    ((found,), _) = regions.consensus(drawn, 2)

    assert found["type"] == "polygon"
    both = area(drawn[0]).intersection(area(drawn[1]))
    assert iou(area(found), both) > 0.99


def test_of_three_shapes_two_must_have_drawn_it():
    drawn = [circle("a", 100, 100, 50), circle("b", 120, 100, 50), box("c", 60, 60, 90)]

    ((found,), _) = regions.consensus(drawn, 3)

    a, b, c = map(area, drawn)
    two = shapely.union_all([a & b, a & c, b & c])
    assert iou(area(found), two) > 0.99


@given(
    st.lists(st.tuples(*[st.integers(-12, 12)] * 2, st.integers(50, 80)), min_size=2, max_size=6)
)
def test_the_shape_is_what_more_than_half_drew_pixel_by_pixel(circles):
    drawn = [circle(f"w{i}", 100 + x, 100 + y, r) for i, (x, y, r) in enumerate(circles)]
    columns, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    covered = sum(
        ((columns - 100 - x) ** 2 + (rows - 100 - y) ** 2 <= r**2).astype(int)
        for x, y, r in circles
    )

    ((found,), alone) = regions.consensus(drawn, len(drawn))

    assert alone == []
    assert area(found).area == pytest.approx((2 * covered > len(circles)).sum(), rel=0.02)


def test_what_only_one_of_several_drew_is_unmatched():
    far = box("b", 500, 500, name="far")

    shared, alone = regions.consensus([box("a", 0, 0), box("b", 5, 5), far], 2)

    assert len(shared) == 1
    assert alone == [{"label": "Edema", "workerId": "b", "id": "far"}]


def test_regions_that_hardly_overlap_are_not_the_same():
    shared, alone = regions.consensus([box("a", 0, 0), box("b", 70, 0)], 2)

    assert shared == []
    assert [one["workerId"] for one in alone] == ["a", "b"]


def test_regions_of_different_findings_are_never_matched():
    other = box("b", 0, 0, label="Fracture")

    shared, alone = regions.consensus([box("a", 0, 0), other], 2)

    assert shared == []
    assert len(alone) == 2


def test_two_lesions_are_matched_each_with_its_like():
    left, right = 0, 300
    drawn = [box(w, x + d, 0, name=n) for w, d in (("a", 0), ("b", 8), ("c", 16))
             for n, x in (("left", left), ("right", right))]  # fmt: skip

    shared, alone = regions.consensus(drawn, 3)

    assert alone == []
    assert [one["ids"] for one in shared] == [["left"] * 3, ["right"] * 3]


def test_no_reader_is_twice_in_one_match():
    drawn = [box("a", 0, 0, name="once"), box("a", 4, 0, name="again"), box("b", 1, 0)]

    shared, alone = regions.consensus(drawn, 2)

    assert [one["workers"] for one in shared] == [["a", "b"]]
    assert alone == [{"label": "Edema", "workerId": "a", "id": "again"}]


def test_one_reader_alone_has_nothing_to_agree_on():
    assert regions.consensus([box("a", 0, 0)], 1) == ([], [])


def test_lengths_and_points_are_left_alone():
    tube = region("a", [[0, 0], [9, 9]], kind="length")
    tip = region("b", [[0, 0]], kind="point")

    assert regions.consensus([tube, tip], 2) == ([], [])


def test_a_ring_that_crosses_itself_is_repaired():
    eight = [[0, 0], [100, 100], [100, 0], [0, 100]]

    assert regions.outline("polygon", eight).area == 5000
    ((found,), _) = regions.consensus(
        [region("a", eight, kind="polygon"), region("b", eight, kind="polygon")], 2
    )
    assert found["iou"] == 1
    assert len(found["points"]) >= 3


def test_a_ring_of_thousands_of_points_is_matched_in_no_time():
    turn = np.linspace(0, 2 * np.pi, 8000, endpoint=False)
    rough = 60 + 3 * np.random.default_rng(0).normal(size=(5, len(turn)))
    drawn = [
        region(w, np.c_[100 + r * np.cos(turn), 100 + r * np.sin(turn)].tolist(), kind="polygon")
        for w, r in zip("abcde", rough, strict=True)
    ]
    begun = time.process_time()

    ((found,), _) = regions.consensus(drawn, 5)

    assert time.process_time() - begun < 5
    assert iou(area(found), area(circle("x", 100, 100, 60))) > 0.9


def ellipse(chance):
    x, y, a, b = *chance.uniform(90, 110, 2), *chance.uniform(40, 60, 2)
    return [[x - a, y], [x + a, y], [x, y - b], [x, y + b]]


def rough_ring(chance):
    turn = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    radius = 60 + 6 * chance.normal(size=len(turn))
    return np.c_[100 + radius * np.cos(turn), 100 + radius * np.sin(turn)].tolist()


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("rectangle", lambda chance: chance.uniform([[0, 0], [70, 70]], [[30, 30], [99, 99]])),
        ("ellipse", ellipse),
        ("polygon", rough_ring),
        ("polygon", lambda chance: chance.uniform(0, 200, (280, 2))),
    ],
    ids=["rectangles", "ellipses", "rings", "scribbles"],
)
def test_hundreds_of_regions_one_over_the_other_are_matched_in_no_time(kind, draw):
    chance = np.random.default_rng(0)
    drawn = [
        region(w, np.asarray(draw(chance)).tolist(), kind=kind, name=f"r{i}")
        for w in "ab" for i in range(500)
    ]  # fmt: skip
    begun = time.process_time()

    shared, alone = regions.consensus(drawn, 2)

    assert time.process_time() - begun < 5  # it is about one
    assert 2 * len(shared) + len(alone) == 1000
    assert len(shared) > 450


def test_a_scribble_is_the_hull_of_its_points():
    points = np.random.default_rng(0).uniform(0, 200, (280, 2))

    assert regions.outline("polygon", points.tolist()).equals(
        shapely.MultiPoint(points).convex_hull
    )


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("rectangle", [[5, 5], [5, 90]]),
        ("polygon", [[0, 0], [10, 10], [20, 20]]),
        ("polygon", [[7, 7]] * 3),
        ("ellipse", [[0, 0], [10, 0], [5, 0], [5, 0]]),
    ],
)
def test_what_has_no_area_matches_nothing_and_breaks_nothing(kind, points):
    flat = [region(w, points, kind=kind) for w in ("a", "b")]

    shared, alone = regions.consensus([*flat, box("c", 0, 0)], 3)

    assert shared == []
    assert [one["workerId"] for one in alone] == ["a", "b", "c"]


places = st.tuples(*[st.floats(-50, 400, allow_nan=False)] * 2).map(list)
kinds = {
    "rectangle": st.lists(places, min_size=2, max_size=2),
    "ellipse": st.lists(places, min_size=4, max_size=4),
    "polygon": st.lists(places, min_size=3, max_size=12),
}
drawings = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["Edema", "Fracture"]),
        st.sampled_from(sorted(kinds)).flatmap(lambda k: st.tuples(st.just(k), kinds[k])),
    ),
    max_size=9,
)  # fmt: skip


@given(drawings, st.randoms())
def test_every_region_is_matched_once_or_unmatched_whatever_the_order(drawn, random):
    rois = [
        region(worker, points, kind=kind, label=label, name=f"r{i}")
        for i, (worker, label, (kind, points)) in enumerate(drawn)
    ]

    shared, alone = regions.consensus(rois, 3)

    said = [i for one in shared for i in one["ids"]] + [one["id"] for one in alone]
    assert sorted(said) == sorted(roi["id"] for roi in rois)
    for one in shared:
        assert len(set(one["workers"])) == len(one["workers"]) >= 2
        assert regions.SAME <= one["iou"] + 1e-3 <= 1 + 1e-3 or len(one["workers"]) > 2
        assert len(one["points"]) >= (2 if one["type"] == "rectangle" else 3)
    random.shuffle(rois)
    assert regions.consensus(rois, 3) == (shared, alone)
