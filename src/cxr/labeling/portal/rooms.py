"""The portal's own pages: their frame, and the quiet links between them.

The worker page has them in a menu: all its room is for the image.
"""

from markupsafe import Markup

from cxr.labeling import ADJUDICATOR, LEAD, READER, Reader, page
from cxr.labeling.portal.context import Portal

_ROOMS = (
    (READER, "/task", "Read"),
    (READER, "/answered", "Your answers"),
    (ADJUDICATOR, "/adjudicate", "Adjudicate"),
    (LEAD, "/job", "Job"),
)
_ACCOUNT = ("/passphrase", "Account")
"""Everybody's, whatever her roles."""


def nav(reader: Reader | None, here: str = "") -> Markup:
    """Give the links that a reader's roles open; empty where nobody is signed in.

    Args:
        reader: Who is signed in, or None.
        here: Path of the page they stand on.
    """
    if not reader:
        return Markup("")
    links = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(
            path, Markup(' aria-current="page"') if path == here else "", name
        )
        for path, name in _open_to(reader)
    )
    return Markup('<nav class="rooms" aria-label="Pages">{}</nav>').format(links)


def listed(reader: Reader) -> list[dict[str, str]]:
    """Give the same links as the worker page reads them."""
    return [{"text": name, "url": path} for path, name in _open_to(reader)]


def _open_to(reader: Reader) -> list[tuple[str, str]]:
    rooms = [(path, name) for role, path, name in _ROOMS if role in reader.roles]
    return [*rooms, _ACCOUNT]


def message(
    portal: Portal,
    reader: Reader,
    title: str,
    text: str,
    *,
    here: str = "",
    link: tuple[str, str] | None = None,
) -> str:
    """Make a small page for somebody signed in: a heading, a sentence, perhaps a link."""
    return page.message(title, text, link=link, job=portal.job.name, nav=nav(reader, here))
