"""push: one run for one push whatever happens to the answer, and nothing sent that Kaggle would refuse or mangle."""

from __future__ import annotations

import json
import threading

import pytest
from front_door import API, QuickContext, close, environment, kagg
from local_kaggle import Client

from kagg import Exit
from plugins.lib.kaggle import server
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import Limits
from plugins.lib.kaggle.wire import ApiError

SAVE = "kernels.KernelsApiService/SaveKernel"
SOURCE = "print('pushed')\n"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "work" / "train.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


@pytest.fixture
def push(demo, script):
    """Return a function that pushes the script as "Train job"."""
    return lambda *more: kagg(demo, "push", script, "--title", "Train job", *more)


def versions(kaggle, ref="demo/train-job"):
    return sorted(int(path.name) for path in (kaggle.world.root / "kernels" / ref).glob("versions/*"))


def runs(kaggle, ref="demo/train-job"):
    return len(list((kaggle.world.root / "kernels" / ref).glob("versions/*/session.json")))


def stored(kaggle, ref="demo/train-job"):
    """Return the settings and the source of the newest version."""
    folder = kaggle.world.root / "kernels" / ref / "versions" / str(versions(kaggle, ref)[-1])
    return json.loads((folder / "version.json").read_text()), (folder / "source").read_text()


def sent(kaggle):
    return [status for _, path, status in kaggle.requests if path.endswith(SAVE)]


def answering(monkeypatch, answer):
    """Let SaveKernel do its work and then answer something else, once."""
    real, lock, left = server.METHODS[SAVE], threading.Lock(), [answer]

    def save(world, user, body):
        reply = real(world, user, body)
        with lock:
            made = left.pop() if left else None
        return made(reply) if made else reply

    monkeypatch.setitem(server.METHODS, SAVE, save)


def failing(status, message="Internal error", body=None):
    def fail(_reply):
        raise ApiError(status, message, body)

    return fail


# The reply is lost


def check_recovered(done, kaggle, version=1):
    assert done.code == Exit.DONE, done.err
    assert versions(kaggle)[-1] == version
    assert done.document["version"] == version
    assert done.document["ref"] == "demo/train-job"
    assert done.document["refused_inputs"] == []


@pytest.mark.parametrize("fault", ["lost_reply", "bad_json"])
def test_a_push_whose_answer_is_lost_runs_once_and_is_found(push, idle_kaggle, fault):
    idle_kaggle.faults.add(fault, SAVE)
    check_recovered(push("--json"), idle_kaggle)
    assert runs(idle_kaggle) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_push_answered_with_an_error_after_it_was_processed_runs_once(push, idle_kaggle, monkeypatch, status):
    answering(monkeypatch, failing(status))
    check_recovered(push("--json"), idle_kaggle)
    assert versions(idle_kaggle) == [1]
    assert runs(idle_kaggle) == 1


@pytest.mark.parametrize("reply", [{}, {"versionNumber": 1}, {"code": 500, "message": "Internal error"}])
def test_a_push_answered_with_something_that_says_nothing_is_not_a_success_by_guess(
    push, idle_kaggle, monkeypatch, reply
):
    answering(monkeypatch, lambda _: reply)
    done = push("--json")
    assert runs(idle_kaggle) == 1
    if done.code == Exit.DONE:
        assert done.document["version"] == 1
    else:
        assert done.code == Exit.SERVICE


@pytest.mark.usefixtures("impatient")
def test_a_push_that_stalls_after_it_was_processed_runs_once(push, idle_kaggle, monkeypatch):
    done_waiting = threading.Event()

    def stall(reply):
        done_waiting.wait(5)
        return reply

    answering(monkeypatch, stall)
    done = push("--json")
    done_waiting.set()
    check_recovered(done, idle_kaggle)
    assert runs(idle_kaggle) == 1


def test_a_second_version_whose_answer_is_lost_is_told_from_the_first(push, idle_kaggle, script):
    assert push().code == Exit.DONE
    idle_kaggle.faults.add("lost_reply", SAVE)
    script.write_text("print('second')\n")
    check_recovered(push("--json", "--force"), idle_kaggle, version=2)
    assert runs(idle_kaggle) == 2


def test_the_same_source_again_whose_answer_is_lost_is_told_from_the_first(push, idle_kaggle):
    assert push().code == Exit.DONE
    idle_kaggle.faults.add("lost_reply", SAVE)
    check_recovered(push("--json", "--force"), idle_kaggle, version=2)


def test_a_lost_answer_is_found_although_the_kernel_is_not_readable_at_first(push, idle_kaggle, demo):
    idle_kaggle.world.clock = demo.now
    idle_kaggle.faults.add("lost_reply", SAVE)
    idle_kaggle.faults.add("not_readable", "demo/train-job", seconds=6)
    check_recovered(push("--json"), idle_kaggle)
    assert runs(idle_kaggle) == 1


@pytest.mark.parametrize("fault", ["reset", "stall"])
@pytest.mark.usefixtures("impatient")
def test_a_push_that_was_lost_on_its_way_is_not_repeated_and_said(push, idle_kaggle, script, fault):
    idle_kaggle.faults.add(fault, SAVE, seconds=30)
    done = push()
    assert done.code in (Exit.DONE, Exit.SERVICE)
    assert runs(idle_kaggle) == (1 if done.code == Exit.DONE else 0)
    if done.code == Exit.SERVICE:
        assert "nothing was sent again" in done.err
        assert "demo/train-job" in done.err
        assert not (script.parent / "kernel-metadata.json").exists()


def test_a_push_refused_before_it_was_looked_at_is_not_repeated(push, idle_kaggle):
    idle_kaggle.faults.add("status", SAVE, status=500)
    done = push()
    assert done.code == Exit.SERVICE
    assert versions(idle_kaggle) == []
    assert sent(idle_kaggle) == [500]


def test_a_push_that_is_told_to_wait_runs_once(push, idle_kaggle, demo):
    idle_kaggle.faults.add("status", SAVE, status=429, retry_after=5, times=2)
    assert push().code == Exit.DONE
    assert sent(idle_kaggle) == [429, 429, 200]
    assert runs(idle_kaggle) == 1
    assert sum(demo.waits) >= 10


def test_an_old_reader_of_another_version_is_not_taken_for_ours(push, idle_kaggle, script):
    """Somebody else's push arrives while ours is lost: another source is not our run."""
    assert push().code == Exit.DONE
    client = Client(idle_kaggle)
    idle_kaggle.faults.add("reset", SAVE)
    done = []
    thread = threading.Thread(target=lambda: done.append(push("--force")))
    script.write_text("print('mine')\n")
    thread.start()
    while [fault for fault in idle_kaggle.faults.waiting() if fault["kind"] == "reset"]:
        pass
    client.push("Train job", "print('theirs')", slug="demo/train-job")
    thread.join(60)
    assert done[0].code == Exit.SERVICE, done[0]


# What Kaggle refuses


def test_no_free_slot_is_exit_14_and_nothing_runs(tmp_path, script):
    with LocalKaggle(tmp_path / "full", limits=Limits(cpu_slots=1, queue_s=600)) as kaggle:
        Client(kaggle).push("Other job", SOURCE)
        key = kaggle.world.accounts.users["demo"]["key"]
        env = environment(tmp_path, KAGG_KAGGLE_URL=kaggle.url, KAGGLE_USERNAME="demo", KAGGLE_KEY=key)
        ctx = QuickContext(env)
        done = kagg(ctx, "push", script, "--title", "Train job")
        close(ctx)
        assert done.code == Exit.QUOTA
        assert "Maximum batch CPU session count of 1 reached" in done.err
        assert runs(kaggle) == 0
        assert sent(kaggle)[1:] == [200]
    assert not (script.parent / "kernel-metadata.json").exists()


def test_a_live_session_is_not_pushed_over_without_force(push, idle_kaggle):
    assert push().code == Exit.DONE
    done = push()
    assert done.code == Exit.QUOTA
    assert "--force" in done.err
    assert versions(idle_kaggle) == [1]
    assert push("--force").code == Exit.DONE
    assert versions(idle_kaggle) == [1, 2]


def test_saving_without_running_takes_no_session(push, idle_kaggle):
    assert push("--no-run").code == Exit.DONE
    assert push("--no-run").code == Exit.DONE
    assert (versions(idle_kaggle), runs(idle_kaggle)) == ([1, 2], 0)


def test_another_users_kernel_is_refused(demo, idle_kaggle, script):
    Client(idle_kaggle, "ann").push("Train job", SOURCE, isPrivate=False, kernelExecutionType="QUICK_SAVE")
    (script.parent / "kernel-metadata.json").write_text(
        json.dumps({"id": "ann/train-job", "title": "Train job", "code_file": "train.py"})
    )
    done = kagg(demo, "push", script)
    assert done.code == Exit.SERVICE
    assert "Notebook not found" in done.err
    assert versions(idle_kaggle, "ann/train-job") == [1]


INVALID = {
    "dataset_sources": ("demo/nothing", "invalidDatasetSources"),
    "competition_sources": ("no-competition", "invalidCompetitionSources"),
    "kernel_sources": ("demo/no-kernel", "invalidKernelSources"),
    "model_sources": ("a/b/c/d/1", "invalidModelSources"),
    "keywords": ("§ no tag", "invalidTags"),
}


@pytest.mark.parametrize("field", INVALID)
def test_inputs_that_kaggle_leaves_out_are_never_a_silent_success(demo, idle_kaggle, script, field):
    name = INVALID[field][0]
    (script.parent / "kernel-metadata.json").write_text(
        json.dumps({"id": "demo/train-job", "title": "Train job", "code_file": "train.py", field: [name]})
    )
    done = kagg(demo, "push", script.parent)
    assert done.code not in (Exit.DONE, Exit.BUG)
    assert name in done.err
    assert runs(idle_kaggle) == 1
    allowed = kagg(demo, "push", script.parent, "--allow-missing-inputs", "--force", "--json")
    assert allowed.code == Exit.DONE
    assert any(name in item for item in allowed.document["refused_inputs"])


def test_missing_inputs_of_a_push_whose_answer_was_lost_are_not_forgotten(demo, idle_kaggle, script):
    """The lost answer named the inputs that are left out: whoever cannot know must not say that all is well."""
    idle_kaggle.faults.add("lost_reply", SAVE)
    done = kagg(demo, "push", script, "--title", "Train job", "--dataset", "demo/nothing")
    assert runs(idle_kaggle) == 1
    assert done.code != Exit.DONE or "demo/nothing" in done.err


def test_inputs_that_are_there_are_attached(demo, idle_kaggle, script):
    (idle_kaggle.world.root / "competitions" / "toy-comp").mkdir(parents=True)
    done = kagg(demo, "push", script, "--title", "Train job", "--competition", "competitions/toy-comp")
    assert done.code == Exit.DONE, done.err
    assert stored(idle_kaggle)[0]["competitionDataSources"] == ["toy-comp"]


# What is sent


def test_the_slug_in_the_answer_counts_not_the_one_we_asked_for(ctx, web, script, tmp_path):
    ctx.env = environment(tmp_path, KAGG_KAGGLE_URL=web.url, KAGGLE_USERNAME="demo", KAGGLE_KEY="k" * 32)
    reply = {"ref": "/code/demo/train-job-7", "url": "https://www.kaggle.com/code/demo/train-job-7", "versionNumber": 1}
    web.on(API + "GetKernel", (403, {"code": 403, "message": "Permission 'kernels.get' was denied"}, {}))
    web.on(API + "GetAcceleratorQuotaStatistics", (200, {}, {}))
    web.on(API + "SaveKernel", (200, reply, {}))
    done = kagg(ctx, "push", script, "--title", "Train job", "--json")
    assert done.document["ref"] == "demo/train-job-7"
    assert json.loads((script.parent / "kernel-metadata.json").read_text())["id"] == "demo/train-job-7"


def test_title_and_slug_that_disagree_never_make_a_second_kernel(demo, idle_kaggle, script):
    (script.parent / "kernel-metadata.json").write_text(
        json.dumps({"id": "demo/first-name", "title": "Quite Another Name", "code_file": "train.py"})
    )
    for number in (1, 2):
        done = kagg(demo, "push", script.parent, "--no-run", "--json")
        assert done.code == Exit.DONE, done.err
        assert (done.document["ref"], done.document["version"]) == ("demo/first-name", number)
    assert [path.name for path in (idle_kaggle.world.root / "kernels" / "demo").iterdir()] == ["first-name"]


@pytest.mark.parametrize("title", ["Hi", "x" * 51, "!!!!!!!", "日本語の題名です"])
def test_a_title_that_kaggle_cannot_use_is_refused_before_anything_is_sent(demo, idle_kaggle, script, title):
    done = kagg(demo, "push", script, "--title", title)
    assert done.code == Exit.USAGE, done
    assert sent(idle_kaggle) == []


@pytest.mark.parametrize("stem", ["a", "x" * 80, "with space & more", "UPPER_case-1"])
def test_a_file_name_that_is_no_title_is_made_one_or_refused(demo, tmp_path, idle_kaggle, stem):
    (tmp_path / f"{stem}.py").write_text(SOURCE)
    done = kagg(demo, "push", tmp_path / f"{stem}.py", "--json")
    assert done.code in (Exit.DONE, Exit.USAGE), done.err
    if done.code == Exit.DONE:
        assert versions(idle_kaggle, done.document["ref"]) == [1]
        title = json.loads((tmp_path / "kernel-metadata.json").read_text())["title"]
        assert 5 <= len(title) <= 50
    else:
        assert "--title" in done.err
        assert sent(idle_kaggle) == []


def test_prefixes_of_older_servers_are_stripped(demo, idle_kaggle, script):
    (idle_kaggle.world.root / "competitions" / "toy-comp").mkdir(parents=True)
    Client(idle_kaggle).push("Other job", SOURCE, kernelExecutionType="QUICK_SAVE")
    meta = {
        "id": "demo/train-job",
        "title": "Train job",
        "code_file": "train.py",
        "dataset_sources": ["datasets/zillow/zecon"],
        "kernel_sources": ["code/demo/other-job"],
        "competition_sources": ["competitions/toy-comp"],
        "model_sources": ["models/a/b/c/d/1"],
    }
    (script.parent / "kernel-metadata.json").write_text(json.dumps(meta))
    kagg(demo, "push", script.parent)
    settings = stored(idle_kaggle)[0]
    assert settings["datasetDataSources"] == ["zillow/zecon"]
    assert settings["kernelDataSources"] == ["demo/other-job"]
    assert settings["competitionDataSources"] == ["toy-comp"]
    assert settings["modelDataSources"] == ["a/b/c/d/1"]


def notebook(**changes):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "metadata": {},
            "source": ["x = 1\n", "print(x)"],
            "execution_count": 3,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}],
        },
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | changes


def test_a_notebook_is_brought_into_the_form_that_kaggle_takes(demo, idle_kaggle, tmp_path):
    path = tmp_path / "my_notebook.ipynb"
    path.write_text(json.dumps(notebook()))
    before = path.read_bytes()
    done = kagg(demo, "push", path, "--json")
    assert done.code == Exit.DONE, done.err
    assert done.document["ref"] == "demo/my-notebook"
    found = json.loads(stored(idle_kaggle, "demo/my-notebook")[1])
    assert [cell["source"] for cell in found["cells"]] == ["# Title\ntext", "x = 1\nprint(x)"]
    assert found["cells"][1]["outputs"] == []
    assert found["metadata"]["kernelspec"]["name"] == "python3"
    assert path.read_bytes() == before


def test_the_kernelspec_that_is_there_is_kept(demo, idle_kaggle, tmp_path):
    path = tmp_path / "my_notebook.ipynb"
    path.write_text(json.dumps(notebook(metadata={"kernelspec": {"name": "conda-env", "display_name": "x"}, "k": 1})))
    assert kagg(demo, "push", path).code == Exit.DONE
    metadata = json.loads(stored(idle_kaggle, "demo/my-notebook")[1])["metadata"]
    assert (metadata["kernelspec"]["name"], metadata["k"]) == ("conda-env", 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 5}', '{"nbformat": 3, "worksheets": []}', "[" * 100_000])
def test_what_is_no_notebook_is_refused_before_anything_is_sent(demo, idle_kaggle, tmp_path, content):
    path = tmp_path / "my_notebook.ipynb"
    path.write_text(content)
    assert kagg(demo, "push", path).code == Exit.USAGE
    assert list(idle_kaggle.requests) == []


def test_a_script_that_is_not_text_is_refused(demo, idle_kaggle, tmp_path):
    path = tmp_path / "my_script.py"
    path.write_bytes(b"print('\xff\xfe')\n")
    done = kagg(demo, "push", path)
    assert done.code == Exit.USAGE, done.err
    assert list(idle_kaggle.requests) == []


@pytest.mark.parametrize("kind", ["py", "ipynb"])
def test_more_than_a_megabyte_is_refused_before_any_request(demo, idle_kaggle, tmp_path, kind):
    path = tmp_path / f"big_file.{kind}"
    big = "x = '" + "é" * 510_000 + "'\n"
    path.write_text(big if kind == "py" else json.dumps(notebook(cells=[{"cell_type": "code", "source": big}])))
    done = kagg(demo, "push", path)
    assert done.code == Exit.USAGE
    assert "1000000" in done.err or "1,000,000" in done.err
    assert list(idle_kaggle.requests) == []


def test_large_outputs_do_not_count(demo, idle_kaggle, tmp_path):
    outputs = [{"output_type": "stream", "name": "stdout", "text": "x" * 2_000_000}]
    path = tmp_path / "my_notebook.ipynb"
    path.write_text(json.dumps(notebook(cells=[{"cell_type": "code", "source": "1", "outputs": outputs}])))
    assert kagg(demo, "push", path).code == Exit.DONE


# Metadata


def test_metadata_is_made_when_absent_and_used_again(push, demo, idle_kaggle, script):
    assert push("--no-run").code == Exit.DONE
    meta = json.loads((script.parent / "kernel-metadata.json").read_text())
    assert (meta["id"], meta["title"], meta["code_file"]) == ("demo/train-job", "Train job", "train.py")
    assert meta["is_private"] is True
    script.write_text("print('changed')\n")
    for path in (script, script.parent):
        assert kagg(demo, "push", path, "--no-run").code == Exit.DONE
    assert versions(idle_kaggle) == [1, 2, 3]
    assert [path.name for path in (idle_kaggle.world.root / "kernels" / "demo").iterdir()] == ["train-job"]


def test_metadata_of_another_file_is_left_alone(push, script, idle_kaggle):
    other = {"id": "demo/other-job", "title": "Other job", "code_file": "other.py"}
    (script.parent / "kernel-metadata.json").write_text(json.dumps(other))
    assert push("--no-run").code == Exit.DONE
    assert versions(idle_kaggle) == [1]
    assert json.loads((script.parent / "kernel-metadata.json").read_text()) == other


@pytest.mark.parametrize("kind", ["script", "notebook"])
def test_what_pull_wrote_can_be_pushed(demo, idle_kaggle, tmp_path, kind):
    (idle_kaggle.world.root / "competitions" / "toy-comp").mkdir(parents=True)
    text = SOURCE if kind == "script" else json.dumps(notebook(cells=[{"cell_type": "code", "source": "1"}]))
    settings = {
        "competitionDataSources": ["toy-comp"],
        "isPrivate": True,
        "enableInternet": False,
        "enableGpu": True,
        "machineShape": "NvidiaTeslaT4",
        "categoryIds": ["gpu"],
    }
    client = Client(idle_kaggle)
    client.push("Round trip", text, kernelType=kind, kernelExecutionType="QUICK_SAVE", **settings)
    folder = tmp_path / "pulled"
    assert kagg(demo, "pull", "demo/round-trip", "--metadata", "--dest", folder).code == Exit.DONE
    done = kagg(demo, "push", folder, "--json")
    assert done.code == Exit.DONE, done.err
    assert (done.document["ref"], done.document["version"]) == ("demo/round-trip", 2)
    found = stored(idle_kaggle, "demo/round-trip")[0]
    assert {field: found[field] for field in settings} == settings


@pytest.mark.parametrize(
    "code_file",
    ["../secret.py", "/etc/passwd", "~/secret.py", "link.py", "..\\secret.py", "C:\\x.py", "", None, 5, "gone.py", "."],
)
def test_a_hostile_code_file_is_refused_before_anything_is_sent(demo, idle_kaggle, tmp_path, code_file):
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    meta = {"id": "demo/train-job", "title": "Train job", "code_file": code_file}
    (folder / "kernel-metadata.json").write_text(json.dumps(meta))
    done = kagg(demo, "push", folder)
    assert done.code in (Exit.USAGE, Exit.INTEGRITY), done.err
    assert list(idle_kaggle.requests) == []


@pytest.mark.parametrize(
    "meta",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"id": 5, "title": [], "code_file": "train.py"}',
        '{"id": "a/b/c", "title": "Train job", "code_file": "train.py"}',
        '{"id": "../x", "title": "Train job", "code_file": "train.py"}',
        '{"id": "demo/train-job", "title": "Train job", "code_file": "train.py", "dataset_sources": "demo/x"}',
        '{"id": "demo/train-job", "title": "Train job", "code_file": "train.py", "dataset_sources": 5}',
        '{"id": "demo/train-job", "title": "Train job", "code_file": "train.py", "keywords": "gpu"}',
        '{"id": "demo/train-job", "title": "Train job", "code_file": "train.py", "id_no": "x"}',
    ],
)
def test_broken_metadata_is_never_a_bug_and_nothing_runs(demo, idle_kaggle, script, meta):
    (script.parent / "kernel-metadata.json").write_text(meta)
    done = kagg(demo, "push", script.parent)
    assert done.code in (Exit.USAGE, Exit.SERVICE, Exit.INTEGRITY), done.err
    assert len(done.err) < 1000
    assert list((idle_kaggle.world.root / "kernels").glob("*/*/versions")) == []


def test_the_template_of_the_official_client_is_understood(demo, idle_kaggle, script):
    meta = {
        "id": "demo/INSERT_KERNEL_SLUG_HERE",
        "title": "INSERT_TITLE_HERE",
        "code_file": "train.py",
        "language": "python",
        "kernel_type": "script",
        "is_private": "true",
        "enable_gpu": "false",
        "enable_tpu": "false",
        "enable_internet": "true",
    }
    (script.parent / "kernel-metadata.json").write_text(json.dumps(meta))
    done = kagg(demo, "push", script, "--title", "Train job")
    assert done.code == Exit.DONE, done.err
    settings = stored(idle_kaggle)[0]
    assert (settings["isPrivate"], settings["enableGpu"], settings["enableInternet"]) == (True, False, True)


def test_a_template_whose_title_was_not_filled_in_is_not_pushed(demo, idle_kaggle, script):
    meta = {"id": "demo/INSERT_KERNEL_SLUG_HERE", "title": "INSERT_TITLE_HERE", "code_file": "train.py"}
    (script.parent / "kernel-metadata.json").write_text(json.dumps(meta))
    done = kagg(demo, "push", script)
    assert done.code in (Exit.DONE, Exit.USAGE), done
    assert not (idle_kaggle.world.root / "kernels" / "demo" / "insert-title-here").exists()


@pytest.mark.parametrize("what", ["gone.py", "folder"])
def test_nothing_to_push_is_exit_2(demo, idle_kaggle, tmp_path, what):
    (tmp_path / "folder").mkdir()
    assert kagg(demo, "push", tmp_path / what, "--title", "Train job").code == Exit.USAGE
    assert list(idle_kaggle.requests) == []


def test_a_push_is_in_the_ledger_also_when_it_was_refused(push, demo, idle_kaggle):
    assert push().code == Exit.DONE
    assert push().code == Exit.QUOTA
    rows = kagg(demo, "--json", "list", "runs").document
    assert [(row["command"], row["status"], row["exit_code"]) for row in rows] == [
        ("push", "failed", 14),
        ("push", "done", 0),
    ]


def test_a_private_kernel_stays_private_unless_asked(push, idle_kaggle):
    assert push("--no-run").code == Exit.DONE
    assert stored(idle_kaggle)[0]["isPrivate"] is True
    assert push("--no-run", "--public").code == Exit.DONE
    assert stored(idle_kaggle)[0]["isPrivate"] is False
