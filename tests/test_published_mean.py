"""A published protocol's mean is taken as that protocol scores, not as the headline does."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from test_evaluation import evaluated, material
from test_fit import NET
from test_predictor import RECORD

from cxr.learning import predictions
from cxr.learning.model import build_net
from cxr.learning.predictor import Predictor

SCRIPT = Path(__file__).parents[1] / "scripts" / "published_mean.py"


def asked(root, *runs):
    return subprocess.run(
        [sys.executable, SCRIPT, *runs], env={"CXR_ROOT": str(root)}, text=True, capture_output=True
    )


def test_uncertain_labels_are_absent_in_the_mean_of_a_published_table(tmp_path):
    given = material()
    doubted = np.zeros_like(given.mask)
    doubted[::4, 0] = True
    given = replace(given, uncertain=doubted, mask=given.mask & ~doubted)
    net = Predictor(RECORD, build_net(NET, 3), "cpu")
    made = evaluated(tmp_path, net, given, pictures=False)
    for run in ("a", "b"):
        shutil.copytree(tmp_path / "out", tmp_path / "runs" / run)

    done = asked(tmp_path, "a", "b")

    p = predictions.read(tmp_path / "runs" / "a" / "predictions.csv").probabilities
    each = [sk.roc_auc_score(np.where(doubted, 0, given.truth)[:, k], p[:, k]) for k in range(3)]
    *_, row, mean = done.stdout.splitlines()
    assert row.split()[:2] == ["b", "3/3"]
    assert [float(x) for x in row.split()[2:]] == pytest.approx(
        [np.mean(each), np.mean(each[:2])], abs=6e-5
    )
    assert mean.split()[-2:] == row.split()[-2:]
    assert abs(made.scored["labels"][RECORD.label_names[0]]["auroc"] - each[0]) > 1e-3


def test_runs_that_cannot_be_averaged_are_refused_in_a_sentence(tmp_path):
    done = asked(tmp_path, "nope")

    assert done.returncode == 1
    assert "expected the figures of a run that has ended, met none" in done.stderr
    assert "Traceback" not in done.stderr
