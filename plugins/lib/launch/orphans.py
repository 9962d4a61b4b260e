"""Find what runs left on Kaggle and nobody needs any more, and delete it.

A kernel is ours when the journal says so, or when its slug is an attempt's and line 2 of its source says which run it
is; a dataset, when the journal says so or its slug begins with what only runs create. What is ours but not in this
journal belongs to another machine of the same account, or to a journal that is lost: for ELSEWHERE_S it is taken for
the former.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import DATASETS, KERNELS, LIVE_STATES, KaggError, Ref, get_kernel, kaggle_pages, kaggle_rpc, service_error
from plugins.lib.kaggle.session import delete_kernel
from plugins.lib.launch import journal
from plugins.lib.launch.journal import GONE, MISSING, Attempt
from plugins.lib.launch.state import State
from plugins.lib.launch.transport_claims import claims
from plugins.lib.launch.transport_dataset import delete_code_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from kagg import Context, KernelStatus
    from plugins.lib.ledger import Ledger

HEADER = re.compile(r"[^\n]*\n# kagg run ([A-Za-z0-9._-]{1,100}): made by kagg ")
DATASET = re.compile(r"kagg-(?:code|token)-[a-z0-9-]+")
LISTED_AT_MOST = 2000
ELSEWHERE_S = 12 * 3600.0  # the longest session: so long another machine's run may be under way
YOUNG_S = 120.0  # a new kernel answers 403 for some seconds, as one that is gone does
READABLE_S = 60.0
GONE_WITHIN_S = 30.0  # a deletion may take a moment to show


class Orphan(NamedTuple):
    """Something on Kaggle that nobody needs; `kind` is kernel or dataset, `burned_s` at most what a GPU or TPU took.

    `elsewhere`: another machine may still need it.
    """

    kind: str
    ref: str
    attempt: str
    why: str
    state: str = ""
    age_s: float | None = None
    device: str = ""
    burned_s: float = 0.0
    elsewhere: bool = False
    advice: str = ""


# ---------------------------------------------------------------- what lies on Kaggle


def our_kernels(ctx: Context, user: str) -> dict[str, dict[str, Any]]:
    """Return the user's kernels whose slug is an attempt's, by owner/slug; the one that ran last first."""
    body = {"user": user, "group": "PROFILE", "sortBy": "DATE_RUN"}
    listed = kaggle_pages(ctx, KERNELS + "ListKernels", body, "kernels", LISTED_AT_MOST)
    named = ((_own_ref(item, user), item) for item in listed)
    return {ref: item for ref, item in named if ref and journal.SLUG.fullmatch(ref.rpartition("/")[2])}


def our_datasets(ctx: Context, user: str) -> dict[str, dict[str, Any]]:
    """Return the user's datasets whose slug is one that runs create, by owner/slug."""
    body = {"group": "DATASET_SELECTION_GROUP_MY", "search": "kagg"}
    listed = kaggle_pages(ctx, DATASETS + "ListDatasets", body, "datasets", LISTED_AT_MOST)
    named = ((_own_ref(item, user), item) for item in listed)
    return {ref: item for ref, item in named if ref and DATASET.fullmatch(ref.rpartition("/")[2])}


def _own_ref(item: Mapping[str, Any], user: str) -> str:
    """Return owner/slug of a listed kernel or dataset, "" unless it is the user's."""
    found = re.search(r"(?:^|/)([A-Za-z0-9][\w-]{0,254})/([A-Za-z0-9][\w-]{0,254})$", str(item.get("ref") or ""))
    return f"{found[1]}/{found[2]}" if found and found[1].lower() == user.lower() else ""


def header_run(ctx: Context, ref: Ref) -> str | None:
    """Return the run that a kernel's source says it is; "" when it was not made by kagg, None when it is not there."""
    try:
        source = str(get_kernel(ctx, ref._replace(version=None))["blob"].get("source") or "")
    except KaggError as error:
        if error.details.get("status") in MISSING:
            return None
        raise
    found = HEADER.match(source)
    return found[1] if found else ""


def device_of(item: Mapping[str, Any]) -> str:
    """Return the device of a listed kernel."""
    shape = str(item.get("machineShape") or "").lower()
    if item.get("enableTpu") or shape.startswith("tpu"):
        return "tpu"
    return "gpu" if item.get("enableGpu") or shape.startswith("nvidia") else "cpu"


def burned_s(device: str, state: str, age_s: float | None) -> float:
    """Return at most how much quota a live session took: its age; waiting for a machine is free, but does not show."""
    return age_s or 0.0 if device != "cpu" and state == "RUNNING" else 0.0


# ---------------------------------------------------------------- what nobody needs


def find(ctx: Context, ledger: Ledger, user: str) -> list[Orphan]:
    """Return the orphans, kernels first; see `_why` and `datasets_in_use` for what is none.

    Raises:
        KaggError: the lists could not be read.
    """
    known = journal.attempts(ledger)
    kernels, datasets = our_kernels(ctx, user), our_datasets(ctx, user)
    by_ref = {one.ref: one for one in known if one.ref}
    refs = [*kernels, *(one.ref for one in known if one.on_kaggle and one.ref not in kernels and one.is_of(user))]
    states = dict(zip(refs, journal.look_at_all(ctx, map(journal.named, refs)), strict=True))
    found, needed = [], {one.attempt for one in known if one.attended or (one.client == "detached" and one.open)}
    for ref, status in states.items():
        attempt = by_ref.get(ref)
        if status.state == GONE and ref not in kernels:
            continue
        if attempt is None:
            found += _from_elsewhere(ctx, ref, status, kernels[ref])
        elif why := _why(attempt, status):
            found.append(_orphan(ctx, attempt, status, why))
        else:
            needed.add(attempt.attempt)
    used = datasets_in_use(ctx, ledger, known, needed)
    return [*found, *_dataset_orphans(ctx, known, datasets, used, user)]


def _why(attempt: Attempt, status: KernelStatus) -> str:
    """Say why nobody needs an attempt's kernel, "" when somebody does: its client, a later `attach`, or --keep."""
    if attempt.attended or (attempt.client == "detached" and attempt.open):
        return ""
    if attempt.state == "deleted":
        return "deleted before, and still there"
    if attempt.state == "refused":  # Kaggle may store what it refuses to run; such a kernel reads as queued
        return "stored by a refused push"
    if attempt.collected:
        return "" if attempt.keep else "results fetched, not deleted"
    if status.state in LIVE_STATES:
        return "live, client gone"
    return "" if attempt.keep else "over, results not fetched"


def _orphan(ctx: Context, attempt: Attempt, status: KernelStatus, why: str) -> Orphan:
    state, age_s = (
        "" if attempt.state == "refused" else status.state,
        journal.age_s(ctx, attempt.pushed or attempt.begun),
    )
    return Orphan(
        "kernel",
        attempt.ref,
        attempt.attempt,
        why,
        state,
        age_s,
        attempt.device,
        burned_s(attempt.device, state, age_s),
        advice=f"attach {attempt.attempt}" if attempt.open else "",
    )


def _from_elsewhere(ctx: Context, ref: str, status: KernelStatus, item: Mapping[str, Any]) -> list[Orphan]:
    """Return a kernel that this journal does not know, if its source says that kagg made it."""
    run = header_run(ctx, journal.named(ref))
    if not run:
        ctx.say(f"{ref} only looks like a run: its source does not say that kagg made it", 1)
        return []
    age_s, device = journal.slug_age_s(ctx, ref), device_of(item)
    young = age_s is None or age_s < ELSEWHERE_S
    why = "not known here" + (", perhaps another machine's" if young else "")
    burned = burned_s(device, status.state, age_s)
    return [Orphan("kernel", ref, run, why, status.state, age_s, device, burned, young)]


def code_datasets(ctx: Context, attempt: Attempt, what: str) -> set[str]:
    """Return the datasets with an attempt's code: those that its session reads, or `created` for runs of this machine.

    `what` is datasets or created.
    """
    try:
        code = State.load(ctx, attempt.attempt).document.get("code")
    except KaggError:  # it was begun elsewhere, or is over
        code = None
    listed = code.get(what) if isinstance(code, dict) else None
    return {*attempt.datasets, *map(str, listed if isinstance(listed, list) else ())}


def datasets_in_use(ctx: Context, ledger: Ledger, known: Iterable[Attempt], needed: set[str]) -> set[str]:
    """Return the datasets that the `needed` attempts read, or that a run claims which has not pushed yet."""
    attempts = {one.attempt: one for one in known}
    ended = {str((row["params"] or {}).get("attempt")) for row in ledger.runs(1000) if row["status"] != "running"}
    over = {*attempts, *ended} - needed
    with claims(ctx) as held:
        claimed = {(ref, name) for ref, names in held.users.items() for name in names if name not in over}
    # a claim that the ledger knows nothing of is one of a run that just begins, or that was lost long ago
    young = {ref for ref, name in claimed if name in needed or (journal.slug_age_s(ctx, name) or 0.0) < ELSEWHERE_S}
    return young.union(*(code_datasets(ctx, attempts[name], "datasets") for name in needed if name in attempts))


def _dataset_orphans(
    ctx: Context, known: Iterable[Attempt], listed: Mapping[str, Mapping[str, Any]], used: set[str], user: str
) -> list[Orphan]:
    """Return the datasets that were made for runs and are not `used` any more."""
    made = {ref: one for one in known for ref in one.made}
    remaining = [ref for one in known for ref in one.datasets if ref not in listed and ref.startswith(f"{user}/")]
    found = []
    for ref in dict.fromkeys([*listed, *remaining]):
        attempt = made.get(ref)
        if ref in used or (ref not in listed and not dataset_exists(ctx, ref)):
            continue
        age_s = journal.age_s(ctx, attempt.begun if attempt else str(listed[ref].get("lastUpdated") or ""))
        young = attempt is None and (age_s is None or age_s < ELSEWHERE_S)
        why = "made for a run that is over" if attempt else "not known here"
        why += ", perhaps another machine's" if young else ""
        found.append(Orphan("dataset", ref, attempt.attempt if attempt else "", why, age_s=age_s, elsewhere=young))
    return found


def dataset_exists(ctx: Context, ref: str) -> bool:
    """Tell whether a dataset lies on Kaggle."""
    owner, _, slug = ref.partition("/")
    try:
        kaggle_rpc(ctx, DATASETS + "GetDataset", {"ownerSlug": owner, "datasetSlug": slug})
    except KaggError as error:
        if error.details.get("status") in MISSING:
            return False
        raise
    return True


# ---------------------------------------------------------------- deleting


def remove_kernel(ctx: Context, ref: Ref, age_s: float | None) -> None:
    """Delete a kernel that was there a moment ago, and make sure that it is gone.

    Raises:
        KaggError: SERVICE when it is still there.
    """
    try:
        delete_kernel(ctx, ref, patience_s=READABLE_S if age_s is not None and age_s < YOUNG_S else 0.0)
    except KaggError as error:  # a repeated call, whose first reply was lost, is answered as one for nothing
        if error.details.get("status") != 403 or header_run(ctx, ref) is not None:
            raise
    until_s = ctx.monotonic() + GONE_WITHIN_S
    while header_run(ctx, ref) is not None:
        if ctx.monotonic() >= until_s:
            raise service_error(f"{ref} is still there after it was deleted", "try again, or delete it on its page")
        ctx.sleep(ctx.random.uniform(1.0, 2.0))


def remove(ctx: Context, run: Any, kind: str, ref: str, *, attempt: str, age_s: float | None) -> None:
    """Delete a kernel or dataset inside an effect of `run`, a row of `recorded`."""
    effect: AbstractContextManager[Any] = run.effect(f"delete-{kind}", ref, {"attempt": attempt})
    with effect:
        if kind == "kernel":
            remove_kernel(ctx, journal.named(ref), age_s)
        else:
            delete_code_dataset(ctx, ref)
