"""The gateway's entry point as its container runs it: a process, real nginx, a real Orthanc."""

import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import orthanc_servers
import pytest
from gateways import Images

from cxr.contract import signing
from cxr.errors import ConfigError
from cxr.infra.orthanc import container, selfsigned
from cxr.infra.orthanc.environment import Settings

pytestmark = [pytest.mark.orthanc, pytest.mark.aws]
JOB = signing.job_kid("chest-2026")
FIRST, SECOND = (signing.new_keys(kid) for kid in ("k1", JOB))
POLL_S = 0.3
PATIENCE_S = 60.0
PROMPT_S = 15.0  # under load; what is killed after a limit takes 20, what waits for a poll 30
PROGRAM = ("-m", "cxr.infra.orthanc.container")
ENVIRONMENT = {
    "CXR_UPSTREAM": "https://orthanc.internal:8042",
    "CXR_ORTHANC_USERS": '{"cxr": "a-password"}',
    "CXR_TOKEN_SECRET": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:keys-AbCdEf",
    "CXR_HOST": "images.example.org",
    "CXR_ALLOWED_ORIGINS": "null,https://labeling.example.org",
    "AWS_REGION": "eu-central-1",
}


@pytest.fixture(scope="module")
def images(orthanc):
    return Images(orthanc)


class Container:
    """The entry point as a process, with everything that it writes in one folder."""

    def __init__(self, folder, orthanc, aws, *texts, program=PROGRAM, **changes):
        self.secrets = aws.client("secretsmanager")
        self.program = program
        made = self.secrets.create_secret(
            Name=f"keys-{folder.parent.name}-{folder.name}", SecretString=" ".join(texts)
        )
        self.arn, self.port = made["ARN"], orthanc_servers.free_port()
        self.environment = (
            {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CXR_"))}
            | aws.environment
            | {
                "CXR_UPSTREAM": orthanc.url,
                "CXR_ORTHANC_USERS": f'{{"cxr": "{orthanc.password}"}}',
                "CXR_TOKEN_SECRET": self.arn,
                "CXR_HOST": "images.example.org",
                "CXR_ALLOWED_ORIGINS": "null",
                "CXR_LISTEN": f"127.0.0.1:{self.port}",
                "CXR_POLL_S": str(POLL_S),
                "CXR_FOLDER": str(folder / "state"),
                "CXR_PROXIES": "127.0.0.0/8",
            }
            | changes
        )
        self.folder = folder
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                self.command(), env=self.environment, cwd=folder, stdout=out, stderr=err
            )

    def command(self, *words):
        return [sys.executable, *self.program, *words]

    @property
    def told(self):
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()

    def put(self, *texts):
        self.secrets.put_secret_value(SecretId=self.arn, SecretString=" ".join(texts))

    def ask(self, target, **headers):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context
        )
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self):
        return until(lambda: self.healthy() == 0 or self.process.poll() is not None)

    def healthy(self):
        try:
            return 0 if self.ask("/")[0] == 401 else 1
        except OSError:
            return 1

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def until(true):
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def link(images, text, **more):
    keys = signing.keys_from_text(text)
    return f"{images.file}?token={signing.sign(keys, [f'i:{images.id}'], ttl_s=600, **more)}"


@pytest.fixture(scope="module")
def running(tmp_path_factory, orthanc, aws):
    """One gateway for the tests that change no keys."""
    made = Container(tmp_path_factory.mktemp("gateway") / "c", orthanc, aws, FIRST, SECOND)
    made.ready()
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.fixture
def started(tmp_path, orthanc, aws):
    """Starts gateways of one test's own, and ends them."""
    made = []

    def start(*texts, **changes):
        made.append(Container(tmp_path / f"c{len(made)}", orthanc, aws, *texts, **changes))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.stop()


@pytest.mark.parametrize("text", [FIRST, SECOND], ids=["the first key", "a job's key"])
def test_a_link_opens_its_image_over_tls(running, images, text):
    status, body = running.ask(link(images, text))

    assert (status, body) == (200, images.dicoms[0])


def test_a_link_opens_no_other_image_and_no_link_opens_none(running, images):
    other = link(images, FIRST).replace(images.id, images.other)

    assert running.ask(other)[0] == 403
    assert running.ask(images.file)[0] == 401
    assert running.ask(link(images, signing.new_keys("k1")))[0] == 401


def test_the_health_check_passes_while_it_answers_and_fails_when_not(running):
    def check(**changes):
        return subprocess.run(
            running.command("health"), env=running.environment | changes, check=False
        ).returncode

    assert check() == 0
    assert check(CXR_LISTEN=f"127.0.0.1:{orthanc_servers.free_port()}") == 1


def test_only_the_balancers_word_for_a_clients_address_counts(running):
    running.ask("/", **{"X-Forwarded-For": "203.0.113.99, 198.51.100.7"})

    assert until(lambda: "198.51.100.7 " in running.told)
    assert "203.0.113.99" not in running.told


def test_what_it_writes_is_private(running):
    state = running.folder / "state"
    modes = {
        path.relative_to(state): path.stat().st_mode & 0o077
        for path in state.rglob("*")
        if path.is_file() and not path.is_symlink()
    }

    assert {Path("gateway/keys.json"), Path("gateway/gateway.pem")} <= modes.keys()
    assert {path: mode for path, mode in modes.items() if mode and path.name != "nginx.pid"} == {}


def test_links_of_a_revoked_key_die_within_a_poll_and_others_live_on(started, images):
    gateway = started(FIRST, SECOND)
    assert gateway.ready()
    assert gateway.ask(link(images, SECOND))[0] == 200

    gateway.put(FIRST)
    begun = time.monotonic()

    assert until(lambda: gateway.ask(link(images, SECOND))[0] == 401)
    assert time.monotonic() - begun < PROMPT_S
    assert gateway.ask(link(images, FIRST))[0] == 200
    assert until(lambda: "1 token keys open links: 0 new, 1 revoked" in gateway.told)


def test_links_of_a_new_key_open_within_a_poll(started, images):
    gateway = started(FIRST)
    assert gateway.ready()
    fresh = signing.new_keys("k2")

    gateway.put(fresh, FIRST)

    assert until(lambda: gateway.ask(link(images, fresh))[0] == 200)
    assert gateway.ask(link(images, FIRST))[0] == 200


def test_the_last_keys_stay_while_the_secret_holds_none(started, images):
    gateway = started(FIRST)
    assert gateway.ready()

    gateway.put("not keys at all")

    assert until(lambda: "token keys of before stay" in gateway.told)
    time.sleep(2 * POLL_S)
    assert gateway.ask(link(images, FIRST))[0] == 200
    assert gateway.told.count("token keys of before stay") == 1

    gateway.put(SECOND)
    assert until(lambda: gateway.ask(link(images, FIRST))[0] == 401)


def test_the_last_keys_stay_while_secrets_manager_refuses(started, images, aws):
    gateway = started(FIRST, SECOND)
    assert gateway.ready()

    with aws.faults.deny("secretsmanager:GetSecretValue"):
        gateway.put(SECOND)
        assert until(lambda: "token keys of before stay: secretsmanager:GetSecr" in gateway.told)
        time.sleep(2 * POLL_S)
        assert gateway.ask(link(images, FIRST))[0] == 200

    assert until(lambda: gateway.ask(link(images, FIRST))[0] == 401)
    assert gateway.ask(link(images, SECOND))[0] == 200


def test_a_call_that_is_repeated_for_long_delays_neither_links_nor_the_end(started, images, aws):
    gateway = started(FIRST)
    assert gateway.ready()

    with aws.faults.throttle("secretsmanager:GetSecretValue", times=1000):
        time.sleep(3 * POLL_S)
        assert gateway.ask(link(images, FIRST))[0] == 200
        begun = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - begun < PROMPT_S


def test_it_waits_for_the_first_keys(started, images):
    gateway = started("drawn-by-the-stack-and-no-keys-yet")
    assert until(lambda: "waiting for token keys" in gateway.told)
    assert gateway.healthy() == 1

    gateway.put(FIRST)

    assert gateway.ready()
    assert gateway.ask(link(images, FIRST))[0] == 200


def test_it_waits_for_an_orthanc_that_has_no_address_yet(started):
    gateway = started(FIRST, CXR_UPSTREAM="https://orthanc.nowhere.invalid:8443")

    assert until(lambda: "waiting for Orthanc: orthanc.nowhere.invalid:8443" in gateway.told)
    assert gateway.process.poll() is None
    assert gateway.stop() == 0


@pytest.mark.parametrize("texts", [(FIRST,), ("no keys",)], ids=["serving", "waiting for keys"])
def test_sigterm_ends_it_and_nginx_cleanly(started, texts):
    gateway = started(*texts)
    if texts == (FIRST,):
        assert gateway.ready()
    else:
        assert until(lambda: "waiting for token keys" in gateway.told)

    begun = time.monotonic()

    assert gateway.stop() == 0
    assert time.monotonic() - begun < PROMPT_S
    assert gateway.healthy() == 1
    assert "Traceback" not in gateway.told


def test_it_ends_in_one_line_when_nginx_does(started):
    gateway = started(FIRST)
    assert gateway.ready()

    nginx = int((gateway.folder / "state" / "gateway" / "nginx.pid").read_text())
    workers = Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split()

    for pid in (nginx, *map(int, workers)):  # in a container all of them end with it
        os.kill(pid, signal.SIGKILL)

    assert gateway.process.wait(PATIENCE_S) == 1
    assert "PacsError: nginx ended by itself" in gateway.told
    assert "Traceback" not in gateway.told


def test_no_log_holds_tokens_identifiers_keys_or_the_password(started, images, orthanc):
    gateway = started(FIRST, SECOND)
    assert gateway.ready()
    signed = link(images, SECOND, subject="task")

    gateway.ask(signed)
    gateway.ask(signed.replace(images.id, images.other))
    gateway.ask(f"{images.path}?token={signed.rpartition('=')[2]}")
    gateway.put(FIRST)
    assert until(lambda: "1 revoked" in gateway.told)
    gateway.ask(signed)
    gateway.stop()

    told = gateway.told
    assert len(re.findall(r" GET \S+ (200|403|401) ", told)) >= 4
    hidden = [
        images.id, images.other, *images.uids, signed.rpartition("=")[2], orthanc.password, JOB,
        *(text.partition(":")[2] for text in (FIRST, SECOND)),
    ]  # fmt: skip
    assert [word for word in hidden if word in told] == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CXR_UPSTREAM", "orthanc:8042", "CXR_UPSTREAM: expected https://host:port"),
        ("CXR_UPSTREAM", "", "CXR_UPSTREAM: expected https://host:port of Orthanc, met nothing"),
        ("CXR_ORTHANC_USERS", "secret-word", "CXR_ORTHANC_USERS: expected .*met something else"),
        ("CXR_ORTHANC_USERS", "{}", "CXR_ORTHANC_USERS: expected"),
        ("CXR_ORTHANC_USER", "eve", "CXR_ORTHANC_USER: expected a user in .*met 'eve'"),
        ("CXR_TOKEN_SECRET", "", "CXR_TOKEN_SECRET: expected"),
        ("AWS_REGION", " ", "AWS_REGION: expected"),
        ("CXR_HOST", 'a"; }', "CXR_HOST: expected the host of links"),
        ("CXR_ALLOWED_ORIGINS", "*", "CXR_ALLOWED_ORIGINS: expected"),
        ("CXR_ALLOWED_ORIGINS", "http://a.example", "CXR_ALLOWED_ORIGINS: expected"),
        ("CXR_LISTEN", "8443", "CXR_LISTEN: expected address:port"),
        ("CXR_LISTEN", "0.0.0.0:x;", "CXR_LISTEN: expected address:port"),
        ("CXR_PROXIES", "10.0.0.0/8;", "CXR_PROXIES: expected networks"),
        ("CXR_POLL_S", "0", "CXR_POLL_S: expected 0.1 to 3600 seconds"),
        ("CXR_POLL_S", "soon", "CXR_POLL_S: expected 0.1 to 3600 seconds"),
    ],
)
def test_a_wrong_variable_is_named_and_no_secret_told(name, value, message):
    with pytest.raises(ConfigError, match=message) as raised:
        Settings.read(ENVIRONMENT | {name: value})
    assert "secret-word" not in str(raised.value)


def test_what_is_not_said_has_a_safe_default():
    settings = Settings.read(ENVIRONMENT)

    assert (settings.upstream, settings.upstream_tls) == ("orthanc.internal:8042", True)
    assert (settings.user, settings.password) == ("cxr", "a-password")
    assert settings.poll_s == 30
    assert settings.listen == "0.0.0.0:8443"
    assert not any(network.endswith("/0") for network in settings.proxies)


def test_wrong_words_end_in_one_line(caplog):
    assert container.main(["serve", "now"]) == 1
    assert "expected nothing, front or health, met 'serve now'" in caplog.text


def test_a_certificate_can_be_served_with(tmp_path):
    path = tmp_path / "orthanc.pem"

    selfsigned.write(path)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["orthanc.pem"]


GATEWAY = Path(__file__).parents[1] / "templates" / "gateway"
ROOT = Path(__file__).parents[1]


def instructions(text):
    """A Dockerfile's instructions in their order, as (name, rest), continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    return [tuple(line.strip().split(None, 1)) for line in lines if line.strip()]


def dockerfile_faults(text):
    """What is wrong with a Dockerfile of ours; one line each."""
    given = instructions(text)
    for name, rest in given:
        if name == "FROM" and not re.fullmatch(r"[a-z0-9./:-]+@\$\{\w+_DIGEST\}", rest):
            yield f"FROM {rest}: not pinned by a digest"
        if name == "ARG" and "=" in rest:
            yield f"ARG {rest}: a default digest grows old unseen"
        if name == "ADD":
            yield f"ADD {rest}: COPY says what it does"
        for source in rest.split()[:-1] if name == "COPY" else ():
            if not (ROOT / source).exists():
                yield f"COPY {source}: does not exist"
        if name == "ENV" and re.search(r"(?i)passw|secret|token", rest):
            yield f"ENV {rest}: a secret in the image"
    users = [rest for name, rest in given if name == "USER"]
    if not users or users[-1].split(":")[0] in ("0", "root"):
        yield "USER: runs as root"
    after = (
        [name for name, _ in given][[name for name, _ in given].index("USER") :] if users else []
    )
    if "RUN" in after:
        yield "RUN after USER"
    if "HEALTHCHECK" not in dict(given):
        yield "HEALTHCHECK: missing"


def test_the_image_is_pinned_unprivileged_and_copies_what_there_is():
    assert [*dockerfile_faults((GATEWAY / "Dockerfile").read_text())] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("@${PYTHON_DIGEST}", "", "not pinned"),
        ("ARG PYTHON_DIGEST", "ARG PYTHON_DIGEST=sha256:00", "grows old"),
        ("COPY src/cxr", "COPY dist/cxr.whl", "does not exist"),
        ("USER 10001:10001", "", "runs as root"),
        ("USER 10001:10001", "USER root", "runs as root"),
        ("HEALTHCHECK", "LABEL x=", "HEALTHCHECK: missing"),
        ("COPY templates/nginx", "ADD templates/nginx", "ADD"),
        ("ENV PYTHONPATH", "ENV TOKEN=x PYTHONPATH", "a secret"),
    ],
)
def test_a_spoiled_dockerfile_is_found_out(old, new, fault):
    text = (GATEWAY / "Dockerfile").read_text()
    assert old in text

    assert any(fault in line for line in dockerfile_faults(text.replace(old, new)))


def test_the_builder_gets_all_that_is_copied_and_starts_with_nothing():
    lines = (GATEWAY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        rest.split()[0]
        for name, rest in instructions((GATEWAY / "Dockerfile").read_text())
        if name == "COPY"
    ]

    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {*copied}


def test_the_images_packages_are_the_tested_ones():
    def pins(path):
        return {line.strip() for line in path.read_text().splitlines() if "==" in line}

    wanted = pins(GATEWAY / "requirements.txt")

    assert wanted
    assert wanted <= pins(ROOT / "constraints.txt")


ALONE = """
import importlib.abc, importlib.metadata, sys
names = {line.split("==")[0].lower() for line in open(sys.argv[1]) if "==" in line}
owners = importlib.metadata.packages_distributions()
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owned = {owner.lower().replace("_", "-") for owner in owners.get(top, [])} - {"cxr"}
        if owned and not owned & names:
            raise ModuleNotFoundError(f"not in the image: {name}", name=name)
sys.meta_path.insert(0, Only())
from cxr.infra.orthanc import container, selfsigned
raise SystemExit(container.main(sys.argv[2:]))
"""


def test_the_entry_point_needs_no_other_packages(tmp_path, orthanc, aws, images):
    program = ("-c", ALONE, str(GATEWAY / "requirements.txt"))

    gateway = Container(tmp_path / "c", orthanc, aws, FIRST, program=program)

    try:
        assert gateway.ready(), gateway.told
        assert gateway.ask(link(images, FIRST))[0] == 200
    finally:
        assert gateway.stop() == 0
