"""The read-only gateway in front of Orthanc: nginx with a config and a judge of ours.

Everything it needs lies in `<folder>/gateway`, which only the owner can read. nginx's master reads
it all at start; its workers, who answer requests, run as an ordinary user where we are root, and
open no file. With `verifier: auth_request` the judge is a process of its own, beside nginx.
"""

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxr import pacs_schema, places
from cxr.contract import signing
from cxr.contract.signing import Keys
from cxr.errors import ConfigError, PacsError
from cxr.infra import http as serving
from cxr.infra.orthanc import judging, processes, programs, workers

RATE = 200
"""Requests a second that one address may make, and twice as many in a burst."""
_NOTHING = "-".join(["0" * 8] * 5)  # no image has this Orthanc ID
METHODS = "GET, HEAD, OPTIONS"
"""What the gateway answers to."""
_START_S = 20.0
_PROBE_S = 10.0
CONFIG = "nginx.conf"
"""What nginx is started with; the other files are named in it."""
_LOADED = "loaded"


def start(section: pacs_schema.OrthancPacs, folder: Path, keys: Keys, password: str) -> bool:
    """Have the gateway run with this config and answer; one that does already is left alone.

    Without `image_url` there is none, and one that runs is stopped.

    Args:
        section: What the user chose.
        folder: Of the Orthanc behind it, absolute.
        keys: Verify tokens.
        password: What Orthanc asks of `section.user`.

    Returns:
        Whether it was started, or took another config.

    Raises:
        ConfigError: The config cannot be served, or a program is missing.
        PacsError: It does not answer, or not as it should.
    """
    if section.image_url is None:
        return stop(folder)
    _tls(section)
    daemon, loaded = _daemon(folder), folder / "gateway" / _LOADED
    ran, judges = daemon.pid() is not None, judging.sockets(folder)
    if not ran:
        workers.end_orphans(folder)
        _free(section)
    try:
        judge = judging.started(folder, keys) if section.verifier == "auth_request" else None
        wanted = _written(section, folder, keys, password, judge)
        same = ran and loaded.exists() and loaded.read_text() == wanted
        if same and not trouble(section, keys):
            return False
        _take(daemon, folder / "gateway" / CONFIG)
        daemon.wait(lambda: _answers(section, keys), _START_S)
    except BaseException:
        judging.stop(folder, but=judges if ran else ())
        if not ran:
            stop(folder)
        raise
    processes.write_private(loaded, wanted)
    judging.stop(folder, but=[judge] if judge else ())
    if reason := trouble(section, keys):
        if not ran:
            stop(folder)
        raise PacsError(reason)
    return True


def reload(section: pacs_schema.OrthancPacs, folder: Path, keys: Keys, password: str) -> bool:
    """Have a gateway that runs take this config; downloads under way go on with the one before.

    Raises:
        ConfigError: nginx refuses the config; the one before stays in force.
        PacsError: It does not run, or did not take the config.
    """
    if _daemon(folder).pid() is None:
        raise PacsError(f"no gateway runs in {folder}; run: python -m cxr.orthanc up")
    return start(section, folder, keys, password)


def stop(folder: Path) -> bool:
    """End it at once, cutting off downloads under way, and say whether it ran."""
    ran = _daemon(folder).stop()
    judging.stop(folder)
    (folder / "gateway" / _LOADED).unlink(missing_ok=True)
    return ran


def healthy(section: pacs_schema.OrthancPacs, keys: Keys) -> bool:
    """Say whether a link that is signed now leads through the gateway to Orthanc and back."""
    return not trouble(section, keys)


def trouble(section: pacs_schema.OrthancPacs, keys: Keys) -> str:
    """Say in one line what is wrong with the way to an image; empty: nothing.

    nginx itself must not say it: its log would hold tokens.
    """
    met = _probe(section, keys)
    if met == 404:
        return ""
    reason = {
        401: "refuses a link signed now: it has other keys, or another clock; "
        "run python -m cxr.orthanc up again",
        502: "gets no answer from Orthanc, or not with this pacs.password",
        504: "gets no answer from Orthanc in time",
    }.get(met if isinstance(met, int) else 0, f"is not well: {met}")
    return f"the gateway at {section.image_url} {reason}"


def _probe(section: pacs_schema.OrthancPacs, keys: Keys) -> int | str:
    """Ask for an image that cannot be; gives the status, or why there is none."""
    parts = urlsplit(section.image_url or "")
    name, port = parts.hostname or "", _port(section)
    connection: http.client.HTTPConnection
    if section.tls:
        context = ssl.create_default_context(cafile=section.ca)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(section.tls.certificate)  # its own suffices: no CA is asked
        connection = http.client.HTTPSConnection(name, port, timeout=_PROBE_S, context=context)
    else:
        connection = http.client.HTTPConnection(name, port, timeout=_PROBE_S)
    token = signing.sign(keys, [f"i:{_NOTHING}"], ttl_s=60, subject="health")
    try:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"/instances/{_NOTHING}/file", headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def _answers(section: pacs_schema.OrthancPacs, keys: Keys) -> bool:
    met = _probe(section, keys)
    # a certificate for another name will not become one for ours
    return isinstance(met, int) or "CERTIFICATE_VERIFY_FAILED" in met


def _written(
    section: pacs_schema.OrthancPacs, folder: Path, keys: Keys, password: str, judge: Path | None
) -> str:
    """Write what nginx reads, and give the fingerprint of it all."""
    place = folder / "gateway"
    for made in (place, place / "temp", folder / "logs", folder / "run"):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = _parameters(section, folder, judge)
    texts = files(keys, (section.user or "cxr", password), **given)
    for name, text in texts.items():
        processes.write_private(place / name, text)
    # by content: a certificate is renewed in its place
    proofs = [section.tls.certificate, section.tls.key] if section.tls else []
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in proofs]
    return processes.fingerprint(*texts.values(), *digests)


def _parameters(
    section: pacs_schema.OrthancPacs, folder: Path, judge: Path | None
) -> dict[str, Any]:
    parts = urlsplit(section.image_url or "")
    upstream = urlsplit(section.url)
    if parts.path.strip("/"):
        raise ConfigError(
            f"pacs.image_url: expected no path behind host and port, met {section.image_url!r}"
        )
    if upstream.scheme != "http" or upstream.path.strip("/"):
        raise ConfigError(f"pacs.url: expected http://host:port, met {section.url!r}")
    return {
        "folder": plain(folder.absolute() / "gateway", "pacs.folder"),
        "logs": str(folder.absolute() / "logs"),
        "js_module": njs() if section.verifier == "njs" else None,
        "verifier": judge,
        "user": judging.other_user(),
        "workers": min(4, os.cpu_count() or 1),
        "addresses": _addresses(section),
        "tls": _tls(section),
        "host": parts.netloc,
        "origins": section.allowed_origins,
        "upstreams": [f"{upstream.hostname}:{upstream.port or 80}"],
        "upstream_tls": False,
        "proxies": [],
        "methods": METHODS,
        "rate": RATE,
    }


def files(keys: Keys, credentials: tuple[str, str], **parameters: Any) -> dict[str, str]:
    """Give what nginx reads, by the names of the files; secrets are in it.

    Args:
        keys: Verify tokens.
        credentials: User and password that Orthanc asks for.
        parameters: As `rendered` takes them.
    """
    basic = base64.b64encode(":".join(credentials).encode()).decode()
    return {
        CONFIG: rendered(**parameters),
        "signed.js": (places.shipped("templates") / "nginx" / "signed.js").read_text(),
        "keys.json": json.dumps({kid: key.hex() for kid, key in keys.by_id.items()}),
        "upstream.conf": f'map "" $pacs_basic {{ default "Basic {basic}"; }}\n',
    }


def rendered(template: str = "gateway.conf", **parameters: Any) -> str:
    """Fill in one of `templates/nginx`; its first use of each parameter says what it is."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places.shipped("templates") / "nginx"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # nginx's language, not HTML; paths are checked by `plain`
    )
    environment.filters["pattern"] = lambda text: re.sub(r"([^A-Za-z0-9:/-])", r"\\\1", text)
    return environment.get_template(template).render(**parameters)


def _tls(section: pacs_schema.OrthancPacs) -> Mapping[str, str] | None:
    """Check that what travels beyond this machine is encrypted."""
    parts = urlsplit(section.image_url or "")
    if section.tls is None:
        if parts.scheme == "https" or not places.is_loopback(parts.hostname or ""):
            raise ConfigError(
                "pacs.tls: expected {certificate: chain.pem, key: key.pem} for "
                f"pacs.image_url={section.image_url}, met none"
            )
        return None
    if parts.scheme != "https":
        raise ConfigError(
            f"pacs.image_url: expected https:// with pacs.tls, met {section.image_url!r}"
        )
    certificate, key = (Path(p).absolute() for p in (section.tls.certificate, section.tls.key))
    serving.tls(certificate, key, section="pacs.tls")
    return {"certificate": plain(certificate, "pacs.tls"), "key": plain(key, "pacs.tls")}


def plain(path: Path, key: str) -> str:
    """Give a path as nginx's config takes it.

    Raises:
        ConfigError: It holds what means something there.
    """
    if re.search(r"[\"'\\$;{}\x00-\x1f]", str(path)):
        raise ConfigError(
            f"{key}: expected a path without quotes, backslashes, $, ;, {{ and }}, "
            f"met {str(path)!r}"
        )
    return str(path)


def _port(section: pacs_schema.OrthancPacs) -> int:
    parts = urlsplit(section.image_url or "")
    return parts.port or (443 if parts.scheme == "https" else 80)


def _addresses(section: pacs_schema.OrthancPacs) -> list[str]:
    """Give what nginx listens at: exactly the host that links name."""
    host, port = urlsplit(section.image_url or "").hostname or "", _port(section)
    if host == "localhost":
        return [f"127.0.0.1:{port}", f"[::1]:{port}"] if socket.has_ipv6 else [f"127.0.0.1:{port}"]
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]


def _free(section: pacs_schema.OrthancPacs) -> None:
    host, port = urlsplit(section.image_url or "").hostname or "", _port(section)
    try:
        serving.bind(host, port, key="pacs.image_url").socket.close()
    except ConfigError as error:
        raise ConfigError(str(error).replace(", or 0 for any", "")) from error


def njs() -> str:
    """Find nginx's module for JavaScript.

    Raises:
        ConfigError: It is not installed.
    """
    told = subprocess.run(
        [programs.program("nginx"), "-V"], capture_output=True, text=True, check=False
    ).stderr
    found = re.search(r"--modules-path=(\S+)", told)
    for folder in (found[1] if found else "", "/usr/lib/nginx/modules", "/etc/nginx/modules"):
        module = Path(folder) / "ngx_http_js_module.so"
        if folder and module.is_file():
            return str(module)
    raise ConfigError(
        f"{programs.missing('ngx_http_js_module.so')}, or set pacs.verifier=auth_request"
    )


def _take(daemon: processes.Daemon, config: Path) -> None:
    """Start nginx with a config, or have the one that runs take it, if nginx finds it good."""
    nginx = programs.program("nginx")
    told = subprocess.run(
        [nginx, "-t", "-q", "-c", config], capture_output=True, text=True, check=False,
        umask=0o077,  # it makes the log
    )  # fmt: skip
    if told.returncode:
        lines = [line for line in told.stderr.splitlines() if "[emerg]" in line] or [told.stderr]
        reason = re.sub(r"^.*\[emerg\] (\d+#\d+: )?", "", lines[-1].strip())
        raise ConfigError(f"pacs: nginx refuses the gateway's config: {reason[:300]}")
    if daemon.pid() is None:
        daemon.start([nginx, "-c", config, "-g", "daemon off;"], fingerprint="")
    else:
        workers.exchange(daemon)


def _daemon(folder: Path) -> processes.Daemon:
    return processes.Daemon("gateway", folder)
