"""Rounds on the database: exact sums, clean aborts, and a server that is stopped at any moment and started again."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from cohort import AUTHORITY_KEY, NOW, Cohort, make_plan, make_vectors
from round_task import open_round
from sqlalchemy import func, select, update

from hushfold_protocol import messages
from hushfold_protocol.errors import Equivocation, Refused
from hushfold_protocol.packing import unpack
from hushfold_protocol.secagg import server as secagg
from hushfold_protocol.signing import device_id, seal
from hushfold_server.database import (
    Database,
    Phase,
    TaskStatus,
    charges,
    participations,
    round_messages,
    rounds,
    sums,
    tasks,
)
from hushfold_server.errors import NotFound, StateError
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.rounds import Rounds


class Server:
    """A server's rounds on one database file. `crash()` forgets everything that is not on the disk."""

    def __init__(self, path, budget=1000.0, count=8, target=8, bits=20):
        self.path, self.now = path, float(NOW)
        plan = make_plan(floor=4, maximum=8, dimension=40, bits=bits)
        self.plan = replace(plan, cohort=replace(plan.cohort, target=target))
        self.cohort = Cohort(self.plan, make_vectors(count, self.plan))
        self.id = self.plan.round_id.hex()
        self.crash()
        open_round(self.database, self.plan, NOW, budget)

    def crash(self):
        if hasattr(self, "database"):
            self.database.close()
        self.database = Database(self.path)
        self.rounds = Rounds(self.database, PrivacyLedger(self.database), AUTHORITY_KEY, lambda: self.now)

    def device(self, number):
        return device_id(self.cohort.devices[number].join.certificate.public_key)

    def answer(self, number):
        """One device asks what there is. Gives its answer, or what there is if it has none."""
        message = self.rounds.next_message(self.id, self.device(number))
        if isinstance(message, (messages.Wait, messages.Closed)):
            return message
        return seal(self.keys[number], self.cohort.devices[number].receive(message))

    def turn(self, number):
        """One device asks what there is, and answers it."""
        answer = self.answer(number)
        if isinstance(answer, messages.Signed):
            self.rounds.submit(self.id, self.device(number), answer)
        return answer

    def start(self, numbers=range(8)):
        self.keys = [device.state.identity.key for device in self.cohort.devices]
        for number in numbers:
            self.rounds.join(self.cohort.devices[number].join)

    def finish(self):
        """All devices agree and unmask."""
        for _ in range(2):
            for number in range(8):
                self.turn(number)

    def require_sum(self):
        """The round is summed, and its sum that of all devices."""
        assert self.row().phase == Phase.SUMMED
        (stored,) = self.rows(sums)
        np.testing.assert_array_equal(np.frombuffer(stored.total, "<u4"), self.cohort.expected(()))

    def end_step(self):
        self.now += 31
        self.rounds.tick()

    def row(self):
        with self.database.read() as c:
            return c.execute(select(rounds).where(rounds.c.id == self.id)).one()

    def write(self, statement):
        with self.database.begin() as c:
            c.execute(statement)

    def rows(self, table):
        with self.database.read() as c:
            return c.execute(select(table)).all()


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "server.db")


@pytest.mark.parametrize("bits", [12, 16, 20])
def test_a_round_whose_server_is_stopped_after_every_message(tmp_path, bits):
    """No message is lost, none is counted twice: the sum is exact, in numbers of two bytes and of four."""
    server = Server(tmp_path / "server.db", bits=bits)
    server.start()
    for _ in range(4):
        for number in range(8):
            server.turn(number)
            server.crash()
    server.require_sum()
    assert server.row().survivors == 8
    assert len(server.rows(charges)) == 1
    assert len(server.rows(participations)) == 8
    assert server.rows(round_messages) == []
    assert server.rounds.next_message(server.id, server.device(0)) == messages.Closed(messages.Ending.SUMMED, "")


@pytest.mark.parametrize("crashing", [False, True])
def test_devices_lost_at_every_stage(server, crashing):
    server.start()
    for lost in ({0}, {0, 1}, {0, 1, 2}, {0, 1, 2}):
        for number in set(range(8)) - lost:
            server.turn(number)
        if crashing:
            server.crash()
        server.end_step()
    assert server.row().phase == Phase.SUMMED
    (stored,) = server.rows(sums)
    np.testing.assert_array_equal(np.frombuffer(stored.total, "<u4"), server.cohort.expected({0, 1}))
    endings = [server.rounds.next_message(server.id, server.device(number)).ending for number in (0, 1, 2, 3)]
    assert endings == [messages.Ending.LEFT_OUT] * 2 + [messages.Ending.SUMMED] * 2
    assert server.rounds.next_message(server.id, bytes(16)).ending == messages.Ending.LEFT_OUT
    assert server.row().sharers == 7
    assert server.row().survivors == 6


@pytest.mark.parametrize("step", range(5))
def test_too_few_devices_abort_and_nothing_is_opened(server, step):
    """`step` 0 is joining; below the floor of four (or the threshold of five) the round ends with nothing kept."""
    server.start(range(8) if step else range(3))
    for current in range(1, step + 1):
        present = range(8) if current < step else range(3)
        for number in present:
            server.turn(number)
        if current == step:
            break
    server.end_step() if step else setattr(server, "now", NOW + 601)
    server.rounds.tick()
    row = server.row()
    assert row.phase == Phase.ABORTED
    assert "needed" in row.reason or "the floor is" in row.reason
    assert server.rows(sums) == []
    assert server.rows(round_messages) == []
    # Only where shares were already asked for is the budget spent.
    assert len(server.rows(charges)) == (1 if step == 4 else 0)
    assert server.rounds.next_message(server.id, server.device(0)) == messages.Closed(
        messages.Ending.ABORTED, row.reason
    )


def test_time_in_which_the_server_was_away_does_not_count(server):
    server.start()
    server.turn(0)
    server.now += 3600
    server.crash()
    server.rounds.resume()
    server.rounds.tick()
    assert server.row().phase == Phase.SHARING
    for number in range(1, 8):
        server.turn(number)
    assert server.row().phase == Phase.MASKING


def test_past_the_budget_nobody_is_asked_for_shares(tmp_path):
    server = Server(tmp_path / "server.db", budget=0.01)
    server.start()
    for _ in range(3):
        for number in range(8):
            server.turn(number)
    row = server.row()
    assert row.phase == Phase.ABORTED
    assert "budget" in row.reason
    assert server.rows(charges) == server.rows(sums) == []


def test_a_repeat_changes_nothing_and_a_second_answer_is_refused(server):
    server.start()
    answer = server.turn(0)
    before = server.rows(round_messages)
    server.rounds.submit(server.id, server.device(0), answer)
    server.crash()
    server.rounds.submit(server.id, server.device(0), answer)
    assert server.rows(round_messages) == before
    shares = messages.Shares.decode(answer.payload)
    other = seal(server.keys[0], replace(shares, sealed=shares.sealed[::-1]))
    with pytest.raises(Equivocation):
        server.rounds.submit(server.id, server.device(0), other)


def test_the_last_message_may_be_repeated_when_it_has_made_the_sum(server):
    """The server died between the commit and its answer."""
    server.start()
    for _ in range(3):
        for number in range(8):
            server.turn(number)
    last = [server.turn(number) for number in range(8)][-1]
    assert server.row().phase == Phase.SUMMED
    before = [server.rows(table) for table in (sums, rounds)]
    server.rounds.submit(server.id, server.device(7), last)
    assert [server.rows(table) for table in (sums, rounds)] == before
    assert server.rounds.next_message(server.id, server.device(7)) == messages.Closed(messages.Ending.SUMMED, "")


def test_a_sum_that_a_former_version_began_in_wider_numbers_goes_on(tmp_path):
    server = Server(tmp_path / "server.db", bits=16)
    server.start()
    for number in range(8):
        server.turn(number)
    for number in range(8):
        server.turn(number)
        (stored,) = server.rows(sums)
        wider = np.frombuffer(stored.total, "<u2").astype("<u4").tobytes()
        server.write(update(sums).values(total=wider))
        server.crash()
    server.finish()
    server.require_sum()


def test_an_upload_that_comes_twice_is_in_the_sum_once(server):
    server.start()
    for number in range(8):
        server.turn(number)
    upload = server.turn(0)
    server.rounds.submit(server.id, server.device(0), upload)
    server.crash()
    server.rounds.submit(server.id, server.device(0), upload)
    (stored,) = server.rows(sums)
    vector = unpack(messages.Masked.decode(upload.payload).vector, len(stored.total) // 4, server.plan.update.bits)
    np.testing.assert_array_equal(np.frombuffer(stored.total, "<u4"), vector)


class Killed(BaseException):
    """In place of SIGKILL."""


def test_a_server_that_is_killed_before_each_of_its_transactions(server, monkeypatch):
    """It is started again every time, and the device sends the same once more. What belongs together is in one
    transaction."""
    begin, doomed, deaths = Database.begin, True, 0

    def dying(database):
        nonlocal doomed, deaths
        doomed = not doomed
        if not doomed:
            deaths += 1
            raise Killed
        return begin(database)

    def until_done(action, *arguments):
        nonlocal doomed
        doomed = True
        while server.row().phase != Phase.SUMMED:
            try:
                with monkeypatch.context() as patch:
                    patch.setattr(Database, "begin", dying)
                    action(*arguments)
                return
            except Killed:
                server.crash()
                server.rounds.resume()

    server.start(())
    for device in server.cohort.devices:
        until_done(lambda join: server.rounds.join(join), device.join)
    for _ in range(4):
        for number in range(8):
            until_done(
                lambda *sent: server.rounds.submit(server.id, *sent), server.device(number), server.answer(number)
            )
    assert deaths == 5 * (8 + 1)  # in every step one for each device, and one at its end
    server.require_sum()
    assert (len(server.rows(charges)), server.rows(round_messages)) == (1, [])


def test_a_second_process_gets_an_error_and_not_another_sum(server):
    """Two device APIs take the uploads in turns. What one has in memory is old when the other took the last."""
    server.start()
    for number in range(8):
        server.turn(number)
    other = Rounds(server.database, PrivacyLedger(server.database), AUTHORITY_KEY, lambda: server.now)
    other.plan(server.id)
    for number, upload in enumerate([server.answer(number) for number in range(8)]):
        process = (server.rounds, other)[number % 2]
        if number:
            with pytest.raises(StateError, match="another process"):
                process.submit(server.id, server.device(number), upload)
        process.submit(server.id, server.device(number), upload)  # by what the database has
    server.crash()
    server.finish()
    server.require_sum()


def test_a_second_process_ends_no_step_without_the_messages_that_it_has_not_seen(server):
    other = Rounds(server.database, PrivacyLedger(server.database), AUTHORITY_KEY, lambda: server.now)
    other.plan(server.id)  # nobody has joined yet
    server.start(range(7))
    server.now += 601
    other.tick()
    assert server.row().phase == Phase.OPEN
    other.tick()  # by what the database has
    assert (server.row().phase, server.row().joined) == (Phase.SHARING, 7)


@pytest.mark.parametrize("what", ["invitation", "message", "spec"])
@pytest.mark.parametrize("start", [True, False])
def test_a_round_that_cannot_go_on_holds_up_no_other(server, what, start):
    """Its row was damaged. The server aborts it when it starts, or when the round's time is up."""
    open_round(server.database, replace(server.plan, task="later", round_id=b"\xff" * 16), NOW)
    server.start(range(7))
    if what == "invitation":
        server.write(update(rounds).where(rounds.c.id == server.id).values(invitation=b"HF"))
    elif what == "message":
        server.write(update(round_messages).values(body=b"HF"))
    else:
        server.write(update(tasks).where(tasks.c.name == server.plan.task).values(spec="[task]"))
    server.crash()
    if start:
        server.rounds.resume()
    server.now += 601
    server.rounds.tick()
    damaged, later = server.rows(rounds)
    assert (damaged.phase, later.phase) == (Phase.ABORTED, Phase.ABORTED)
    assert damaged.reason
    assert "the floor is" in later.reason
    assert server.rows(round_messages) == []


def test_a_fault_of_the_code_in_one_round_is_told_by_its_type_alone(server, monkeypatch):
    def fail(*_):
        raise ValueError("what a device has sent")

    server.start()
    monkeypatch.setattr("hushfold_protocol.secagg.server.Sharing.close", fail)
    server.end_step()
    assert server.row().phase == Phase.ABORTED
    assert server.row().reason == "an unexpected ValueError; the server's log says where"


def test_a_full_disk_aborts_no_round(server, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    server.start()
    monkeypatch.setattr("hushfold_protocol.secagg.server.Sharing.close", fail)
    with pytest.raises(OSError, match="No space"):
        server.end_step()
    assert server.row().phase == Phase.SHARING


def test_when_enough_have_joined_the_others_have_one_more_step(tmp_path):
    server = Server(tmp_path / "server.db", target=6)
    server.start(range(5))
    assert server.row().deadline == NOW + 600
    server.now += 100
    server.rounds.join(server.cohort.devices[5].join)
    assert server.row().deadline == NOW + 130
    server.now += 10
    server.rounds.join(server.cohort.devices[6].join)
    assert server.row().deadline == NOW + 130  # no longer for those who come after


def test_more_than_enough_who_find_a_late_deadline_shorten_it_too(tmp_path):
    server = Server(tmp_path / "server.db", target=6)
    server.start(range(6))
    server.write(update(rounds).values(deadline=NOW + 600))
    server.crash()
    server.rounds.join(server.cohort.devices[6].join)
    assert server.row().deadline == NOW + 30


@pytest.mark.parametrize(
    ("joined", "after", "wait_ms"),
    [
        (1, 0, 200),  # nobody knows yet
        (4, 10, 1000),  # four more in ten seconds, at this pace
        (7, 10, 200),  # the last one in little more than a second
        (4, 590, 1000),  # ten seconds until it closes
        (4, 700, 200),  # it closes at any moment
    ],
)
def test_a_device_that_has_joined_asks_seldom_while_there_is_time(server, joined, after, wait_ms):
    server.start(range(joined))
    server.now += after
    assert server.rounds.next_message(server.id, server.device(0)) == messages.Wait(wait_ms)


@pytest.mark.parametrize(("step_seconds", "wait_ms"), [(1, 200), (6, 600), (3600, 3000)])
def test_it_asks_well_within_the_first_steps_time(server, step_seconds, wait_ms):
    longer = func.replace(tasks.c.spec, "step_seconds = 30", f"step_seconds = {step_seconds}")
    server.write(update(tasks).values(spec=longer))
    server.start(range(4))
    server.now += 300
    assert server.rounds.next_message(server.id, server.device(0)) == messages.Wait(wait_ms)


def test_messages_that_no_step_takes(server):
    with pytest.raises(NotFound):
        server.rounds.next_message("00" * 16, server.device(0))
    server.start(range(7))
    consent = seal(server.keys[0], messages.Consent(bytes(32), bytes(64)))
    with pytest.raises(Refused, match="not begun"):
        server.rounds.submit(server.id, server.device(0), consent)
    server.now += 601
    server.rounds.tick()
    with pytest.raises(Refused, match="begun without"):
        server.rounds.join(server.cohort.devices[7].join)
    with pytest.raises(Refused, match="not in the session"):
        server.rounds.submit(server.id, server.device(7), consent)
    with pytest.raises(Refused, match="another step"):
        server.rounds.submit(server.id, server.device(0), consent)
    assert isinstance(server.rounds.next_message(server.id, server.device(7)), messages.Closed)
    server.rounds.join(server.cohort.devices[0].join)  # a repeat whose answer was lost


def test_others_write_while_the_masks_are_taken_off(server, monkeypatch):
    """For a large cohort that takes longer than a writer waits for its turn."""
    unmask, written = secagg.Opened.unmask, []

    def watched(opened, total):
        with closing(sqlite3.connect(server.path, timeout=0)) as other:
            written.append(other.execute("UPDATE tasks SET reason = 'seen'").rowcount)
            other.commit()
        return unmask(opened, total)

    monkeypatch.setattr(secagg.Opened, "unmask", watched)
    server.start()
    for _ in range(4):
        for number in range(8):
            server.turn(number)
    assert written == [1]
    assert server.row().phase == Phase.SUMMED


def test_another_rounds_step_is_not_cut_short_while_the_masks_are_taken_off(server, monkeypatch):
    """For so long no device of it was heard."""
    another = replace(server.plan, round_id=b"\1" * 16, task="another", population="another")
    open_round(server.database, another, NOW)
    unmask = secagg.Opened.unmask

    def slow(opened, total):
        server.now += 3600
        return unmask(opened, total)

    monkeypatch.setattr(secagg.Opened, "unmask", slow)
    server.start()
    for _ in range(4):
        for number in range(8):
            server.turn(number)
    assert server.row().phase == Phase.SUMMED
    server.rounds.tick()
    server.id = another.round_id.hex()
    assert (server.row().phase, server.row().deadline) == (Phase.OPEN, NOW + 600 + 3600)
    server.end_step()
    assert server.row().phase == Phase.OPEN


def test_check_in(server):
    invitation = server.rounds.check_in("keyboard-en", b"\1" * 16)
    assert server.rounds.check_in("keyboard-en", b"\1" * 16) == invitation
    assert invitation.plan == server.plan.encode()
    assert isinstance(server.rounds.check_in("elsewhere", b"\1" * 16), messages.ComeBack)
    server.write(update(tasks).values(status=TaskStatus.PAUSED))
    assert server.rounds.check_in("keyboard-en", b"\2" * 16) == invitation  # the round under way goes on to its end
    server.write(update(tasks).values(status=TaskStatus.FINISHING))
    assert server.rounds.check_in("keyboard-en", b"\3" * 16) == invitation
    server.write(update(tasks).values(status=TaskStatus.HALTED))
    assert server.rounds.check_in("keyboard-en", b"\2" * 16).after_ms == 900_000
