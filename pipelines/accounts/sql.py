"""Keys, usage and webhooks in the job database, SQLite or PostgreSQL, in tables of their own beside DBOS's."""

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from sqlalchemy import (
    Column,
    Connection,
    Float,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateTable

from pipelines.accounts.keys import earliest_end
from pipelines.domain.accounts import Delivery, StoredKey, UsageDay, Webhook
from pipelines.domain.encoding import from_json, to_json
from pipelines.errors import Conflict, NotFound
from pipelines.jobs.dbos.database import DatabaseThreads, open_engine

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
_TIMEOUT_S = 5.0
_OPENING_S = 30.0
_THREADS = 4
_METADATA = MetaData()
_KEYS = Table(
    "rayscribe_keys",
    _METADATA,
    Column("key_id", String(36), primary_key=True),
    Column("tenant", String(63), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at_s", Float(53), nullable=False),
    Column("expires_at_s", Float(53)),
    Column("revoked_at_s", Float(53)),
)
_USAGE = Table(
    "rayscribe_usage",
    _METADATA,
    Column("entry_id", String(200), primary_key=True),
    Column("tenant", String(63), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("amounts", Text, nullable=False),
)
_SECRETS = Table(
    "rayscribe_secrets",
    _METADATA,
    Column("name", String(63), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)


_WEBHOOKS = Table(
    "rayscribe_webhooks",
    _METADATA,
    Column("webhook_id", String(36), primary_key=True),
    Column("tenant", String(63), nullable=False, index=True),
    Column("created_at_s", Float(53), nullable=False),
    Column("record", Text, nullable=False),
)
_DELIVERIES = Table(
    "rayscribe_deliveries",
    _METADATA,
    Column("delivery_id", String(64), primary_key=True),
    Column("tenant", String(63), nullable=False, index=True),
    Column("webhook_id", String(36), index=True),
    Column("created_at_s", Float(53), nullable=False),
    Column("due_at_s", Float(53), index=True),
    Column("record", Text, nullable=False),
)
_LATEST = 100
_DELIVERY_COLUMNS = ("delivery_id", "tenant", "webhook_id", "created_at_s", "due_at_s")
_KEY_COLUMNS = tuple(column.name for column in _KEYS.columns)


class SqlAccounts:
    """Implements AccountStore. ``open`` makes one; ``close`` releases its connections."""

    def __init__(self, engine: sqlalchemy.Engine, threads: DatabaseThreads) -> None:
        self._engine = engine
        self._threads = threads
        dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql
        self._upsert: Callable[[Table], Any] = dialect.insert

    @classmethod
    async def open(cls, database_url: str) -> "SqlAccounts":
        """Connect to ``sqlite:///…`` or ``postgresql://…``, making the tables where they are missing."""
        threads = DatabaseThreads(_THREADS)
        engine = open_engine(database_url, _TIMEOUT_S)
        await threads.call(_OPENING_S, _make_tables, engine)
        return cls(engine, threads)

    async def close(self) -> None:
        """Release all connections."""
        self._threads.close()
        await asyncio.to_thread(self._engine.dispose)

    async def add_key(self, key: StoredKey) -> None:
        """Keep a key."""
        await self._call(_add_key, key)

    async def find_key(self, *, sha256: str | None = None, key_id: str | None = None) -> StoredKey | None:
        """Return a key."""
        wanted = _KEYS.c.sha256 == sha256 if sha256 is not None else _KEYS.c.key_id == key_id
        found = await self._call(_read_keys, wanted)
        return found[0] if found else None

    async def list_keys(self, tenant: str) -> tuple[StoredKey, ...]:
        """Return a tenant's keys."""
        return await self._call(_read_keys, _KEYS.c.tenant == tenant)

    async def revoke_key(self, tenant: str, key_id: str, at_s: float) -> StoredKey:
        """End a key."""
        return await self._call(_revoke, tenant, key_id, at_s)

    async def shared_secret(self, name: str) -> bytes:
        """Return the secret of this name."""
        return await self._call(self._secret, name)

    async def add_usage(self, entry_id: str, tenant: str, day: str, amounts: Mapping[str, float]) -> None:
        """Write an entry."""
        await self._call(self._write_usage, entry_id, tenant, day, json.dumps(dict(amounts)))

    async def usage_days(self, tenant: str, first_day: str, last_day: str) -> tuple[UsageDay, ...]:
        """Sum the entries of each day."""
        return await self._call(_read_usage, tenant, first_day, last_day)

    async def save_webhook(self, webhook: Webhook) -> None:
        """Keep a webhook."""
        await self._call(self._save_webhook, webhook)

    async def list_webhooks(self, tenant: str) -> tuple[Webhook, ...]:
        """Return a tenant's webhooks."""
        return await self._call(_read_webhooks, tenant)

    async def delete_webhook(self, tenant: str, webhook_id: str) -> None:
        """Remove a webhook."""
        await self._call(_delete_webhook, tenant, webhook_id)

    async def add_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Keep messages."""
        await self._call(self._add_deliveries, deliveries)

    async def claim_deliveries(self, now_s: float, *, lease_s: float, limit: int) -> tuple[Delivery, ...]:
        """Take due messages."""
        return await self._call(_claim, now_s, lease_s, limit)

    async def save_delivery(self, delivery: Delivery) -> None:
        """Write a message."""
        await self._call(_save_delivery, delivery)

    async def list_deliveries(self, tenant: str, *, webhook_id: str | None = None) -> tuple[Delivery, ...]:
        """Return messages."""
        return await self._call(_read_deliveries, tenant, webhook_id)

    async def _call(
        self, work: Callable[Concatenate[Connection, P], ResultT], *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        def in_transaction() -> ResultT:
            with self._engine.begin() as connection:
                return work(connection, *args, **kwargs)

        return await self._threads.call(2 * _TIMEOUT_S, in_transaction)

    def _save_webhook(self, connection: Connection, webhook: Webhook) -> None:
        row = {name: getattr(webhook, name) for name in ("webhook_id", "tenant", "created_at_s")}
        written = self._upsert(_WEBHOOKS).values({**row, "record": to_json(webhook).decode()})
        connection.execute(
            written.on_conflict_do_update(index_elements=["webhook_id"], set_={"record": written.excluded.record})
        )

    def _add_deliveries(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            row = {name: getattr(delivery, name) for name in _DELIVERY_COLUMNS}
            added = self._upsert(_DELIVERIES).values({**row, "record": to_json(delivery).decode()})
            connection.execute(added.on_conflict_do_nothing())

    def _secret(self, connection: Connection, name: str) -> bytes:
        row = {"name": name, "secret": secrets.token_bytes(32)}
        connection.execute(self._upsert(_SECRETS).values(row).on_conflict_do_nothing())
        return bytes(connection.execute(select(_SECRETS.c.secret).where(_SECRETS.c.name == name)).scalar_one())

    def _write_usage(self, connection: Connection, entry_id: str, tenant: str, day: str, amounts: str) -> None:
        row = {"entry_id": entry_id, "tenant": tenant, "day": day, "amounts": amounts}
        written = self._upsert(_USAGE).values(row)
        connection.execute(
            written.on_conflict_do_update(
                index_elements=["entry_id", "tenant", "day"], set_={"amounts": written.excluded.amounts}
            )
        )


def _make_tables(engine: sqlalchemy.Engine) -> None:
    for attempt in range(2):
        try:
            with engine.begin() as connection:
                for table in _METADATA.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
            return
        except DBAPIError:  # PostgreSQL lets one of two that make the same table at once fail
            if attempt:
                raise


def _add_key(connection: Connection, key: StoredKey) -> None:
    row = {name: getattr(key, name) for name in _KEY_COLUMNS} | {"scopes": json.dumps(key.scopes)}
    try:
        connection.execute(insert(_KEYS).values(row))
    except IntegrityError:
        raise Conflict("there is such a key") from None


def _read_keys(connection: Connection, wanted: sqlalchemy.ColumnElement[bool]) -> tuple[StoredKey, ...]:
    rows = connection.execute(select(_KEYS).where(wanted).order_by(_KEYS.c.created_at_s, _KEYS.c.key_id)).mappings()
    return tuple(StoredKey(**{**row, "scopes": tuple(json.loads(row["scopes"]))}) for row in rows)


def _revoke(connection: Connection, tenant: str, key_id: str, at_s: float) -> StoredKey:
    found = _read_keys(connection, (_KEYS.c.key_id == key_id) & (_KEYS.c.tenant == tenant))
    if not found:
        raise NotFound("there is no such key")
    ended = earliest_end(found[0], at_s)
    connection.execute(update(_KEYS).where(_KEYS.c.key_id == key_id).values(revoked_at_s=ended.revoked_at_s))
    return ended


def _read_usage(connection: Connection, tenant: str, first_day: str, last_day: str) -> tuple[UsageDay, ...]:
    wanted = (_USAGE.c.tenant == tenant) & _USAGE.c.day.between(first_day, last_day)
    days: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for day, amounts in connection.execute(select(_USAGE.c.day, _USAGE.c.amounts).where(wanted)):
        for kind, amount in json.loads(amounts).items():
            days[day][kind] += amount
    return tuple(UsageDay(day=day, amounts=dict(amounts)) for day, amounts in sorted(days.items()))


def _read_webhooks(connection: Connection, tenant: str) -> tuple[Webhook, ...]:
    own = select(_WEBHOOKS.c.record).where(_WEBHOOKS.c.tenant == tenant)
    rows = connection.execute(own.order_by(_WEBHOOKS.c.created_at_s, _WEBHOOKS.c.webhook_id)).scalars()
    return tuple(from_json(Webhook, record) for record in rows)


def _delete_webhook(connection: Connection, tenant: str, webhook_id: str) -> None:
    wanted = (_WEBHOOKS.c.webhook_id == webhook_id) & (_WEBHOOKS.c.tenant == tenant)
    if not connection.execute(delete(_WEBHOOKS).where(wanted)).rowcount:
        raise NotFound("there is no such webhook")
    connection.execute(delete(_DELIVERIES).where(_DELIVERIES.c.webhook_id == webhook_id))


def _claim(connection: Connection, now_s: float, lease_s: float, limit: int) -> tuple[Delivery, ...]:
    due = select(_DELIVERIES.c.record, _DELIVERIES.c.due_at_s).where(_DELIVERIES.c.due_at_s <= now_s)
    found = connection.execute(due.order_by(_DELIVERIES.c.due_at_s, _DELIVERIES.c.delivery_id).limit(limit)).all()
    taken = []
    for record, due_at_s in found:
        delivery = replace(from_json(Delivery, record), due_at_s=now_s + lease_s)
        same = (_DELIVERIES.c.delivery_id == delivery.delivery_id) & (_DELIVERIES.c.due_at_s == due_at_s)
        if connection.execute(_written(delivery).where(same)).rowcount:  # else another runner was quicker
            taken.append(delivery)
    return tuple(taken)


def _save_delivery(connection: Connection, delivery: Delivery) -> None:
    connection.execute(_written(delivery).where(_DELIVERIES.c.delivery_id == delivery.delivery_id))


def _written(delivery: Delivery) -> sqlalchemy.Update:
    return update(_DELIVERIES).values(due_at_s=delivery.due_at_s, record=to_json(delivery).decode())


def _read_deliveries(connection: Connection, tenant: str, webhook_id: str | None) -> tuple[Delivery, ...]:
    wanted = _DELIVERIES.c.tenant == tenant
    if webhook_id is not None:
        wanted &= _DELIVERIES.c.webhook_id == webhook_id
    order = (_DELIVERIES.c.created_at_s.desc(), _DELIVERIES.c.delivery_id)
    rows = connection.execute(select(_DELIVERIES.c.record).where(wanted).order_by(*order).limit(_LATEST)).scalars()
    return tuple(from_json(Delivery, record) for record in rows)
