"""Passphrases: what is kept of them, what opens, and how often one may guess."""

import sqlite3
import stat
import threading
import time

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import AccessError
from cxr.labeling.accounts import Accounts, Attempts

PHRASE = "six walls and a lamp"


@pytest.fixture
def accounts(tmp_path):
    opened = Accounts(tmp_path / "accounts.db")
    yield opened
    opened.close()


def test_only_the_passphrase_that_was_set_opens(accounts):
    accounts.set_passphrase("ann", PHRASE)

    assert accounts.verify("ann", PHRASE)
    assert accounts.verify("ANN", PHRASE)
    assert not accounts.verify("ann", PHRASE + " ")
    assert not accounts.verify("ann", "")
    assert not accounts.verify("bob", PHRASE)
    assert not accounts.verify(None, PHRASE)


def test_the_file_is_its_owners_and_holds_a_hash_only(accounts, tmp_path):
    accounts.set_passphrase("ann", PHRASE)

    for path in tmp_path.glob("accounts.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert PHRASE.encode() not in path.read_bytes()
    [(kept,)] = sqlite3.connect(tmp_path / "accounts.db").execute("SELECT hash FROM passphrases")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_passphrase_outlives_the_portal(tmp_path):
    first = Accounts(tmp_path / "accounts.db")
    first.set_passphrase("ann", PHRASE)
    first.close()

    again = Accounts(tmp_path / "accounts.db")

    assert again.has_passphrase("ann")
    assert again.verify("ann", PHRASE)
    again.close()


@pytest.mark.parametrize("phrase", ["", "eleven char", "x" * 1025])
def test_a_passphrase_is_long_enough_to_be_hard_to_guess(accounts, phrase):
    with pytest.raises(AccessError, match=rf"12 to 1024 characters, met {len(phrase)}$"):
        accounts.set_passphrase("ann", phrase)

    assert not accounts.has_passphrase("ann")


def test_a_passphrase_needs_length_alone(accounts):
    accounts.set_passphrase("ann", "aaaaaaaaaaaa")

    assert accounts.verify("ann", "aaaaaaaaaaaa")


def test_the_same_letters_from_another_keyboard_open(accounts):
    accounts.set_passphrase("ann", "Röntgenröhre\u00e9")

    assert accounts.verify("ann", "Ro\u0308ntgenro\u0308hree\u0301")


def test_a_change_leaves_older_tokens_behind(accounts):
    assert accounts.valid_from("ann") == 0

    accounts.set_passphrase("ann", PHRASE, now=1000.7)

    assert accounts.valid_from("ann") == 1001
    assert accounts.valid_from("bob") == 0


def test_an_ended_session_stays_ended_until_it_would_have_ended(accounts):
    accounts.end("token", expires=time.time() + 60)
    accounts.end("past", expires=time.time() - 60)
    accounts.end("other", expires=time.time() + 60)

    assert accounts.ended("token")
    assert not accounts.ended("past")
    assert not accounts.ended("another")


def test_nobody_takes_as_long_as_a_wrong_passphrase(tmp_path):
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=16_384, parallelism=1)
    accounts = Accounts(tmp_path / "accounts.db", hasher)
    accounts.set_passphrase("ann", PHRASE)
    accounts.verify(None, PHRASE)

    def median(name):
        times = []
        for _ in range(7):
            started = time.perf_counter()
            accounts.verify(name, "a wrong passphrase")
            times.append(time.perf_counter() - started)
        return sorted(times)[3]

    known, unknown = median("ann"), median("nobody")
    accounts.close()

    # a look-up without a hash would take a thousandth
    assert unknown > known / 3


def test_many_at_once_all_get_their_answer(accounts):
    accounts.set_passphrase("ann", PHRASE)
    said = []

    threads = [
        threading.Thread(target=lambda: said.append(accounts.verify("ann", PHRASE)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert said == [True] * 8


def test_some_failures_are_free_then_each_wait_doubles():
    attempts = Attempts(free=5)
    clock, waits = 0.0, []

    for _ in range(20):
        wait = attempts.begin("ann", now=clock)
        waits.append(wait)
        if wait:
            clock += wait
            assert attempts.begin("ann", now=clock) == 0

    assert waits[:5] == [0.0] * 5
    assert waits[5:10] == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert waits[-1] == Attempts.LONGEST_WAIT_S


def test_a_refused_attempt_does_not_lengthen_the_wait():
    attempts = Attempts(free=1)
    attempts.begin("ann", now=0)

    waits = [attempts.begin("ann", now=moment) for moment in (0, 0.5, 1.5)]

    assert waits == [2.0, 1.5, 0.5]


def test_another_key_waits_for_nothing():
    attempts = Attempts(free=1)
    attempts.begin("ann", now=0)

    assert attempts.begin("ann", now=0) > 0
    assert attempts.begin("bob", now=0) == 0


def test_quiet_and_success_are_forgiven():
    attempts = Attempts(free=1)
    attempts.begin("ann", now=0)
    attempts.begin("bob", now=0)
    attempts.begin("eve", now=0)

    attempts.forgive("bob")
    attempts.take_back("eve")
    attempts.take_back("nobody")

    assert attempts.begin("ann", now=Attempts.FORGET_S + 1) == 0
    assert attempts.begin("bob", now=0) == 0
    assert attempts.begin("eve", now=0) == 0


def test_many_names_do_not_fill_the_memory():
    attempts = Attempts(free=1)

    for number in range(25_000):
        attempts.begin(str(number), now=float(number) / 1000)

    assert len(attempts._failures) <= 10_000
    assert attempts.begin("24999", now=25) > 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 600), max_size=60))
def test_an_hour_of_guessing_gets_few_guesses(gaps):
    attempts, clock, passed = Attempts(free=5), 0.0, 0

    for gap in gaps:
        clock += gap
        if clock > 3600:
            break
        passed += attempts.begin("ann", now=clock) == 0

    assert passed <= 5 + 9 + 4  # free, doubling up to 512 s, then one each 900 s
