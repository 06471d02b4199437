"""python -m cxr.label: images out to be labelled, labels back."""

import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cxr import aws_schema, config, labeling_schema, schema
from cxr.errors import AccessError, ConfigError, JobError

if TYPE_CHECKING:
    from cxr.contract.signing import Keys
    from cxr.labeling import Job, LabelingBackend, Status, scripted
    from cxr.labeling.selection import Selection
    from cxr.pacs import Pacs

_log = logging.getLogger(__name__)
_POLL_S = 0.2
_GRACE_S = 2.0
"""How long the portal stays after the last answer, so that its reader sees the closing page."""


def main(cfg: schema.Label, _: DictConfig) -> None:
    """Select images, offer them to the readers, write the output manifest."""
    if cfg.new:
        _write_job_file(cfg.new)
        return
    from cxr import root
    from cxr.contract import manifest
    from cxr.pacs import opening

    manifest.check_job_name(cfg.job.name)
    if cfg.invite and cfg.audit:
        raise ConfigError("audit: expected audit=verify or invite=true, not both")
    folder = root.prepare(cfg.root)
    keys = root.token_keys(folder)
    if cfg.invite:
        _invite(cfg, folder, keys)
        return
    if cfg.audit:
        from cxr.labeling import audit, selection

        path = folder / "jobs" / cfg.job.name / selection.ANSWERS
        count = audit.verify(path, audit.keys(root.every_token_key(folder)))
        print(f"{count} entries of {path}: none changed or missing")
        return
    with opening.opened(cfg.pacs, root=folder, keys=keys) as pacs:
        if isinstance(cfg.labeling, aws_schema.GroundTruthLabeling):
            _ground_truth(cfg, folder, keys, pacs)
        else:
            _label(cfg, folder, keys, pacs)


def _ground_truth(cfg: schema.Label, folder: Path, keys: "Keys", pacs: "Pacs") -> None:
    """Have a work team label; whatever ends this command, the job itself goes on."""
    from cxr.infra.aws import stacks
    from cxr.labeling import asked
    from cxr.labeling.groundtruth import GroundTruthLabeling, settings

    # what trains needs no stack of its own here
    filled = stacks.fill(cfg.model_copy(update={"compute": None}))
    if filled.aws is None:
        raise ConfigError("aws: expected aws=account beside labeling=groundtruth, met none")
    backend = GroundTruthLabeling(
        pacs=pacs,
        account=stacks.account(filled.aws),
        given=settings.made(filled.labeling.model_dump()),
    )
    selection, job = asked.select(cfg, asked.job(cfg, folder), pacs, folder)
    if cfg.dry_run:
        print(json.dumps(backend.dry_run(job, requeue=cfg.requeue), indent=2))
        return
    if cfg.preview:
        print(backend.preview_files(job, keys))
        _preview(backend.shown(job), pacs, keys)
        return
    # what systemd, docker stop and kill send: the same way out as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        backend.start(job, selection.path, requeue=cfg.requeue)
        job.save()
        _print_asked(job, selection)
        backend.follow(job)
        path = backend.collect(job)
    finally:
        backend.close()
    _print_result(job, path)
    if told := backend.verdict(job):
        raise JobError(told)


def _preview(job: "Job", pacs: "Pacs", keys: "Keys", port: int = 0) -> None:
    """Show one task until Ctrl-C."""
    from cxr.labeling import preview

    shown = preview.Preview(job, pacs, keys, port=port)
    print(f"preview at {shown.url}   (Ctrl-C ends it; no job is started)", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        _log.info("preview ended")
    finally:
        shown.close()


def _label(cfg: schema.Label, folder: Path, keys: "Keys", pacs: "Pacs") -> None:
    from dataclasses import replace

    from hydra.utils import instantiate

    from cxr.labeling import LEAD, asked
    from cxr.labeling.local import LocalLabeling

    if isinstance(cfg.labeling, labeling_schema.ReportLabeling):
        from cxr.labeling import reports

        reports.check(cfg.labeling.phrases, cfg.labeling.sections)
    job = asked.job(cfg, folder)
    if cfg.reopen:
        job = replace(job, closes=LEAD)  # or a job that is done would end at once
    selection, job = asked.select(cfg, job, pacs, folder)
    local = isinstance(cfg.labeling, labeling_schema.LocalLabeling)
    if cfg.preview and isinstance(cfg.labeling, labeling_schema.LocalLabeling):
        _preview(job, pacs, keys, cfg.labeling.port)
        return
    backend = instantiate(
        cfg.labeling.model_dump(by_alias=True), pacs=pacs, keys=keys, **_own(cfg, folder, pacs)
    )
    try:
        backend.start(job, selection.path)
        if cfg.reopen:
            backend.reopen()
        job.save()
        if local and pacs.gateway:
            _check_gateway(pacs.gateway, backend.status(job).url)
        _print_asked(job, selection)
        _follow(job, backend)
        if isinstance(backend, LocalLabeling):
            backend.stop()  # or an answer accepted from now on would miss in the manifest
        path = backend.collect(job)
    finally:
        backend.close()
    for told in getattr(backend, "comparison", ()):
        print(told)
    _print_result(job, path)


def _print_asked(job: "Job", selection: "Selection") -> None:
    print(
        f"{selection.total} images, {len(job.labels.names)} labels, "
        f"{job.workers_per_object} worker{'s' if job.workers_per_object > 1 else ''} each"
    )
    if selection.passed_over:
        views = ", ".join(f"{n} {view}" for view, n in sorted(selection.passed_over.items()))
        print(f"left out by view: {views}; listed in {job.folder / 'passed_over.csv'}")


def _own(cfg: schema.Label, folder: Path, pacs: "Pacs") -> dict[str, object]:
    """Give what a backend needs beside its section, the PACS and the keys."""
    from cxr.contract import manifest
    from cxr.pacs import ledger

    if isinstance(cfg.labeling, labeling_schema.ReplayLabeling):
        return {"origins": list(ledger.origins(folder, pacs))}
    if isinstance(cfg.labeling, labeling_schema.ReportLabeling):
        read = cfg.job.compare and folder / "jobs" / manifest.check_job_name(cfg.job.compare)
        return {"store": folder / "reports" / "reports.sqlite", "compare": read or None}
    return {"accounts": folder / "accounts.db"}


def _check_gateway(gateway: str, url: str) -> None:
    from cxr.labeling.portal import gateway as gateways

    if problem := gateways.problem(gateway, url):
        _log.warning("%s", problem)


def _invite(cfg: schema.Label, folder: Path, keys: "Keys") -> None:
    """Print one personal link each, or mail them to those who have an address."""
    from cxr.labeling import asked, local, mail
    from cxr.labeling.portal import context

    if not isinstance(cfg.labeling, labeling_schema.LocalLabeling):
        raise ConfigError("invite: expected labeling=local, whose readers are invited")
    given, job = cfg.labeling, asked.job(cfg, folder)
    url = local.address(given.host, given.port, given.url, secured=given.tls is not None)
    by_proxy = given.proxy is not None and given.proxy.user_header is not None
    links = local.links(job, keys, url, by_proxy=by_proxy)
    people = [reader for reader in job.readers if reader.skill is None]
    mailed = [reader for reader in people if given.smtp and reader.email]
    for reader in people:
        if reader not in mailed:
            print(f"{reader.id} {links[reader.id]}")
    if not given.smtp:
        return
    smtp = mail.Smtp(**given.smtp.model_dump())
    days, failed = context.LINK_TTL_S // 86_400, 0
    for reader, problem in mail.invite(smtp, mailed, links, job=job.name, url=url, days=days):
        if problem:
            failed += 1
            _log.warning("%s: %s: %s", reader.id, reader.email, problem)
        else:
            print(f"{reader.id} {reader.email}", flush=True)
    if failed:
        raise AccessError(f"{failed} of {len(mailed)} invitations were not taken by {smtp.host}")


def _follow(job: "Job", backend: "LabelingBackend") -> None:
    """Show progress until all is labelled; Ctrl-C stops waiting and keeps what there is."""
    status = backend.status(job)
    if status.state != "InProgress":
        if status.url:  # a portal, and not labels that were there already
            _log.info("nothing is left to answer; reopen=true takes corrections")
        return
    scripts = _start_readers(job, backend, status)
    from cxr import progress
    from cxr.labeling import LEAD

    told = False
    # what systemd, docker stop and kill send: the same way out as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress.bar("labelled", status.total, done=status.labelled) as advance:
            while status.state == "InProgress":
                advance(status.labelled)
                if status.labelled == status.total and not told:
                    told = True
                    what = "the lead closes the job" if job.closes == LEAD else "all is decided"
                    _log.info("every image has its answers; the portal stays until %s", what)
                time.sleep(_POLL_S)
                status = backend.status(job)
                for script in scripts:
                    if script.error:
                        raise JobError(f"{script.name}: {script.error}") from script.error
            advance(status.labelled)
        if not scripts:
            time.sleep(_GRACE_S)
    except KeyboardInterrupt:
        if not backend.status(job).labelled:
            raise
        _log.warning("stopped; every answer is kept, the same command goes on from here")


def _start_readers(
    job: "Job", backend: "LabelingBackend", status: "Status"
) -> "list[scripted.Script]":
    """Start the scripted readers, and tell the others where to answer."""
    from cxr.labeling import LEAD, scripted
    from cxr.labeling.local import LocalLabeling

    if not isinstance(backend, LocalLabeling):
        return []
    links = backend.links(job)
    people = [reader for reader in job.readers if reader.skill is None]
    ends = f"; close the job at {status.url}/job" if job.closes == LEAD else ""
    if len(links) == 1 and people:
        where = status.url if backend.open else links[people[0].id]
        print(f"label at {where}   (Ctrl-C keeps what is labelled{ends})", flush=True)
        return []
    for person in people:
        print(f"{person.id} ({', '.join(person.roles)}) enters at {links[person.id]}", flush=True)
    if len(people) == len(links):
        return []
    if job.truth is None:
        raise JobError("scripted readers answer synthetic images only; set job.synthetic")
    scripts = scripted.start(job, links, scripted.read_truth(job.truth, job.labels))
    _log.info("portal at %s, answered by %d scripted readers", status.url, len(scripts))
    return scripts


def _print_result(job: "Job", path: Path) -> None:
    from cxr.contract import manifest
    from cxr.contract.labels import State

    lines = [manifest.labelled(line, job.name) for line in manifest.read(path)]
    found = [line for line in lines if line is not None]
    uncertain = sum(s is State.UNCERTAIN for line in found for s in line.states.values())
    unusable = sum(not line.usable for line in found)
    print(
        f"{len(found)}/{len(lines)} labelled, {uncertain} findings uncertain, {unusable} unusable"
    )
    print(path)
    print(f"next: python -m cxr.train data=job data.job={job.name}")


def _write_job_file(name: str) -> None:
    from cxr.contract import manifest

    manifest.check_job_name(name)
    path = Path("conf") / "job" / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"{path} is there already; edit it, or choose another name")
    defaults = (config.conf_dir() / "job" / "_defaults.yaml").read_text().splitlines()[1:]
    body = "\n".join(f"  {line}" for line in defaults)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# @package _global_\n# Labeling job {name}: python -m cxr.label job={name}\n"
        f"job:\n{body.replace('name: ???', f'name: {name}', 1)}\n"
    )
    print(path)
    print(f"next: edit it, then python -m cxr.label job={name}")


if __name__ == "__main__":
    config.command("label", schema.Label, main)
