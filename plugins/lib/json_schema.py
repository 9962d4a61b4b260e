"""Validate JSON against a JSON Schema of any draft, without fetching anything from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = {"api": 1, "summary": "JSON Schema", "requires": {"jsonschema": "jsonschema>=4.18"}}

MAX_FINDINGS = 50
MAX_WORDS = 300  # characters of one finding


def _library() -> tuple[Any, Any]:
    """Return the package, and its registry of the drafts' own schemas."""
    import jsonschema
    import jsonschema_specifications

    return jsonschema, jsonschema_specifications.REGISTRY


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a schema."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        waiting += list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def schema_fault(schema: Any) -> str:
    """Return what is wrong with a schema, "" when nothing is."""
    jsonschema, registry = _library()
    ids = [part["$id"] for part in _parts(schema) if isinstance(part.get("$id"), str)]
    base = schema.get("$id", "") if isinstance(schema, dict) else ""
    base = base if isinstance(base, str) else ""
    known = {_bare(urljoin(base, item)) for item in ids} | {base, ""}
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if dialect is not None and (not isinstance(dialect, str) or dialect.rstrip("#") not in map(_bare, registry)):
        return f"$schema {str(dialect)[:100]!r} is no JSON Schema draft that is known here"
    for part in _parts(schema):
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            target: Any = part.get(key)
            inside = not isinstance(target, str) or _bare(urljoin(base, target)) in known
            if not inside and _bare(target) not in map(_bare, registry):
                return f"{key} {target[:100]!r} leads out of the schema, and nothing is fetched"
    try:
        jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"it is no valid JSON Schema: {error.json_path}: {_short(error.message)}"
    except RecursionError:
        return "it is nested too deep"
    return ""


def _bare(url: Any) -> str:
    return urldefrag(str(url))[0]


def schema_findings(schema: Any, document: Any) -> list[str]:
    """Return a line for each fault of a document: where, and what."""
    from referencing.exceptions import Unresolvable

    jsonschema, registry = _library()
    make = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    # With a registry of our own nothing is fetched: python-jsonschema.readthedocs.io/en/stable/referencing/
    validator = make(schema, registry=registry)
    found: list[str] = []
    try:
        for error in validator.iter_errors(document):
            if len(found) == MAX_FINDINGS:
                return [*found, "and more"]
            inner = (
                jsonschema.exceptions.best_match([error]) or error
            )  # of anyOf and oneOf the alternative that fits best
            found.append(f"{inner.json_path}: {_short(inner.message)}")
    except Unresolvable as error:
        return [*found, f"$: the schema refers to {error.ref!r:.100}, which is not in it"]
    except RecursionError:
        return [*found, "$: nested too deep"]
    return found


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS // 2]} ... {line[-MAX_WORDS // 2 :]}"
