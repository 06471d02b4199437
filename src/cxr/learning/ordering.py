"""From the config of a run to an order for a machine elsewhere; nothing is prepared yet."""

import functools
from collections.abc import Callable
from pathlib import Path

from cxr import schema
from cxr.infra import tracking
from cxr.infra.sagemaker.order import Goods, Order
from cxr.learning import parcel, preparing, score
from cxr.pacs import synthetic


def order(cfg: schema.Train, folder: Path) -> Order:
    """Give the order of a run.

    Args:
        cfg: Of the run.
        folder: The data root.
    """
    split, metric, *label = cfg.objective.split("/", 2)
    return Order(
        name=cfg.name,
        root=folder,
        objective=score.metric_name(split, metric, *label),
        tracking_uri=cfg.tracking.uri,
        experiment=cfg.tracking.experiment,
        resume=cfg.resume,
        prepare=lambda scratch: _prepare(cfg, folder, scratch),
        restore=lambda run: parcel.restore(run, folder / "cache", _pseudonym(folder)),
        adopt=functools.partial(_adopt, cfg.tracking),
    )


def _adopt(to: schema.Tracking, run: tracking.Run, folder: Path) -> None:
    from cxr.learning import predictor, tracked  # torch, which starting a job elsewhere needs not

    record = predictor.load_run(folder)
    tracked.model(run, folder, record, register_as=to.register_as, alias=to.alias)


def _pseudonym(folder: Path) -> Callable[[str], str]:
    return functools.partial(tracking.pseudonym, secret=tracking.secret(folder))


def _prepare(cfg: schema.Train, folder: Path, scratch: Path) -> Goods:
    """Refuse here what would be refused there, and gather what the job needs."""
    from cxr.learning import running  # all that trains, which following a job needs not

    running.check(cfg, folder / "runs" / cfg.name)
    ready = preparing.material(cfg, folder)
    preparing.objective(cfg, ready.cohort.names)
    divided = preparing.splits(cfg, folder, scratch / "divided", ready, None)
    pseudonym = _pseudonym(folder)
    labels = scratch / "labels"
    labels.mkdir()
    sources = [example.source for example in ready.cohort.examples]
    files = parcel.write_labels(
        ready, divided, pseudonym, labels,
        attribute=cfg.data.attribute or cfg.data.job,
        drawn=synthetic.is_drawn(folder / "synthetic" / "truth.csv", sources),
        agreement=folder / "jobs" / cfg.data.job / "agreement.json",
    )  # fmt: skip
    preset = cfg.data.preset
    return Goods(
        labels=files,
        cache_name=parcel.digest(ready, pseudonym, preset=preset),
        write_cache=lambda target: parcel.write(
            ready, pseudonym, folder / "cache", target, preset=preset
        ),
    )
