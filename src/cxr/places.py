"""Where things are: the files that ship with the code, and which hosts are this machine."""

import ipaddress
from pathlib import Path


def shipped(name: str) -> Path:
    """Find conf, lambdas or templates: beside src/ in a checkout, else inside the wheel.

    Raises:
        FileNotFoundError: Neither place has it, so the installation is broken.
    """
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    # an editable install leaves a stale copy in site-packages, so the checkout comes first
    folder = (checkout if (checkout / "pyproject.toml").is_file() else here) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"no {name}/ at {folder}: install cxr again")
    return folder


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what is bound to a host.

    A name other than localhost may be anything, so it counts as reached by others.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("xray")
    (True, True, False, False)
    """
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
