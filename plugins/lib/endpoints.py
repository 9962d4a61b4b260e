"""Deploy, show, start, stop and remove endpoints through the room that owns each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kagg import (
    Context,
    Endpoint,
    Exit,
    KaggError,
    bad_input,
    find_endpoint,
    load_endpoints,
    recorded,
    room,
    save_endpoint,
    shared,
    table,
)

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "endpoints and their rooms", "requires": {}}


def deploy_target(ctx: Context, path: Path, name: str, target: str, args: argparse.Namespace) -> Endpoint:
    """Package a notebook or script, deploy it with the room `target`, and register the endpoint."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise bad_input(f"{name[:80]!r} is not an endpoint name", "use lower-case letters, digits and hyphens")
    owner = load_endpoints(ctx).get(name)
    if owner and owner.target not in (target, ""):
        raise bad_input(f"{name} is an endpoint on {owner.target}", "remove it first, or give another --name")
    deployer = room(ctx, "deploy", target)
    occupied = getattr(deployer, "occupied", None)
    if owner is None and occupied and occupied(name, ctx):  # replacing it would break what another registry says
        message = f"{name} is an endpoint of another registry and runs"
        raise bad_input(message, "give another --name, or name its registry in KAGG_ENDPOINTS")
    with recorded(ctx, "deploy", str(path), {"name": name, "target": target}) as run:
        package = ctx.home / "temp" / f"{name}-{run.id}.zip"
        try:
            options = {"all_cells": bool(getattr(args, "all_cells", False))}
            allowed = getattr(args, "allow_finding", None) or ()
            manifest = shared("packaging").build_package(path, package, ctx, allowed=allowed, **options)
            with run.effect("deploy", name, {"target": target, "source_sha256": manifest["source_sha256"]}) as effect:
                endpoint: Endpoint = deployer.deploy(package, name, args, ctx)
                try:
                    save_endpoint(ctx, endpoint)
                except BaseException:  # nobody could stop what no registry names
                    if owner is None:
                        deployer.remove(endpoint, ctx)
                    raise
                run.result = effect.outcome = {"url": endpoint.url, "target": target}
        finally:
            package.unlink(missing_ok=True)
    return endpoint


def state_of(endpoint: Endpoint, ctx: Context) -> str:
    """Ask the room how the endpoint is; a room that cannot say makes it unknown."""
    try:
        return str(room(ctx, "deploy", endpoint.target).status(endpoint, ctx)) if endpoint.target else endpoint.state
    except KaggError as error:
        return f"unknown: {error.message}"


def act(ctx: Context, action: str, name: str) -> Exit:
    """Do `endpoints ACTION [NAME]`."""
    if action == "list":
        rows = [{**known._asdict(), "state": state_of(known, ctx)} for known in load_endpoints(ctx).values()]
        ctx.emit(rows, table(rows, ("name", "target", "state", "url", "created")))
        return Exit.DONE
    if not name or name.startswith(("http://", "https://")):
        raise bad_input(f"endpoints {action} needs a name", "see: python kagg.py endpoints list")
    endpoint = find_endpoint(ctx, name)
    if action == "show":
        found = {**endpoint._asdict(), "state": state_of(endpoint, ctx)}
        fields = {key: value for key, value in found.items() if key != "details"} | endpoint.details
        ctx.emit(found, "\n".join(f"{key}: {value}" for key, value in fields.items()))
        return Exit.DONE
    return _change(ctx, action, endpoint)


def _change(ctx: Context, action: str, endpoint: Endpoint) -> Exit:
    """Start, stop or remove an endpoint, record it, and register how it is now."""
    do = getattr(room(ctx, "deploy", endpoint.target), action, None) if endpoint.target else None
    if do is None:
        raise bad_input(f"{endpoint.target or 'such'} endpoints cannot {action}", "remove it and deploy again")
    name, request = endpoint.name, {"target": endpoint.target}
    with recorded(ctx, f"endpoints {action}", name) as run, run.effect(action, name, request) as effect:
        changed: Endpoint | None = do(endpoint, ctx)
        save_endpoint(ctx, changed, drop=name if action == "remove" else "")
        effect.outcome = {"state": changed.state if changed else "removed"}
    done = {"start": "started", "stop": "stopped", "remove": "removed"}[action]
    url = f"  {changed.url}" if changed and action == "start" else ""
    ctx.emit({"name": endpoint.name, "action": action, "state": done}, f"{endpoint.name}: {done}{url}")
    return Exit.DONE
