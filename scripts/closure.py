"""Which packages follow from a package's requirements, for a Python that need not be this one."""

import fnmatch
import re
from collections.abc import Mapping, Sequence

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def environment(python: str, platform: str | None) -> dict[str, str]:
    """Give what markers are decided by, for a Python such as 3.13 and a wheel's platform tag."""
    here = {name: str(value) for name, value in default_environment().items()}
    if python != here["python_version"]:
        whole = f"{python}.0"
        here |= {"python_version": python, "python_full_version": whole}
        here |= {"implementation_version": whole}
    if platform and (machine := re.search(r"(x86_64|aarch64|arm64|ppc64le|s390x)$", platform)):
        here["platform_machine"] = machine[1]
    return here


def reach(
    requires: Mapping[str, Sequence[str]],
    extras: Sequence[str],
    markers: Mapping[str, str],
    leave_out: Sequence[str] = (),
) -> tuple[dict[str, set[str]], list[str]]:
    """Follow requirements from cxr on.

    Args:
        requires: `Requires-Dist` by canonical name; cxr among them.
        extras: Of cxr.
        markers: What `environment` gave.
        leave_out: Patterns of names not to follow.

    Returns:
        What each package that was reached needs, by name; and the requirements nothing here meets.

    >>> reach({"cxr": ["a", "b; extra == 'x'"], "a": ["c>1"]}, (), environment("3.13", None))
    ({'cxr': {'a'}, 'a': {'c'}}, ['c>1'])
    """
    edges: dict[str, set[str]] = {}
    unmet: set[str] = set()
    asked: set[tuple[str, str]] = set()
    waiting = [("cxr", extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in asked:
            continue
        asked.add((name, extra))
        edges.setdefault(name, set())
        for text in requires[name]:
            needed = Requirement(text)
            found = canonicalize_name(needed.name)
            if any(fnmatch.fnmatch(found, pattern) for pattern in leave_out):
                continue
            if needed.marker and not needed.marker.evaluate({**markers, "extra": extra}):
                continue
            edges[name].add(found)
            if found in requires:
                waiting += [(found, wanted) for wanted in ("", *needed.extras)]
            else:
                needed.marker = None
                unmet.add(str(needed))
    return edges, sorted(unmet)
