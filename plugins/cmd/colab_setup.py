"""Put the keys of Kaggle and wandb where their clients look, from inside Colab or anywhere else. Shows no value.

In a notebook cell: %run kagg.py colab-setup (with ! in front it is another process, which Colab's userdata does not
answer, and whose environment ends with it).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import KERNELS, Exit, KaggError, bad_input, fetch, kaggle_base, keep_secret, recorded, shared, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, MutableMapping

    from kagg import Context
    from plugins.lib.research.keys import Key, Search
    from plugins.lib.research.store import Put

PLUGIN = {"api": 1, "summary": "put keys where the clients look, in Colab and elsewhere", "requires": {}}

ASK_S = 5.0  # for every question to a server
COLUMNS = ("what", "found", "put", "mode", "works", "note")
SETTINGS = ("WANDB_ENTITY", "WANDB_PROJECT")


class Tried(NamedTuple):
    """A key that a server was asked about: works is yes, no or unknown; detail says whose it is, or why not."""

    key: Key
    works: str
    detail: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colab-setup`."""
    parser.description = __doc__
    text = "look first in this folder for kaggle.json, access_token and wandb.md (otherwise last, in configs/)"
    parser.add_argument("--from", dest="folder", type=Path, metavar="FOLDER", help=text)
    parser.add_argument("--drive", action="store_true", help="mount Drive first (in Colab)")
    parser.add_argument("--only", metavar="LIST", default="kaggle,wandb", help="of these (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace another key that is there; a copy is kept")
    parser.add_argument("--offline", action="store_true", help="do not ask the servers whether the keys work")
    parser.add_argument("--print-env", action="store_true", help="print export lines: paths, never values")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Copy the keys, set the environment of this process, and show a table; exit 10 when no key can be used."""
    keys = shared("research.keys")
    services = _services(args.only, keys.SERVICES)
    search: Search = keys.Search(ctx, args.folder)
    with recorded(ctx, "colab-setup", search.place, {"only": services}) as row:
        rows = [_drive(search)] if args.drive else []
        keys.check_folder(args.folder)
        rows += [line for service in services for line in _set_up(ctx, search, service, args)]
        usable = any(line["usable"] for line in rows if line["what"] != "drive")
        code = Exit.DONE if usable else Exit.CONFIG
        row.result, row.exit_code, row.status = {"rows": rows}, int(code), "done" if usable else "failed"
    paths = _paths(ctx, rows)
    report = {"place": search.place, "rows": rows, "environment": paths, "notes": search.notes}
    lines = [f"export {name}={value}" for name, value in paths.items()]
    ctx.emit(report, "\n".join(lines) if args.print_env else f"place: {search.place}\n{_shown(ctx, rows)}")
    for note in search.notes:
        ctx.say(f"note: {note}")
    if not usable:
        raise KaggError("no key was found that can be used", code=code, hint=_next_step(search.place))
    return code


def _shown(ctx: Context, rows: list[dict[str, Any]]) -> str:
    """Return the table for people, in which ~ is the home folder."""
    home = f"{ctx.user_home()}/"
    short = [{**row, "put": row["put"].replace(home, "~/"), "found": row["found"].replace(home, "~/")} for row in rows]
    return table(short, COLUMNS)


def _services(text: str, known: Iterable[str]) -> list[str]:
    """Return the services of --only."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise bad_input(f"--only {text[:60]!r} names no service", f"write one or more of {','.join(known)}")
    return list(dict.fromkeys(names))


def _next_step(place: str) -> str:
    if place == "colab":
        return "put KAGGLE_API_TOKEN into Secrets (the key in the side bar), or upload configs/kaggle.json"
    if place == "kaggle":
        return "attach KAGGLE_API_TOKEN under Add-ons, Secrets"
    return "set KAGGLE_API_TOKEN, or fill in configs/kaggle.json (see configs/kaggle.example.json)"


def _row(what: str, **fields: Any) -> dict[str, Any]:
    """Return a row of the table, which holds no value of any key."""
    return {**dict.fromkeys(COLUMNS, ""), "state": "", "usable": False, "what": what} | fields


def _drive(search: Search) -> dict[str, Any]:
    """Mount Drive; elsewhere there is none, which is no fault of the keys."""
    if search.place != "colab":
        return _row("drive", state="absent", note=f"there is no Drive to mount: this is {_called(search.place)}")
    try:
        return _row("drive", state="mounted", put=shared("research.keys").mount_drive(), works="yes", usable=True)
    except Exception as error:  # noqa: BLE001 - the client is not ours; its text could hold anything
        return _row("drive", state="problem", works="no", note=f"not mounted ({type(error).__name__})")


def _called(place: str) -> str:
    return {"kaggle": "Kaggle", "colab": "Colab"}.get(place, "neither Colab nor Kaggle")


def _set_up(ctx: Context, search: Search, service: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Find, try and put the keys of one service; the first of a kind that is not refused is used."""
    store = shared("research.store")
    chosen: dict[str, Tried] = {}
    rows = []
    for key in search.keys(service):
        if key.kind in chosen:
            continue
        tried = Tried(key, "unknown", "not asked") if args.offline else _try(ctx, key)
        if tried.works == "no":
            rows.append(_row(_name(key), found=key.source, state="refused", works="no", note=tried.detail))
        else:
            chosen[key.kind] = tried
    for tried in chosen.values():
        put: Put = store.put(ctx, tried.key, force=args.force)
        note = "; ".join(text for text in (tried.detail, put.note) if text)
        where = {"found": tried.key.source, "put": str(put.path), "mode": put.mode, "state": put.state}
        works = tried.works if put.usable else "no"
        rows.append(_row(_name(tried.key), **where, works=works, note=note, usable=put.usable))
        if put.usable:
            _export(ctx, tried.key)
    if service == "wandb" and chosen:
        _set(ctx, {name: value for name in SETTINGS if (value := search.setting(name))})
    return rows or [_row(service, state="absent", note="not found")]


def _name(key: Key) -> str:
    return {"token": "kaggle token", "pair": "kaggle key", "wandb": "wandb key"}[key.kind]


# ---------------------------------------------------------------- do they work


def _try(ctx: Context, key: Key) -> Tried:
    """Ask the key's server; only a refusal is a no."""
    ask = _ask_wandb if key.kind == "wandb" else _ask_kaggle
    try:
        return Tried(key, "yes", ask(ctx, key))
    except KaggError as error:
        status = error.details.get("status")
        if status == 401:
            return Tried(key, "no", "the server refuses it (401)")
        return Tried(key, "unknown", f"the server answered {status}" if status else "the server did not answer")


def _header(username: str, password: str) -> str:
    import base64

    return "Basic " + keep_secret(base64.b64encode(f"{username}:{password}".encode()).decode())


def _ask_kaggle(ctx: Context, key: Key) -> str:
    """Return whose key it is; the quota can only be read by its owner."""
    base = kaggle_base(ctx)
    sent = {"Authorization": _header(key.username, key.value) if key.kind == "pair" else f"Bearer {key.value}"}
    fetch(ctx, "POST", f"{base}/v1/{KERNELS}GetAcceleratorQuotaStatistics", headers=sent, json_body={}, timeout_s=ASK_S,
          attempts=2, max_wait_s=10, idempotent=True)  # fmt: skip
    if key.kind == "pair":
        return f"of {key.username}"
    reply = fetch(ctx, "POST", f"{base}/v1/security.OAuthService/IntrospectToken", headers=sent, timeout_s=ASK_S,
                  json_body={"token": key.value}, attempts=1, idempotent=True, want_json=True)  # fmt: skip
    found = reply.data.get("username") if isinstance(reply.data, dict) else None
    return f"of {found}" if found else ""


def _ask_wandb(ctx: Context, key: Key) -> str:
    """Return whose key it is: the server names its viewer to those who have one."""
    base = (ctx.env.get("WANDB_BASE_URL") or shared("research.store").WANDB_URL).rstrip("/")
    body = {"query": "query { viewer { username } }"}
    sent = {"Authorization": _header("api", key.value)}
    reply = fetch(ctx, "POST", f"{base}/graphql", headers=sent, json_body=body, timeout_s=ASK_S, attempts=2,
                  max_wait_s=10, idempotent=True, want_json=True)  # fmt: skip
    answer = reply.data.get("data") if isinstance(reply.data, dict) else None
    if not isinstance(answer, dict) or "viewer" not in answer:
        raise KaggError("the server answers something else")
    if not isinstance(answer["viewer"], dict):
        raise KaggError("the server knows nobody with this key", details={"status": 401})
    return f"of {answer['viewer'].get('username')}"


# ---------------------------------------------------------------- the environment


def _export(ctx: Context, key: Key) -> None:
    """Let this process and its children have the key without reading a file."""
    if key.kind == "pair":
        _set(ctx, {"KAGGLE_USERNAME": key.username, "KAGGLE_KEY": key.value})
    else:
        _set(ctx, {"KAGGLE_API_TOKEN" if key.kind == "token" else "WANDB_API_KEY": key.value})
    ctx.cache.pop("credentials", None)  # what this process found before


def _set(ctx: Context, values: dict[str, str]) -> None:
    env: MutableMapping[str, str] | Any = ctx.env
    if hasattr(env, "__setitem__"):
        env.update(values)


def _paths(ctx: Context, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the variables that lead a client to its file: paths, and no values."""
    import shlex

    found = {}
    for row in rows:
        if row["usable"] and row["what"] == "kaggle key":
            found["KAGGLE_CONFIG_DIR"] = shlex.quote(str(Path(row["put"]).parent))
        if row["usable"] and row["what"] == "wandb key" and ctx.env.get("NETRC"):
            found["NETRC"] = shlex.quote(row["put"])
    return found
