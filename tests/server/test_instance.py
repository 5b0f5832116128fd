"""A home in use: a database is made once, and never in the place of one that was lost."""

from contextlib import closing

import pytest
from sqlalchemy import insert
from task_files import task_file
from test_publisher import Server

from hushfold_server.database import tasks
from hushfold_server.errors import ConfigurationError
from hushfold_server.instance import open_database
from hushfold_server.overview import list_tasks
from hushfold_server.settings import Home


def test_a_new_home_gets_a_database_that_stays(tmp_path):
    home = Home.create(tmp_path / "home")
    with closing(open_database(home)) as database, database.begin() as connection:
        row = {"name": "words", "population": "en", "spec": task_file(), "status": "active", "created_at": 1.0}
        connection.execute(insert(tasks).values(row))
    with closing(open_database(home)) as database:
        assert [task.name for task in list_tasks(database)] == ["words"]


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_database_that_was_lost_is_not_replaced_by_an_empty_ledger(tmp_path, left):
    server = Server(tmp_path)
    server.start()
    server.database.close()
    for file in tmp_path.glob("home/hushfold.db*"):
        file.unlink()
    if left != "nothing":
        server.home.database.touch()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"is gone.*Restore it from a backup: the privacy ledger"):
            open_database(server.home)
    assert server.home.database.exists() == (left != "nothing")
