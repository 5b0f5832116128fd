"""The database as SQLite has it: how a connection is set up, and what a transaction begins with."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another process's transaction
READS = "hushfold_reads"  # execution option: transactions that read one snapshot and cannot write


def sqlite_engine(path: Path) -> Engine:
    """An engine on the file at `path`, made if it is missing, readable by its owner alone.

    Its transactions write from their start; those of an engine with the execution option READS cannot.
    """
    # SQLite would create the file readable to all; its -wal and -shm files inherit the mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT},
        pool_size=16,
        hide_parameters=True,  # errors must not carry what devices sent into a log
    )

    @event.listens_for(engine, "connect")
    def configure(raw: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, late and deferred: two that read before they write would
        # then fail, not wait. `begin` below does it.
        raw.isolation_level = None
        raw.execute("PRAGMA foreign_keys = ON")
        # FULL syncs the log at every commit. With NORMAL, WAL may lose the last transactions in a power failure:
        # a budget charge could vanish after devices had answered to it.
        raw.execute("PRAGMA synchronous = FULL")
        if raw.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            raw.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
