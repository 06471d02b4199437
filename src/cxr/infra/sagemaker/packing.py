"""What a job is sent: channels in S3, each named by its content, so that nothing is sent twice."""

import fcntl
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cxr import infra, progress
from cxr.infra.aws import Account, objects
from cxr.infra.sagemaker.order import Goods

_log = logging.getLogger(__name__)
UNMADE = "made-at-the-start"
"""In place of the content's name, where there are no wheels yet."""
_SENT = ".sent"  # beside a channel's folder: all of it is there
_TRUSTED_DAYS = 7  # then it is sent anew: the stacks let it expire after ChannelDays, 14 or more,
# and a job whose machine is taken away reads it again


@dataclass(frozen=True)
class Channel:
    """A folder that a job finds below /opt/ml/input/data.

    Attributes:
        name: Of the folder.
        uri: In S3; named by its content.
        files: Gives name in the folder → file, given an empty folder to write in.
    """

    name: str
    uri: str
    files: Callable[[Path], Mapping[str, Path]]


def data(account: Account, goods: Goods) -> list[Channel]:
    """Say which labels and images a job is sent, without sending them.

    Args:
        account: Where to.
        goods: Labels and images.
    """

    def cache(folder: Path) -> Mapping[str, Path]:
        return {p.relative_to(folder).as_posix(): p for p in goods.write_cache(folder)}

    return [
        _of_files(account, "manifest", {path.name: path for path in goods.labels}),
        Channel("cache", _uri(account, "cache", goods.cache_name), cache),
    ]


def code(account: Account, wheels: Sequence[Path] | None) -> Channel:
    """Say which code a job is sent, without sending it.

    Args:
        account: Where to.
        wheels: cxr's own and all it needs that the image lacks; None to send nothing.
    """
    boot = Path(infra.__path__[0]) / "container.py"
    files = {"boot.py": boot, **{f"wheelhouse/{wheel.name}": wheel for wheel in wheels or ()}}
    sent = _of_files(account, "code", files)
    return sent if wheels is not None else replace(sent, uri=_uri(account, "code", UNMADE))


def uris(channels: Iterable[Channel]) -> dict[str, str]:
    """Give name → URI."""
    return {channel.name: channel.uri for channel in channels}


def send(account: Account, channel: Channel, scratch: Path, root: Path) -> None:
    """Upload a channel that is not there yet.

    Args:
        account: Where to.
        channel: Which.
        scratch: A folder on the disk of the data root.
        root: The data root; who else sends from it waits, and then finds it there.

    Raises:
        AwsError: It may not be written.
    """
    marker = channel.uri.rstrip("/") + _SENT
    with alone(root):
        if objects.is_recent(account, marker, _TRUSTED_DAYS):
            return
        folder = scratch / channel.name
        folder.mkdir()
        files = dict(channel.files(folder))
        _log.info("sending %s: %.1f MB", channel.name, _megabytes(files.values()))
        with progress.bar("sent", len(files)) as advance:
            objects.upload_all(account, files, channel.uri, told=advance)
        objects.write(account, marker, b"")


def _of_files(account: Account, name: str, files: Mapping[str, Path]) -> Channel:
    made = hashlib.sha256()
    for key in sorted(files):
        with files[key].open("rb") as file:
            made.update(f"{key} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return Channel(name, _uri(account, name, made.hexdigest()[:32]), lambda _: files)


def _uri(account: Account, name: str, content: str) -> str:
    # the slash ends the prefix: S3 would take "ab1" for "ab" as well
    return account.where("training", "channels", name, content) + "/"


def _megabytes(files: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in files) / 1e6


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Let one process at a time do what trials of a sweep have in common."""
    with (root / ".sagemaker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
