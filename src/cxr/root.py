"""The data root: one private folder that holds everything a site has.

It is patient data: images, answers, caches, reports. Secrets made here never leave it.
"""

import os
import secrets
from pathlib import Path

from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import ConfigError

TOKEN_KEY_VARIABLE = "CXR_TOKEN_KEY"


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
    text = os.environ.get(TOKEN_KEY_VARIABLE) or secret(root, "token.keys", signing.new_keys())
    return signing.keys_from_text(text)
