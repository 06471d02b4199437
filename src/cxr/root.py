"""The data root: one private folder that holds everything a site has.

It is patient data: images, answers, caches, reports. Secrets made here never leave it.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import ConfigError

TOKEN_KEY_VARIABLE = "CXR_TOKEN_KEY"
_TOKEN_KEYS = "token.keys"
_RETIRED_KEYS = "retired.keys"


def prepare(root: str) -> Path:
    """Make the data root, readable by its owner alone, and give its path.

    Raises:
        ConfigError: It cannot be made or written.
    """
    path = Path(root)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"root: expected a folder that can be written, met {root!r} ({error.strerror}); "
            "set CXR_ROOT"
        ) from error
    return path


def secret(root: Path, name: str, fresh: str) -> str:
    """Read `<root>/secrets/<name>`; the first call makes it of `fresh`, with mode 0600."""
    folder = root / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if path.exists():
        return path.read_text().strip()
    part = folder / f".{name}.{secrets.token_hex(4)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(fresh)
    try:
        os.link(part, path)  # two processes at once agree on the first one's
    except FileExistsError:
        pass
    finally:
        part.unlink()
    return path.read_text().strip()


def token_keys(root: Path) -> Keys:
    """Give the keys that sign image URLs and personal links.

    They come from CXR_TOKEN_KEY where it is set, since a gateway elsewhere must share them.
    """
    text = os.environ.get(TOKEN_KEY_VARIABLE) or secret(root, _TOKEN_KEYS, signing.new_keys())
    return signing.keys_from_text(text)


def every_token_key(root: Path) -> Keys:
    """Give all keys this site ever had, newest first: what older ones sealed is still checked.

    Those that are retired open no link.
    """
    texts = [root / "secrets" / name for name in (_TOKEN_KEYS, _RETIRED_KEYS)]
    own = " ".join(path.read_text() for path in texts if path.exists())
    kept = signing.keys_from_text(own).by_id if own.strip() else {}
    now = token_keys(root).by_id
    return Keys({**now, **{kid: key for kid, key in kept.items() if kid not in now}})


def rotate_token_keys(root: Path, keep: int = 1) -> Keys:
    """Draw a new key; from now on it signs.

    Whoever verifies tokens has to read them anew: the gateway by a reload, a portal by a restart.

    Args:
        root: The data root.
        keep: How many of the keys before still verify, so that links handed out stay open. Older
            ones are kept in `retired.keys` for the audit log alone.

    Returns:
        What `token_keys` gives from now on.

    Raises:
        ConfigError: The keys are not this root's own, since CXR_TOKEN_KEY is set.
    """
    if os.environ.get(TOKEN_KEY_VARIABLE):
        raise ConfigError(
            f"expected keys of this root's own to rotate, met {TOKEN_KEY_VARIABLE} in the "
            "environment; put a new id:hex in front of those in it, wherever it is set"
        )
    token_keys(root)
    with _alone(root / "secrets"):
        texts = (root / "secrets" / _TOKEN_KEYS).read_text().replace(",", " ").split()
        retired = root / "secrets" / _RETIRED_KEYS
        before = retired.read_text().split() if retired.exists() else []
        if texts[keep:]:  # first: a key in both files does no harm, one in neither would
            _replace(retired, "\n".join(dict.fromkeys([*texts[keep:], *before])))
        text = "\n".join([signing.new_keys(), *texts[:keep]])
        _replace(root / "secrets" / _TOKEN_KEYS, text)
    return signing.keys_from_text(text)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
