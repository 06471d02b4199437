"""python -m cxr.orthanc: Orthanc and its gateway on this machine."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cxr import config, pacs_schema, schema

if TYPE_CHECKING:
    from cxr.infra.orthanc import State

_log = logging.getLogger(__name__)


def main(cfg: schema.Orthanc, _: DictConfig) -> None:
    """Start, stop or show them, or draw a new key for signed links."""
    from cxr import root

    folder = root.prepare(cfg.root)
    {"up": _up, "down": _down, "status": _status, "rotate": _rotate}[cfg.verb](cfg.pacs, folder)


def _up(pacs: pacs_schema.OrthancPacs, folder: Path) -> None:
    from cxr.infra import orthanc
    from cxr.infra.orthanc import settings

    started = orthanc.up(pacs, folder)
    state = orthanc.status(pacs, folder)
    for warning in state.warnings:
        _log.warning("%s", warning)
    print(f"started {', '.join(started)}" if started else "all runs already, nothing was changed")
    user = pacs.user or settings.USER
    given = "pacs.password" if pacs.password else folder / "secrets" / orthanc.PASSWORD
    print(f"admin page  {pacs.url}/app/explorer.html (user {user}, password in {given})")
    print(f"DICOMweb    {pacs.url}/dicom-web")
    if pacs.image_url:
        print(f"gateway     {pacs.image_url} (images, by signed links)")
    if pacs.dimse:
        senders = ", ".join(f"{peer.aet} at {peer.address}" for peer in pacs.peers)
        print(f"DICOM       {pacs.aet} at port {pacs.dimse_port}, from {senders}")
    print(f"{state.instances or 0} images in {pacs.folder}")
    print("next: python -m cxr.ingest folder=… site=orthanc")


def _down(pacs: pacs_schema.OrthancPacs, _: Path) -> None:
    from cxr.infra import orthanc

    stopped = orthanc.down(pacs)
    print(f"stopped {', '.join(stopped)}" if stopped else f"nothing runs in {pacs.folder}")


def _status(pacs: pacs_schema.OrthancPacs, folder: Path) -> None:
    from cxr.infra import orthanc

    state = orthanc.status(pacs, folder)
    _show(state)
    if state.instances is not None:
        stored, free = state.stored_bytes / 1e6, state.free_bytes / 1e9
        print(
            f"{state.instances} images, {stored:.3g} MB, in {pacs.folder}; {free:.3g} GB are free"
        )
    for warning in state.warnings:
        _log.warning("%s", warning)
    if not state.healthy:
        if any(part.refuses for part in state.parts):
            print("next: give the password it was started with, or up, which starts it with this")
        else:
            print("next: python -m cxr.orthanc up")
        raise SystemExit(1)


def _show(state: "State") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("part", "state", "pid", "version", "url"):
        table.add_column(title, no_wrap=True)
    for part in state.parts:
        said = "healthy" if part.healthy else "stopped" if part.pid is None else "no answer"
        said = "refuses (401)" if part.refuses else said
        table.add_row(part.name, said, str(part.pid or ""), part.version, part.url)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)


def _rotate(pacs: pacs_schema.OrthancPacs, folder: Path) -> None:
    from cxr.infra import orthanc

    kids, told = orthanc.rotate(pacs, folder)
    print(f"links are signed with key {kids[0]}; {len(kids)} keys open links")
    print("the gateway has the new key" if told else "no gateway runs here that needs the new key")
    print("next: restart a portal that runs, which signs with the key before until then")


if __name__ == "__main__":
    config.command("orthanc", schema.Orthanc, main, verbs=("up", "down", "status", "rotate"))
