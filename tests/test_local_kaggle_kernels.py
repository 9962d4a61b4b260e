"""The kernel half of the local Kaggle, rule by rule, over its own HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from local_kaggle import ENDED, Answer, Client

from kagg import Context, main
from plugins.lib.kaggle import dataset_store, embedded, outputs, quotas, sandbox
from plugins.lib.kaggle.server import LocalKaggle
from plugins.lib.kaggle.sessions import OUT_OF_MEMORY, STOPPED, TIMED_OUT, Limits

ROOT = Path(__file__).resolve().parent.parent
HAS_PROC = Path("/proc/self/stat").exists()
PUSH_FIELDS = {
    *("ref", "url", "versionNumber", "error", "kernelId", "invalidTags", "invalidDatasetSources"),
    *("invalidCompetitionSources", "invalidKernelSources", "invalidModelSources"),
}
SLEEP = "import time\nprint('started')\ntime.sleep(60)\n"
# A session with a child of its own, which `processes_with` finds by the number on its command line.
WITH_CHILD = """import subprocess, sys
subprocess.run([sys.executable, "-c", "import time; time.sleep({})"])
"""


@pytest.fixture
def kaggle(tmp_path):
    with LocalKaggle(tmp_path / "kaggle") as server:
        yield server


@pytest.fixture
def client(kaggle):
    return Client(kaggle)


@pytest.fixture(params=["namespace", "user namespace", "rewritten"])
def boxed(tmp_path, request, monkeypatch):
    """A client of a server that shows /kaggle in each of the ways there are, as far as this system allows them."""
    if request.param == "namespace" and not sandbox.namespace_options():
        pytest.skip("mount namespaces do not work here")
    if request.param == "user namespace":
        options = ("--user", "--map-root-user", *sandbox.COMMON)
        if sandbox.namespace_options() == options or not sandbox.works(options):
            pytest.skip("the same as namespace, or not allowed here")
        monkeypatch.setattr(sandbox, "namespace_options", lambda: options)
    with LocalKaggle(tmp_path / "kaggle", limits=Limits(namespaces=request.param != "rewritten")) as server:
        yield Client(server)


def run_to_end(client, title, source, **fields):
    slug = client.push(title, source, **fields)["ref"].rpartition("/")[2]
    return slug, client.wait(slug)


def notebook(*cells, kernelspec="python3"):
    metadata = {"kernelspec": {"name": kernelspec, "display_name": "x"}} if kernelspec else {}
    code = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None} for cell in cells
    ]
    return json.dumps({"cells": code, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4})


class TestWhoMayCall:
    def test_wrong_credentials_are_401_in_kaggles_words(self, kaggle):
        for authorization in ("Basic ZGVtbzp3cm9uZw==", "Basic %%%", "Bearer KGAT_nobody", "Bearer a.b.c", "Digest x"):
            answer = Client(kaggle, None, authorization).call("ListKernels")
            assert (answer.status, answer.json()) == (401, {"code": 401, "message": "Unauthenticated"})

    def test_key_and_token_both_say_who_calls(self, kaggle, client):
        token = kaggle.world.accounts.users["demo"]["tokens"][0]
        for caller in (client, Client(kaggle, None, f"Bearer {token}")):
            assert caller.call("Hello", service="api.v1.DiagnosticsService").json() == {"userName": "demo"}
        assert Client(kaggle, None).call("Hello", service="api.v1.DiagnosticsService").status == 401

    def test_introspection_tells_tokens_of_ours_from_others(self, kaggle, client):
        token = kaggle.world.accounts.users["demo"]["tokens"][0]
        known = client.call("IntrospectToken", {"token": token}, service="security.OAuthService").json()
        assert (known["active"], known["username"], known["userId"]) == (True, "demo", 1)
        other = client.call("IntrospectToken", {"token": "KGAT_x"}, service="security.OAuthService")
        assert (other.status, other.json()) == (200, {"active": False})

    def test_an_access_token_from_a_refresh_token_works_until_it_runs_out(self, tmp_path):
        now = [datetime(2026, 11, 20, 12, tzinfo=UTC)]
        with LocalKaggle(tmp_path / "kaggle", clock=lambda: now[0]) as kaggle:
            run_to_end(Client(kaggle), "Private One", "pass")
            refresh = kaggle.world.accounts.users["demo"]["refresh_tokens"][0]
            body = {"refreshToken": refresh, "apiVersion": "API_VERSION_V1", "expirationDuration": "3600s"}
            nobody = Client(kaggle, None)
            reply = nobody.call("GenerateAccessToken", body, service="users.AccountService").json()
            assert (reply["expiresIn"], reply["userName"]) == (3600, "demo")
            bearer = Client(kaggle, None, f"Bearer {reply['token']}")
            wanted = {"userName": "demo", "kernelSlug": "private-one"}
            assert bearer.call("GetKernel", wanted).status == 200
            now[0] += timedelta(seconds=3601)
            late = bearer.call("GetKernel", wanted)
            assert (late.status, late.json()["message"]) == (403, "Permission 'kernels.get' was denied")
            assert (
                nobody.call("GenerateAccessToken", {"refreshToken": "x"}, service="users.AccountService").status == 401
            )

    def test_secrets_are_random_private_files_and_survive_a_restart(self, tmp_path):
        with LocalKaggle(tmp_path / "one") as one, LocalKaggle(tmp_path / "two") as two:
            key = one.world.accounts.users["demo"]["key"]
            assert key != two.world.accounts.users["demo"]["key"]
            for name in ("accounts.json", "signing.key"):
                assert stat.S_IMODE((tmp_path / "one" / name).stat().st_mode) == 0o600
        with LocalKaggle(tmp_path / "one") as again:
            assert again.world.accounts.users["demo"]["key"] == key

    def test_private_missing_and_hostile_names_are_the_same_403(self, kaggle, client):
        run_to_end(client, "Private One", "pass")
        other = Client(kaggle, "alice")
        names = [("demo", "private-one"), ("demo", "missing"), ("..", ".."), ("demo", "private-one/3"), ("", "")]
        for owner, slug in names:
            for method in ("GetKernel", "GetKernelSessionStatus", "ListKernelSessionOutput", "DeleteKernel"):
                answer = other.call(method, {"userName": owner, "kernelSlug": slug})
                assert (answer.status, answer.json()["message"]) == (403, "Permission 'kernels.get' was denied")
        assert client.call("GetKernel", client.named("private-one")).status == 200


class TestTheDoor:
    def test_other_hosts_are_refused(self, kaggle, client):
        port = urlsplit(kaggle.url).port
        for host, status in (
            (f"127.0.0.1:{port}", 200),
            (f"localhost:{port}", 200),
            ("localhost", 200),
            ("evil.example", 421),
        ):
            assert client.send("GET", f"{kaggle.url}/healthz", Host=host).status == status
        assert client.send("GET", f"{kaggle.storage_url}/x/y", Host="evil.example").status == 421

    def test_absolute_request_lines_as_through_a_proxy_are_answered(self, kaggle):
        parts = urlsplit(kaggle.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
            raw.sendall(b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert raw.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
            raw.sendall(b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert raw.makefile("rb").read().startswith(b"HTTP/1.1 421 ")

    @pytest.mark.parametrize("content", [b"{", b"[1]", b'"x"', b'{"userName": 3}', b'{"pageSize": "many"}', b"\xff"])
    def test_malformed_bodies_are_400(self, client, content):
        url = f"{client.kaggle.url}/api/v1/kernels.KernelsApiService/"
        for method in ("GetKernel",) if b"userName" in content else ("ListKernels",):
            assert client.send("POST", url + method, content).status == 400

    def test_a_body_that_is_not_read_ends_the_connection(self, kaggle):
        parts = urlsplit(kaggle.url)
        hidden = b"POST /api/v1/kernels.KernelsApiService/ListKernels HTTP/1.1\r\n\r\n"
        for head in (
            "POST /api/v1/x HTTP/1.1\r\nTransfer-Encoding: chunked",
            f"GET /healthz HTTP/1.1\r\nContent-Length: {len(hidden)}",
        ):
            with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
                raw.sendall(f"{head}\r\nHost: localhost\r\n\r\n".encode() + hidden)
                assert raw.makefile("rb").read().count(b"HTTP/1.1 ") == 1

    def test_unknown_methods_and_paths_are_404(self, client):
        assert client.call("NoSuchMethod").status == 404
        assert client.get("/api/v1/kernels/nothing").status == 404
        assert client.send("POST", f"{client.kaggle.url}/api/v1/../x", b"{}").status == 404

    def test_a_bug_is_500_with_its_traceback_in_a_file_and_the_server_goes_on(self, kaggle, client):
        kaggle.world.sessions = None
        assert client.call("GetAcceleratorQuotaStatistics").json() == {"code": 500, "message": "Internal error"}
        assert "AttributeError" in (kaggle.world.root / "server.log").read_text()
        assert client.call("ListKernels").status == 200
        from plugins.lib.kaggle.sessions import Sessions

        kaggle.world.sessions = Sessions(kaggle.world, Limits())

    def test_a_taken_port_is_said_and_frees_what_was_opened(self, tmp_path, kaggle):
        with pytest.raises(OSError, match="in use"):
            LocalKaggle(tmp_path / "other", port=urlsplit(kaggle.url).port)
        with pytest.raises(OSError, match="in use"):
            LocalKaggle(tmp_path / "other", storage_port=urlsplit(kaggle.storage_url).port)

    def test_authorization_at_storage_is_counted(self, kaggle, client):
        assert client.send("GET", f"{kaggle.storage_url}/a/b", Authorization="Bearer x").status == 400
        assert kaggle.leaks == 1


class TestPush:
    def test_the_reply_carries_every_field(self, client):
        reply = client.push("My First Job", "print(1)")
        assert set(reply) == PUSH_FIELDS
        assert (reply["ref"], reply["versionNumber"], reply["error"]) == ("/code/demo/my-first-job", 1, "")
        assert reply["url"] == "https://www.kaggle.com/code/demo/my-first-job"

    def test_a_new_kernel_is_named_by_its_title_whatever_the_slug(self, client):
        assert client.push("Title, Wins!", "pass", slug="demo/other-name")["ref"] == "/code/demo/title-wins"
        assert client.call("GetKernel", client.named("other-name")).status == 403

    def test_the_id_wins_over_the_slug(self, client):
        first = client.push("First", "pass")
        client.push("Second", "pass")
        reply = client.push("Second", "print(2)", slug="demo/second", id=first["kernelId"])
        assert (reply["ref"], reply["versionNumber"]) == ("/code/demo/first", 2)

    def test_refusals_are_200_with_an_error_and_nulls(self, kaggle, client):
        first = client.push("First", "pass")
        alice = Client(kaggle, "alice")
        refused = {
            "Kernel not found": alice.push("x", "pass", id=first["kernelId"]),
            "Notebook not found": alice.push("First", "pass", slug="demo/first"),
        }
        refused['The requested title "First" is already in use by a notebook. Please choose another title.'] = (
            client.push("First", "pass", slug="demo/else")
        )
        for text, reply in refused.items():
            assert set(reply) == PUSH_FIELDS
            assert (reply["error"], reply["ref"], reply["url"], reply["versionNumber"]) == (text, None, None, None)
        assert client.push("", "pass", slug="demo/new-one")["error"] == "Notebook not found"

    def test_language_and_type_stay_for_life(self, client):
        client.push("First", "pass")
        reply = client.push("First", notebook("1"), slug="demo/first", kernelType="notebook")
        assert "kernelType" in reply["error"]
        assert client.call("GetKernel", client.named("first")).json()["blob"]["source"] == "pass"

    def test_sources_up_to_about_a_megabyte(self, client):
        assert client.push("Big", "#" * 933_761, kernelExecutionType="QUICK_SAVE")["versionNumber"] == 1
        answer = client.call("SaveKernel", {"newTitle": "Bigger", "text": "#" * 1_141_256})
        assert (answer.status, answer.content) == (400, b"")
        with pytest.raises(ConnectionError):
            client.call("SaveKernel", {"newTitle": "Biggest", "text": "#" * 12_900_000})

    def test_a_cell_whose_source_is_a_list_is_500_and_no_notebook_is_400(self, client):
        broken = json.loads(notebook("x"))
        broken["cells"][0]["source"] = ["a", "b"]
        body = {"newTitle": "Nb", "kernelType": "notebook", "text": json.dumps(broken)}
        assert client.call("SaveKernel", body).json() == {"code": 500, "message": "Internal error"}
        for text in ("print(1)", "[]", '{"cells": 3}', '{"cells": [3]}'):
            assert client.call("SaveKernel", {**body, "text": text}).status == 400

    def test_unknown_inputs_are_listed_and_the_kernel_runs_anyway(self, client):
        reply = client.push(
            "Inputs",
            "print('ran')",
            datasetDataSources=["demo/none", "datasets/demo/none", "../../etc"],
            kernelDataSources=["demo/nothing"],
            competitionDataSources=["titanic", ".."],
            modelDataSources=["google/gemma/pytorch/2b/1"],
            categoryIds=["gpu", "No Such!"],
        )
        assert reply["invalidDatasetSources"] == ["demo/none", "datasets/demo/none", "../../etc"]
        assert reply["invalidKernelSources"] == ["demo/nothing"]
        assert reply["invalidCompetitionSources"] == ["titanic", ".."]
        assert reply["invalidModelSources"] == ["google/gemma/pytorch/2b/1"]
        assert reply["invalidTags"] == ["No Such!"]
        assert client.wait("inputs") == {"status": "COMPLETE"}
        assert client.log("inputs") == "ran\n"

    def test_a_utility_script_with_a_competition_is_400(self, client):
        body = {"newTitle": "U", "text": "", "categoryIds": ["utility-script"], "competitionDataSources": ["titanic"]}
        assert client.call("SaveKernel", body).status == 400

    def test_internet_with_a_competition_that_forbids_it_is_400(self, kaggle, client):
        folder = kaggle.world.root / "competitions" / "toy-comp"
        folder.mkdir(parents=True)
        (folder / ".no-internet").touch()
        body = {"newTitle": "Online", "text": "pass", "competitionDataSources": ["toy-comp"]}
        assert client.call("SaveKernel", {**body, "enableInternet": True}).status == 400
        assert client.call("SaveKernel", body).json()["error"] == ""

    def test_pushing_without_an_account_is_401(self, kaggle):
        assert Client(kaggle, None).call("SaveKernel", {"newTitle": "x", "text": ""}).status == 401

    def test_quick_save_does_not_run(self, client):
        client.push("Saved", "print(1)", kernelExecutionType="QUICK_SAVE")
        assert client.status("saved") == {"status": "NEW_SCRIPT"}
        assert client.output("saved") == {"files": []}

    def test_slots_are_refused_with_the_exact_text_and_come_back(self, tmp_path):
        limits = Limits(cpu_slots=2, gpu_slots=1, queue_s=60)  # queued sessions count
        with LocalKaggle(tmp_path / "kaggle", limits=limits) as kaggle:
            client = Client(kaggle)
            for title in ("A1", "A2"):
                assert client.push(title, "pass")["error"] == ""
            assert client.push("A3", "pass")["error"] == "Maximum batch CPU session count of 2 reached."
            assert client.call("GetKernel", client.named("a3")).status == 403
            assert client.push("G1", "pass", enableGpu=True)["error"] == ""
            assert client.push("G2", "pass", machineShape="NvidiaTeslaT4")["error"].startswith(
                "Maximum batch GPU session"
            )
            assert client.push("T1", "pass", enableTpu=True)["error"] == ""
            assert (
                client.push("T2", "pass", machineShape="TpuV5E8")["error"]
                == "Maximum batch TPU session count of 1 reached."
            )
            assert Client(kaggle, "alice").push("Mine", "pass")["error"] == ""
            client.call("DeleteKernel", client.named("a1"))
            assert client.push("A3", "pass")["error"] == ""

    def test_a_push_supersedes_the_running_version_only_when_told_to(self, tmp_path):
        for supersedes, state in ((False, "RUNNING"), (True, "CANCEL_ACKNOWLEDGED")):
            folder = tmp_path / str(supersedes)
            with LocalKaggle(folder, limits=Limits(push_supersedes=supersedes)) as kaggle:
                client = Client(kaggle)
                client.push("Twice", SLEEP)
                client.wait("twice", "RUNNING")
                client.push("Twice", "pass", slug="demo/twice")
                assert client.wait("twice")["status"] == "COMPLETE"
                assert client.wait("twice", state, versionLabel="v1")["status"] == state


class TestPull:
    def test_versions_are_kept_and_named_by_v_labels_only(self, client):
        for source in ("print(1)", "print(2)"):
            client.push(
                "Two Versions",
                source,
                slug="demo/two-versions",
                kernelExecutionType="QUICK_SAVE",
                enableGpu="1" in source,
            )
        newest = client.call("GetKernel", client.named("two-versions")).json()
        assert (newest["blob"]["source"], newest["metadata"]["currentVersionNumber"]) == ("print(2)", 2)
        assert "enableGpu" not in newest["metadata"]
        first = client.call("GetKernel", client.named("two-versions", versionLabel="v1")).json()
        assert (first["blob"]["source"], first["metadata"]["enableGpu"]) == ("print(1)", True)
        for label in ("1", "v3", "v0", "latest", "v1/../2"):
            assert client.call("GetKernel", client.named("two-versions", versionLabel=label)).status == 404

    def test_defaults_are_left_out_and_the_author_is_a_display_name(self, client):
        client.push("Plain", "pass", isPrivate=False)
        metadata = client.call("GetKernel", client.named("plain")).json()["metadata"]
        assert set(metadata) == {
            *("id", "ref", "title", "slug", "author", "lastRunTime", "language", "kernelType", "currentVersionNumber")
        }
        assert (metadata["ref"], metadata["author"]) == ("demo/plain", "Demo")

    def test_a_list_has_pages_by_token_and_by_number(self, client):
        for number in range(5):
            client.push(f"Kernel {number}", "pass", kernelExecutionType="QUICK_SAVE", isPrivate=False)
        seen, token = [], ""
        while True:
            reply = client.call("ListKernels", {"pageSize": 2, "pageToken": token}).json()
            seen += [kernel["slug"] for kernel in reply["kernels"]]
            token = reply.get("nextPageToken", "")
            if not token:
                break
        assert seen == [f"kernel-{number}" for number in (4, 3, 2, 1, 0)]
        second = client.call("ListKernels", {"pageSize": 2, "page": 2}).json()["kernels"]
        assert [kernel["slug"] for kernel in second] == ["kernel-2", "kernel-1"]
        assert client.call("ListKernels", {"pageToken": "bm9uc2Vuc2U="}).status == 400
        assert client.call("ListKernels", {"page": 9}).json() == {"kernels": []}

    def test_filters(self, kaggle, client):
        client.push(
            "Public Script", "pass", isPrivate=False, kernelExecutionType="QUICK_SAVE", datasetDataSources=["a/b"]
        )
        client.push("Private Notebook", notebook("1"), kernelType="notebook", kernelExecutionType="QUICK_SAVE")
        client.push("R Script", "1", language="r", isPrivate=False, kernelExecutionType="QUICK_SAVE")

        def slugs(**body):
            return sorted(kernel["slug"] for kernel in client.call("ListKernels", body).json()["kernels"])

        assert slugs() == ["public-script", "r-script"]
        assert slugs(group="PROFILE") == ["private-notebook", "public-script", "r-script"]
        assert slugs(user="demo") == ["private-notebook", "public-script", "r-script"]
        assert slugs(group="PROFILE", kernelType="notebook", language="all") == ["private-notebook"]
        assert slugs(language="r") == ["r-script"]
        assert slugs(search="PUBLIC") == ["public-script"]
        assert slugs(dataset="a/b") == ["public-script"]
        assert slugs(user="alice") == []
        client = Client(kaggle, "alice")
        assert slugs(user="demo") == ["public-script", "r-script"]


class TestSessions:
    def test_states_from_queued_to_complete(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=0.3)) as kaggle:
            client = Client(kaggle)
            client.push("Slow", "import time\ntime.sleep(0.3)")
            assert client.status("slow") == {}  # QUEUED is the zero value
            assert client.wait("slow", "RUNNING") == {"status": "RUNNING"}
            assert client.output("slow") == {"files": []}
            assert client.wait("slow") == {"status": "COMPLETE"}

    def test_an_exception_is_an_error_without_a_message_and_keeps_the_log(self, client):
        slug, status = run_to_end(client, "Fails", "print('before')\nraise ValueError('no é')")
        assert status == {"status": "ERROR"}
        assert client.log(slug) == "before\n"
        assert "ValueError: no é\n" in client.log(slug, "stderr")

    def test_the_log_ends_with_nbconverts_lines(self, client):
        slug, _ = run_to_end(client, "Lines", "print('x')")
        assert client.log(slug, "stderr").splitlines()[-1].startswith("[NbConvertApp] Writing ")

    def test_a_timeout_has_kaggles_state_and_words_and_kills_the_children(self, boxed):
        _, status = run_to_end(boxed, "Long", WITH_CHILD.format(54321), sessionTimeoutSeconds=1)
        assert status == {"status": "CANCEL_ACKNOWLEDGED", "failureMessage": TIMED_OUT}
        wait_for(lambda: not processes_with("54321"))

    def test_a_timeout_can_only_shorten_the_limit(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle", limits=Limits(session_s=1)) as kaggle:
            _, status = run_to_end(Client(kaggle), "Long", SLEEP, sessionTimeoutSeconds=3600)
            assert status["failureMessage"] == TIMED_OUT

    @pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
    def test_too_much_memory_has_kaggles_words(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle", limits=Limits(memory_bytes=100 * 1024**2)) as kaggle:
            source = "import time\nhog = b'x' * 200 * 1024**2\ntime.sleep(60)"
            assert run_to_end(Client(kaggle), "Hog", source)[1] == {"status": "ERROR", "failureMessage": OUT_OF_MEMORY}

    def test_a_kill_from_outside_is_the_machines_out_of_memory(self, boxed):
        source = "import os\nos.kill(os.getpid(), 9)"
        assert run_to_end(boxed, "Killed", source)[1] == {"status": "ERROR", "failureMessage": OUT_OF_MEMORY}

    def test_delete_stops_the_session_and_removes_everything(self, boxed):
        boxed.push("Runs", WITH_CHILD.format(54322))
        wait_for(lambda: processes_with("54322") or not HAS_PROC)
        assert boxed.call("DeleteKernel", boxed.named("runs")).json() == {}
        assert boxed.kaggle.world.sessions.live() == []
        assert not (boxed.kaggle.world.root / "kernels" / "demo" / "runs").exists()
        assert boxed.call("GetKernel", boxed.named("runs")).status == 403
        wait_for(lambda: not processes_with("54322"))
        assert boxed.push("Runs", "pass")["versionNumber"] == 1

    def test_only_the_owner_deletes(self, kaggle, client):
        run_to_end(client, "Mine", "pass", isPrivate=False)
        wanted = {"userName": "demo", "kernelSlug": "mine"}
        assert Client(kaggle, "alice").call("DeleteKernel", wanted).status == 403
        assert Client(kaggle, None).call("DeleteKernel", wanted).status == 401
        assert client.call("GetKernel", wanted).status == 200

    def test_cancel_by_session_id(self, kaggle, client):
        client.push("Runs", SLEEP)
        client.wait("runs", "RUNNING")
        session_id = kaggle.world.sessions.live_ids()[0]
        assert Client(kaggle, "alice").call("CancelKernelSession", {"kernelSessionId": session_id}).status == 404
        assert client.call("CancelKernelSession", {"kernelSessionId": session_id}).json() == {}
        assert client.wait("runs") == {"status": "CANCEL_ACKNOWLEDGED"}

    def test_stopping_the_server_kills_sessions_and_says_so_after_a_restart(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle") as kaggle:
            client = Client(kaggle)
            client.push("Runs", WITH_CHILD.format(54323))
            wait_for(lambda: processes_with("54323") or not HAS_PROC)
        wait_for(lambda: not processes_with("54323"))
        with LocalKaggle(tmp_path / "kaggle") as again:
            client = Client(again)
            assert client.status("runs") == {"status": "ERROR", "failureMessage": STOPPED}
            assert run_to_end(client, "Next", "print(1)")[1] == {"status": "COMPLETE"}

    def test_everything_else_survives_a_restart(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle") as kaggle:
            first = Client(kaggle).push("Kept", "open('a.txt', 'w').write('é')")
            Client(kaggle).wait("kept")
            before = Client(kaggle).output("kept")
        with LocalKaggle(tmp_path / "kaggle") as again:
            client = Client(again)
            after = client.output("kept")
            assert after["log"] == before["log"]
            assert client.send("GET", after["files"][0]["url"]).content == "é".encode()
            assert client.push("Other", "pass")["kernelId"] > first["kernelId"]

    def test_a_notebook_really_runs(self, client):
        pytest.importorskip("nbclient")
        slug, status = run_to_end(
            client,
            "Nb",
            notebook("print('hello é')\nx = 20", "_ = open('out.txt', 'w').write(str(x + 1))"),
            kernelType="notebook",
        )
        assert (status, client.log(slug)) == ({"status": "COMPLETE"}, "hello é\n")
        files = client.output(slug)["files"]
        assert [file["fileName"] for file in files] == ["out.txt"]
        assert client.send("GET", files[0]["url"]).content == b"21"

    def test_a_notebook_that_raises_is_an_error_with_its_traceback(self, client):
        pytest.importorskip("nbclient")
        slug, status = run_to_end(client, "Nb", notebook("print(1)\n1 / 0"), kernelType="notebook")
        assert status == {"status": "ERROR"}
        assert "ZeroDivisionError: division by zero" in client.log(slug, "stderr")

    def test_a_notebook_without_a_kernelspec_fails_as_papermill_does(self, client):
        slug, status = run_to_end(client, "Nb", notebook("print(1)", kernelspec=""), kernelType="notebook")
        assert status == {"status": "ERROR"}
        assert "No kernel name found in notebook and no override provided." in client.log(slug, "stderr")

    def test_a_language_that_is_not_installed_is_said_in_the_log(self, client, monkeypatch):
        monkeypatch.setattr("plugins.lib.kaggle.staging.shutil.which", lambda _name: None)
        slug, status = run_to_end(client, "In R", "1", language="r")
        assert status == {"status": "ERROR"}
        assert "Rscript" in client.log(slug, "stderr")


class TestInsideASession:
    LOOK = """
        import json, os
        from pathlib import Path
        found = {"input": os.listdir("/kaggle/input")}
        found["cwd"] = os.getcwd() == os.path.realpath("/kaggle/working")
        found["env"] = dict(os.environ)
        files = [Path(folder, name) for folder, _, names in os.walk("/kaggle/input") for name in names]
        found["walk"] = sorted(str(file.relative_to("/kaggle/input")) for file in files)
        Path("/kaggle/working/found.json").write_text(json.dumps(found))
    """

    def look(self, client, **fields) -> dict:
        slug, status = run_to_end(client, "Look", textwrap.dedent(self.LOOK), **fields)
        assert status == {"status": "COMPLETE"}, client.log(slug, "stderr")
        return client.send("GET", client.output(slug)["files"][0]["url"]).json()

    def test_inputs_are_at_both_places(self, boxed, tmp_path):
        data = tmp_path / "data"
        (data / "deep").mkdir(parents=True)
        (data / "a.csv").write_text("1")
        (data / "deep" / "b é.csv").write_text("2")
        world = boxed.kaggle.world
        dataset_store.seed(world, "demo/titanic-mini", data)
        competition = world.root / "competitions" / "toy-comp"
        model = world.root / "models" / "google" / "gemma" / "pytorch" / "2b" / "1"
        for folder in (competition, model):
            folder.mkdir(parents=True)
            (folder / "c.bin").write_text("3")
        run_to_end(boxed, "Earlier Job", "open('result.txt', 'w').write('from before')")
        found = self.look(
            boxed,
            datasetDataSources=["demo/titanic-mini"],
            kernelDataSources=["demo/earlier-job"],
            competitionDataSources=["toy-comp"],
            modelDataSources=["google/gemma/pytorch/2b/1"],
        )
        assert found["walk"] == [
            "competitions/toy-comp/c.bin",
            "datasets/demo/titanic-mini/a.csv",
            "datasets/demo/titanic-mini/deep/b é.csv",
            "earlier-job/result.txt",
            "models/google/gemma/pytorch/2b/1/c.bin",
            "notebooks/demo/earlier-job/result.txt",
            "titanic-mini/a.csv",
            "titanic-mini/deep/b é.csv",
            "toy-comp/c.bin",
        ]

    def test_the_environment_is_kaggles_and_holds_nothing_of_the_servers(self, boxed, monkeypatch):
        for name in ("KAGGLE_KEY", "AWS_SECRET_ACCESS_KEY", "KAGG_HOME", "HTTP_PROXY"):
            monkeypatch.setenv(name, "secret-of-the-server")
        found = self.look(boxed)
        assert found["cwd"]
        assert found["env"]["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
        assert "secret-of-the-server" not in json.dumps(found["env"])
        assert found["input"] == []
        assert found["env"]["HOME"] != os.environ.get("HOME")

    def test_paths_in_notebooks_lead_to_the_same_places(self, boxed):
        pytest.importorskip("nbclient")
        code = "open('/kaggle/working/x.txt', 'w').write(str(__import__('os').listdir('/kaggle/input')))"
        slug, status = run_to_end(boxed, "Nb", notebook(code), kernelType="notebook")
        assert status == {"status": "COMPLETE"}, boxed.log(slug, "stderr")
        assert [file["fileName"] for file in boxed.output(slug)["files"]] == ["x.txt"]

    def test_a_namespace_hides_the_server_and_protects_the_inputs(self, boxed, tmp_path):
        if not boxed.kaggle.world.sessions.limits.namespaces:
            pytest.skip("paths are only rewritten here")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.csv").write_text("1")
        dataset_store.seed(boxed.kaggle.world, "demo/titanic-mini", tmp_path / "data")
        root = boxed.kaggle.world.root
        source = f"""
            import os
            print(os.listdir({str(root)!r}))
            for path in ("/kaggle/input/titanic-mini/a.csv", "/kaggle/input/new.txt", "/kaggle/src/script.py"):
                try:
                    open(path, "w")
                except OSError as error:
                    print(error.strerror)
        """
        slug, _ = run_to_end(boxed, "Peek", textwrap.dedent(source), datasetDataSources=["demo/titanic-mini"])
        assert boxed.log(slug).splitlines() == ["[]", *["Read-only file system"] * 3]

    def test_the_same_program_works_where_namespaces_do_not(self, monkeypatch):
        monkeypatch.setattr("plugins.lib.kaggle.sandbox.shutil.which", lambda _name: None)
        sandbox.namespace_options.cache_clear()
        try:
            assert sandbox.namespace_options() == ()
        finally:
            sandbox.namespace_options.cache_clear()


class TestBadText:
    def test_a_lone_surrogate_in_a_request_is_400_and_nothing_is_kept(self, client):
        body = {"newTitle": "Bad \ud800 title", "text": "pass", "language": "python", "kernelType": "script"}
        answer = client.call("SaveKernel", body)
        assert (answer.status, answer.json()["message"]) == (400, "Invalid JSON payload received")
        assert client.call("ListKernels", {"user": "demo"}).json().get("kernels", []) == []


class TestOutputs:
    def test_files_come_in_pages_and_the_log_only_with_the_first(self, client):
        source = "import os\nos.mkdir('sub')\nfor i in range(5): open(f'sub/{i}.txt', 'w').write(str(i))"
        slug, _ = run_to_end(client, "Many", source)
        first = client.output(slug, pageSize=2)
        assert [file["fileName"] for file in first["files"]] == ["sub/0.txt", "sub/1.txt"]
        assert json.loads(first["log"])
        second = client.output(slug, pageSize=2, pageToken=first["nextPageToken"])
        assert [file["fileName"] for file in second["files"]] == ["sub/2.txt", "sub/3.txt"]
        assert "log" not in second
        last = client.output(slug, pageSize=2, pageToken=second["nextPageToken"])
        assert set(last) == {"files"}

    def test_output_urls_are_signed_and_carry_the_session(self, kaggle, client):
        slug, _ = run_to_end(client, "One", "open('a b é.txt', 'w').write('hi')")
        file = client.output(slug)["files"][0]
        parts = urlsplit(file["url"]).path.split("/")
        assert (parts[1], parts[2].isdigit(), len(parts)) == ("kf", True, 5)
        assert file["fileName"] == "a b é.txt"
        assert client.send("GET", file["url"]).content == b"hi"
        assert client.send("GET", file["url"].replace("%20b", "%20c")).status == 403
        assert kaggle.leaks == 0

    def test_links_in_the_output_lead_nowhere(self, client):
        source = "import os\nos.symlink('/etc/passwd', 'link.txt')\nos.symlink('/etc', 'folder')\nopen('real.txt', 'w')"
        slug, _ = run_to_end(client, "Links", source)
        assert [file["fileName"] for file in client.output(slug)["files"]] == ["real.txt"]

    def test_a_name_that_is_not_utf_8_is_left_out_of_every_listing(self, client):
        slug, _ = run_to_end(client, "Bytes", "open(b'bad\\xff.txt', 'w')\nopen('good é.txt', 'w')")
        assert [file["fileName"] for file in client.output(slug)["files"]] == ["good é.txt"]
        listed = client.call("ListKernelFiles", client.named(slug)).json()["files"]
        assert [file["name"] for file in listed] == ["good é.txt"]
        url = client.call("DownloadKernelOutput", {"ownerSlug": "demo", "kernelSlug": slug}).headers["location"]
        assert zipfile.ZipFile(BytesIO(client.send("GET", url).content)).namelist() == ["good é.txt"]

    def test_the_output_is_walked_once_however_many_pages_are_asked_for(self, client, monkeypatch):
        walked = []
        real = outputs.files_below
        monkeypatch.setattr(outputs, "files_below", lambda folder: walked.append(folder) or real(folder))
        slug, _ = run_to_end(client, "Pages", "for i in range(250): open(f'{i:03}.txt', 'w').write(str(i))")
        names, token = [], ""
        while True:
            reply = client.output(slug, pageSize=100, pageToken=token)
            names += [file["fileName"] for file in reply["files"]]
            token = reply.get("nextPageToken", "")
            if not token:
                break
        assert names == [f"{number:03}.txt" for number in range(250)]
        assert len(client.call("ListKernelFiles", client.named(slug, pageSize=200)).json()["files"]) == 200
        assert len(walked) == 1

    def test_a_kernel_that_was_deleted_and_pushed_again_shows_its_own_files(self, client):
        for name in ("old.txt", "new.txt"):
            slug, _ = run_to_end(client, "Again", f"open({name!r}, 'w')")
            assert [file["fileName"] for file in client.output(slug)["files"]] == [name]
            assert client.call("DeleteKernel", client.named(slug)).status == 200

    def test_list_files_has_sizes(self, client):
        slug, _ = run_to_end(client, "Sizes", "open('a.txt', 'w').write('12345')")
        (file,) = client.call("ListKernelFiles", client.named(slug)).json()["files"]
        assert (file["name"], file["size"]) == ("a.txt", 5)
        assert file["creationDate"].endswith("Z")

    def test_download_redirects_to_a_file_or_a_zip_of_all(self, kaggle, client):
        slug, _ = run_to_end(client, "Zip", "open('a.txt', 'w').write('1')\nopen('b.txt', 'w').write('2')")
        wanted = {"ownerSlug": "demo", "kernelSlug": slug}
        answer = client.call("DownloadKernelOutput", {**wanted, "filePath": "a.txt", "versionNumber": 1})
        assert answer.status == 302
        assert client.send("GET", answer.headers["location"]).content == b"1"
        whole = client.send("GET", client.call("DownloadKernelOutput", wanted).headers["location"])
        assert zipfile.ZipFile(BytesIO(whole.content)).namelist() == ["a.txt", "b.txt"]
        session_id = urlsplit(client.output(slug)["files"][0]["url"]).path.split("/")[2]
        zipped = client.call("DownloadKernelOutputZip", {"kernelSessionId": session_id})
        assert (zipped.headers["content-type"], zipped.content) == ("application/zip", whole.content)
        assert client.call("DownloadKernelOutput", {**wanted, "filePath": "../source"}).status == 404
        assert client.call("DownloadKernelOutput", {**wanted, "versionNumber": 7}).status == 404
        assert Client(kaggle, "alice").call("DownloadKernelOutputZip", {"kernelSessionId": session_id}).status == 404

    def test_versions_have_their_own_sessions(self, client):
        run_to_end(client, "Twice", "print('one')")
        client.push("Twice", "print('two')\nraise SystemExit(1)", slug="demo/twice")
        assert client.wait("twice") == {"status": "ERROR"}
        assert client.status("twice", versionLabel="v1") == {"status": "COMPLETE"}
        assert client.log("twice", versionLabel="v1") == "one\n"
        assert client.log("twice") == "two\n"


class TestLogStream:
    def events(self, answer: Answer) -> list[str]:
        return [line[6:] for line in answer.content.decode().split("\n\n") if line]

    def test_a_live_log_is_replayed_followed_and_ended(self, client):
        client.push("Talks", "import time\nfor i in range(3):\n    print('línea', i)\n    time.sleep(0.1)")
        client.wait("talks", "RUNNING")
        answer = client.get("/api/v1/kernels/logs/stream/demo/talks")
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["transfer-encoding"] == "chunked"
        *events, last = self.events(answer)
        assert last == "END_OF_LOG"
        spoken = [json.loads(event) for event in events]
        assert [event["data"] for event in spoken][:3] == [f"línea {i}\n" for i in range(3)]
        assert spoken == json.loads(client.output("talks")["log"])
        assert client.status("talks") == {"status": "COMPLETE"}

    def test_a_finished_log_is_a_json_array(self, client):
        slug, _ = run_to_end(client, "Done", "print('línea\\u2028x')")
        rpc = client.call("GetKernelSessionLogsStream", client.named(slug))
        for answer in (client.get(f"/api/v1/kernels/logs/stream/demo/{slug}?versionLabel=v1"), rpc):
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()[0]["data"] == "línea\u2028x\n"

    def test_lines_arrive_while_the_session_runs(self, kaggle, client):
        client.push("Talks", SLEEP)
        client.wait("talks", "RUNNING")
        parts = urlsplit(kaggle.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as raw, raw.makefile("rb") as reader:
            head = f"GET /api/v1/kernels/logs/stream/demo/talks HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            raw.sendall(f"{head}Authorization: {client.authorization}\r\n\r\n".encode())
            line = next(line for line in reader if line.startswith(b"data: "))
            assert json.loads(line[6:])["data"] == "started\n"
            assert client.status("talks") == {"status": "RUNNING"}

    def test_a_queued_log_waits_only_so_long(self, tmp_path):
        now = [datetime(2026, 11, 20, tzinfo=UTC)]

        def clock():
            now[0] += timedelta(seconds=30)
            return now[0]

        with LocalKaggle(tmp_path / "kaggle", limits=Limits(queue_s=60), clock=clock) as kaggle:
            client = Client(kaggle)
            client.push("Queued", "pass")
            assert client.get("/api/v1/kernels/logs/stream/demo/queued").content == b""

    def test_the_log_of_a_private_kernel_is_403_and_of_a_saved_one_404(self, kaggle, client):
        client.push("Saved", "pass", kernelExecutionType="QUICK_SAVE")
        assert client.get("/api/v1/kernels/logs/stream/demo/saved").status == 404
        assert Client(kaggle, None).get("/api/v1/kernels/logs/stream/demo/saved").status == 403

    def test_by_session_id(self, client):
        slug, _ = run_to_end(client, "One", "print(1)\nopen('x', 'w')")
        session_id = urlsplit(client.output(slug)["files"][0]["url"]).path.split("/")[2]
        assert client.get(f"/api/v1/kernels/sessions/{session_id}/logs/stream").json()[0]["data"] == "1\n"

    def test_a_log_that_never_ends_is_cut_off_on_disk(self, client, monkeypatch):
        monkeypatch.setattr("plugins.lib.kaggle.sessionlog.MAX_LOG_BYTES", 10_000)
        slug, _ = run_to_end(client, "Loud", "for i in range(5000): print('x' * 50)")
        path = client.kaggle.world.root / "kernels" / "demo" / slug / "versions" / "1" / "log.jsonl"
        assert path.stat().st_size < 11_000


class TestQuota:
    def test_the_week_ends_on_saturday_midnight(self):
        friday = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
        assert quotas.week_end(friday) == datetime(2026, 11, 21, tzinfo=UTC)
        assert quotas.week_end(datetime(2026, 11, 21, tzinfo=UTC)) == datetime(2026, 11, 28, tzinfo=UTC)
        assert quotas.week_end(datetime(2026, 11, 22, 5, tzinfo=UTC)) == datetime(2026, 11, 28, tzinfo=UTC)

    def test_used_time_is_that_of_real_sessions_and_starts_again_every_week(self, tmp_path):
        shift = [timedelta(0)]
        start = time.monotonic()

        def clock():
            return datetime(2026, 11, 18, tzinfo=UTC) + timedelta(seconds=time.monotonic() - start) + shift[0]

        def seconds(text):
            return float(text.removesuffix("s"))

        with LocalKaggle(tmp_path / "kaggle", clock=clock) as kaggle:
            client = Client(kaggle)
            before = client.call("GetAcceleratorQuotaStatistics").json()
            assert before["quotaRefreshTime"] == "2026-11-21T00:00:00.000Z"
            nothing = {"timeUsed": "0.000s", "timeReserved": "0.000s"}
            assert before["gpuQuota"] == {**nothing, "totalTimeAllowed": "108000.000s"}
            client.push("Gpu Job", SLEEP, enableGpu=True, sessionTimeoutSeconds=600)
            client.wait("gpu-job", "RUNNING")
            shift[0] = timedelta(seconds=100)
            live = client.call("GetAcceleratorQuotaStatistics").json()["gpuQuota"]
            assert 100 <= seconds(live["timeUsed"]) < 150
            assert seconds(live["timeUsed"]) + seconds(live["timeReserved"]) == pytest.approx(600, abs=5)
            client.call("DeleteKernel", client.named("gpu-job"))
            after = client.call("GetAcceleratorQuotaStatistics").json()
            assert seconds(after["gpuQuota"]["timeUsed"]) >= 100  # deleting gives nothing back
            assert (after["gpuQuota"]["timeReserved"], after["gpuQuota"]["hasEverRun"]) == ("0.000s", True)
            assert after["tpuQuota"]["timeUsed"] == "0.000s"
            shift[0] = timedelta(days=4)
            later = client.call("GetAcceleratorQuotaStatistics").json()["gpuQuota"]
            assert (later["timeUsed"], later["hasEverRun"]) == ("0.000s", True)

    def test_nobody_has_no_quota(self, kaggle):
        assert Client(kaggle, None).call("GetAcceleratorQuotaStatistics").status == 401


class TestRest:
    def test_the_older_paths_answer_the_same(self, client):
        slug, _ = run_to_end(client, "Old Way", "open('a.txt', 'w').write('1')", isPrivate=False)
        query = f"?userName=demo&kernelSlug={slug}"
        assert client.get(f"/api/v1/kernels/status{query}").json() == {"status": "COMPLETE"}
        assert client.get(f"/api/v1/kernels/pull{query}").json()["blob"]["slug"] == slug
        assert client.get("/api/v1/kernels/list?pageSize=1").json()["kernels"][0]["slug"] == slug
        assert [file["fileName"] for file in client.get(f"/api/v1/kernels/output{query}").json()["files"]] == ["a.txt"]
        assert client.get(f"/api/v1/kernels/output/download/demo/{slug}").status == 302


class TestFaults:
    @pytest.mark.parametrize(
        ("form", "content_type", "start"),
        [
            ("kaggle", "application/json", b'{"code": 429'),
            ("google", "application/json; charset=UTF-8", b'{"error": {"code": 429'),
            ("html", "text/html; charset=UTF-8", b"<!DOCTYPE html>"),
            ("empty", None, b""),
        ],
    )
    def test_error_bodies(self, kaggle, client, form, content_type, start):
        kaggle.faults.add("status", "*/ListKernels", status=429, body=form, retry_after=7)
        answer = client.call("ListKernels")
        assert (answer.status, answer.headers.get("content-type")) == (429, content_type)
        assert answer.headers["retry-after"] == "7"
        assert answer.content.startswith(start)
        assert bool(answer.content) == bool(start)
        assert client.call("ListKernels").status == 200

    def test_a_fault_happens_as_often_as_asked_and_only_where_it_matches(self, kaggle, client):
        kaggle.faults.add("status", "*/GetKernelSessionStatus", times=2, status=500)
        assert client.call("ListKernels").status == 200
        assert [client.call("GetKernelSessionStatus").status for _ in range(3)] == [500, 500, 403]
        kaggle.faults.add("status", times=None)
        assert [client.call("ListKernels").status for _ in range(3)] == [503] * 3
        kaggle.faults.clear()
        assert client.call("ListKernels").status == 200
        with pytest.raises(ValueError, match="unknown fault"):
            kaggle.faults.add("earthquake")

    def test_a_reset_happens_before_and_a_lost_reply_after_the_work(self, kaggle, client):
        body = {"newTitle": "Job", "text": "pass", "kernelExecutionType": "QUICK_SAVE"}
        kaggle.faults.add("reset", "*/SaveKernel")
        with pytest.raises(ConnectionResetError):
            client.call("SaveKernel", body)
        assert client.call("GetKernel", client.named("job")).status == 403
        kaggle.faults.add("lost_reply", "*/SaveKernel")
        with pytest.raises(ConnectionError):
            client.call("SaveKernel", body)
        assert client.call("GetKernel", client.named("job")).status == 200

    def test_a_stall_ends_when_the_client_gives_up_or_the_server_stops(self, tmp_path):
        with LocalKaggle(tmp_path / "kaggle") as kaggle:
            kaggle.faults.add("stall", times=2, seconds=60)
            parts = urlsplit(kaggle.url)
            with socket.create_connection((parts.hostname, parts.port), timeout=0.2) as raw:
                raw.sendall(f"GET /api/v1/kernels/list HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
                with pytest.raises(TimeoutError):
                    raw.recv(1)
            ends = []

            def hang():
                with pytest.raises(ConnectionError):
                    Client(kaggle).call("ListKernels")
                ends.append("hung up")

            hung = threading.Thread(target=hang)
            hung.start()
            wait_for(lambda: not kaggle.faults.waiting())
        hung.join(10)
        assert ends == ["hung up"]

    def test_bad_json_null_lists_and_latency(self, kaggle, client):
        kaggle.faults.add("bad_json", "*/ListKernels")
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            client.call("ListKernels").json()
        kaggle.faults.add("null_list", "*/ListKernels")
        assert client.call("ListKernels").json() == {"kernels": None}
        kaggle.faults.add("latency", "*/ListKernels", ms=150)
        began = time.monotonic()
        client.call("ListKernels")
        assert time.monotonic() - began >= 0.15

    def test_a_log_is_cut_cleanly_without_its_end(self, kaggle, client):
        client.push("Talks", "print(1)\nprint(2)\nprint(3)\n" + SLEEP)
        client.wait("talks", "RUNNING")
        kaggle.faults.add("cut_log", "demo/talks", events=2)
        cut = client.get("/api/v1/kernels/logs/stream/demo/talks").content
        assert (cut.count(b"data: "), b"END_OF_LOG" in cut) == (2, False)

    def test_hostile_names_in_a_listing(self, kaggle, client):
        slug, _ = run_to_end(client, "Evil", "open('good.txt', 'w')")
        kaggle.faults.add("hostile_names", "demo/evil")
        files = client.output(slug)["files"]
        assert [file["fileName"] for file in files] == ["good.txt", *outputs.HOSTILE]
        kaggle.faults.add("hostile_names", names=["..\\x"])
        assert client.output(slug)["files"][1]["fileName"] == "..\\x"

    def test_a_new_kernel_is_not_readable_for_a_while(self, tmp_path):
        now = [datetime(2026, 11, 20, tzinfo=UTC)]
        with LocalKaggle(tmp_path / "kaggle", clock=lambda: now[0]) as kaggle:
            client = Client(kaggle)
            kaggle.faults.add("not_readable", seconds=30)
            client.push("New", "pass")
            answer = client.call("GetKernelSessionStatus", client.named("new"))
            assert (answer.status, answer.json()["message"]) == (403, "Permission 'kernels.get' was denied")
            now[0] += timedelta(seconds=31)
            assert client.wait("new") == {"status": "COMPLETE"}

    def test_faults_can_be_set_over_http_with_the_control_token_only(self, kaggle, client):
        url = f"{kaggle.url}/_local/faults"
        fault = json.dumps({"kind": "status", "match": "*/ListKernels", "status": 418}).encode()
        assert client.send("POST", url, fault).status == 403
        assert client.call("ListKernels").status == 200
        token = {"X_Local_Token": kaggle.control_token}
        assert client.send("POST", url, fault, **token).json()["faults"][0]["kind"] == "status"
        assert client.call("ListKernels").status == 418
        assert client.send("POST", url, b'{"kind": "none"}', **token).status == 400
        client.send("POST", url, fault, **token)
        assert client.send("POST", url, b'{"clear": true}', **token).json() == {"faults": []}
        state = client.send("GET", f"{kaggle.url}/_local/state", **token).json()
        assert ["POST", "/api/v1/kernels.KernelsApiService/ListKernels", 418] in state["requests"]


class TestTheCommand:
    @pytest.fixture
    def home(self, tmp_path):
        yield tmp_path / "home"
        embedded.stop_local(tmp_path / "home" / "local-kaggle")

    def context(self, home):
        return Context({**os.environ, "KAGG_HOME": str(home)})

    def test_ensure_local_starts_one_server_for_everybody_and_seeds_it(self, home):
        found = []

        def ask():
            found.append(embedded.ensure_local(self.context(home)))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({server["pid"] for server in found}) == 1
        assert len(found) == 3
        root = home / "local-kaggle"
        assert stat.S_IMODE((root / "server.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((root / "client" / "kaggle.json").stat().st_mode) == 0o600
        remote = Remote(found[0])
        slugs = {kernel["ref"] for kernel in remote.call("ListKernels", {"user": "examples"}).json()["kernels"]}
        assert slugs >= {
            f"examples/{path.name}" for path in (ROOT / "batch_examples" / "kernels").iterdir() if path.is_dir()
        }
        assert embedded.stop_local(root) is True
        assert embedded.stop_local(root) is False
        assert not (root / "server.json").exists()

    def start(self, home, *options):
        argv = [sys.executable, str(ROOT / "kagg.py"), "--json", "local-kaggle", "--port", "0", *options]
        process = subprocess.Popen(
            argv,
            env={**os.environ, "KAGG_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return process, json.loads(process.stdout.readline())

    def test_a_second_server_on_the_same_root_is_refused_and_sigterm_is_a_clean_stop(self, home, capsys):
        process, server = self.start(home)
        with process:
            assert server["url"].startswith("http://127.0.0.1:")
            assert "key" not in server
            assert main(["local-kaggle", "--port", "0"], self.context(home)) == 10
            assert "already serves" in capsys.readouterr().err
            process.terminate()
            assert process.wait(30) == 0
        assert not (home / "local-kaggle" / "server.json").exists()

    def test_ctrl_c_is_130_and_a_kernel_dies_with_the_server(self, home):
        process, _ = self.start(home)
        with process:
            remote = Remote(json.loads((home / "local-kaggle" / "server.json").read_text()))
            remote.push("Runs", WITH_CHILD.format(54324))
            wait_for(lambda: processes_with("54324") or not HAS_PROC)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        wait_for(lambda: not processes_with("54324"))
        assert not (home / "local-kaggle" / "server.json").exists()

    def test_ctrl_c_counts_where_it_was_ignored_as_in_a_background_job_of_a_script(self, home):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored stays so in the child, execve(2)
        try:
            process, _ = self.start(home)
        finally:
            signal.signal(signal.SIGINT, before)
        with process:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130

    def test_one_ctrl_c_that_arrives_twice_is_a_clean_stop(self, home):
        process, _ = self.start(home)
        with process:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        assert not (home / "local-kaggle" / "server.json").exists()

    def test_a_second_ctrl_c_ends_a_stop_that_takes_long_and_the_kernel_with_it(self, home):
        program = f"""if True:
            import sys, time
            sys.path.insert(0, {str(ROOT)!r})
            import kagg
            from plugins.lib.kaggle.server import LocalKaggle
            LocalKaggle.stop = lambda self: time.sleep(600)
            raise SystemExit(kagg.main(["--json", "local-kaggle", "--port", "0"]))"""
        argv, env = [sys.executable, "-c", program], {**os.environ, "KAGG_HOME": str(home)}
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            remote = Remote(json.loads((home / "local-kaggle" / "server.json").read_text()))
            remote.push("Runs", WITH_CHILD.format(54326))
            wait_for(lambda: processes_with("54326") or not HAS_PROC)
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        wait_for(lambda: not processes_with("54326"))
        assert not (home / "local-kaggle" / "server.json").exists()

    def test_a_killed_server_takes_its_kernels_along_and_its_file_does_not_fool_anybody(self, home):
        process, _ = self.start(home)
        root = home / "local-kaggle"
        with process:
            remote = Remote(json.loads((root / "server.json").read_text()))
            remote.push("Runs", WITH_CHILD.format(54325))
            wait_for(lambda: processes_with("54325") or not HAS_PROC)
            process.kill()
        assert (root / "server.json").exists()
        assert embedded.running(root) is None
        wait_for(lambda: not processes_with("54325"))
        with LocalKaggle(root) as again:
            assert Client(again).status("runs") == {"status": "ERROR", "failureMessage": STOPPED}

    def test_an_idle_server_stops_by_itself_but_not_under_a_session(self, home):
        process, _ = self.start(home, "--idle-timeout", "500ms")
        with process:
            remote = Remote(json.loads((home / "local-kaggle" / "server.json").read_text()))
            remote.push("Runs", "import time\ntime.sleep(1.2)\nopen('done', 'w')")
            assert process.wait(30) == 0
        assert (home / "local-kaggle" / "kernels" / "demo" / "runs" / "versions" / "1" / "output" / "done").exists()

    def test_stop_without_a_server_and_bad_options_are_said(self, home, capsys):
        assert main(["--json", "local-kaggle", "--stop"], self.context(home)) == 0
        assert json.loads(capsys.readouterr().out)["stopped"] is False
        assert main(["local-kaggle", "--seed", str(home / "none")], self.context(home)) == 2
        assert main(["local-kaggle", "--idle-timeout", "soon"], self.context(home)) == 2
        assert main(["local-kaggle", "--port", "99999999"], self.context(home)) == 2

    def test_a_broken_seed_is_named(self, tmp_path, home, capsys):
        (tmp_path / "seeds" / "bad").mkdir(parents=True)
        (tmp_path / "seeds" / "bad" / "kernel-metadata.json").write_text("{}")
        assert main(["local-kaggle", "--port", "0", "--seed", str(tmp_path / "seeds")], self.context(home)) == 2
        assert "code_file" in capsys.readouterr().err
        assert not (home / "local-kaggle" / "server.json").exists()


class Remote(Client):
    """A client of a server in another process, from its server.json."""

    def __init__(self, server: dict) -> None:
        import base64
        from types import SimpleNamespace

        mark = base64.b64encode(f"{server['username']}:{server['key']}".encode()).decode()
        super().__init__(SimpleNamespace(url=server["url"]), None, f"Basic {mark}")
        self.user = server["username"]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in 30 s"
        time.sleep(0.02)


def processes_with(word: str) -> list[str]:
    """Command lines (or sources below them) of running processes that contain `word`; [] where there is no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def test_states_that_end_a_session_are_the_ones_tests_wait_for():
    assert set(ENDED) == {"COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED"}
