"""The worker page: the one Liquid template, rendered as Ground Truth renders it.

Ground Truth's filters are `to_json`, `grant_read_access` and `skip_autoescape`; everything else is
HTML-escaped. Its crowd elements come from a script of its own, for which the portal has a shim.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import liquid
from markupsafe import Markup, escape

from cxr import places
from cxr.errors import JobError
from cxr.labeling import Page

CROWD_SCRIPT = "https://assets.crowd.aws/crowd-html-elements.js"
TEMPLATE = "worker.liquid.html"
_PICTURES = (".png", ".jpg", ".jpeg")


def template_text() -> str:
    """Read the worker template, the same file that Ground Truth gets."""
    return (places.shipped("templates") / TEMPLATE).read_text()


def sha(text: str | bytes) -> str:
    """Give the SHA-256 of a template or a bundle, in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def viewer() -> Path:
    """Find the built viewer, one hashed classic script.

    Raises:
        JobError: It was not built.
    """
    folder = places.shipped("templates") / "viewer" / "dist"
    try:
        name = json.loads((folder / "viewer.json").read_text())["file"]
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"no built viewer in {folder}: run make viewer") from error
    return folder / str(name)


def settings(offered: Page, assets_url: str) -> dict[str, Any]:
    """Give what the pre-annotation Lambda adds to every task of a job (its CXR_PAGE).

    Args:
        offered: What the job's page offers.
        assets_url: Below which the pictures of `example_files` are served.
    """
    return {
        "instructions": offered.instructions,
        "examples": [
            {"url": f"{assets_url}/{name}", "caption": caption}
            for name, (_, caption) in zip(example_files(offered), offered.examples, strict=True)
        ],
        "page": {
            "tools": list(offered.tools) if offered.tools is not None else None,
            "askRoi": list(offered.ask_roi),
            "windows": [
                {"name": name, "center": center, "width": width}
                for name, (center, width) in offered.windows.items()
            ],
            "keys": dict(offered.keys),
            "mouse": dict(offered.mouse),
            "comments": offered.comments,
        },
    }


def example_files(offered: Page) -> dict[str, Path]:
    """Name the pictures shown with the instructions as they are served.

    Raises:
        JobError: One is not there, or is no PNG or JPEG file.
    """
    found = {}
    for number, (path, _) in enumerate(offered.examples):
        if path.suffix.casefold() not in _PICTURES or not path.is_file():
            raise JobError(f"job.examples: expected a PNG or JPEG file, met {str(path)!r}")
        found[f"example-{number}{path.suffix.casefold()}"] = path
    return found


def render(task_input: Mapping[str, Any]) -> str:
    """Render the worker template for one task.

    Args:
        task_input: What the pre-annotation Lambda returned as `taskInput`.

    Returns:
        The HTML that a worker's browser gets inside the page.
    """
    return str(_template().render(task={"input": dict(task_input)}))


def document(
    body: str,
    *,
    title: str,
    submit_url: str,
    csrf: str,
    offer: Mapping[str, Any] | None = None,
) -> str:
    """Wrap a rendered template into the portal's own HTML document.

    The shim of the crowd elements reads where to submit from `<meta>`, since the page runs no
    inline script; so does the viewer read what the portal offers beyond Ground Truth.

    Args:
        body: From `render`.
        title: Of the document.
        submit_url: Where the answer is POSTed.
        csrf: What goes with it.
        offer: The portal's offer without its `input`, which the template holds.
    """
    said = Markup('<meta name="cxr-offer" content="{}">\n').format(_to_json(offer)) if offer else ""
    head = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        '<meta name="cxr-submit-url" content="{}">\n<meta name="cxr-csrf" content="{}">\n{}'
        "</head>\n<body>\n"
    ).format(title, submit_url, csrf, said)
    shimmed = body.replace(CROWD_SCRIPT, "/assets/crowd-shim.js")
    return f"{head}{shimmed}\n</body>\n</html>\n"


def message(
    title: str,
    text: str,
    *,
    link: tuple[str, str] | None = None,
    job: str = "",
    nav: str = "",
) -> str:
    """Make one of the portal's own small pages: a heading, a sentence, perhaps a link.

    Args:
        title: The heading.
        text: The sentence.
        link: Where it leads and what it says.
        job: Whose page it is, shown above where given.
        nav: Links to other pages, as markup.
    """
    where = (
        '<header class="bar"><p class="where"><span>Job</span> <strong>{}</strong></p>{}</header>'
    )
    return own(
        "message.html",
        title=title,
        text=text,
        link=Markup('<p><a class="go" href="{}">{}</a></p>').format(*link) if link else "",
        bar=Markup(where).format(job, Markup(nav)) if job else "",
    )


def own(template: str, **parts: str) -> str:
    """Fill in one of the portal's own templates: `[[name]]` is a place, parts are escaped."""
    text = (places.shipped("templates") / "portal" / template).read_text()
    # in one go, since a part may hold what looks like a place
    return re.sub(r"\[\[(\w+)\]\]", lambda place: str(escape(parts[place[1]])), text)


@cache
def _template() -> liquid.BoundTemplate:
    environment = liquid.Environment(autoescape=True)
    environment.add_filter("to_json", _to_json)
    environment.add_filter("grant_read_access", _grant_read_access)
    environment.add_filter("skip_autoescape", Markup)
    return environment.from_string(template_text())


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # escaped afterwards, as an attribute needs


def _grant_read_access(value: object) -> str:
    # an s3:// URI is opened by Ground Truth alone; the portal's images have http(s) URLs
    return str(value)
