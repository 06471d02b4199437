"""How the job goes, for its lead: the job page, its figures, the files, and closing.

Progress is cheap and asked for every two seconds; what takes long stands on an address of its own.
"""

import time
from typing import Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response
from markupsafe import Markup

from cxr import NOTE
from cxr.labeling import ADJUDICATOR, overview, page
from cxr.labeling.decisions import settles
from cxr.labeling.portal import access, rooms
from cxr.labeling.portal.access import Lead
from cxr.labeling.portal.context import Portal, ThePortal

routes = APIRouter()
_NO_RATE = f"fewer than three answers in the last {overview.RECENT_S // 60} minutes"

_FILES = {
    "labels.csv": "a row an image",
    "answers.csv": "a row an image, reader and finding",
    "rois.csv": "a row a region",
    "agreement.json": "how far readers agree",
    "quality.json": "pace, known answers, hidden repeats",
}
_WEIGHED = {
    "probabilities.csv": "of each finding being present",
    "readers.json": "how each reader is thought to err",
}


@routes.get("/job")
def _page(lead: Lead, portal: ThePortal) -> Response:
    decides = ADJUDICATOR in lead.roles and portal.job.consolidation == "adjudicated"
    return HTMLResponse(
        page.own(
            "job.html",
            title=f"{portal.job.name} · job",
            job=portal.job.name,
            nav=rooms.nav(lead, "/job"),
            csrf=portal.csrf(lead.id),
            adjudicates="yes" if decides else "no",
            files=Markup("\n").join(
                Markup('<li><a href="/job/{}" download>{}</a> <span>{}</span></li>').format(
                    name, name, held
                )
                for name, held in _files(portal).items()
            ),
        )
    )


@routes.get("/api/job")
def _progress(_: Lead, portal: ThePortal) -> dict[str, Any]:
    """Say how far the job and each reader are; `stamp` changes when the figures may."""
    now = time.time()
    told = portal.board.told()
    done, total = portal.answers.counts()
    given = len(told.readings)
    per_hour = overview.rate((r.submitted_at for r in told.readings), now)
    left = max(0, told.wanted - given)
    return {
        "note": NOTE,
        "stamp": _stamp(portal, told.stamp),
        "job": {
            "name": portal.job.name,
            "state": state(portal),
            "consolidation": portal.job.consolidation,
            "closes": portal.job.closes,
        },
        "progress": {
            "labelled": done,
            "total": total,
            "answers": given,
            "wanted": told.wanted,
            "perHour": per_hour,
            "leftS": 0 if not left else left / per_hour * 3600 if per_hour else None,
            "why": None if per_hour else _NO_RATE,
        },
        "workers": overview.workers(told.readings, portal.job, now),
    }


def state(portal: Portal) -> str:
    """Give `closed`, `complete` where every image has its answers, or `open`."""
    if portal.answers.closed:
        return "closed"
    done, total = portal.answers.counts()
    return "complete" if done == total else "open"


@routes.get("/api/job/figures")
def _figures(_: Lead, portal: ThePortal) -> dict[str, Any]:
    """Give agreement, quality and disagreements; not newer than they are cheap to have."""
    figures = portal.board.figures()
    disputes = portal.board.told().disputes
    decisions = portal.answers.decisions()
    decided = {
        d.object_id: decisions[d.object_id]
        for d in disputes
        if settles(decisions.get(d.object_id), d.labels)
    }
    listed = [
        {
            "id": dispute.object_id,
            "source": dispute.source,
            "labels": dispute.labels,
            "state": "decided" if dispute.object_id in decided else "open",
            "by": portal.name(decided[dispute.object_id].worker_id)
            if dispute.object_id in decided
            else None,
        }
        for dispute in disputes
    ]
    stamp = _stamp(portal, figures["upto"])
    return {"note": NOTE, "stamp": stamp, **figures, "disputes": listed}


def _stamp(portal: Portal, newest: int) -> str:
    """Say up to which answer and decision something is told."""
    decided = sum(decision.versions for decision in portal.answers.decisions().values())
    return f"{newest}.{decided}"


@routes.get("/job/output.manifest")
def _manifest(lead: Lead, portal: ThePortal) -> Response:
    """Collect what there is now, as the command does at the end, and give the output manifest."""
    path = portal.collects(lead.id)
    name = f"{portal.job.name}.output.manifest"
    return FileResponse(path, media_type="application/jsonl", filename=name)


@routes.get("/job/{name}")
def _file(name: str, lead: Lead, portal: ThePortal) -> Response:
    """Collect, and give one of the files that are written beside the output manifest."""
    if name not in _files(portal):
        raise HTTPException(404, "no such file of this job")
    portal.collects(lead.id)
    kind = "text/csv" if name.endswith(".csv") else "application/json"
    path = portal.job.folder / name
    return FileResponse(path, media_type=kind, filename=f"{portal.job.name}.{name}")


def _files(portal: Portal) -> dict[str, str]:
    """Name the files beside the output manifest, and say what they hold."""
    weighed = portal.job.consolidation == "dawid_skene"
    return _FILES | (_WEIGHED if weighed else {})


@routes.post("/job/close", dependencies=[Depends(access.from_own_page)])
def _close(lead: Lead, portal: ThePortal) -> dict[str, Any]:
    """Take nothing more; again is harmless."""
    portal.answers.close_job(lead.id)
    return {"state": "closed"}
