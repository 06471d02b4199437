"""Examples → batches, gathered from the cache in this process and finished on the device.

One gather per batch beats many worker processes (facts: 98k images per core-second). Images
travel as uint8 and become float there; augmentation works on the whole batch, in training only.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cxr.errors import DataError
from cxr.learning import answering, augment

Batch = dict[str, Tensor]
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class Images(Protocol):
    """Anything that gathers images by row: `Cache.images`, or an array."""

    def __getitem__(self, rows: NDArray[np.intp], /) -> NDArray[np.uint8]:
        """Give (B, H, W) for (B)."""
        ...


class Rows(Dataset[Batch]):
    """Examples of one split; asked for a whole batch at once."""

    def __init__(
        self,
        images: Images,
        rows: NDArray[np.intp],
        tables: Mapping[str, NDArray[Any]],
        chosen: NDArray[np.intp],
    ) -> None:
        self._images, self._rows, self._tables = images, rows, tables
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitems__(self, places: list[int]) -> Batch:
        """Gather the examples at these places of the split."""
        index = self._chosen[places]
        return {
            "image": torch.from_numpy(self._images[self._rows[index]]).unsqueeze(1),
            **{name: torch.from_numpy(table[index]) for name, table in self._tables.items()},
            "index": torch.from_numpy(index),
        }

    def __getitem__(self, place: int) -> Batch:
        """Gather one example, as a batch of one."""
        return self.__getitems__([place])


class EpochBatches(Sampler[list[int]]):
    """Batches in an order that follows from seed and epoch alone, so a resume meets the same.

    All batches are of nearly equal size: dropping the rest would waste a tenth of a small set,
    keeping it would make one noisy step. Of several processes each takes its share of every
    batch, so that all have as many and each image is in one.

    Raises:
        DataError: A batch has fewer images than there are processes.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._size, self._batches = size, -(-size // batch_size)
        self._shuffle, self._seed, self._epoch = shuffle, seed, 0
        self._rank, self._world = rank, world
        if size // self._batches < world:
            raise DataError(
                f"expected at least one image of every batch for each of {world} processes, met "
                f"batches of {size // self._batches}; raise data.batch_size, or use fewer"
            )
        self.sampler = self  # Lightning looks here for whom to tell the epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self._size)
        if self._shuffle:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(self._size)
        for batch in np.array_split(order, self._batches):
            yield batch[self._rank :: self._world].tolist()


class CxrData(pl.LightningDataModule):
    """Batches for training and validation.

    A batch is `image` (B, 1, H, W) float32 in [0, 1] or standardized, `targets` and
    `weights` (B, L) and `index` (B), the row in the arrays given here; in val also `truth` (B, L)
    and `mask` (B, L) bool.

    Raises:
        DataError: Nothing to train on, or nothing to validate on.
    """

    def __init__(
        self,
        images: Images,
        rows: NDArray[np.intp],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        splits: NDArray[np.str_],
        *,
        truth: NDArray[np.float32] | None = None,
        mask: NDArray[np.bool_] | None = None,
        batch_size: int = 32,
        augmentation: Augmentation | None = None,
        mixup: float = 0.0,
        standardize: bool = False,
        seed: int = 42,
    ) -> None:
        """Take arrays in one row order.

        Args:
            images: (M, H, W) uint8, gathered by `rows`.
            rows: (N) where in `images` each example is.
            targets: (N, L) in [0, 1], trained on.
            weights: (N, L) of the targets; 0 where there is none.
            splits: (N) of train, val, test.
            truth: (N, L) of 0 and 1, scored on; None: the targets are.
            mask: (N, L) True where the truth is known; None: where there is a target.
            batch_size: Images in a batch, at most; of several processes, in all of them.
            augmentation: Such as `functools.partial(augment.apply, ...)`.
            mixup: As alpha of `augment.mix`; 0 blends nothing.
            standardize: Show the net images of mean 0 and deviation 1, once augmented.
            seed: Of order and augmentation.
        """
        super().__init__()
        for name in ("train", "val"):
            if not (splits == name).any():
                raise DataError(
                    f"expected at least one image in {name}, met none; use more images, another "
                    "data.fold, or a data.split that has some"
                )
        self.sizes = {str(name): int((splits == name).sum()) for name in np.unique(splits)}
        self._images, self._rows = images, rows
        self._trained = {"targets": targets, "weights": weights.astype(np.float32)}
        self._scored = {
            "truth": targets if truth is None else truth,
            "mask": weights > 0 if mask is None else mask,
        }
        self._splits, self._batch_size = splits, batch_size
        self._augmentation, self._mixup = augmentation, mixup
        self._standardize, self._seed = standardize, seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffle anew each epoch, the same way for the same seed."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Keep the order of the rows."""
        return self._loader("val", shuffle=False)

    def _loader(self, name: str, *, shuffle: bool) -> DataLoader[Batch]:
        chosen = np.flatnonzero(self._splits == name)
        tables = self._trained | ({} if name == "train" else self._scored)
        rank, world = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        return DataLoader(
            Rows(self._images, self._rows, tables, chosen),
            batch_sampler=EpochBatches(
                len(chosen),
                self._batch_size,
                shuffle=shuffle,
                seed=self._seed,
                rank=rank,
                world=world,
            ),
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make float images on the device; augment them in training."""
        batch = batch | {"image": batch["image"].float() / 255}
        trainer = self.trainer
        if trainer is not None and trainer.training:
            # the draw follows from seed, batch and rank alone, so a resume meets the same
            batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
            draw = self._seed * 1_000_003 + batches + trainer.global_rank * 7_919_000_003
            generator = torch.Generator().manual_seed(draw)
            if self._augmentation is not None:
                batch = batch | {"image": self._augmentation(batch["image"], generator)}
            if self._mixup:
                batch = augment.mix(batch, generator, alpha=self._mixup)
        if self._standardize:
            batch = batch | {"image": answering.standardize(batch["image"])}
        return batch


def _as_is(batch: Any) -> Any:
    return batch  # gathered whole already
