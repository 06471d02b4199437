"""python -m cxr.ingest: DICOM files into the PACS, every one checked.

They come from a folder (`folder=…`), be it a published set (`published=…`), or from another PACS
(`from_pacs=…`); `check=true` stores nothing and only says what is wrong.
"""

import io
import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cxr import config, labeling_schema, schema
from cxr.errors import ConfigError, PacsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxr.pacs import Pacs
    from cxr.pacs.ingest import Ingest
    from cxr.pacs.published import Published
    from cxr.pacs.sources import Source
    from cxr.pacs.withdrawn import Images


def main(cfg: schema.Ingest, _: DictConfig) -> None:
    """Store the good files, report on all."""
    from cxr import root

    if isinstance(sys.stdout, io.TextIOWrapper):  # file names hold what stdout has no letters for
        sys.stdout.reconfigure(errors="backslashreplace")
    folder = root.prepare(cfg.root)
    if cfg.synthetic:
        _draw(cfg, cfg.synthetic, folder)
    elif cfg.to:
        _copy(cfg, folder)
    elif cfg.withdraw:
        from cxr.infra import holds
        from cxr.pacs import locks, opening

        # or an ingest that began before would bring the patient back, and so would a training
        alone = [] if cfg.check else [locks.alone(folder / "ingest"), holds.none(folder)]
        with ExitStack() as stack, opening.opened(cfg.pacs, root=folder) as pacs:
            for lock in alone:
                stack.enter_context(lock)
            _withdraw(cfg, cfg.withdraw, pacs, folder)
    elif cfg.reports:
        _reports(cfg, cfg.reports, folder)
    else:
        _ingest(cfg, folder)


def _draw(cfg: schema.Ingest, wanted: labeling_schema.Synthetic, folder: Path) -> None:
    from cxr.pacs import opening, synthetic

    with opening.opened(cfg.pacs, root=folder) as pacs:
        drawn = synthetic.draw_into(
            pacs, folder / "synthetic" / "truth.csv",
            images=wanted.images, seed=wanted.seed, size=(wanted.rows, wanted.columns),
        )  # fmt: skip
        print(f"{drawn} synthetic radiographs drawn, {_held(pacs)}")
    print("next: python -m cxr.label job=demo_by_hand")


def _ingest(cfg: schema.Ingest, folder: Path) -> None:
    """Check every file, store the good ones unless that is all; write the report."""
    from functools import partial

    from cxr.images import deidentify
    from cxr.pacs import ledger, opening, sending
    from cxr.pacs.ingest import Ingest

    with ExitStack() as stack:
        pacs = None if cfg.check else stack.enter_context(opening.opened(cfg.pacs, root=folder))
        origin = None
        if cfg.from_pacs is not None:
            origin = stack.enter_context(
                opening.opened(cfg.from_pacs, root=folder, key="from_pacs")
            )
            if pacs is not None and ledger.is_same(folder, origin, pacs):
                raise ConfigError(
                    f"from_pacs: expected another PACS than pacs, met {pacs.name} as both"
                )
        published = _published(cfg, folder, stack)
        source = _source(cfg, folder, origin, published)
        if pacs is not None:
            sending.greet(pacs)  # before a long list is made for nothing
        secret = deidentify.secret(folder) if cfg.ingest.deidentify != "none" else None
        run = stack.enter_context(
            Ingest(
                folder, pacs, severities=cfg.ingest.rules, pseudonyms=secret,
                workers=cfg.workers or _cores(), batch=cfg.ingest.batch, threads=cfg.ingest.threads,
            )
        )  # fmt: skip
        run.run(source)
        _report(cfg, folder, run)
        if pacs is not None:
            print(_held(pacs))
            if published is not None:
                named = partial(deidentify.pseudonym, secret=secret) if secret else str
                print("\n".join(published.write(run.held(), patient=named)))
                return
    if cfg.check and run.report.refused:
        raise SystemExit(1)
    print("next: " + _next(cfg))


def _published(cfg: schema.Ingest, folder: Path, stack: ExitStack) -> "Published | None":
    from cxr.pacs.published import Published

    name, at = cfg.published, Path(str(cfg.folder))
    return stack.enter_context(Published(name, at, folder)) if name else None


def _source(
    cfg: schema.Ingest, folder: Path, origin: "Pacs | None", published: "Published | None"
) -> "Source":
    from cxr import pacs_schema
    from cxr.pacs import sources

    if origin is not None:
        threads = getattr(cfg.from_pacs, "threads", cfg.ingest.threads)
        return sources.Query(origin, cfg.query, threads=threads)
    own = [folder / "ingest"]
    if isinstance(cfg.pacs, pacs_schema.FolderPacs):
        own.append(Path(cfg.pacs.folder))
    files = sources.Folder(Path(str(cfg.folder)), without=own)
    return files if published is None else published.pictures(files)


def _report(cfg: schema.Ingest, folder: Path, run: "Ingest") -> None:
    """Print what was found, and write all of it to report.csv and report.html."""
    from datetime import datetime

    from rich.console import Console

    from cxr.pacs import report

    tally = report.Tally()
    to = folder / "ingest"
    rows = report.write_csv(to / "report.csv", tally.through(run.rows()))
    found = run.report
    flow = report.Flow(
        str(cfg.folder or (cfg.from_pacs and _named(cfg.from_pacs))),
        datetime.now().astimezone().isoformat(" ", "minutes"),
        found.files, found.refused, found.stored, found.present, cfg.check,
    )  # fmt: skip
    page = report.write_html(to / "report.html", tally, flow, csv_name=rows.name)
    if cfg.check:
        counts = f"{found.files} checked, {found.refused} with errors"
    else:
        counts = f"{found.stored} stored, {found.present} there already, {found.refused} refused"
    print(f"{counts}, {found.warned} with warnings")
    if tally.lines():
        Console(file=sys.stdout, highlight=False).print(report.table(tally))
    print(rows)
    print(page)


def _copy(cfg: schema.Ingest, folder: Path) -> None:
    """Copy files as they are into plain folders."""
    from cxr.pacs import ledger, ledgers, opening, transfer

    to = Path(str(cfg.to))
    if cfg.from_pacs is None:
        raise ConfigError("to: expected from_pacs=… beside it")
    with opening.opened(cfg.from_pacs, root=folder, key="from_pacs") as source:
        if to.resolve() == Path(source.name).resolve():
            raise ConfigError(f"to: expected another folder than the PACS itself, met {cfg.to!r}")
        if not to.is_dir() and os.path.lexists(to):
            raise ConfigError(f"to: expected a folder, or none yet, met a file at {cfg.to!r}")
        with ledger.Ledger(ledger.path_of(folder, f"to {to.resolve()}")) as noted:
            threads = getattr(cfg.from_pacs, "threads", cfg.ingest.threads)
            key = ledgers.key(folder)
            done = transfer.to_folder(source, cfg.query, to, noted, key=key, threads=threads)
    print(f"{done.copied} copied ({done.size / 1e6:.3g} MB), {done.present} there already")
    if done.gone:
        print(f"{done.gone} were deleted there in the meantime")
    print(to)
    print(f"next: python -m cxr.ingest folder={to} check=true")


def _named(section: object) -> str:
    return str(getattr(section, "url", None) or getattr(section, "folder", ""))


def _next(cfg: schema.Ingest) -> str:
    if cfg.check:
        return "the same without check=true"
    return "python -m cxr.label job=… (or python -m cxr.label new=NAME to write one)"


def _held(pacs: "Pacs") -> str:
    """Say how many images a PACS holds, where that is known without asking for all."""
    from cxr.pacs.folder import FolderPacs

    if isinstance(pacs, FolderPacs):
        return f"{pacs.count()} images in {pacs.folder}"
    return f"images in {pacs.name}"


def _reports(cfg: schema.Ingest, path: str, folder: Path) -> None:
    """Link report texts to studies; prints counts and file names, never a text."""
    from cxr.pacs import ledger, opening, reports

    with (
        opening.opened(cfg.pacs, root=folder) as pacs,
        reports.Reports(folder / "reports" / "reports.sqlite") as store,
    ):
        found = reports.link(Path(path), pacs, store, origins=ledger.origins(folder, pacs))
        lacking = reports.without(pacs, store)
    told = f"{found.new} new, {found.replaced} replaced, {found.same} as before"
    print(f"{found.linked} reports linked ({told}), {len(found.unlinked)} not")
    unlinked = folder / "ingest" / "reports_unlinked.csv"
    if found.unlinked or unlinked.exists():
        print(reports.write_unlinked(unlinked, found))
    print(f"{lacking} studies without a report")
    print("next: python -m cxr.label job=reports")


def _withdraw(cfg: schema.Ingest, patient_id: str, pacs: "Pacs", folder: Path) -> None:
    """Remove a patient; the images last, for they alone tell what else to look for."""
    from cxr.labeling import withdrawal as of_jobs
    from cxr.learning import withdrawal as of_runs
    from cxr.pacs import withdrawn

    images, patient_ids = withdrawn.find(folder, pacs, patient_id)
    if not images.instances and patient_ids[0] not in withdrawn.of(folder):
        raise PacsError(f"withdraw: expected a PatientID with images in {pacs.name}, met none")
    mark = withdrawn.of(folder).mark
    told = withdrawn.Told(folder, images.mark)
    runs = told.merged(of_runs.look(folder, images, mark))
    print(f"{len(images.instances)} images in {pacs.name}")
    if images.shared:
        print(
            f"{len(images.shared)} of their studies are another patient's too (rule same_study): "
            "report texts and rows that name no more than the study stay; see whose they are"
        )
    if texts := _texts(folder, images):
        print(f"{texts} report texts")
    for job in of_jobs.look(folder, images):
        print(
            f"job {job.job}: {job.lines} images, {job.answers} answers, {job.decisions} decisions"
        )
        for uri in job.remote:
            print(f"job {job.job}: delete {uri} and its old versions in S3; this does not")
    for run in runs:
        print(
            f"run {run.name} (MLflow {run.run_id or 'none'}): trained on {run.train}, tuned on "
            f"{run.val}, tested on {run.test} of them"
            f"{f', has weights of {run.began_from}' if run.began_from else ''}; its model stays: "
            "retrain without them, or delete it"
        )
    if cfg.check:
        print("next: the same without check=true, which removes all but the models")
    elif sys.stdin.isatty() and input("remove for good? [y/N] ").strip().lower() != "y":
        print("nothing was changed")
    else:
        with of_jobs.stopped(folder) as jobs:
            withdrawn.add(folder, patient_ids)
            told.write(runs)
            _forget(images, patient_ids, folder, jobs)
            of_runs.remove(folder, images, mark)
            _delete(images, patient_ids, pacs)
        print(f"{len(images.instances)} images removed, and what was made of them")
        print(told.path)


def _texts(folder: Path, images: "Images") -> int:
    """Count the reports that would go."""
    from cxr.pacs import reports

    path = folder / "reports" / "reports.sqlite"
    if not path.exists():
        return 0
    with reports.Reports(path) as store:
        return sum(store.get(study) is not None for study in images.studies)


def _forget(
    images: "Images", patient_ids: "Sequence[str]", folder: Path, jobs: "Sequence[Path]"
) -> None:
    """Remove what was made of images: answers, cached pixels, where they came from."""
    from cxr import root
    from cxr.labeling import audit
    from cxr.labeling import withdrawal as of_jobs
    from cxr.learning import cache
    from cxr.pacs import ledgers, published, reports, withdrawn
    from cxr.pacs.seen import Seen

    key = audit.keys(root.token_keys(folder))[0]
    for job in jobs:
        of_jobs.remove(job, images, key)
    cache.forget(folder / "cache", images.uids)
    texts = folder / "reports" / "reports.sqlite"
    if texts.exists():
        with reports.Reports(texts) as store:
            store.forget(images.studies)
    ledgers.forget(folder, images.sources, patient_ids)
    published.forget(folder, images, patient_ids)
    if (seen := folder / "dicomweb" / "seen.sqlite").exists():  # of whichever PACS was the source
        with closing(Seen(seen.parent, "")) as places:
            places.forget(images.instances, patient_ids)
    truth = folder / "synthetic" / "truth.csv"
    if truth.exists():
        withdrawn.rewrite(truth, images.without)
    for kind in ("*.csv", "*.html", "*.part"):
        for report in (folder / "ingest").glob(kind):
            report.unlink()  # they name files; the next ingest writes them again


def _delete(images: "Images", patient_ids: "Sequence[str]", pacs: "Pacs") -> None:
    from cxr.pacs import staging
    from cxr.pacs.dicomweb import DicomWebPacs
    from cxr.pacs.folder import FolderPacs

    if isinstance(pacs, DicomWebPacs):
        pacs.forget(images.instances, patient_ids)
        if images.instances:
            raise PacsError(
                f"{pacs.name}: DICOMweb deletes nothing, so {len(images.instances)} images of "
                f"{len(images.studies | images.shared)} studies are still there, all else is "
                "removed; delete the patient in the archive's own administration, then withdraw "
                "again"
            )
    for number, instance in enumerate(images.instances):
        try:
            pacs.delete(instance)
        except PacsError as error:
            raise PacsError(
                f"{pacs.name}: {len(images.instances) - number} images of the patient are still "
                f"there, all else is removed; withdraw again ({error})"
            ) from error
    if isinstance(pacs, FolderPacs):
        staging.forget(pacs.folder, patient_ids)
        pacs.index.purge()


def _cores() -> int:
    """Count the cores this process may use, which in a container are not all of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    config.command("ingest", schema.Ingest, main)
