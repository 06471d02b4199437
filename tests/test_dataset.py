"""Batches are the examples, in an order that follows from the seed."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from cxr.errors import DataError
from cxr.learning.dataset import CxrData, EpochBatches

N, SIZE = 23, 8


def data(augmentation=None, **changed):
    rng = np.random.default_rng(0)
    given = {
        "images": rng.integers(256, size=(N + 5, SIZE, SIZE), dtype=np.uint8),
        "rows": rng.permutation(N + 5)[:N],
        "targets": rng.integers(2, size=(N, 3)).astype(np.float32),
        "weights": rng.random((N, 3)).astype(np.float32),
        "truth": rng.integers(2, size=(N, 3)).astype(np.float32),
        "mask": rng.random((N, 3)) > 0.3,
        "splits": np.array(["train"] * 15 + ["val"] * 8),
    }
    return CxrData(**given | changed, batch_size=4, augmentation=augmentation), given


def test_a_batch_holds_what_stands_in_the_arrays():
    module, given = data()

    batches = list(module.val_dataloader())

    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(15, 23))
    for batch in batches:
        index = batch["index"].numpy()
        assert batch["image"].dtype == torch.uint8
        assert (batch["image"][:, 0].numpy() == given["images"][given["rows"][index]]).all()
        for name in ("targets", "weights", "truth", "mask"):
            assert (batch[name].numpy() == given[name][index]).all()


def test_what_is_scored_never_reaches_training():
    module, given = data()

    batches = list(module.train_dataloader())

    assert {key for batch in batches for key in batch} == {"image", "targets", "weights", "index"}
    for batch in batches:
        index = batch["index"].numpy()
        assert (batch["targets"].numpy() == given["targets"][index]).all()
        assert (batch["weights"].numpy() == given["weights"][index]).all()


@pytest.mark.parametrize(("size", "batch_size"), [(33, 32), (100, 32), (5, 32), (64, 32), (7, 1)])
def test_an_epoch_holds_each_example_once_in_batches_of_like_size(size, batch_size):
    batches = list(EpochBatches(size, batch_size, shuffle=True))

    assert sorted(place for batch in batches for place in batch) == list(range(size))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= batch_size
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) == -(-size // batch_size)


def test_order_follows_from_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochBatches(50, 8, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


class Watch(pl.LightningModule):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained, self.validated = [], []

    def training_step(self, batch, _):
        self.trained.append(batch)
        return self.weight * batch["image"].mean()

    def validation_step(self, batch, _):
        self.validated.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def shown(module, epochs=2):
    watch = Watch()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(watch, datamodule=module)
    return watch


def test_images_become_float_and_only_training_is_augmented():
    module, given = data(augmentation=lambda images, generator: images * 0 + 0.5)

    watch = shown(module)

    assert all((b["image"] == 0.5).all() for b in watch.trained)
    image = torch.cat([b["image"] for b in watch.validated[:2]])
    expected = given["images"][given["rows"][15:]][:, None] / 255
    assert image.dtype == torch.float32
    assert np.allclose(image.numpy(), expected)


def test_lightning_shuffles_anew_each_epoch_and_alike_each_run():
    order = [[b["index"].tolist() for b in shown(data()[0]).trained] for _ in range(2)]

    assert order[0] == order[1]
    assert order[0][:4] != order[0][4:]


def test_augmentation_draws_alike_each_run():
    def noise(images, generator):
        return torch.rand(images.shape, generator=generator)

    first, second = (shown(data(augmentation=noise)[0], 1).trained for _ in range(2))

    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0]["image"][0], first[1]["image"][0])


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_a_split_without_images_is_refused(lacking):
    splits = np.array(["val" if lacking == "train" else "train"] * N)

    with pytest.raises(DataError, match=f"at least one image in {lacking}, met none"):
        data(splits=splits)
