"""A phone that is killed while it charges itself, or goes over to another release.

What a phone writes in a whole round, and how it goes on, is in `participation/test_killed_in_a_round`.
"""

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from test_ledger import DELTA, contribution

from hushfold import durable
from hushfold.keys import KeyFile
from hushfold.ledger import DeviceBudget
from hushfold.releases import Release
from hushfold.store import Store
from hushfold.updates import ActiveModel


def charge_and_die(folder, at):
    """The phone's process: it is killed when it has come to `at` of its charge."""
    keys = KeyFile(folder / "key")
    store = Store(folder / "store.db", keys.key())
    execute = Store.execute

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def executing(its, statement, values=()):
        if statement == "COMMIT" and at == "before the charge":
            die()
        done = execute(its, statement, values)
        if statement == "COMMIT" and at == "after the charge":
            die()
        return done

    class Witness:
        load_spent = keys.load_spent

        def save_spent(self, population, spent):
            if at == "before the witness":
                die()
            keys.save_spent(population, spent)
            if at == "after the witness":
                die()

    budget = DeviceBudget(store, limit=1e9, delta=DELTA, witness=Witness())
    Store.execute = executing
    budget.charge(contribution())


@pytest.mark.slow
@pytest.mark.parametrize("at", ["before the charge", "after the charge", "before the witness", "after the witness"])
def test_a_phone_that_the_system_kills_when_it_charges(tmp_path, at):
    keys = KeyFile(tmp_path / "key")
    key = keys.key()
    process = multiprocessing.get_context("spawn").Process(target=charge_and_die, args=(tmp_path, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Store(tmp_path / "store.db", key) as store:
        budget = DeviceBudget(store, limit=1e9, delta=DELTA, witness=keys)
        one = contribution()
        assert budget.contributions() == ([] if at == "before the charge" else [one])
        assert budget.spent(one.population) == (0 if at == "before the charge" else one.epsilon)
        assert (keys.load_spent(one.population) is not None) == (at == "after the witness")
        budget.charge(one)
        assert budget.spent(one.population) == one.epsilon
        assert keys.load_spent(one.population) == one.curve.to_bytes()


# ------------------------------------------------------------------ another release

MANIFEST = "ab" * 32


class Killed(BaseException):
    """In place of SIGKILL."""


class Doom:
    """Counts what is done to the disk, and kills the process around the one with the number `at`; a dead one does
    nothing more."""

    def __init__(self, patch, at=None, when=None):
        self.done, self._at, self._when, self._dead = [], at, when, False
        for owner, name in ((durable.os, "fsync"), (Path, "replace"), (Path, "unlink")):
            patch.setattr(owner, name, self._deadly(name, getattr(owner, name)))

    def _deadly(self, name, do):
        def doing(*arguments, **options):
            number = len(self.done)
            if self._dead or (number == self._at and self._when == "before"):
                self._die()
            done = do(*arguments, **options)
            self.done.append(name)
            if number == self._at:
                self._die()
            return done

        return doing

    def _die(self):
        self._dead = True
        raise Killed


def release(number):
    sha256 = hashlib.sha256(content(number)).hexdigest()
    return Release(
        "next_word", f"1.{number}.0", number, f"next_word/1.{number}.0/weights.f32", sha256, MANIFEST, "0.1.0", 100, ""
    )


def content(number):
    return bytes([number]) * 64


def downloaded(folder, number):
    path = folder / "download"
    path.write_bytes(content(number))
    return path


def test_killed_around_anything_that_adopting_a_release_does_to_the_disk(tmp_path, monkeypatch):
    """The old release is in use or the new one, whole; and the next attempt leaves nothing else behind."""

    def adopted(name):
        folder = tmp_path / name
        active = ActiveModel(folder / "active", MANIFEST)
        folder.mkdir()
        for number in (1, 2):
            active.activate(release(number), downloaded(folder, number))
        return folder, active

    folder, active = adopted("alive")
    with monkeypatch.context() as patch:
        steps = Doom(patch)
        active.activate(release(3), downloaded(folder, 3))
    assert steps.done == ["fsync", "replace", "fsync"] * 2 + ["unlink"] * 2  # weights, pointer; what is left over
    for at in range(len(steps.done)):
        for when in ("before", "after"):
            folder, active = adopted(f"{when}-{at}")
            with monkeypatch.context() as patch:
                Doom(patch, at, when)
                with pytest.raises(Killed):
                    active.activate(release(3), downloaded(folder, 3))
            active = ActiveModel(folder / "active", MANIFEST)
            number = active.active.number
            assert number == (3 if at > 4 or (at, when) == (4, "after") else 2)  # by the pointer's replacement
            assert active.weights() == content(number)
            assert active.wants(release(3)) == (number == 2)
            active.activate(release(3), downloaded(folder, 3))
            assert active.weights() == content(3)
            assert {path.name for path in (folder / "active").iterdir()} == {"active.json", "2.f32", "3.f32"}
            assert active.roll_back() == release(2)
            assert active.weights() == content(2)
