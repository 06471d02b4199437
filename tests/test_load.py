"""Fifty readers at once, and a portal killed again and again: nothing is lost, nothing doubled."""

import collections
import json
import random
import sqlite3
import threading
import time

import pytest
from orthanc_servers import free_port
from serving import KEYS, Client, Served

from cxr.labeling import audit

pytestmark = pytest.mark.slow


def kept(folder):
    """Every version of every answer: task, object, worker, content."""
    with sqlite3.connect(folder / "job" / "answers.db") as db:
        rows = db.execute(
            "SELECT task_id, object_id, worker_id, content FROM answers JOIN tasks USING(task_id)"
        ).fetchall()
    db.close()
    return rows


def verified(folder):
    return audit.verify(folder / "job" / "answers.db", audit.keys(KEYS))


def everything(clients):
    found = {}
    for client in clients:
        assert client.error is None, client.error
        assert not found.keys() & client.accepted.keys()
        found |= client.accepted
    return {task_id: json.loads(content) for task_id, content in found.items()}


@pytest.mark.parametrize(
    ("readers", "images"), [(10, 100), pytest.param(50, 1000, marks=pytest.mark.long)]
)
def test_many_readers_give_all_images_three_answers_each(tmp_path, readers, images):
    wanted = 3
    portal = Served(tmp_path, 0, readers, images, wanted)
    clients = [Client(link, seed) for seed, link in enumerate(portal.links.values())]

    for client in clients:
        client.start()
    for client in clients:
        client.join(240)
    portal.kill()

    accepted, rows = everything(clients), kept(tmp_path)
    assert {task_id: json.loads(content) for task_id, _, _, content in rows} == accepted
    assert len(rows) == len(accepted) == images * wanted
    each = collections.Counter(object_id for _, object_id, _, _ in rows)
    assert set(each) == set(range(images))
    assert set(each.values()) == {wanted}
    assert len({(object_id, worker) for _, object_id, worker, _ in rows}) == len(rows)
    assert verified(tmp_path) >= 2 * images * wanted


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_portal_killed_again_and_again_under_load_loses_and_doubles_nothing(tmp_path, times):
    port, chance = free_port(), random.Random(1)
    job = (8, 4000, 2)
    portal, stop = Served(tmp_path, port, *job), threading.Event()
    clients = [Client(link, seed, stop=stop) for seed, link in enumerate(portal.links.values())]
    for client in clients:
        client.start()

    before = 0
    for _ in range(times):
        deadline = time.monotonic() + 60
        while sum(len(client.accepted) for client in clients) < before + 5:
            assert time.monotonic() < deadline, [client.error for client in clients]
            time.sleep(0.01)  # until they are at work again
        time.sleep(chance.uniform(0, 0.5))
        portal.kill()
        before = sum(len(client.accepted) for client in clients)
        assert verified(tmp_path) >= 2 * before
        portal = Served(tmp_path, port, *job)
    time.sleep(1)  # whoever was cut off sends again
    stop.set()
    for client in clients:
        client.join(60)
    portal.kill()

    accepted, rows = everything(clients), kept(tmp_path)
    assert {task_id: json.loads(content) for task_id, _, _, content in rows} == accepted
    assert len(rows) == len(accepted)
    assert len({(object_id, worker) for _, object_id, worker, _ in rows}) == len(rows)
    assert max(collections.Counter(row[1] for row in rows).values()) <= 2
    assert verified(tmp_path) >= 2 * len(rows)
