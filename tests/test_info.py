"""`info`, and what it shows: the accelerators and their names, the quota and what a run takes of it."""

from __future__ import annotations

import json
import math

import pytest
from front_door import QuickContext, close, environment, kagg
from hypothesis import given
from hypothesis import strategies as st
from journal_yard import Yard

from kagg import Exit, KaggError
from plugins.lib.kaggle.faults import FOREVER
from plugins.lib.launch import accelerators, quota
from plugins.lib.launch.accelerators import Choice, choose

QUOTA_PATH = "/api/v1/kernels.KernelsApiService/GetAcceleratorQuotaStatistics"
HOUR_S = 3600.0


# ---------------------------------------------------------------- accelerators


@pytest.mark.parametrize(
    ("device", "accelerator", "expected"),
    [
        (None, None, Choice("cpu", "", "CPU")),
        ("cpu", None, Choice("cpu", "", "CPU")),
        ("gpu", None, Choice("gpu", "NvidiaTeslaT4", "GPU")),
        ("tpu", "", Choice("tpu", "TpuV5E8", "TPU")),
        (None, "NvidiaTeslaT4", Choice("gpu", "NvidiaTeslaT4", "GPU")),
        (None, "nvidia-tesla-t4", Choice("gpu", "NvidiaTeslaT4", "GPU")),
        ("gpu", "T4 x2", Choice("gpu", "NvidiaTeslaT4", "GPU")),
        (None, "tpuv5e8", Choice("tpu", "TpuV5E8", "TPU")),
        ("TPU", "v5e-8", Choice("tpu", "TpuV5E8", "TPU")),
        ("gpu", "NVIDIA_H100", Choice("gpu", "NvidiaH100", "GPU")),
        (None, "cpu", Choice("cpu", "", "CPU")),
    ],
)
def test_a_device_or_a_name_as_people_write_it_is_a_choice(device, accelerator, expected):
    assert choose(device, accelerator) == expected


@pytest.mark.parametrize(
    ("name", "now"),
    [("NvidiaTeslaP100", "NvidiaTeslaT4"), ("p100", "NvidiaTeslaT4"), ("TpuV38", "TpuV5E8"), ("Tpu1VmV38", "TpuV5E8")],
)
def test_a_retired_name_is_mapped_and_said(name, now):
    choice = choose(None, name)
    assert choice.accelerator == now
    assert "was retired" in choice.note


def test_a_retired_tpu_without_a_successor_is_a_cpu_and_no_tpu():
    assert choose(None, "TpuV232")[:3] == ("cpu", "", "CPU")
    with pytest.raises(KaggError, match="TpuV232 was retired") as caught:
        choose("tpu", "TpuV232")
    assert caught.value.hint == "for a TPU: --accelerator TpuV5E8"


def test_a_name_that_is_not_known_is_taken_with_a_note():
    assert choose(None, "NvidiaB200")[:3] == ("gpu", "NvidiaB200", "GPU")
    assert choose(None, "TpuV7")[:3] == ("tpu", "TpuV7", "TPU")
    assert choose("gpu", "AmdMi300").device == "gpu"
    assert "did you mean NvidiaTeslaT4?" in choose(None, "NvidaTeslaT4").note


@pytest.mark.parametrize(
    ("device", "name", "check"),
    [
        (None, "NvidiaB200", "only with a GPU that is a B200"),
        (None, "nvidia-l40s", "only with a GPU that is a L40S"),
        (None, "NvidiaTeslaA10080GBX4", "only with a GPU that is a A100"),
        (None, "NvidiaNew", "only that there is a GPU"),
        (None, "Foo", "only that there is a GPU"),
        ("gpu", "AmdMi300", "only that there is a GPU"),
        ("tpu", "Foo", "only that there is a TPU"),
        (None, "TpuV7", "only that there is a TPU"),
    ],
)
def test_the_note_on_an_unknown_name_says_what_the_session_checks(device, name, check):
    assert check in choose(device, name).note


@pytest.mark.parametrize(
    ("device", "accelerator"),
    [("cpu", "NvidiaTeslaT4"), ("tpu", "t4"), ("gpu", "TpuV5E8"), ("gpu", "TpuV9"), ("gpu", "cpu"), ("gpus", None)]
    + [(None, name) for name in ("../x", "a\nb", "x" * 65, "é", "T4;rm", "\0", "-T4")],
)
def test_a_contradiction_or_no_name_is_a_usage_error(device, accelerator):
    with pytest.raises(KaggError) as caught:
        choose(device, accelerator)
    assert caught.value.code == Exit.USAGE
    assert len(caught.value.message) < 200


def test_a_session_lasts_as_long_as_its_device_may():
    assert [accelerators.session_limit_s(device) / HOUR_S for device in ("cpu", "gpu", "tpu")] == [12, 12, 9]


# ---------------------------------------------------------------- quota


@pytest.fixture
def asked(tmp_path, web):
    """Return the quota that a server's answer is read as."""
    names = {"KAGG_KAGGLE_URL": web.url, "KAGGLE_USERNAME": "demo", "KAGGLE_KEY": "0123456789"}
    ctx = QuickContext(environment(tmp_path, **names))

    def read(reply):
        web.on(QUOTA_PATH, (200, reply, {}))
        return quota.read(ctx)

    yield read
    close(ctx)


def test_what_is_left_is_what_is_neither_used_nor_reserved(asked):
    gpu = {"timeUsed": "5400.500s", "timeReserved": "3960.000s", "totalTimeAllowed": "108000.000s"}
    found = asked({"quotaRefreshTime": "2026-11-28T00:00:00Z", "gpuQuota": gpu})
    assert found.left_s("gpu") == 108000 - 5400.5 - 3960
    assert found.words("gpu") == "quota left 27.4 h"
    assert (found.left_s("tpu"), found.words("tpu")) == (None, "quota not known")
    assert found.left_s("cpu") is None
    assert quota.from_document(found.document()) == found


def test_fields_that_are_left_out_are_zero_and_more_used_than_allowed_leaves_nothing(asked):
    found = asked({"gpuQuota": {"totalTimeAllowed": "108000s"}, "tpuQuota": {"timeUsed": 80000, "totalTimeAllowed": 1}})
    assert (found.left_s("gpu"), found.left_s("tpu"), found.refresh) == (108000, 0, "")


@pytest.mark.parametrize(
    "share",
    [None, {}, [], "108000s", 7, {"totalTimeAllowed": "0s"}, {"totalTimeAllowed": "1.500.0s"}]
    + [{"totalTimeAllowed": value} for value in (True, "NaN", "1e400s", [], {}, "9" * 400, "\u0661s")]
    + [{"totalTimeAllowed": "108000s", "timeUsed": "many"}],
)
def test_a_quota_that_says_nothing_is_unknown_and_not_zero(asked, share):
    found = asked({"gpuQuota": share, "quotaRefreshTime": ["never"]})
    assert (found.left_s("gpu"), found.refresh) == (None, "")


@given(st.dictionaries(st.sampled_from(["timeUsed", "timeReserved", "totalTimeAllowed"]), st.floats() | st.text()))
def test_whatever_a_server_sends_what_is_left_is_a_time(share):
    found = quota._share(share)
    assert found is None or (0 <= found.left_s <= found.allowed_s and math.isfinite(found.left_s))


def test_a_refused_quota_call_is_said_and_the_run_goes_on(demo, idle_kaggle):
    idle_kaggle.world.faults.add("status", "*/GetAcceleratorQuotaStatistics", FOREVER, status=403)
    assert quota.read_or_none(demo) is None
    assert "the quota is not known" in demo.stderr.getvalue()


def test_a_run_costs_its_limit_at_worst_and_its_sessions_time_in_the_end():
    before = quota.cost("gpu", 2 * HOUR_S)
    after = quota.cost("gpu", 2 * HOUR_S, started="2026-11-27T01:00:00+00:00", ended="2026-11-27T01:15:00Z")
    assert (before.reserved_s, before.used_s, before.words()) == (7200, None, "at most 2.0 h of GPU quota")
    assert (after.used_s, after.words()) == (900, "0.25 h of GPU quota used")
    assert quota.cost("gpu", 60, started="then", ended="now").used_s is None
    assert quota.cost("cpu", 60).words() == "a CPU takes no quota"


# ---------------------------------------------------------------- info


def test_info_shows_what_is_set_up_and_no_secret(demo, idle_kaggle):
    done = kagg(demo, "--json", "info")
    assert done.code == Exit.DONE
    found = done.document
    assert (found["user"], found["credentials"]) == ("demo", ["KAGGLE_USERNAME and KAGGLE_KEY"])
    assert found["kaggle_url"].startswith(idle_kaggle.url)
    assert found["quota"]["gpu"] == {"used_s": 0, "reserved_s": 0, "allowed_s": 108000, "left_s": 108000}
    assert (found["slots"], found["live"], found["problems"]) == ({"CPU": 5, "GPU": 2, "TPU": 1}, [], {})
    text = kagg(demo, "info").out
    assert "30.0 h left of 30.0 h" in text
    assert "retired; Kaggle gives NvidiaTeslaT4" in text
    assert demo.env["KAGGLE_KEY"] not in text + done.out


def test_info_shows_live_runs_and_what_they_reserve(tmp_path, idle_kaggle):
    yard = Yard(tmp_path, idle_kaggle)
    slug = yard.run(1)
    text = kagg(yard.ctx, "info").out
    assert f"demo/{slug}  queued  NvidiaTeslaT4" in text
    assert "12.0 h reserved by live sessions" in text
    yard.ledger.close()
    close(yard.ctx)


def test_without_credentials_info_says_so_and_shows_the_rest(ctx):
    done = kagg(ctx, "info")
    assert done.code == Exit.DONE
    assert "credentials  none found" in done.out
    assert "TpuV5E8" in done.out


def test_every_failure_is_a_line_of_info(demo, idle_kaggle, tmp_path):
    idle_kaggle.world.faults.add("status", "*", FOREVER, status=503, message="maintenance")
    demo.env = {**demo.env, "KAGG_LEDGER": "sqlite:////proc/none/ledger.db"}
    done = kagg(demo, "--json", "info")
    assert done.code == Exit.DONE
    assert set(done.document["problems"]) == {"quota", "ledger"}
    text = kagg(demo, "info").out
    assert "quota        not known: 127.0.0.1 answered 503" in text
    assert "ledger       not known: " in text


@pytest.mark.parametrize("signed", [{"KAGGLE_KEY": "0" * 32}, {"KAGGLE_API_TOKEN": "KGAT_" + "0" * 32}])
def test_who_is_named_beside_a_refused_key_is_nobody(demo, signed):
    demo.env.pop("KAGGLE_KEY")
    demo.env.update(signed)
    done = kagg(demo, "--json", "info")
    found = json.loads(done.out)
    assert (done.code, found["user"], found["quota"], found["live"]) == (0, None, None, None)
    assert found["problems"]["user"]
    assert "none" not in next(line for line in kagg(demo, "info").out.splitlines() if line.startswith("live runs"))


def test_info_with_a_wrong_address_is_a_line_too(ctx):
    done = kagg(ctx, "--json", "--kaggle-url", "http://example.com", "info")
    assert done.code == Exit.DONE
    assert "clear text" in done.document["problems"]["kaggle_url"]
