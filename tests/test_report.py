"""The report says what it must, loads nothing, and takes any label for text."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import samples
from matplotlib import image as matplotlib_image

from cxr.learning import figures, report, score
from cxr.learning.decoding import Placement
from cxr.learning.evaluation import operating
from cxr.learning.evaluation.scene import Settings
from cxr.learning.figures import forest, overlay, png, roc

NAMES = ["Edema", "Hernia", "Pneumonia", "No Finding"]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }}",
    "\x1b[0m\0",
]


SQUARE = Placement(0, 0, 4, 4, (4, 4))


def picture(finding="Edema", calls=None, **changed):
    calls = calls or {finding: (0.5, True)}
    pixels = np.zeros((4, 4), np.uint8)
    return replace(report.Picture(pixels, SQUARE, finding, "found", calls), **changed)


def made(names=NAMES, **changed):
    rng = np.random.default_rng(0)
    targets = (rng.random((150, 4)) < [0.3, 0.0, 0.4, 0.4]).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=(150, 4)) + 1.5 * targets - 1)))
    mask = np.ones((150, 4), bool)
    scored = score.score(
        probabilities, targets, mask, names=names, patient_ids=[str(i // 2) for i in range(150)],
        no_finding=names[3],
        thresholds=operating.choose(samples.made(probabilities, targets, mask, names), Settings()),
        label_source="report-text-mined", human_annotated=False, draws=50,
    )  # fmt: skip
    curves = score.curves(probabilities, targets, mask, names=names)
    return replace(report.Report("nih-1", "2026-11-22", scored, curves), **changed)


class Page(HTMLParser):
    """Tags met, what they load, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.words, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "data", "srcset", "action")]
        assert not [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_headline_holds_figure_interval_counts_and_label_source():
    given = made(run_id="abc123", data="job nih")

    text = Page(report.render(given)).text

    low, high = given.scored["auroc_macro_ci"]
    assert f"{given.scored['auroc_macro']:.3f}" in text
    assert f"95 % CI {low:.3f}–{high:.3f}" in text
    assert "labels: report-text-mined, not read by radiologists" in text
    assert "Scored 150 images of 75 patients" in text
    assert "nih-1 abc123" in text
    assert "2026-11-22" in text


def test_research_only_opens_and_closes_the_page():
    text = Page(report.render(made())).text

    note = "Research use only. Not for clinical decisions."
    assert text.count(note) >= 2
    assert "diagnos" not in text.lower()


def test_nothing_is_loaded_and_no_script_runs():
    heat = np.eye(4, dtype=np.float32)
    shown = picture(heat=heat, peak=(1.5, 1.5), outlines=[[(1, 1), (3, 1), (3, 3)], [(2, 2)]])
    html = report.render(made(pictures=[picture(), shown]))

    page = Page(html)

    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(address.startswith(("data:image/png;base64,", "#p")) for address in page.loads)
    assert len(page.loads) == 4  # two images, one of them used again, and its heat
    assert "url(" not in html
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {"http://www.w3.org/2000/svg"}


def test_hostile_text_stays_text_everywhere():
    agreement = {
        "labels": {
            name: {
                "objects": 1, "workers": 2, "answers": 2, "disagreements": 0, "alpha": None,
                "positive": None, "negative": 1.0, "reason": name,
            }
            for name in HOSTILE
        }
    }  # fmt: skip
    everywhere = {name: name for name in HOSTILE}
    given = made(
        HOSTILE,
        run=HOSTILE[0], created=HOSTILE[0], title=HOSTILE[0], run_id=HOSTILE[0], data=HOSTILE[0],
        warnings=HOSTILE, consolidation=HOSTILE[0], policies=everywhere, agreement=agreement,
        config_yaml="\n".join(HOSTILE), versions=everywhere, hashes=everywhere,
        cohort=[report.Step(HOSTILE[0], 3), report.Step(HOSTILE[1], 2, 1, {HOSTILE[2]: 1})],
        pictures=[picture(HOSTILE[1], dict.fromkeys(HOSTILE, (0.9, True)), view=HOSTILE[2])],
    )  # fmt: skip
    given.scored["label_source"] = HOSTILE[0]

    page = Page(report.render(given))

    assert "script" not in page.tags
    assert page.loads == [png.uri(np.zeros((4, 4), np.uint8))]
    assert all(name in page.text for name in HOSTILE[:3])


def test_row_says_why_a_figure_is_missing():
    text = Page(report.render(made())).text

    assert "Hernia not averaged: 0 positives, 5 needed" in text
    assert "no threshold: 0 positives on val, 20 needed" in text
    assert "No Finding not averaged: not a finding" in text


def test_sections_without_content_are_left_out():
    text = Page(report.render(made())).text

    for heading in ("Cohort", "Agreement between readers", "gallery", "Configuration"):
        assert heading not in text


def test_cohort_flow_shows_what_left_and_what_nobody_accounted_for():
    steps = [
        report.Step("lines", 100, 80),
        report.Step("usable", 90, 75, {"unusable": 7, "lateral": 0}),
    ]

    text = Page(report.render(made(cohort=steps))).text

    assert "100 lines of 80 patients" in text
    assert "7 unusable" in text
    assert "3 not accounted for" in text
    assert "lateral" not in text


def test_agreement_configuration_and_hashes_are_shown():
    row = {
        "objects": 8, "workers": 3, "answers": 24, "disagreements": 2, "alpha": -0.0214,
        "positive": 0.5, "negative": 0.96, "reason": None,
    }  # fmt: skip
    given = made(
        agreement={"labels": {"Edema": row}}, config_yaml="bucket: ${oc.env:CXR_BUCKET}",
        versions={"torch": "2.13.0"}, hashes={"output.manifest": "sha256 9f"},
        policies={"uncertain": "ignore"}, warnings=["only 8 images"],
    )  # fmt: skip

    text = Page(report.render(given)).text

    assert "Edema 8 3 24 2 −0.021 50 % 96 %" in text
    assert "bucket: ${oc.env:CXR_BUCKET}" in text
    assert "torch 2.13.0" in text
    assert "output.manifest sha256 9f" in text
    assert "uncertain ignore" in text
    assert "only 8 images" in text


def test_run_with_nothing_to_average_still_has_a_report():
    given = made()
    scored = given.scored | {
        "auroc_macro": None, "auroc_macro_ci": None, "ap_macro": None, "ap_macro_ci": None,
        "averaged": [], "left_out": dict.fromkeys(NAMES, "few"),
    }  # fmt: skip

    text = Page(report.render(replace(given, scored=scored))).text

    assert "no finding has 5 images of both classes" in text
    assert "Findings averaged none" in text
    assert "ROC curves" not in text


def test_labels_read_by_people_say_no_more_than_that():
    given = made()

    text = Page(
        report.render(
            replace(
                given, scored=given.scored | {"label_source": "readers", "human_annotated": True}
            )
        )
    ).text

    assert "labels: readers " in text
    assert "not read by radiologists" not in text


def test_same_report_gives_the_same_bytes(tmp_path):
    report.write(tmp_path / "a.html", made())
    report.write(tmp_path / "b.html", made())

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_example_image_is_the_image_bit_for_bit():
    image = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)

    uri = png.uri(image)

    raw = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    again = matplotlib_image.imread(io.BytesIO(raw), format="png")
    np.testing.assert_array_equal(np.round(again * 255).astype(np.uint8), image)


def test_a_picture_says_what_it_was_called_what_it_is_and_what_else_it_was_taken_for():
    calls = {
        "Edema": (0.83, False), "Hernia": (0.61, None), "Pneumonia": (0.2, True),
        "No Finding": (0.1, False),
    }  # fmt: skip

    text = Page(
        report.render(made(pictures=[picture(calls=calls, kind="false alarm", view="AP")]))
    ).text

    assert "False alarm 0.830 AP labelled: Pneumonia model also: Hernia 0.61" in text


def test_heat_colours_the_radiograph_and_never_the_letterbox():
    at = Placement(1, 0, 2, 4, (2, 4))
    heat = np.ones((4, 4), np.float32)

    svg = ElementTree.fromstring(
        overlay.draw("p1", "t", np.zeros((4, 4), np.uint8), at, heat=heat, peak=None, outlines=[])
    )

    _, coloured = svg.iter("{http://www.w3.org/2000/svg}image")
    assert [coloured.get(key) for key in ("x", "y", "width", "height")] == ["0", "1", "4", "2"]
    raw = base64.b64decode(coloured.get("href").removeprefix("data:image/png;base64,"))
    assert matplotlib_image.imread(io.BytesIO(raw), format="png").shape == (2, 4, 4)


@pytest.mark.parametrize("names", [NAMES, HOSTILE])
def test_figure_files_are_xml(tmp_path, names):
    given = made(names)

    paths = figures.write(tmp_path / "figures", given.scored, given.curves)

    assert [path.name for path in paths] == ["roc.svg", "auroc.svg"]
    for path in paths:
        svg = ElementTree.parse(path).getroot()
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert not svg.findall(".//{*}script")
        assert not svg.findall(".//{*}img")


def test_drawn_curve_passes_through_every_corner():
    given = made()
    curve = given.curves["Edema"]

    svg = roc.small("Edema", curve, given.scored["labels"]["Edema"], size=108)

    line = ElementTree.fromstring(svg).find("{*}polyline").get("points")
    drawn = np.array([[float(v) for v in point.split(",")] for point in line.split()])
    x, y = 4 + 100 * curve.false_positive_rate, 104 - 100 * curve.sensitivity
    assert drawn[0].tolist() == [4, 104]
    assert drawn[-1].tolist() == [104, 4]
    # a step curve: the area under the drawn corners is the area under all points
    assert np.trapezoid(104 - drawn[:, 1], drawn[:, 0]) == pytest.approx(
        np.trapezoid(104 - y, x), abs=20
    )
    assert len(drawn) <= len(x)


def test_axis_reaches_below_chance_where_an_interval_does():
    given = made()
    scored = given.scored | {
        "labels": {"Edema": given.scored["labels"]["Edema"] | {"auroc_ci": [0.31, 0.6]}}
    }

    svg = ElementTree.fromstring(forest.draw(scored))

    assert "0.3" in [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]


FIGURES = {
    "n": 9, "positives": 3, "prevalence": 0.3, "mean_probability": 0.3, "brier": 0.1,
    "brier_ci": None, "brier_of_prevalence": 0.2, "ece": 0.1,
    "bins": [{"n": 9, "positives": 3, "predicted": 0.3, "observed": 0.3, "observed_ci": None}],
}  # fmt: skip


def calibration(fitted):
    before = fitted and FIGURES
    return {"calibration": {
        "binning": "equal counts", "most_bins": 10, "fewest_in_a_bin": 20,
        "labels": {"Edema": {"fitted": fitted, "before": before, "after": FIGURES}},
    }}  # fmt: skip


@pytest.fixture(scope="module")
def training():
    """What the report of a run's training says."""
    given = made(
        pictures=[picture()], config_yaml="draws: 100", evaluated="2026-11-23T08:00:00+00:00"
    )
    return Page(report.render(replace(given, scored=given.scored | calibration(None)))).text


@pytest.fixture(scope="module")
def evaluation():
    """What that of an ensemble says, scored by study on what its thresholds were chosen on."""
    given = made(
        pictures=[picture()], cut=12, config_yaml="draws: 100", members=3,
        trained_with={"data.image_size": "[96, 96]"},
    )  # fmt: skip
    labels = {n: x | {"threshold_split": "pooled"} for n, x in given.scored["labels"].items()}
    fitted = {"method": "platt", "slope": 1.0, "intercept": 0.1, "reason": None, "split": "pooled"}
    scored = {"split": "pooled", "unit": "study", "labels": labels} | calibration(fitted)
    return Page(report.render(replace(given, scored=given.scored | scored))).text


def test_thresholds_chosen_on_the_images_scored_are_said_to_be(training, evaluation):
    assert "on other images than these (val) and are no recommendation" in training
    assert "flatter" not in training
    assert (
        "on these very studies, so that sensitivity and specificity flatter, and are" in evaluation
    )


def test_a_report_says_when_it_was_scored_and_when_its_run_was_made(training, evaluation):
    assert "evaluated 2026-11-23 08:00:00 UTC, run of 2026-11-22 · test images" in training
    assert "evaluated" not in evaluation


def test_a_report_of_studies_speaks_of_studies(training, evaluation):
    assert "of two studies, one with a finding and one without" in evaluation
    assert "of two images, one with a finding and one without" in training


def test_gallery_of_studies_says_that_its_pictures_are_not_and_how_many_are_left_out(
    training, evaluation
):
    assert "single images, called by a threshold that was chosen for studies" in evaluation
    assert "12 more would belong here; a report shows 1 at most" in evaluation
    assert "more would belong" not in training
    assert "single images" not in training


def test_an_evaluation_shows_what_was_asked_apart_from_what_was_trained_with(training, evaluation):
    assert "Configuration, as composed draws: 100" in training
    assert "trained with" not in training
    assert "What was asked here, as composed draws: 100" in evaluation
    assert "What its runs were trained with data.image_size: [96, 96]" in evaluation


def test_calibration_says_where_it_was_fitted_and_nothing_where_it_was_not(training, evaluation):
    assert "Finding Share" in training
    assert "Finding fitted on pooled Share" in evaluation
