"""What `tracing` found, as text for a terminal: one step of the chain after the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from cxr.learning import table


def image(document: Mapping[str, Any]) -> str:
    """Write the chain of one image."""
    lines = [f"image       {document['sop_instance_uid']}", *_pixels(document["pixels"])]
    for job in document["jobs"]:
        lines += _job(job)
    if not document["jobs"]:
        lines.append("label       in no labeling job here")
    for run in document["runs"]:
        lines += _run(run)
    if not document["runs"]:
        lines.append("run         no run has seen it")
    return "\n".join(map(table.printable, lines))


def run(document: Mapping[str, Any]) -> str:
    """Write the chain of one run."""
    data, made = document["data"], document["run"]
    most = ": the most that a member made of an image" if made["members"] else ""
    lines = [
        f"run         {document['name']}, {made['created']}, seed {made['seed']}",
        f"labels      job {data['job']} ({data['label_set']}, {data['label_source']})",
        f"            output manifest {_short(data['manifest_sha256'])}: {data['manifest_now']}",
        f"pixels      pictures and targets {_short(data['examples_sha256'])}",
        f"split       {_counted(data['split'])}{most}",
        f"model       {_model(made)}, MLflow run {made['mlflow_run_id'] or 'none'}",
        *(
            f"member      {one['name']}: checkpoint {_short(one['checkpoint_sha256'])}, seed "
            f"{one['seed']}, {_counted(one['split'])}"
            for one in made["members"]
        ),
        "code        " + ", ".join(f"{k} {v}" for k, v in made["versions"].items()),
    ]
    for one in document["evaluations"]:
        where = f"{one['of']}, {one['split'] or 'split not known'}"
        auroc, ends = table.number(one["auroc_macro"]), table.interval(one["auroc_macro_ci"])
        lines.append(
            f"prediction  {where}: {one['images']} images of {one['patients']} patients, "
            f"macro AUROC {auroc}{f' ({ends})' if ends else ''}, "
            f"file {_short(one['predictions_sha256'])}"
        )
    if not document["evaluations"]:
        lines.append("prediction  none")
    return "\n".join(map(table.printable, lines))


def _model(made: Mapping[str, Any]) -> str:
    if made["members"]:
        return f"the mean of {len(made['members'])} members"
    return f"checkpoint {_short(made['checkpoint_sha256'])}"


def _counted(split: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in split.items()) or "none on disk"


def _pixels(pixels: Mapping[str, Any]) -> list[str]:
    if not pixels["in_pacs"]:
        lines = ["pixels      not in the PACS (any more)"]
    else:
        lines = [
            f"pixels      in the PACS as {pixels['orthanc_id']}, "
            f"file {_short(pixels['file_sha256'])}"
        ]
    for made in pixels["decoded"]:
        height, width = made["image_size"]
        same = {True: "of this file", False: "of ANOTHER file", None: "file not compared"}
        lines.append(
            f"            decoded to {height} × {width} ({made['preset']}): pixels "
            f"{_short(made['pixels_sha256'])}, {same[made['of_this_file']]}"
        )
    return lines


def _job(job: Mapping[str, Any]) -> list[str]:
    lines = [f"job         {job['job']}, object {job['object']}"]
    for answer in job["answers"]:
        lines.append(
            f"answer      {answer['worker']}, {answer['submitted']}: {_listed(answer['present'])}"
        )
    if not job["answers"]:
        lines.append("answer      no reader's answer here")
    label = job["label"]
    if label is None:
        lines.append("label       none yet")
    elif label["states"] is None:
        lines.append("label       of another form than ours")
    else:
        states = label["states"].items()
        told = [f"{k} {v}" for k, v in states if v in ("present", "uncertain")]
        usable = "" if label["usable"] else "; called unusable"
        lines.append(
            f"label       {', '.join(told) or 'nothing present'} ({label['label_source']}){usable}"
        )
    return lines


def _run(run: Mapping[str, Any]) -> list[str]:
    split = run["split"] or "in no split of it"
    if run["members"]:
        split = _by_member(run["members"])
    lines = [
        f"run         {run['run']} (job {run['job']}, MLflow {run['mlflow_run_id'] or 'none'}): "
        f"{split}"
    ]
    for one in run["predictions"]:
        lines.append(f"prediction  {one['of']}: {_calls(one['probabilities'], run['thresholds'])}")
    if not run["predictions"]:
        lines.append("prediction  none kept for this image")
    return lines


def _by_member(roles: Mapping[str, str | None]) -> str:
    """Say which members of an ensemble held an image out, and what it was to the others."""
    told = {"test": "held out by", "val": "val of", "train": "train of", None: "unknown to"}
    of = {part: [name for name, met in roles.items() if met == part] for part in told}
    return "; ".join(f"{told[part]} {', '.join(names)}" for part, names in of.items() if names)


def _calls(probabilities: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return ", ".join(
        f"{name} {value:.3f}" + (" called" if value > thresholds.get(name, 1) else "")
        for name, value in ranked
    )


def _listed(present: Sequence[str] | None) -> str:
    if present is None:
        return "of another page than ours"
    return ", ".join(present) or "nothing present"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
