"""Runs on a local Kaggle with their rows in a real ledger, made the way `run --kaggle` makes them."""

from __future__ import annotations

from front_door import QuickContext, environment
from local_kaggle import Client

from plugins.lib.kaggle import dataset_store
from plugins.lib.ledger import Ledger

SLEEPER = "import time\ntime.sleep(60)\n"
DEVICES = {
    "cpu": {},
    "gpu": {"enableGpu": True, "machineShape": "NvidiaTeslaT4"},
    "tpu": {"enableTpu": True, "machineShape": "TpuV5E8"},
}


def script(run, code=SLEEPER):
    """Return what the builder writes, as far as it matters: its first two lines."""
    return f"#!/usr/bin/env python3\n# kagg run {run}: made by kagg 0.1.0; entry train.py\n{code}"


class Yard:
    """A server, kagg as its user `demo`, and an open ledger."""

    def __init__(self, folder, kaggle):
        self.folder, self.kaggle, self.client = folder, kaggle, Client(kaggle)
        self.ctx = self.context(QuickContext)
        self.ledger, self.slugs = Ledger.open(self.ctx), {}

    def context(self, kind):
        key = self.kaggle.world.accounts.users["demo"]["key"]
        names = {"KAGG_KAGGLE_URL": self.kaggle.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": key}
        return kind(environment(self.folder, **names))

    def slug(self, mark, name="train"):
        """Return the slug of an attempt that begins now, the same at every call."""
        return self.slugs.setdefault((name, mark), f"{name}-{self.ctx.now():%Y%m%d-%H%M}-{mark:06x}")

    def push(self, slug, source, device="cpu"):
        return self.client.push(slug.replace("-", " "), source, isPrivate=True, **DEVICES[device])

    def run(self, mark, device="gpu", *, status="interrupted", code=SLEEPER, datasets=(), keep=False, run_id=None):
        """Push an attempt of a run that ends with `status` ("running": its client, this process, goes on)."""
        slug, source = self.slug(mark), script(f"run-{mark}", code)
        run_id = run_id or self.ledger.begin_run("run", "train.py", params={"on": "kaggle", "attempt": slug})
        for ref in datasets:
            self.dataset(ref.partition("/")[2])
            with self.ledger.effect(run_id, "dataset", ref, {"attempt": slug}):
                pass
        request = {"attempt": slug, "device": device, "accelerator": DEVICES[device].get("machineShape", "")}
        request |= {"slot": device.upper(), "timeout_s": 3600.0, "dest": "results", "keep": keep}
        with self.ledger.effect(run_id, "push", f"demo/{slug}", request) as made:
            reply = self.push(slug, source, device)
            assert not reply["error"], reply
            made.outcome = {"owner": "demo", "slug": slug, "versionNumber": 1, "url": reply["url"]}
        if status != "running":
            self.ledger.end_run(run_id, status, 130)
        return slug

    def dataset(self, slug):
        def fill(folder):
            (folder / "code.txt").write_text("code")

        dataset_store.create(self.kaggle.world, "demo", slug, fill, title=slug, license="CC0-1.0", private=True)

    def note(self, slug, kind, target=None):
        """Write an effect of the attempt into the journal, without doing anything."""
        run_id = self.ledger.begin_run("run", "train.py")
        with self.ledger.effect(run_id, kind, target or f"demo/{slug}", {"attempt": slug}):
            pass
        self.ledger.end_run(run_id, "done", 0)

    def kernels(self):
        found = self.client.call("ListKernels", {"group": "PROFILE", "pageSize": 100}).json().get("kernels", [])
        return {kernel["slug"] for kernel in found}

    def datasets(self):
        body = {"group": "DATASET_SELECTION_GROUP_MY"}
        found = self.client.call("ListDatasets", body, service="datasets.DatasetApiService").json()
        return {dataset["ref"] for dataset in found.get("datasets", [])}

    def effects(self, *kinds):
        return [(row["kind"], row["target"], row["status"]) for row in self.ledger.effects_of_kinds(kinds)]
