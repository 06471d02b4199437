"""What caches hold of some images: to tell it, or to send it elsewhere under other UIDs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.learning import cache
from cxr.learning.decoding import Size

_ELSEWHERE = "not told"  # instead of a file's hash, which whoever has the file could look up


@dataclass(frozen=True)
class Recipe:
    """How the images of one cache folder were made.

    Attributes:
        folder: Its name.
        image_size: (H, W) in pixels.
        preset: As in `images.dicom.read`.
    """

    folder: str
    image_size: Size
    preset: str


def holding(folder: Path, sop_instance_uid: str) -> Iterator[tuple[Recipe, cache.Entry]]:
    """Find an image in every cache, the newest row of each.

    Args:
        folder: Parent of all caches.
        sop_instance_uid: Of the image.
    """
    for said in sorted(folder.glob("*/cache.json")):
        made = json.loads(said.read_text())
        recipe = Recipe(
            said.parent.name, (made["image_size"][0], made["image_size"][1]), made["preset"]
        )
        rows = [e for e in cache._entries(said.parent) if e.sop_instance_uid == sop_instance_uid]
        if rows:
            yield recipe, rows[-1]


def extract(
    folder: Path,
    uids: Sequence[str],
    target: Path,
    size: Size,
    preset: str,
    renamed: Callable[[str], str],
) -> None:
    """Write below `target` a cache of these images alone, in this order; `folder` has them all.

    Nothing in it says which files they were decoded from.

    Args:
        folder: Parent of caches.
        uids: SOPInstanceUIDs.
        target: Parent of the new one.
        size: (H, W) in pixels.
        preset: Of the images.
        renamed: SOPInstanceUID → the one it has there.
    """
    held = cache.Cache(cache._place(folder, size, preset), size, {})
    place, rows = cache._place(target, size, preset), held.rows(uids)
    for start in range(0, len(rows), cache._FLUSH):
        some = rows[start : start + cache._FLUSH]
        entries = [
            cache.Entry(renamed(e.sop_instance_uid), _ELSEWHERE, e.pixels_sha256)
            for e in (held.entries[row] for row in some)
        ]
        cache._flush(place, start, list(zip(held.images[some], entries, strict=True)))


def known_uids(folder: Path) -> set[str]:
    """Give the SOPInstanceUIDs of all images in all caches below a folder."""
    places = [recipe.parent for recipe in folder.glob("*/cache.json")]
    return {entry.sop_instance_uid for place in places for entry in cache._entries(place)} - {
        cache._NOBODY
    }
