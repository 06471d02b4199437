"""An SQLite MLflow holds what was logged, and nothing that names a patient."""

import hashlib
import hmac
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cxr.errors import RunError
from cxr.infra import tracking

PARAMS = {"data": {"folds": 5, "path": "${root}/x"}, "name": "r", "views": ["PA", "AP"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return f"sqlite:///{folder}/mlflow.db", folder / "mlartifacts"


def started(store, name="run-1", **options):
    uri, artifacts = store
    return tracking.start(uri, "cxr", name, params=PARAMS, artifacts=artifacts, **options)


def read(store, run):
    return MlflowClient(store[0]).get_run(run.run_id)


def test_run_holds_name_note_tags_and_unresolved_params(store):
    run = started(store, tags={"job": "chest"})
    held = read(store, run)

    assert held.info.run_name == "run-1"
    assert held.data.tags["note"] == "Research use only. Not for clinical decisions."
    assert held.data.tags["job"] == "chest"
    assert held.data.params == {
        "data.folds": "5",
        "data.path": "${root}/x",
        "name": "r",
        "views": '["PA", "AP"]',
    }


def test_metrics_are_kept_by_epoch(store):
    run = started(store)

    run.log({"val/loss": 0.5, "val/auroc/Tubes _ _lines_": 0.7}, 1)
    run.log({"val/loss": 0.25}, 2)

    history = MlflowClient(store[0]).get_metric_history(run.run_id, "val/loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.25)]
    assert read(store, run).data.metrics["val/auroc/Tubes _ _lines_"] == 0.7


def test_files_lie_beside_the_database(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = started(store)
    (tmp_path / "metrics.json").write_text("{}")

    run.artifact(tmp_path / "metrics.json", "evaluation")

    assert [p.name for p in store[1].rglob("evaluation/*")] == ["metrics.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (KeyboardInterrupt, "KILLED"),
        (SystemExit, "KILLED"),
        (KeyError, "FAILED"),
    ],
)
def test_status_says_how_the_block_ended(store, error, status):
    run = started(store)

    try:
        with run.finishing():
            assert read(store, run).info.status == "RUNNING"
            if error:
                raise error
    except (KeyboardInterrupt, SystemExit, KeyError):
        pass

    assert read(store, run).info.status == status


def test_resume_goes_on_with_the_same_run(store):
    run = started(store)
    run.log({"val/loss": 1.0}, 1)
    run.finish("KILLED")

    again = tracking.resume(store[0], run.run_id)
    again.log({"val/loss": 0.5}, 2)

    assert read(store, run).info.status == "RUNNING"
    assert read(store, run).data.metrics["val/loss"] == 0.5
    with pytest.raises(RunError, match="has no run 'nowhere'"):
        tracking.resume(store[0], "nowhere")


def test_a_run_is_finished_where_mlflow_says_so(store):
    run = started(store)
    said = [tracking.is_finished(store[0], run.run_id)]
    run.finish("KILLED")
    said.append(tracking.is_finished(store[0], run.run_id))
    said.append(tracking.is_finished(store[0], "nowhere"))
    run.finish("FINISHED")

    assert said == [False, False, False]
    assert tracking.is_finished(store[0], run.run_id)


def test_many_and_long_params_are_taken(store):
    params = {f"p{k}": "x" * 10 for k in range(250)} | {"long": "y" * 10_000}

    run = tracking.start(store[0], "cxr", "many", params=params)

    held = read(store, run).data.params
    assert len(held) == 251
    assert set(held["long"]) == {"y"}


def test_a_server_that_does_not_answer_is_one_line_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(RunError, match=r"MLflow at http://127.0.0.1:9: ") as met:
        tracking.start("http://me:secret@127.0.0.1:9", "cxr", "r", params={})

    assert "secret" not in str(met.value)
    assert "\n" not in str(met.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////data/me@ward/mlflow.db", "sqlite:////data/me@ward/mlflow.db"),
        ("https://mlflow.example:5000/a", "https://mlflow.example:5000/a"),
        ("https://me:secret@mlflow.example", "https://mlflow.example"),
        ("https://me:se@cret/?x@mlflow.example", "https://mlflow.example"),
        ("postgresql://me:secret@db/mlflow", "postgresql://db/mlflow"),
        ("postgresql://db/mlflow?password=secret", "postgresql://db/mlflow"),
    ],
)
def test_a_uri_is_shown_without_what_opens_it(uri, shown):
    assert tracking.shown(uri) == shown


def test_starting_a_run_says_nothing_and_reports_nothing_home(tmp_path):
    code = (
        "import os; from cxr.infra import tracking; "
        f"tracking.start('sqlite:///{tmp_path}/mlflow.db', 'cxr', 'r', params={{}}); "
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    path = str(Path(tracking.__file__).parents[2])

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": path, "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pseudonym_is_an_hmac_under_a_secret_of_this_root(tmp_path):
    key = tracking.secret(tmp_path)

    name = tracking.pseudonym("PAT-1", key)

    assert name == hmac.new(key, b"PAT-1", hashlib.sha256).hexdigest()
    assert tracking.secret(tmp_path) == key
    assert tracking.secret(tmp_path / "other") != key
    assert (tmp_path / "secrets" / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_a_store_that_takes_no_copies_costs_nothing_else(store, tmp_path, caplog):
    run = started(store)
    model = tmp_path / "best.ckpt"
    model.write_bytes(b"weights")
    (store[1] / "cxr").mkdir(parents=True, exist_ok=True)
    for folder in (store[1] / "cxr").iterdir():
        shutil.rmtree(folder)
    shutil.rmtree(store[1])
    store[1].write_text("no folder")  # so that none can be made in it

    with pytest.raises(OSError, match="mlartifacts"):
        run.artifact(model)
    with run.finishing():
        run.keep(model)

    assert "MLflow did not take best.ckpt" in caplog.text
    assert "it is in the run's folder" in caplog.text
    assert model.exists()
    assert read(store, run).info.status == "FINISHED"


def test_what_s3_refuses_of_a_copy_is_tolerated_as_well(store, caplog):
    from botocore.exceptions import ClientError

    run = started(store)

    with run.tolerating("run.json"):
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")
    with pytest.raises(ZeroDivisionError), run.tolerating("run.json"):
        raise ZeroDivisionError

    assert "MLflow did not take run.json (ClientError)" in caplog.text


class Server(ThreadingHTTPServer):
    """What of MLflow's server takes metrics and ends of runs; now and then it is away."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.away, self.metrics, self.ends = False, [], []


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if not self.server.away:
            self.server.metrics += [(m["step"], m["value"]) for m in said.get("metrics", [])]
            self.server.ends += [said["status"]] if "status" in said else []
        self.send_response(503 if self.server.away else 200)
        self.end_headers()
        info = {"run_id": "r", "status": "FINISHED", "lifecycle_stage": "active"}
        self.wfile.write(json.dumps({"run_info": info, "run": {"info": info}}).encode())

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_metrics_that_a_store_did_not_take_are_sent_with_the_next(server, caplog):
    run = tracking.Run("r", tracking.opened(f"http://127.0.0.1:{server.server_port}"))
    run.log({"val/loss": 1.0}, 1)
    server.away = True
    run.log({"val/loss": 0.5}, 2)
    run.log({"val/loss": 0.25}, 3)
    server.away = False
    run.log({"val/loss": 0.125}, 4)

    assert server.metrics == [(1, 1.0), (2, 0.5), (3, 0.25), (4, 0.125)]
    assert "MLflow did not take the metrics of epoch 2 (MlflowException); they are" in caplog.text
    assert "MLflow did not take the metrics of epochs 2 to 3 (" in caplog.text


@pytest.mark.parametrize("away", [False, True])
def test_the_end_of_a_run_sends_what_is_left_or_says_that_it_is_lost(server, caplog, away):
    run = tracking.Run("r", tracking.opened(f"http://127.0.0.1:{server.server_port}"))
    with run.finishing():
        server.away = True
        run.log({"val/loss": 0.5}, 7)
        server.away = away

    assert server.metrics == ([] if away else [(7, 0.5)])
    assert server.ends == ([] if away else ["FINISHED"])
    lost = "MLflow did not take the metrics of epoch 7 (MlflowException), and they are lost to it"
    assert (lost in caplog.text) is away
