"""Processes that train together give one model, count each image once, and fail together."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fit import classifier, learnable

from cxr.errors import DataError
from cxr.learning import losses, ranks
from cxr.learning.dataset import EpochBatches

PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "src")]
TOGETHER = """
import json, os, pathlib, sys
import numpy as np
import test_fit
from cxr.learning import ranks

folder, rank = pathlib.Path(sys.argv[1]), ranks.here().rank
told = []
data = test_fit.learnable(train=47, val=33)
fitted = test_fit.fit.fit(
    test_fit.classifier(), data, folder=folder / "run", max_epochs=2, accelerator="cpu",
    precision="32-true", log_metrics=lambda metrics, epoch: told.append(dict(metrics)),
    ema=0.9, accumulate=2,
)
total = float(ranks.total(test_fit.torch.tensor(1 + 3 * rank)))
(folder / f"rank-{rank}.json").write_text(
    json.dumps({"told": told, "best": fitted.score, "epochs": fitted.epochs, "total": total})
)
if rank == 1:  # the images of this one end too early
    data._images = data._images[:20]
test_fit.fit.fit(
    test_fit.classifier(), data, folder=folder / "lost", max_epochs=2, accelerator="cpu",
    precision="32-true",
)
(folder / f"went-on-{rank}").touch()
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes that train one model, then lose one of them."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "together.py").write_text(TOGETHER)
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(folder / "together.py"), str(folder),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PATHS)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return folder, done, time.monotonic() - began


@pytest.mark.slow
def test_the_first_process_alone_tells_and_writes(together):
    folder, done, _ = together
    first, second = (json.loads((folder / f"rank-{n}.json").read_text()) for n in (0, 1))

    assert len(first["told"]) == 2
    assert second["told"] == []
    assert (first["best"], first["epochs"]) == (second["best"], second["epochs"])
    assert sorted(p.name for p in (folder / "run").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
    assert done.stderr.count("epoch 2/2") == 1


@pytest.mark.slow
def test_validation_counts_each_image_once(together):
    folder, _, _ = together
    told = json.loads((folder / "rank-0.json").read_text())["told"][-1]
    alone = classifier()
    alone.load_state_dict(torch.load(folder / "run" / "last.ckpt", weights_only=True)["state_dict"])

    data = learnable(train=47, val=33)
    images, truth, mask = data._images, data._scored["truth"], data._scored["mask"]
    chosen = np.arange(47, 80)
    with torch.inference_mode():
        logits = alone.eval()(torch.from_numpy(images[chosen])[:, None].float() / 255)
    truth, mask = torch.from_numpy(truth[chosen]), torch.from_numpy(mask[chosen])

    expected = float(losses.Bce()(logits, truth, mask.float()))
    assert told["val/loss"] == pytest.approx(expected, 1e-4)
    expected = alone._aurocs(logits, truth, mask)
    assert told["val/auroc_macro"] == pytest.approx(expected["val/auroc_macro"], abs=1e-6)


@pytest.mark.slow
def test_every_process_knows_how_many_targets_all_have(together):
    folder, _, _ = together

    totals = [json.loads((folder / f"rank-{n}.json").read_text())["total"] for n in (0, 1)]

    assert totals == [5, 5]


@pytest.mark.slow
def test_all_processes_fail_when_one_does(together):
    folder, done, seconds = together

    assert done.returncode != 0
    assert "IndexError" in done.stderr
    assert list(folder.glob("went-on-*")) == []
    assert seconds < 250


def test_shares_of_a_batch_are_the_batch():
    whole = EpochBatches(47, 16, shuffle=True, seed=3)
    shares = [EpochBatches(47, 16, shuffle=True, seed=3, rank=r, world=3) for r in range(3)]
    for sampler in (whole, *shares):
        sampler.set_epoch(2)

    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(row for part in parts for row in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_processes_than_images_in_a_batch_are_refused():
    with pytest.raises(DataError, match="each of 4 processes, met batches of 3"):
        EpochBatches(9, 3, shuffle=False, rank=0, world=4)


def test_without_torchrun_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    assert ranks.here() == ranks.Ranks(0, 1, 1)
    assert ranks.here().first


def test_torchrun_says_who_is_who(monkeypatch):
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)

    here = ranks.here()

    assert (here.rank, here.world, here.hosts, here.first) == (5, 8, 2, False)


def test_one_process_keeps_its_rows_as_they_are():
    rows = (torch.arange(3), torch.ones(3, 2))

    assert ranks.gathered(rows) is rows
    assert (ranks.total(torch.tensor(7)), ranks.world()) == (7, 1)
