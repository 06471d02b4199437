"""What the gallery shows, whom it keeps back, and how often the net points where readers did."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib import image as matplotlib_image
from statsmodels.stats.proportion import proportion_confint
from test_evaluation import evaluated, material
from test_predictor import RECORD
from torch import nn

from cxr.learning import decoding, evaluation, regions
from cxr.learning.evaluation import gallery, pointing
from cxr.learning.evaluation.gallery import KINDS, Case
from cxr.learning.evaluation.scene import Settings
from cxr.learning.predictor import Predictor
from cxr.learning.regions import Region

SIZE = RECORD.image_size[0]
FIRST = RECORD.label_names[0]
SALIENCY = Settings(saliency=True)
WIDE = (100, 200)  # rows and columns: half of the letterbox is empty


class Bright(nn.Module):
    """Calls bright images; its features are the image, so its maps are where it is bright."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = nn.Linear(1, len(RECORD.label_names))
        self.out.weight.data = torch.tensor([[300.0], [-1.0], [-1.0]])
        self.out.bias.data = torch.tensor([-2.0, 0.0, 0.0])

    def forward(self, image):
        return self.out(self.pool(image).flatten(1))


def drawn(count=24):
    """Images with one bright spot at known image pixels; every second has the first finding."""
    given = material(count)
    images = np.zeros((count, SIZE, SIZE), np.uint8)
    spots = []
    for k in range(count):
        picture = np.zeros(WIDE, np.float32)
        x, y = 20 + 6 * (k % 20), 20 + 10 * (k % 5)
        picture[y : y + 20, x : x + 20] = 0.5 + 0.02 * k
        spots.append((x, y))
        images[k] = decoding.letterbox(picture, (SIZE, SIZE))
    given.images.images = images
    truth = np.zeros((count, 3), np.float32)
    truth[::2, 0] = 1
    instances = tuple(replace(i, rows=WIDE[0], columns=WIDE[1]) for i in given.cohort.instances)
    cohort = replace(given.cohort, instances=instances)
    return replace(given, cohort=cohort, truth=truth, mask=np.ones_like(given.mask)), spots


def with_regions(given, boxes):
    examples = tuple(
        replace(e, regions=(Region(FIRST, "rectangle", box),) if box else ())
        for e, box in zip(given.cohort.examples, boxes, strict=True)
    )
    return replace(given, cohort=replace(given.cohort, examples=examples))


def asker():
    return Predictor(RECORD, Bright(), "cpu")


def test_a_box_drawn_around_what_the_net_sees_is_hit_and_one_elsewhere_is_not(tmp_path):
    given, spots = drawn()
    # the first six of twelve positives are boxed where the spot is, the others far from it
    boxes = [
        ((x, y), (x + 20, y + 20)) if k < 12 else ((x - 20, y + 40), (x - 10, y + 50))
        for k, (x, y) in enumerate(spots)
    ]

    made = evaluated(
        tmp_path, asker(), with_regions(given, boxes), settings=SALIENCY, pictures=False
    )

    said = made.scored["pointing"]["labels"][FIRST]
    assert (said["hits"], said["n"], said["patients"]) == (6, 12, 12)
    assert said["ci"] == pytest.approx(proportion_confint(6, 12, method="wilson"))
    margin = pointing.TOLERANCE * 200
    assert said["chance"] == pytest.approx((20 + 2 * margin) ** 2 / (100 * 200), rel=0.7)
    assert "6 of 12" in made.report.read_text()
    assert "<image" not in made.report.read_text()


class Mirrored(Bright):
    """Sees the same on the other side."""

    def forward(self, image):
        return super().forward(image.flip(-1))


def test_of_an_ensemble_of_folds_those_point_that_held_an_image_out(tmp_path):
    given, spots = drawn()
    given = with_regions(given, [((x, y), (x + 20, y + 20)) for x, y in spots])
    context = evaluation.context(
        tmp_path, given, job="ward", config_yaml="", warnings=[], policies={}, pictures=True,
        draws=20, seed=0, settings=SALIENCY,
    )  # fmt: skip
    rows = np.arange(len(spots))
    both = Predictor(RECORD, [Bright(), Mirrored()], "cpu")

    def told(name, asked, by):
        said = asker().logits(given.images.images)
        scene = replace(context, by=by)
        return evaluation.evaluate(tmp_path / name, asked, given, rows, "test", scene, said)

    halves = told("a", both, rows[:, None] // 12 == np.arange(2))
    first = told("b", both, rows[:, None] * 0 == np.arange(2))
    alone = told("c", asker(), None)

    # six by who sees spots where they are, one in the middle by who sees them mirrored
    assert halves.scored["pointing"]["labels"][FIRST]["hits"] == 6 + 1
    maps = [
        made.report.read_text().partition("<h2>Error gallery</h2>")[2].partition("<h2>")[0]
        for made in (halves, first, alone)
    ]
    assert maps[0] != maps[1] == maps[2]
    assert "image/png" in maps[2]


def test_without_regions_the_report_says_so_and_without_asking_nothing(tmp_path):
    given, _ = drawn()

    asked = evaluated(tmp_path / "a", asker(), given, settings=SALIENCY)
    silent = evaluated(tmp_path / "b", asker(), given)

    assert asked.scored["pointing"]["reason"] == pointing.UNDRAWN
    assert pointing.UNDRAWN in asked.report.read_text()
    assert "pointing" not in silent.scored


def test_a_net_that_pools_nothing_is_scored_and_shown_without_maps(tmp_path):
    given, spots = drawn()
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, len(RECORD.label_names)))
    boxes = [((x, y), (x + 20, y + 20)) for x, y in spots]

    made = evaluated(
        tmp_path, Predictor(RECORD, net, "cpu"), with_regions(given, boxes), settings=SALIENCY
    )

    assert "expected a net that pools" in made.scored["pointing"]["reason"]
    assert shown(made.report.read_text())


def test_random_points_hit_as_often_as_their_area_says():
    at = decoding.place(WIDE, (SIZE, SIZE))
    area = pointing.target([Region(FIRST, "rectangle", ((150, 60), (260, 130)))], at)
    rng = np.random.default_rng(0)

    hits = []
    for _ in range(2000):
        found = np.zeros((SIZE, SIZE))
        row, column = at.top + rng.integers(at.rows), at.left + rng.integers(at.columns)
        found[row, column] = 1
        hits.append(pointing.is_hit(found, area, at))

    assert np.mean(hits) == pytest.approx(pointing.chance(area, at), abs=0.03)


def test_the_letterbox_and_a_map_of_nothing_are_never_pointed_at():
    at = decoding.place(WIDE, (SIZE, SIZE))
    found = np.zeros((SIZE, SIZE))
    found[0, 0] = 9
    everywhere = pointing.target([Region(FIRST, "rectangle", ((0, 0), (200, 100)))], at)

    assert pointing.peak(found, at) is None
    assert not pointing.is_hit(found, everywhere, at)
    found[at.top, 3] = 1
    assert pointing.peak(found, at) == (3.5, at.top + 0.5)
    assert pointing.is_hit(found, everywhere, at)


def test_a_point_is_hit_within_the_tolerance_and_not_beyond():
    at = decoding.place((SIZE, SIZE), (SIZE, SIZE))
    area = pointing.target([Region(FIRST, "point", ((10.5, 10.5),))], at)
    near, far = np.zeros((2, SIZE, SIZE))
    near[10, 10 + int(pointing.TOLERANCE * SIZE)] = 1
    far[10, 12 + int(pointing.TOLERANCE * SIZE)] = 1

    assert pointing.is_hit(near, area, at)
    assert not pointing.is_hit(far, area, at)
    assert regions.corners(Region(FIRST, "point", ((10.5, 10.5),))) == [(10.5, 10.5)]


def test_flat_maxima_are_taken_in_their_middle():
    at = decoding.place((SIZE, SIZE), (SIZE, SIZE))
    found = np.zeros((SIZE, SIZE))
    found[0:5, 0:9] = 1

    assert pointing.peak(found, at) == (4.5, 2.5)


def shown(page):
    return re.findall(r"<figcaption><b>([^<]+)</b> ([0-9.]+)", page)


def test_the_gallery_has_the_surest_calls_right_and_wrong_and_the_clearest_misses(tmp_path):
    given, _ = drawn()

    page = evaluated(tmp_path, asker(), given).report.read_text()

    p = asker().predict(given.images.images)[:, 0]
    right, wrong = p[::2], p[1::2]
    first = shown(page)[:6]
    assert [float(v) for _, v in first] == pytest.approx(
        [*np.sort(right)[::-1][:2], *np.sort(wrong)[::-1][:2], *np.sort(right)[:2]], abs=6e-4
    )
    assert {kind for kind, _ in first} == {"Present, high", "Absent, high", "Present, low"}


def pictures_in(page):
    for uri in re.findall(r'<image id="p\d+" href="data:image/png;base64,([^"]+)"', page):
        read = matplotlib_image.imread(io.BytesIO(base64.b64decode(uri)), format="png")
        yield np.round(read * 255).astype(np.uint8)


def test_of_too_many_pictures_each_finding_keeps_its_first_of_each_kind():
    every = [Case(n, k, kind) for k in range(14) for kind in KINDS for n in range(6 * k, 6 * k + 2)]

    kept = gallery.shared_out(every)

    assert len(kept) == gallery.MOST == 72
    assert [every.index(case) for case in kept] == sorted(map(every.index, kept))
    assert Counter(case.k for case in kept) == dict.fromkeys(range(2), 6) | dict.fromkeys(
        range(2, 14), 5
    )
    firsts = {(case.k, case.kind) for case in kept if case.n % 6 == 0}
    assert len(firsts) == 14 * 3
    assert gallery.shared_out(every[:72]) == every[:72]
