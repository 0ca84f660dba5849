"""A PostgreSQL database of its own for each test that wants one, where there is a server to make it on."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy

SERVER_VARIABLE = "TEST_POSTGRES_URL"
"""URL of a server's ``postgres`` database, whose user may create databases."""


@contextmanager
def new_database() -> Iterator[str]:
    """Yield the URL of an empty database, and drop it afterwards; skip the test where there is no server."""
    server = os.environ.get(SERVER_VARIABLE)
    if not server:
        pytest.skip(f"no PostgreSQL server: set {SERVER_VARIABLE} to run this on one")
    url = sqlalchemy.make_url(server)
    name = f"rayscribe_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        yield url.set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()
