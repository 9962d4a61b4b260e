"""`ps`, `stop` and `reap`: what is live, what is ended, what is left, and what is never touched."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from front_door import close, kagg
from journal_yard import SLEEPER, Yard, script

from kagg import Exit, KaggError
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.launch import journal
from plugins.lib.launch.state import State
from plugins.lib.launch.transport_claims import claims

HOUR_S = 3600.0


@pytest.fixture
def yard(tmp_path):
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(cpu_slots=20, gpu_slots=20)) as kaggle:
        found = Yard(tmp_path, kaggle)
        yield found
        found.ledger.close()
        close(found.ctx)


def over(yard, mark, **options):
    """Make a run whose session is over."""
    slug = yard.run(mark, "cpu", code="print('done')\n", **options)
    yard.client.wait(slug)
    return slug


def failing_push(yard, run_id, slug, fault, outcome=None):
    """Journal a push that ended with `fault`."""
    request = {"attempt": slug, "device": "cpu", "slot": "CPU"}
    with contextlib.suppress(type(fault)), yard.ledger.effect(run_id, "push", f"demo/{slug}", request) as made:
        made.outcome = outcome
        raise fault


def rows(done):
    assert done.code == Exit.DONE, done.err
    return {row["ref" if "ref" in row else "run"]: row for row in done.document}


# ---------------------------------------------------------------- the journal


def test_the_journal_says_how_far_every_attempt_came(yard):
    live, fetched, gone = yard.run(1, status="detached"), over(yard, 2), over(yard, 3)
    yard.note(fetched, "collect")
    yard.note(gone, "collect")
    yard.note(gone, "delete-kernel")
    run_id = yard.ledger.begin_run("run", "train.py")
    with yard.ledger.effect(run_id, "dataset", "demo/kagg-code-1", {"attempt": "planned-1"}):
        pass
    failing_push(yard, run_id, "refused-1", KaggError("no session", code=Exit.QUOTA))
    failing_push(yard, run_id, "unknown-1", KeyboardInterrupt())
    with yard.ledger.effect(run_id, "push", "demo/my-notebook", {"source": "a plain push"}):
        pass
    known = {one.attempt: one for one in journal.attempts(yard.ledger)}
    states = {name: one.state for name, one in known.items()}
    assert states == {
        live: "pushed",
        fetched: "collected",
        gone: "deleted",
        "planned-1": "planned",
        "refused-1": "refused",
        "unknown-1": "unknown",
    }
    assert known["planned-1"].datasets == ("demo/kagg-code-1",)
    assert (known[live].client, known[fetched].client, known["planned-1"].client) == ("detached", "gone", "running")
    assert (known[live].slot, known[live].accelerator, known[live].version) == ("GPU", "NvidiaTeslaT4", 1)


def test_a_push_that_failed_after_it_arrived_is_pushed_until_its_kernel_is_deleted(yard):
    run_id = yard.ledger.begin_run("run", "train.py")
    outcome = {"owner": "demo", "slug": "train-1"}
    failing_push(yard, run_id, "train-1", KaggError("Kaggle refused 1 inputs"), outcome=outcome)
    assert journal.find(yard.ledger, "train-1").state == "pushed"
    yard.note("train-1", "delete-kernel", "demo/train-1")
    assert journal.find(yard.ledger, "train-1").state == "deleted"


def test_an_attempt_is_found_by_id_kernel_run_and_unique_beginning(yard):
    slug, other = yard.run(1), yard.run(0x100002)
    run_id = journal.find(yard.ledger, slug).run_id
    for text in (slug, f"demo/{slug}", run_id, slug[:-1], f"demo/{slug[:-2]}"):
        assert journal.find(yard.ledger, text).attempt == slug, text
    with pytest.raises(KaggError, match="names 2 runs") as several:
        journal.find(yard.ledger, "train-")
    assert several.value.code == Exit.USAGE
    assert other in several.value.hint
    with pytest.raises(KaggError, match="no run on Kaggle is named") as unknown:
        journal.find(yard.ledger, slug[:-1] + "9")
    assert slug in unknown.value.hint
    for text in ("", "  ", "\0", "../..", "a" * 5000):
        with pytest.raises(KaggError) as odd:
            journal.find(yard.ledger, text)
        assert odd.value.code == Exit.USAGE
        assert len(odd.value.message) < 500


def test_a_job_that_ended_has_no_client_although_its_batch_goes_on(yard):
    batch = yard.ledger.begin_run("batch", "jobs.csv")
    jobs = yard.ledger.add_jobs(batch, [("a", {}), ("b", {})])
    for key, job in jobs.items():
        yard.ledger.claim_job(job["id"])
        with yard.ledger.effect(batch, "push", f"demo/{key}", {"attempt": key}, job["id"]):
            pass
    yard.ledger.finish_job(jobs["a"]["id"], "failed", 1)
    clients = {one.attempt: one.client for one in journal.attempts(yard.ledger)}
    assert clients == {"a": "gone", "b": "running"}


def test_rows_that_another_version_wrote_do_not_break_the_journal(yard):
    run_id = yard.ledger.begin_run("run", "train.py")
    for request in ({"attempt": 7}, {"attempt": "x", "timeout_s": "soon", "device": None}, {"attempt": ["a"]}):
        with yard.ledger.effect(run_id, "push", "nonsense", request) as made:
            made.outcome = {"owner": None, "slug": 3, "versionNumber": "one"}
    with yard.ledger.effect(run_id, "collect", "", None):
        pass
    assert len(journal.attempts(yard.ledger)) == 3


# ---------------------------------------------------------------- ps


def test_ps_without_a_run_is_one_line(yard):
    done = kagg(yard.ctx, "ps")
    assert (done.code, done.out) == (Exit.DONE, "no run of yours is live on Kaggle\n")
    assert kagg(yard.ctx, "--json", "ps").document == []


def test_ps_shows_live_runs_with_device_age_quota_and_client(yard):
    gone, detached, mine = yard.run(1), yard.run(2, "cpu", status="detached"), yard.run(3, "tpu", status="running")
    ended = over(yard, 4)
    for slug in (gone, detached, mine):
        yard.client.wait(slug, "RUNNING")
    yard.ctx.waits.append(1800.0)  # half an hour goes by
    found = rows(kagg(yard.ctx, "--json", "ps"))
    assert set(found) == {gone, detached, mine}
    assert [found[slug]["client"] for slug in (gone, detached, mine)] == ["gone", "detached", "running"]
    assert 1800 <= found[gone]["burned_s"] < 1900
    assert found[detached]["burned_s"] == 0
    assert found[gone] == found[gone] | {
        "kernel": f"demo/{gone}",
        "state": "RUNNING",
        "live": True,
        "device": "gpu",
        "accelerator": "NvidiaTeslaT4",
        "journaled": True,
    }
    text = kagg(yard.ctx, "ps").out
    assert re.search(rf"{gone} +demo/{gone} +running +NvidiaTeslaT4 +30 min +0\.5\d? h +gone", text)
    assert ended not in text
    assert "complete" in kagg(yard.ctx, "ps", "--all").out


def test_ps_shows_runs_that_are_not_in_this_journal(yard):
    slug = yard.slug(9)
    yard.push(slug, script("other-machine"), "gpu")
    yard.push("my own notebook", SLEEPER)
    found = rows(kagg(yard.ctx, "--json", "ps"))
    assert set(found) == {slug}
    assert (found[slug]["client"], found[slug]["device"], found[slug]["journaled"]) == ("elsewhere", "gpu", False)


def test_ps_shows_a_run_that_waits_for_a_session(yard):
    run_id = yard.ledger.begin_run("run", "train.py")
    with yard.ledger.effect(run_id, "push", "demo/train-9", {"attempt": "train-9", "device": "gpu"}):
        found = rows(kagg(yard.ctx, "--json", "ps"))
    assert (found["train-9"]["state"], found["train-9"]["live"]) == ("WAITING", False)


def test_ps_goes_on_with_the_journal_when_kaggle_lists_nothing(yard):
    slug = yard.run(1)
    yard.kaggle.world.faults.add("status", "*/ListKernels", FOREVER)
    done = kagg(yard.ctx, "--json", "ps")
    assert set(rows(done)) == {slug}
    assert "only what the journal knows" in done.err


def test_ps_names_a_run_whose_state_nobody_tells(yard):
    yard.run(1)
    yard.kaggle.world.faults.add("status", "*/GetKernelSessionStatus", FOREVER)
    done = kagg(yard.ctx, "ps")
    assert done.code == Exit.DONE
    assert "unknown" in done.out
    assert "answered 503" in done.err


def test_without_credentials_ps_stop_and_reap_say_so(ctx):
    for words in (("ps",), ("stop", "x"), ("reap",)):
        assert kagg(ctx, *words).code == Exit.CONFIG


# ---------------------------------------------------------------- stop


def test_stop_deletes_a_live_run_with_its_datasets_and_journals_it(yard):
    slug = yard.run(1, datasets=("demo/kagg-code-0001",))
    done = kagg(yard.ctx, "--json", "stop", slug[:-1])
    (found,) = done.document
    assert (found["run"], found["was"] in ("QUEUED", "RUNNING"), found["deleted"]) == (slug, True, True)
    assert found["datasets"] == ["demo/kagg-code-0001"]
    assert (yard.kernels(), yard.datasets()) == (set(), set())
    assert yard.effects("delete-kernel", "delete-dataset") == [
        ("delete-kernel", f"demo/{slug}", "done"),
        ("delete-dataset", "demo/kagg-code-0001", "done"),
    ]
    assert "with the log and the files that it wrote" in done.err
    again = kagg(yard.ctx, "stop", slug)
    assert (again.code, again.out) == (Exit.DONE, f"{slug}: is not on Kaggle any more\n")


def test_stop_takes_the_names_that_attach_takes(yard):
    first, second, third = (yard.run(mark, status="detached") for mark in (1, 2, 3))
    for slug in (first, second, third):
        State.begin(yard.ctx, slug)
    wrong = yard.ledger.begin_run("run", "typo.py", params={"on": "kaggle", "attempt": "typo-20260101-1200-0000ff"})
    yard.ledger.end_run(wrong, "failed", 2)  # a usage error: it never began
    run_id = next(row["id"] for row in yard.ledger.runs() if (row["params"] or {}).get("attempt") == first)
    assert kagg(yard.ctx, "--json", "stop", "last").document[0]["run"] == third
    assert kagg(yard.ctx, "--json", "stop", "last~1").document[0]["run"] == second
    assert kagg(yard.ctx, "--json", "stop", run_id).document[0]["run"] == first
    assert yard.kernels() == set()


def test_the_last_run_that_was_never_pushed_stops_no_other_run(yard):
    slug, name = yard.run(1, status="detached"), "train-20260101-1200-0000ff"
    State.begin(yard.ctx, slug)
    State.begin(yard.ctx, name)
    yard.ledger.end_run(yard.ledger.begin_run("run", "x.py", params={"on": "kaggle", "attempt": name}), "failed", 3)
    done = kagg(yard.ctx, "stop", "last")
    assert (done.code, f"{name} was never pushed" in done.err) == (Exit.FAILED, True)
    assert yard.kernels() == {slug}


@pytest.mark.parametrize("name", ["last", "last~3", "nope"])
def test_a_name_of_no_run_is_one_line_in_words_of_the_user(yard, name):
    done = kagg(yard.ctx, "stop", name)
    assert (done.code, done.out, done.err.count("\n")) == (Exit.USAGE, "", 1)
    assert f"'{name}'" in done.err
    assert "journal" not in done.err


def test_stop_leaves_a_run_that_is_over_unless_told_to_delete_it(yard):
    slug = over(yard, 1)
    done = kagg(yard.ctx, "stop", slug)
    assert done.code == Exit.DONE
    assert "is over (complete), nothing to stop" in done.out
    assert yard.kernels() == {slug}
    assert kagg(yard.ctx, "stop", slug, "--yes").code == Exit.DONE
    assert yard.kernels() == set()


@pytest.mark.parametrize("name", ["my-notebook", "train-20260101-1200-0000ff", "demo/train-20260101-1200-0000ff"])
def test_stop_refuses_what_kagg_did_not_make(yard, name):
    slug = name.rpartition("/")[2]
    yard.push(slug, SLEEPER)
    run_id = yard.ledger.begin_run("push", "my-notebook.py")
    with yard.ledger.effect(run_id, "push", f"demo/{slug}", {"source": "00"}) as made:
        made.outcome = {"ref": f"demo/{slug}"}
    for text in (name, f"demo/{slug}"):
        done = kagg(yard.ctx, "stop", text, "--yes")
        assert done.code == Exit.USAGE, done
    assert "was not made by kagg" in done.err
    assert yard.kernels() == {slug}


def test_stop_takes_a_run_of_another_machine_by_its_header(yard):
    slug = yard.slug(9)
    yard.push(slug, script("other-machine"))
    assert kagg(yard.ctx, "stop", slug).code == Exit.DONE
    assert yard.kernels() == set()


def test_stop_names_near_runs_and_stops_nothing_when_one_name_is_wrong(yard):
    slug = yard.run(1)
    done = kagg(yard.ctx, "stop", slug, slug[:-1] + "9")
    assert done.code == Exit.USAGE
    assert f"did you mean {slug}" in done.err
    assert yard.kernels() == {slug}
    assert kagg(yard.ctx, "stop", "other/train-20260101-1200-0000ff").code == Exit.USAGE
    assert kagg(yard.ctx, "stop", "https://example.com/x").code == Exit.USAGE


def test_of_several_runs_those_that_can_be_stopped_are(yard):
    first, second = yard.run(1), yard.run(2)
    message = "Internal error"
    yard.kaggle.world.faults.add("status", "*/DeleteKernel", 1, status=400, message=message)
    done = kagg(yard.ctx, "--json", "stop", first, second)
    assert done.code == Exit.FINDINGS
    assert [row["deleted"] for row in done.document] == [False, True]
    assert yard.kernels() == {first}
    assert message in done.document[0]["error"]
    yard.kaggle.world.faults.add("status", "*/DeleteKernel", 1, status=400, message=message)
    assert kagg(yard.ctx, "stop", first).code == Exit.SERVICE


def test_stop_believes_a_deletion_whose_reply_was_lost(yard):
    slug = yard.run(1)
    yard.kaggle.world.faults.add("lost_reply", "*/DeleteKernel")
    assert kagg(yard.ctx, "stop", slug).code == Exit.DONE
    assert yard.kernels() == set()


def test_while_nobody_tells_whether_a_run_is_over_only_yes_deletes_it(yard):
    slug = yard.run(1)
    yard.kaggle.world.faults.add("status", "*/GetKernelSessionStatus", FOREVER)
    done = kagg(yard.ctx, "stop", slug)
    assert done.code == Exit.SERVICE
    assert "--yes deletes it all the same" in done.err
    assert yard.kernels() == {slug}
    assert kagg(yard.ctx, "stop", slug, "--yes").code == Exit.DONE
    assert yard.kernels() == set()


def test_a_new_run_that_cannot_be_read_yet_is_stopped_all_the_same(yard):
    slug = yard.slug(1)
    yard.kaggle.world.faults.add("not_readable", f"demo/{slug}", seconds=0.15)
    yard.run(1)
    assert kagg(yard.ctx, "stop", slug).code == Exit.DONE
    assert yard.kernels() == set()
    assert not yard.kaggle.world.sessions.live("demo")


def test_stop_keeps_a_dataset_that_another_run_reads(yard):
    slug, other = yard.run(1, datasets=("demo/kagg-code-0001",)), yard.run(2)
    State.begin(yard.ctx, other, code={"datasets": ["demo/kagg-code-0001"]})
    assert kagg(yard.ctx, "--json", "stop", slug).document[0]["datasets"] == []
    assert yard.datasets() == {"demo/kagg-code-0001"}


def test_a_run_that_waits_for_a_session_is_stopped_where_it_waits(yard):
    run_id = yard.ledger.begin_run("run", "train.py")
    with yard.ledger.effect(run_id, "push", "demo/train-9", {"attempt": "train-9"}):
        done = kagg(yard.ctx, "stop", "train-9")
    assert done.code == Exit.FAILED
    assert f"it waits for a session, in run {run_id}" in done.err


# ---------------------------------------------------------------- reap


def test_reap_without_orphans_says_so(yard):
    done = kagg(yard.ctx, "reap", "--yes")
    assert (done.code, done.out) == (Exit.DONE, "nothing to reap\n")


def test_reap_lists_what_nobody_needs_and_why_and_deletes_it_only_when_told_to(yard):
    live, ended, fetched = yard.run(1, datasets=("demo/kagg-code-0001",)), over(yard, 2), over(yard, 3)
    yard.note(fetched, "collect")
    attended, detached, kept = yard.run(4, status="running"), over(yard, 5, status="detached"), over(yard, 6, keep=True)
    yard.note(kept, "collect")
    yard.push("my own notebook", SLEEPER)
    yard.dataset("titanic-mini")
    everything = yard.kernels()
    done = kagg(yard.ctx, "--json", "reap")
    found = rows(done)
    assert {ref: row["why"] for ref, row in found.items()} == {
        f"demo/{live}": "live, client gone",
        f"demo/{ended}": "over, results not fetched",
        f"demo/{fetched}": "results fetched, not deleted",
        "demo/kagg-code-0001": "made for a run that is over",
    }
    assert found[f"demo/{live}"]["advice"] == f"attach {live}"
    assert not any(row["deleted"] for row in found.values())
    assert yard.kernels() == everything
    assert "reap --yes" in done.err
    assert f"attach {ended}" in kagg(yard.ctx, "reap").out
    done = kagg(yard.ctx, "--json", "reap", "--yes")
    assert all(row["deleted"] for row in rows(done).values())
    assert yard.kernels() == {attended, detached, kept, "my-own-notebook"}
    assert yard.datasets() == {"demo/titanic-mini"}
    assert kagg(yard.ctx, "reap", "--yes").out == "nothing to reap\n"
    assert ("delete-kernel", f"demo/{live}", "done") in yard.effects("delete-kernel")


def test_reap_spares_what_is_younger_than_asked_with_its_datasets(yard):
    slug = yard.run(1, "cpu", datasets=("demo/kagg-code-0001",))
    yard.ctx.waits.append(HOUR_S)
    assert kagg(yard.ctx, "reap", "--yes", "--older-than", "2h").out == "nothing to reap\n"
    assert (yard.kernels(), yard.datasets()) == ({slug}, {"demo/kagg-code-0001"})
    assert kagg(yard.ctx, "reap", "--yes", "--older-than", "30m").code == Exit.DONE
    assert (yard.kernels(), yard.datasets()) == (set(), set())
    assert kagg(yard.ctx, "reap", "--older-than", "soon").code == Exit.USAGE


def test_reap_leaves_the_datasets_of_runs_that_go_on(yard):
    attended = yard.run(1, status="running", datasets=("demo/kagg-code-0001",))
    yard.run(2, status="detached", datasets=("demo/kagg-token-0002",))
    shared, reader = "demo/kagg-code-0003", yard.run(3, status="detached")
    maker = over(yard, 4, datasets=(shared,))
    yard.note(maker, "delete-dataset", shared)  # the maker has no use for it any more, and the other goes on
    State.begin(yard.ctx, reader, code={"datasets": [shared]})
    preparing = yard.slug(5)
    over(yard, 6, datasets=("demo/kagg-code-0007",))
    with claims(yard.ctx) as held:
        held.add("demo/kagg-code-0007", preparing)
    assert set(rows(kagg(yard.ctx, "--json", "reap", "--yes"))) == {f"demo/{maker}", f"demo/{yard.slug(6)}"}
    assert len(yard.datasets()) == 4
    yard.client.call("DeleteKernel", yard.client.named(reader))
    yard.note(reader, "delete-kernel")
    yard.ctx.waits.append(13 * HOUR_S)  # so long no run prepares itself
    assert set(rows(kagg(yard.ctx, "--json", "reap", "--yes"))) == {shared, "demo/kagg-code-0007"}
    with claims(yard.ctx) as held:
        assert held.users == {}
    assert attended in yard.kernels()


def test_reap_leaves_another_machines_young_runs_unless_told_twice(yard):
    young, old = yard.slug(1), "train-20260101-1200-000002"
    yard.push(young, script("other-1"))
    yard.push(old, script("other-2", "print(1)\n"))
    yard.push("train-20260101-1200-000003", "print('a notebook of mine with such a name')\n")
    yard.dataset("kagg-token-0001")
    done = kagg(yard.ctx, "--json", "reap", "--yes")
    found = rows(done)
    assert set(found) == {f"demo/{young}", f"demo/{old}", "demo/kagg-token-0001"}
    assert [found[f"demo/{slug}"]["deleted"] for slug in (young, old)] == [False, True]
    assert found[f"demo/{young}"]["why"] == "not known here, perhaps another machine's"
    assert "reap --yes --all" in done.err
    assert yard.datasets() == {"demo/kagg-token-0001"}
    kagg(yard.ctx, "reap", "--yes", "--all")
    assert yard.kernels() == {"train-20260101-1200-000003"}
    assert yard.datasets() == set()


def test_reap_names_what_it_could_not_delete_and_deletes_the_rest(yard):
    first, second = yard.run(1, datasets=("demo/kagg-code-0001",)), over(yard, 2)
    yard.kaggle.world.faults.add("status", "*/DeleteKernel", 1, status=400, message="not today")
    done = kagg(yard.ctx, "--json", "reap", "--yes")
    assert done.code == Exit.FINDINGS
    left = {row["ref"] for row in done.document if row["error"]}
    assert len(left) == 2 - (f"demo/{second}" in left)  # a kernel, and the dataset that its session reads
    assert len(yard.kernels()) == 1
    assert "was not deleted" in done.err
    assert "not today" in done.err
    assert kagg(yard.ctx, "reap", "--yes").code == Exit.DONE
    assert kagg(yard.ctx, "reap").out == "nothing to reap\n"
    assert first not in yard.kernels()


def test_reap_finds_what_a_refused_push_stored_and_a_deletion_left(yard):
    stored, left, lost = yard.slug(1), over(yard, 2), yard.slug(3)
    yard.note(left, "delete-kernel")
    run_id = yard.ledger.begin_run("run", "train.py")
    for slug, fault in ((stored, KaggError("no session", code=Exit.QUOTA)), (lost, KeyboardInterrupt())):
        yard.client.push(slug.replace("-", " "), script(slug), kernelExecutionType="QUICK_SAVE")
        failing_push(yard, run_id, slug, fault)
    yard.ledger.end_run(run_id, "failed", 14)
    found = rows(kagg(yard.ctx, "--json", "reap"))
    assert found[f"demo/{stored}"]["why"] == "stored by a refused push"
    assert found[f"demo/{left}"]["why"] == "deleted before, and still there"
    assert f"demo/{lost}" in found
    assert kagg(yard.ctx, "reap", "--yes").code == Exit.DONE
    assert yard.kernels() == set()


def test_reap_needs_the_lists_to_judge(yard):
    yard.run(1)
    yard.kaggle.world.faults.add("status", "*/ListDatasets", FOREVER)
    assert kagg(yard.ctx, "reap", "--yes").code == Exit.SERVICE
    assert len(yard.kernels()) == 1


def test_a_name_that_the_server_made_up_is_not_deleted(yard, monkeypatch):
    slug = yard.run(1)
    listed = [{"ref": "../../evil"}, {"ref": None}, {"ref": f"someone/{slug}"}, {"ref": f"demo/{slug}\nx"}, {}]
    monkeypatch.setattr("plugins.lib.launch.orphans.kaggle_pages", lambda *_: iter(listed))
    found = rows(kagg(yard.ctx, "--json", "reap"))
    assert set(found) == {f"demo/{slug}"}


def test_everything_these_commands_print_under_json_is_json(yard):
    yard.run(1)
    for words in (("ps",), ("reap",), ("stop", yard.slug(1))):
        done = kagg(yard.ctx, "--json", *words)
        json.loads(done.out)
        assert all(json.loads(line) for line in done.err.splitlines())
