"""The database: the table of phases, its one mover, and transactions across threads and restarts."""

import itertools
import sqlite3
import stat
import threading

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.schema import CreateIndex, CreateTable

from hushfold_server.database import (
    LIVE_PHASES,
    SCHEMA_VERSION,
    TRANSITIONS,
    Database,
    Phase,
    metadata,
    move,
    releases,
    rounds,
    states,
    tasks,
)
from hushfold_server.errors import ConfigurationError, NotFound, SchemaMismatch, StateError

ROUND = "00" * 16


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hushfold.db"


@pytest.fixture
def database(path):
    database = Database(path)
    with database.begin() as connection:
        connection.execute(
            insert(tasks).values(name="words", population="en", spec="", status="active", created_at=1.0)
        )
        connection.execute(insert(states).values(task="words", number=0, object_sha256="ab", created_at=1.0))
    yield database
    database.close()


def add_round(connection, phase, round_id=ROUND, number=1):
    connection.execute(
        insert(rounds).values(
            id=round_id,
            task="words",
            number=number,
            base_state=0,
            phase=phase,
            invitation=b"plan",
            deadline=60.0,
            created_at=1.0,
            updated_at=1.0,
        )
    )


def row(database, round_id=ROUND):
    with database.read() as connection:
        return connection.execute(select(rounds).where(rounds.c.id == round_id)).one()


@pytest.mark.parametrize(("start", "end"), itertools.product(Phase, Phase))
def test_a_round_moves_exactly_as_the_table_says(database, start, end):
    with database.begin() as connection:
        add_round(connection, start)
    before = row(database)
    with database.begin() as connection:
        if end in TRANSITIONS[start]:
            move(connection, ROUND, start, end, now=2.0, reason="too few", deadline=90.0)
        else:
            with pytest.raises(StateError, match=f"no step from {start} to {end}"):
                move(connection, ROUND, start, end, now=2.0, reason="too few", deadline=90.0)
    after = row(database)
    if end in TRANSITIONS[start]:
        assert (after.phase, after.reason, after.deadline, after.updated_at) == (end, "too few", 90.0, 2.0)
    else:
        assert after == before


def test_every_phase_is_reached_from_open_and_only_three_are_final():
    reached, frontier = set(), {Phase.OPEN}
    while frontier:
        reached |= frontier
        frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
    assert reached == set(Phase)
    assert {phase for phase in Phase if not TRANSITIONS[phase]} == {Phase.RELEASED, Phase.ABORTED, Phase.DISCARDED}


def test_a_round_with_a_sum_cannot_be_aborted():
    assert {Phase.OPEN, Phase.SHARING, Phase.MASKING, Phase.AGREEING, Phase.UNMASKING} == LIVE_PHASES


def test_the_second_of_two_movers_is_told_and_changes_nothing(database):
    with database.begin() as connection:
        add_round(connection, Phase.OPEN)
        move(connection, ROUND, Phase.OPEN, Phase.SHARING, now=2.0, joined=7)
    with database.begin() as connection, pytest.raises(StateError, match="it is sharing"):
        move(connection, ROUND, Phase.OPEN, Phase.SHARING, now=3.0, joined=8)
    assert (row(database).joined, row(database).updated_at) == (7, 2.0)


def test_an_unknown_round_is_not_found(database):
    with database.begin() as connection, pytest.raises(NotFound):
        move(connection, "ff", Phase.OPEN, Phase.SHARING, now=2.0)


@pytest.mark.parametrize("changes", [{}, {"reason": ""}])
@pytest.mark.parametrize(("start", "end"), [(Phase.OPEN, Phase.ABORTED), (Phase.SUMMED, Phase.DISCARDED)])
def test_a_bad_end_needs_a_reason(database, start, end, changes):
    with database.begin() as connection:
        add_round(connection, start)
        with pytest.raises(ValueError, match="reason"):
            move(connection, ROUND, start, end, now=2.0, **changes)


def test_an_exception_rolls_back_the_whole_transaction(database):
    def open_twice():
        with database.begin() as connection:
            add_round(connection, Phase.OPEN)
            add_round(connection, Phase.OPEN)

    with pytest.raises(IntegrityError):
        open_twice()
    with database.read() as connection:
        assert connection.execute(select(rounds)).all() == []


def test_reading_refuses_to_write_and_leaves_the_connection_usable(database):
    with pytest.raises(OperationalError, match="readonly"), database.read() as connection:
        add_round(connection, Phase.OPEN)
    with database.begin() as connection:
        add_round(connection, Phase.OPEN)


def test_a_reader_keeps_its_snapshot_while_others_write(database):
    with database.read() as reader:
        assert reader.execute(select(rounds)).all() == []
        with database.begin() as writer:
            add_round(writer, Phase.OPEN)
        assert reader.execute(select(rounds)).all() == []
    assert row(database).phase is Phase.OPEN


def test_threads_that_read_before_they_write_lose_no_update(database):
    with database.begin() as connection:
        add_round(connection, Phase.OPEN)

    def admit():
        for _ in range(10):
            with database.begin() as connection:
                joined = connection.scalar(select(rounds.c.joined))
                connection.execute(rounds.update().values(joined=joined + 1))

    threads = [threading.Thread(target=admit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert row(database).joined == 40


def test_many_may_open_a_new_database_at_once(path):
    opened, failed = [], []

    def open_database():
        try:
            opened.append(Database(path))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_database) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in opened:
        database.close()
    assert failed == []
    assert len(opened) == 6


def test_what_was_committed_is_there_after_reopening(database, path):
    with database.begin() as connection:
        add_round(connection, Phase.OPEN)
    database.close()
    reopened = Database(path)
    assert row(reopened).phase is Phase.OPEN
    reopened.close()


def test_the_file_is_private_synced_and_checks_references(database, path):
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    with database.read() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        assert [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas] == ["wal", 2, 1]
    with database.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(states).values(task="none", number=0, object_sha256="", created_at=1.0))


def test_a_task_cannot_use_one_round_number_twice(database):
    with database.begin() as connection:
        add_round(connection, Phase.OPEN)
        with pytest.raises(IntegrityError):
            add_round(connection, Phase.OPEN, round_id="01" * 16)


def test_unknown_phases_are_refused(database):
    with pytest.raises((IntegrityError, StatementError)), database.begin() as connection:
        add_round(connection, "joining")
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.exec_driver_sql("UPDATE tasks SET status = 'lost'")


def test_release_numbers_are_never_used_twice(database):
    release = {"model": "next_word", "weights_sha256": "ab", "status": "candidate", "created_at": 1.0}
    with database.begin() as connection:
        connection.execute(insert(releases).values(version="1", custom={"rollout": 5}, **release))
        connection.execute(releases.delete())
        connection.execute(insert(releases).values(version="2", custom={"rollout": 100}, **release))
        only = connection.execute(select(releases)).one()
    assert (only.number, only.custom) == (2, {"rollout": 100})


@pytest.mark.parametrize(("version", "age"), [(SCHEMA_VERSION + 1, "a newer"), (SCHEMA_VERSION - 1, "an older")])
def test_another_versions_database_is_refused(database, path, version, age):
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE schema_version SET version = {version}")
    with pytest.raises(SchemaMismatch, match=age):
        Database(path)


def test_a_strangers_database_is_refused(path):
    with sqlite3.connect(path) as stranger:
        stranger.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigurationError, match="not one of this server"):
        Database(path)


def test_a_file_that_is_no_database_is_refused_and_kept(path):
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Database(path)
    assert path.read_bytes() == b"not a database" * 100


def test_the_tables_are_valid_for_postgresql():
    dialect = postgresql.dialect()
    tables = metadata.sorted_tables
    statements = [CreateTable(table) for table in tables]
    statements += [CreateIndex(index) for table in tables for index in table.indexes]
    text = "\n".join(str(statement.compile(dialect=dialect)) for statement in statements)
    assert "number SERIAL NOT NULL" in text
    assert "invitation BYTEA NOT NULL" in text
    assert "deadline DOUBLE PRECISION NOT NULL" in text


def test_a_task_has_one_round_in_progress(database):
    with database.begin() as connection:
        add_round(connection, "open")
    with pytest.raises(IntegrityError), database.begin() as connection:
        add_round(connection, "open", round_id="ff" * 16, number=2)
    with database.begin() as connection:
        connection.execute(update(rounds).values(phase="aborted"))
        add_round(connection, "open", round_id="ff" * 16, number=2)
