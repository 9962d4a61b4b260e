"""Job files: CSV, JSON, JSON Lines or text in, checked jobs out.

Every row is checked before anything runs, and every bad one is reported with its line. A row may say:

    id         name of the job in the ledger, the report and the folder; default: a hash of the row
    ref        owner/slug[/vN], a link, or a path relative to the job file (also notebook, kernel, url, path, target)
    operation  download, run or deploy; each includes the ones before it; default: the command line's, else run
    params     JSON object or a=1;b=2; single ones also as columns param.a or p:a
    payload    JSON, or @file with JSON, for the call after the deploy
    monitor    how long to measure the endpoint: 10s
    timeout    how long the notebook may run: 2m
    on         local or kaggle; on Kaggle also device (cpu, gpu, tpu), accelerator, code (inline, dataset), and what is
               attached: datasets, competitions, kernels, each one or several, with blanks between them
    name       name of the endpoint; default: from the id
    dest       folder for the job's files, inside the batch's; default: from the id
"""

from __future__ import annotations

import difflib
import hashlib
import json
import keyword
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, parse_duration, parse_ref, safe_path, slugify
from plugins.lib.jobrows import ALIASES, FIELDS, PARAM_COLUMN, load_json, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from kagg import Context

OPERATIONS = ("download", "run", "deploy")
PLACES = ("local", "kaggle")
SHOWN_ROWS = 20  # bad rows told one by one
ID_MAX = 200  # characters
_ENDPOINT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # as deploy takes them
_LOCAL = re.compile(r"[./~\\].*|.*\.(?:ipynb|py|r|rmd|jl)", re.IGNORECASE | re.DOTALL)
_RESERVED = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")  # Windows device names


class Job(NamedTuple):
    """One checked row. `path` is set for a local file, then `ref` is its text in the job file."""

    key: str
    ref: str
    operation: str
    name: str
    folder: str
    path: Path | None = None
    params: dict[str, Any] = {}  # noqa: RUF012 - NamedTuple default, replaced and never changed in place
    payload: Any = None
    monitor_s: float = 0.0
    timeout_s: float | None = None
    on: str = "local"
    line: int = 0
    kaggle: dict[str, Any] = {}  # noqa: RUF012 - the same; options of a run on Kaggle by their names

    def spec(self) -> dict[str, Any]:
        """Return what the job is, as JSON: a job with another spec is another job."""
        spec = self._asdict()
        del spec["line"]
        if not spec["kaggle"]:  # so that jobs of earlier versions keep their digest
            del spec["kaggle"]
        return {**spec, "path": str(self.path) if self.path else None, "sha256": _digest(spec)}


class JobResult(NamedTuple):
    """How a job ended: status done, failed or interrupted; `message` says in one line what happened."""

    key: str
    operation: str
    status: str
    seconds: float
    message: str
    exit_code: int = 0
    steps: dict[str, Any] = {}  # noqa: RUF012 - NamedTuple default, replaced and never changed in place


def read_jobs(path: Path, ctx: Context, *, operation: str | None = None) -> list[Job]:
    """Read and check a job file; `operation` is for rows that name none (default: run).

    Raises:
        KaggError: USAGE; details["rows"] lists the bad rows as {"line", "error"}.
    """
    rows, defaults = parse(path)
    names = _Names(ctx, path.name)
    errors: list[tuple[int, str]] = []
    jobs: list[Job] = []
    taken: dict[tuple[str, str], Job] = {}
    first = _fields(defaults, names.warn) if defaults else {}
    for line, cells in rows:
        try:
            if isinstance(cells.get(""), KaggError):
                raise cells[""]
            job = _job(_merged(first, _fields(cells, names.warn)), line, path.resolve().parent, operation)
            _refuse_twins(job, taken)
        except KaggError as error:
            errors.append((line, error.message))
        else:
            jobs.append(job)
    if errors:
        raise _bad_file(path, errors, ctx)
    if not jobs:
        raise KaggError(
            f"{path} holds no jobs",
            code=Exit.USAGE,
            hint="write one notebook per line, or a CSV file with a ref column",
        )
    return jobs


def _bad_file(path: Path, errors: list[tuple[int, str]], ctx: Context) -> KaggError:
    """Tell the bad rows one by one and return the error that ends the command."""
    for line, error in errors[:SHOWN_ROWS]:
        ctx.say(f"{path.name}:{line}: {error}")
    count = "1 bad row" if len(errors) == 1 else f"{len(errors)} bad rows"
    line, error = errors[0]
    details = {"rows": [{"line": line, "error": error} for line, error in errors]}
    hint = "nothing was run; correct the file and start again"
    return KaggError(f"{path} has {count}, first line {line}: {error}", code=Exit.USAGE, hint=hint, details=details)


class _Names:
    """Warns once about each column that nobody reads."""

    def __init__(self, ctx: Context, file: str) -> None:
        self.ctx, self.file, self.seen = ctx, file, set[str]()

    def warn(self, column: str) -> None:
        if column in self.seen:
            return
        self.seen.add(column)
        near = difflib.get_close_matches(column.strip().lower(), [*FIELDS, *ALIASES], n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        self.ctx.say(f"{self.file}: column {column[:60]!r} is not used{guess}")


def _fields(cells: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the cells by field, empty ones left out, with the single parameters gathered in `params`."""
    fields: dict[str, Any] = {}
    singles: dict[str, Any] = {}
    for column, value in cells.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        single = PARAM_COLUMN.fullmatch(column.strip())
        field = ALIASES.get(column.strip().lower(), column.strip().lower())
        if single:
            singles[single[1]] = _value(value)
        elif field not in FIELDS:
            warn(column)
        elif field in fields:
            raise KaggError(f"{field} is said twice, once as {column}", code=Exit.USAGE)
        else:
            fields[field] = value
    fields["params"] = _params(fields.get("params", {})) | singles
    for name in fields["params"]:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise KaggError(f"parameter {name[:60]!r} is no variable name", code=Exit.USAGE)
    return fields


def _merged(defaults: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {**defaults, **fields, "params": {**defaults.get("params", {}), **fields["params"]}}


def _value(value: Any) -> Any:
    """Read a parameter: JSON when it is JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        found = load_json(value)
    except ValueError:
        return value
    return value if isinstance(found, float) and not math.isfinite(found) else found


def _params(value: Any) -> dict[str, Any]:
    """Read parameters from an object, JSON text or a=1;b=2."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json_cell("params", value)
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise KaggError(f"params is {value!r:.60}, not an object or a=1;b=2", code=Exit.USAGE)
    params: dict[str, Any] = {}
    for piece in filter(str.strip, value.split(";")):
        name, sign, given = piece.partition("=")
        if not sign:
            raise KaggError(f"params has {piece.strip()[:60]!r} without =", code=Exit.USAGE)
        params[name.strip()] = _value(given.strip())
    return params


def _json_cell(field: str, text: str) -> Any:
    try:
        return load_json(text)
    except ValueError as error:
        raise KaggError(f"{field} is not JSON: {error}", code=Exit.USAGE) from error


def _job(fields: dict[str, Any], line: int, folder: Path, operation: str | None) -> Job:
    """Check one row's fields and make the job."""
    if "ref" not in fields:
        raise KaggError("ref is empty", code=Exit.USAGE)
    ref = _one_line("ref", fields["ref"])
    key = _one_line("id", fields["id"]) if "id" in fields else _default_id(ref, fields)
    job = Job(key, ref, _choice("operation", fields, OPERATIONS, operation or "run"), "", "", line=line)
    name = _one_line("name", fields.get("name", slugify(folder_name(key))[:63] or "job"))
    if not _ENDPOINT_NAME.fullmatch(name):
        raise KaggError(
            f"name {name[:80]!r} is no endpoint name: lower-case letters, digits and - only", code=Exit.USAGE
        )
    dest = _one_line("dest", fields.get("dest", folder_name(key)))
    safe_path(folder, dest)
    return job._replace(
        name=name,
        folder=dest,
        path=_local_path(ref, folder),
        params=fields["params"],
        payload=_payload(fields.get("payload"), folder),
        monitor_s=_seconds("monitor", fields) or 0.0,
        timeout_s=_seconds("timeout", fields),
        on=_choice("on", fields, PLACES, "local"),
        kaggle=_on_kaggle(fields),
    )


def _on_kaggle(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run on Kaggle that a row gives."""
    found: dict[str, Any] = {}
    for name, choices in (("device", ("cpu", "gpu", "tpu")), ("code", ("inline", "dataset"))):
        if name in fields:
            found[name] = _choice(name, fields, choices, "")
    if "accelerator" in fields:
        found["accelerator"] = _one_line("accelerator", fields["accelerator"])
    for name in ("datasets", "competitions", "kernels"):
        value = fields.get(name, [])
        items = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
            raise KaggError(f"{name} is {value!r:.60}, not owner/slug", code=Exit.USAGE)
        if items:
            found[name[:-1]] = items
    if found and _choice("on", fields, PLACES, "local") != "kaggle":
        raise KaggError(f"{next(iter(found))} is for runs on Kaggle", code=Exit.USAGE, hint="write on: kaggle")
    return found


def _one_line(field: str, value: Any) -> str:
    """Return a cell as one printable line."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise KaggError(f"{field} is {value!r:.60}, not text", code=Exit.USAGE)
    text = str(value).strip()
    if not text or not text.isprintable() or (field == "id" and len(text) > ID_MAX):
        raise KaggError(
            f"{field} {text[:60]!r} is empty, longer than {ID_MAX} or has control characters", code=Exit.USAGE
        )
    return text


def _default_id(ref: str, fields: dict[str, Any]) -> str:
    """Return an id that depends on nothing but the row's content."""
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", re.split(r"[/\\?#]", ref.rstrip("/"))[-1]).strip("-")[:40]
    return f"{words or 'job'}-{_digest(fields)[:8]}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def folder_name(key: str) -> str:
    """Return a folder name for a job id: itself when it is one, else its letters and digits and a hash."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")[:80]
    if plain == key and not _RESERVED.fullmatch(plain):
        return plain
    return f"{plain or 'job'}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _choice(field: str, fields: dict[str, Any], choices: tuple[str, ...], default: str) -> str:
    value = str(fields.get(field, default)).strip().lower()
    if value not in choices:
        raise KaggError(f"{field} {value[:60]!r} is none of {', '.join(choices)}", code=Exit.USAGE)
    return value


def _seconds(field: str, fields: dict[str, Any]) -> float | None:
    """Read a duration in seconds, None when the row has none."""
    value = fields.get(field)
    if value is None:
        return None
    seconds = float(value) if isinstance(value, (int, float)) else parse_duration(str(value))
    if isinstance(value, bool) or not 0 < seconds < math.inf:
        raise KaggError(f"{field} {value!r} is no duration above zero", code=Exit.USAGE)
    return seconds


def _payload(value: Any, folder: Path) -> Any:
    """Read a payload: JSON, JSON text, or @file relative to the job file."""
    if not isinstance(value, str):
        return value
    if not value.strip().startswith("@"):
        return _json_cell("payload", value)
    path = folder / value.strip()[1:]
    try:
        return _json_cell(f"payload {path.name}", path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise KaggError(f"cannot read the payload {path}", code=Exit.USAGE) from error


def _local_path(ref: str, folder: Path) -> Path | None:
    """Return the file that a reference names, None when it names something on Kaggle or on the web."""
    if "://" not in ref:
        path = folder / Path(ref).expanduser()
        if path.is_file():
            return path.resolve()
        if _LOCAL.fullmatch(ref):
            raise KaggError(
                f"{path} is {'a folder' if path.is_dir() else 'not there'}, not a notebook", code=Exit.USAGE
            )
    parse_ref(ref)
    return None


def _refuse_twins(job: Job, taken: dict[tuple[str, str], Job]) -> None:
    """Refuse a job that shares its id, its folder or its endpoint's name with an earlier one."""
    claims = {"id": job.key, "dest": job.folder.casefold()}
    if job.operation == "deploy":
        claims["name"] = job.name
    for claim in claims.items():
        other = taken.setdefault(claim, job)
        if other is not job:
            what = {"id": f"id {job.key[:80]!r}", "dest": f"folder {job.folder!r}"}.get(
                claim[0], f"endpoint {job.name!r}"
            )
            raise KaggError(f"{what} is also on line {other.line}", code=Exit.USAGE)
