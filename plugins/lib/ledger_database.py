"""The ledger's database: its place, schema, migrations, and its errors in words."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from kagg import Context

SCHEMA_VERSION = 1
MIGRATIONS: dict[int, tuple[str, ...]] = {}  # version to leave -> statements that lead to the next one
BUSY_S = 30.0  # how long a transaction waits for another process
TEXT_MAX = 65536  # characters of one stored string; the ledger is an index, not a store
HIDDEN = "[secret]"
# Names whose values are secrets whatever they look like: `redact` sees only a value and cannot know.
_SECRET_NAME = re.compile(
    r"(^|[_.\- ])(password|passwd|secret|token|credentials?|authorization|cookie"
    r"|(api|access|private|secret|kaggle)_?-?key)$",
    re.IGNORECASE,
)
# Names of what a program or a service has said: it may repeat a secret of any kind, so that all rules are asked.
_SAID = re.compile(r"error|traceback|message|reason|failure|problem|hint|said|notes?$", re.IGNORECASE)


class Tables(NamedTuple):
    """The schema. Times are ISO 8601 in UTC as text, so that every database sorts them alike."""

    metadata: sa.MetaData
    meta: sa.Table
    runs: sa.Table
    jobs: sa.Table
    effects: sa.Table


@functools.cache
def tables() -> Tables:
    """Return the schema of SCHEMA_VERSION."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    meta = sa.Table("meta", metadata, sa.Column("name", sa.Text, primary_key=True), *_columns("value!"))
    runs = sa.Table(
        "runs",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        *_columns(
            "command! target! status! exit_code:number error started ended duration_s:seconds pid:number process"
        ),
        *_columns("host git_commit kagg_version input_sha256 params:document result:document"),
    )
    jobs = sa.Table(
        "jobs",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
        *_columns("key! ordinal:number! spec:document status! attempts:number! exit_code:number error"),
        *_columns("started ended result:document"),
        sa.UniqueConstraint("run_id", "key"),
    )
    effects = sa.Table(
        "effects",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id")),
        *_columns("kind! target! request:document status! outcome:document started ended"),
    )
    return Tables(metadata, meta, runs, jobs, effects)


def _columns(names: str) -> list[sa.Column[Any]]:
    """Return columns from "name:type!": the type is text unless said, ! forbids null."""
    import sqlalchemy as sa

    types: dict[str, Any] = {
        "": sa.Text(),
        "number": sa.Integer(),
        "seconds": sa.Float(),
        "document": sa.JSON(none_as_null=True),
    }
    parts = ((name.rstrip("!").partition(":"), name.endswith("!")) for name in names.split())
    return [sa.Column(name, types[kind], nullable=not needed) for (name, _, kind), needed in parts]


def storable(value: Any, name: str = "") -> Any:
    """Return `value` as JSON that any database takes, without secrets: redacted, cut at TEXT_MAX, NaN as null.

    Sentences without a name (how a run failed), and those whose names are in _SAID, go through all rules for secrets.
    """
    if isinstance(value, dict):
        return {storable(str(key)): storable(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [storable(item, name) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if _SECRET_NAME.search(name) and str(value):
        return HIDDEN
    # PostgreSQL stores no U+0000, and no database a lone surrogate; notebooks' errors contain both.
    text = _without_secrets(str(value), name).replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text) - TEXT_MAX} more characters)"


def _without_secrets(text: str, name: str) -> str:
    """Hide secrets: those that any text can hold cheaply, all others where somebody is quoted."""
    if _SAID.search(name) if name else re.search(r"\S\s+\S", text):
        from plugins.lib.secrets.hide import hide_texts

        return hide_texts(os.environ, [text])[0]
    return redact(text)


def location(ctx: Context) -> tuple[str, Path | None]:
    """Return the database's URL, and its file when it is SQLite."""
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    given = ctx.env.get("KAGG_LEDGER", "").replace("postgres://", "postgresql://", 1)  # as Heroku spells it
    if not given:
        path = ctx.home.absolute() / "ledger.db"
        return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False), path
    hint = "write postgresql://user@host/name or sqlite:////path/ledger.db"
    try:
        url = make_url(given)
    except ArgumentError as error:
        raise KaggError("KAGG_LEDGER is not the URL of a database", code=Exit.CONFIG, hint=hint) from error
    if url.get_backend_name() != "sqlite":
        return url.render_as_string(hide_password=False), None
    if url.database in (None, "", ":memory:"):
        raise KaggError("KAGG_LEDGER names a database in memory, which forgets everything", code=Exit.CONFIG, hint=hint)
    return given, Path(str(url.database))


def connect(url: str, path: Path | None) -> sa.Engine:
    """Return an engine whose SQLite transactions lock at BEGIN and reach the disk at COMMIT."""
    import sqlalchemy as sa

    write_json = functools.partial(json.dumps, ensure_ascii=False, sort_keys=True)
    if path is None:
        try:
            options: dict[str, Any] = {"connect_timeout": int(BUSY_S)}
            return sa.create_engine(url, json_serializer=write_json, pool_pre_ping=True, connect_args=options)
        except (ImportError, sa.exc.ArgumentError) as error:  # NoSuchModuleError is an ArgumentError
            hint = "for PostgreSQL run: python -m pip install 'psycopg[binary]'"
            raise KaggError(f"the ledger's database needs a driver: {error}", code=Exit.MISSING, hint=hint) from error
    options = {"timeout": BUSY_S, "check_same_thread": False}
    engine = sa.create_engine(url, json_serializer=write_json, connect_args=options, max_overflow=-1)

    def opened(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # this module writes BEGIN itself: sqlite3 would begin late and deferred
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    def begun(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("kagg_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    sa.event.listen(engine, "connect", opened)
    sa.event.listen(engine, "begin", begun)
    return engine


def create_file(path: Path) -> None:
    """Create an empty database that only its owner reads; SQLite gives its -wal and -shm the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Never opened when it is there: a close beside SQLite drops all locks of this process (fcntl(2), POSIX locks),
        # and another process may then delete the log that we write to.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        hint = "set KAGG_HOME or KAGG_LEDGER to a place you can write"
        raise KaggError(f"cannot write the ledger {path}: {error.strerror}", code=Exit.CONFIG, hint=hint) from error


@contextlib.contextmanager
def explained(place: str, path: Path | None) -> Iterator[None]:
    """Turn the database's errors into one line that says which database and what to do."""
    import sqlite3

    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]
        if "not a database" in reason or "malformed" in reason:
            hint = f"it is left as it is; to start a new one: mv {place} {place}.damaged"
            raise KaggError(f"the ledger {place} is damaged: {reason}", code=Exit.INTEGRITY, hint=hint) from error
        if path and "locked" in reason:
            hint = f"find the process that holds it: fuser {place}"
            raise KaggError(f"the ledger {place} was locked for {BUSY_S:.0f} s", hint=hint) from error
        code, hint = (Exit.FAILED, "see the disk and its rights") if path else (Exit.SERVICE, "see KAGG_LEDGER")
        raise KaggError(f"the ledger {place} failed: {redact(reason)}", code=code, hint=hint) from error


def prepare(engine: sa.Engine, place: str) -> None:
    """Create or migrate the schema in one transaction, whole or not at all.

    Raises:
        KaggError: CONFIG when a newer kagg wrote it.
    """
    with engine.execution_options(kagg_reads=True).begin() as connection:
        if _version(connection, place) == SCHEMA_VERSION:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(22018)")  # two first openings; the number is ours
        version, schema = _version(connection, place), tables()
        if version == 0:
            schema.metadata.create_all(connection)
            connection.execute(schema.meta.insert().values(name="schema_version", value=str(SCHEMA_VERSION)))
            return
        for number in range(version, SCHEMA_VERSION):
            for statement in MIGRATIONS[number]:
                connection.exec_driver_sql(statement)
        row = schema.meta.c.name == "schema_version"
        connection.execute(schema.meta.update().where(row).values(value=str(SCHEMA_VERSION)))


def _version(connection: sa.Connection, place: str) -> int:
    """Return the schema's version, 0 when there is no schema."""
    import sqlalchemy as sa

    meta = tables().meta
    if not sa.inspect(connection).has_table("meta"):
        return 0
    query = sa.select(meta.c.value).where(meta.c.name == "schema_version")
    found = int(connection.execute(query).scalar_one())
    if found > SCHEMA_VERSION:
        message = f"the ledger {place} has schema {found}, this kagg knows {SCHEMA_VERSION}"
        raise KaggError(message, code=Exit.CONFIG, hint="use the newer kagg that wrote it, or another KAGG_LEDGER")
    return found
