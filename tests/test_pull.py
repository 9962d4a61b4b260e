"""pull: every form of reference, code hosts behind mirrors, and names and pages that are not what they should be."""

from __future__ import annotations

import json

import pytest
from front_door import API, environment, kagg
from local_kaggle import Client

from kagg import Exit

NOTEBOOK = json.dumps({"cells": [{"cell_type": "code", "source": "1"}], "metadata": {}, "nbformat": 4}).encode()
SOURCE = "print('v{}')\n"


@pytest.fixture
def hello(idle_kaggle):
    """A kernel with three versions."""
    client = Client(idle_kaggle)
    for number in (1, 2, 3):
        client.push("Hello there", SOURCE.format(number), slug="demo/hello-there", kernelExecutionType="QUICK_SAVE")
    return client


@pytest.fixture
def pull(demo, tmp_path):
    """Return a function that pulls into tmp_path/out."""
    return lambda *words: kagg(demo, "pull", *words, "--dest", tmp_path / "out")


def pulled(tmp_path):
    return {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("demo/hello-there", 3),
        ("demo/hello-there/v1", 1),
        ("demo/hello-there/2", 2),
        ("demo/hello-there@2", 2),
        ("demo/hello-there@v1", 1),
        ("https://www.kaggle.com/demo/hello-there", 3),
        ("https://www.kaggle.com/code/demo/hello-there", 3),
        ("https://kaggle.com/kernels/demo/hello-there/", 3),
        ("https://www.kaggle.com/code/demo/hello-there/notebook", 3),
        ("https://www.kaggle.com/code/demo/hello-there#Title", 3),
        ("https://www.kaggle.com/code/demo/hello-there?scriptVersion=1", 1),
        ("  demo/hello-there  ", 3),
    ],
)
def test_every_way_to_name_a_kernel(pull, tmp_path, reference, version):
    done = pull(reference)
    assert done.code == Exit.DONE, done.err
    assert pulled(tmp_path) == {"hello-there.py": SOURCE.format(version).encode()}
    assert done.out == f"{tmp_path / 'out' / 'hello-there.py'}\n"


@pytest.mark.usefixtures("hello")
def test_a_script_version_id_is_not_quietly_taken_for_the_newest(pull, tmp_path):
    """The id in ?scriptVersionId= is no version number, and no public call maps it to one."""
    done = pull("https://www.kaggle.com/code/demo/hello-there?scriptVersionId=123456789")
    assert done.code != Exit.DONE or "scriptVersionId" in done.err
    if done.code == Exit.DONE:
        assert pulled(tmp_path) == {"hello-there.py": SOURCE.format(3).encode()}


@pytest.mark.usefixtures("hello")
def test_a_version_that_is_not_there_is_exit_12(pull, tmp_path):
    assert pull("demo/hello-there/v9").code == Exit.SERVICE
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "reference",
    [
        "hello",
        "",
        "a/b/c",
        "../x",
        "a/..",
        "demo/hello-there/v0",
        "demo/x/v1/y",
        "-a/b",
        "ftp://h/x.ipynb",
        "file:///etc/passwd",
        "https://",
        "https:///x.ipynb",
        "http://[::1/x.ipynb",
        "https://www.kaggle.com/datasets/zillow/zecon",
        "https://www.kaggle.com/competitions/titanic",
    ],
)
def test_what_names_no_notebook_is_exit_2_before_anything_is_sent(pull, idle_kaggle, tmp_path, reference):
    done = pull(reference)
    assert done.code == Exit.USAGE, done
    assert list(idle_kaggle.requests) == []
    assert not (tmp_path / "out").exists()


def test_clear_text_to_another_machine_is_refused(pull, tmp_path):
    done = pull("http://example.org/x.ipynb")
    assert done.code == Exit.CONFIG
    assert "example.org" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("language", "kind", "suffix"),
    [
        ("python", "script", ".py"),
        ("r", "script", ".R"),
        ("rmarkdown", "script", ".Rmd"),
        ("python", "notebook", ".ipynb"),
        ("r", "notebook", ".ipynb"),
    ],
)
def test_kernels_of_every_language_get_their_suffix(pull, idle_kaggle, tmp_path, language, kind, suffix):
    text = NOTEBOOK.decode() if kind == "notebook" else "x <- 'é'\n"
    Client(idle_kaggle).push("Hello there", text, language=language, kernelType=kind, kernelExecutionType="QUICK_SAVE")
    done = pull("demo/hello-there", "--metadata")
    assert done.code == Exit.DONE, done.err
    found = pulled(tmp_path)
    assert found.pop(f"hello-there{suffix}") == text.encode()
    meta = json.loads(found.pop("kernel-metadata.json"))
    assert (meta["language"], meta["kernel_type"], meta["code_file"]) == (language, kind, f"hello-there{suffix}")
    assert found == {}


def test_metadata_has_no_prefixes_that_a_push_would_refuse(ctx, web, tmp_path):
    meta = {
        "ref": "demo/hello-there",
        "title": "Hello there",
        "datasetDataSources": ["datasets/zillow/zecon"],
        "kernelDataSources": ["code/demo/other"],
        "competitionDataSources": ["competitions/titanic"],
        "modelDataSources": None,
    }
    web.on(API + "GetKernel", (200, {"metadata": meta, "blob": {"source": "1", "language": "python"}}, {}))
    ctx.env = environment(tmp_path, KAGG_KAGGLE_URL=web.url)
    assert kagg(ctx, "pull", "demo/hello-there", "--metadata", "--dest", tmp_path / "out").code == Exit.DONE
    found = json.loads((tmp_path / "out" / "kernel-metadata.json").read_text())
    assert found["dataset_sources"] == ["zillow/zecon"]
    assert found["kernel_sources"] == ["demo/other"]
    assert found["competition_sources"] == ["titanic"]
    assert found["model_sources"] == []


@pytest.mark.usefixtures("hello")
def test_one_bad_reference_of_several_does_not_stop_the_others(pull, idle_kaggle, tmp_path):
    Client(idle_kaggle).push("Second one", "2\n", kernelExecutionType="QUICK_SAVE")
    for order in (
        ["demo/not-there", "demo/hello-there", "demo/second-one"],
        ["demo/hello-there", "nonsense", "demo/second-one"],
    ):
        done = pull(*order)
        assert done.code == Exit.FINDINGS, done.err
        assert sorted(pulled(tmp_path)) == ["hello-there.py", "second-one.py"]
        assert (order[0] if "not-there" in order[0] else "nonsense") in done.err
        assert len(done.out.splitlines()) == 2


@pytest.mark.usefixtures("hello")
def test_several_references_under_json_are_one_line_each(demo, idle_kaggle, tmp_path):
    Client(idle_kaggle).push("Second one", "2\n", kernelExecutionType="QUICK_SAVE")
    references = ["demo/hello-there/v1", "demo/second-one"]
    done = kagg(demo, "--json", "pull", *references, "--metadata", "--dest", tmp_path / "out")
    assert done.code == Exit.DONE, done.err
    assert [json.loads(line)["ref"] for line in done.out.splitlines()] == references
    assert sorted(pulled(tmp_path)) == [
        *("hello-there/hello-there.py", "hello-there/kernel-metadata.json"),
        *("second-one/kernel-metadata.json", "second-one/second-one.py"),
    ]


def test_references_that_are_all_bad_are_a_failure(pull):
    assert pull("demo/no-one", "demo/no-two").code == Exit.SERVICE


def test_two_kernels_of_one_name_do_not_overwrite_each_other_in_silence(pull, idle_kaggle, tmp_path):
    for user in ("demo", "ann"):
        Client(idle_kaggle, user).push("Same name", f"'{user}'\n", isPrivate=False, kernelExecutionType="QUICK_SAVE")
    done = pull("demo/same-name", "ann/same-name")
    contents = set(pulled(tmp_path).values())
    assert contents == {b"'demo'\n", b"'ann'\n"} or done.code != Exit.DONE


@pytest.mark.parametrize(
    "slug", ["../x", "/abs", "a/../../b", "a\\..\\b", "C:x", "con", "x\0y", "\x1b[31m", "a" * 300, "\ud800x", 5, ["x"]]
)
def test_a_hostile_slug_from_the_server_writes_nothing_outside(ctx, web, tmp_path, slug):
    reply = {"metadata": {}, "blob": {"source": "evil", "language": "python", "kernelType": "script", "slug": slug}}
    web.on(API + "GetKernel", (200, reply, {}))
    ctx.env = environment(tmp_path, KAGG_KAGGLE_URL=web.url)
    before = set(tmp_path.parent.rglob("*"))
    done = kagg(ctx, "pull", "demo/hello-there", "--metadata", "--dest", tmp_path / "out" / "deep")
    if isinstance(slug, str):
        assert done.code == Exit.INTEGRITY, done
        assert [path for path in set(tmp_path.parent.rglob("*")) - before if path.is_file()] == []
    assert done.code in (Exit.DONE, Exit.INTEGRITY, Exit.SERVICE)


def test_a_link_in_the_folder_does_not_lead_a_pull_out_of_it(pull, tmp_path):
    (tmp_path / "precious.py").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "hello-there.py").symlink_to(tmp_path / "precious.py")
    assert pull("demo/hello-there").code != Exit.DONE
    assert (tmp_path / "precious.py").read_text() == "mine"


@pytest.mark.usefixtures("hello")
def test_a_folder_that_cannot_be_written_is_one_line(pull, tmp_path):
    (tmp_path / "out").write_text("a file is in the way")
    done = pull("demo/hello-there")
    assert done.code == Exit.FAILED
    assert len(done.err.splitlines()) == 1
    several = pull("demo/hello-there", "demo/hello-there/v2")
    assert several.code == Exit.FAILED, several.err


# Links to code hosts


MIRRORED = (
    "raw.githubusercontent.com",
    "gist.githubusercontent.com",
    "gitlab.com",
    "bitbucket.org",
    "drive.google.com",
    "example.org",
)


@pytest.fixture
def link(ctx, web, tmp_path):
    """Return a function that pulls a link; code hosts are folders of a local server."""
    mirrors = ",".join(f"{host}={web.url}/{host}" for host in MIRRORED)
    ctx.env = environment(tmp_path, KAGG_MIRRORS=mirrors, KAGGLE_USERNAME="demo", KAGGLE_KEY="secret-key-0123456789")
    return lambda *urls: kagg(ctx, "pull", *urls, "--dest", tmp_path / "out")


@pytest.mark.parametrize(
    ("url", "asked", "name"),
    [
        (
            "https://github.com/o/r/blob/main/d/a%20b.ipynb",
            "raw.githubusercontent.com/o/r/main/d/a%20b.ipynb",
            "a b.ipynb",
        ),
        ("https://github.com/o/r/raw/main/a.ipynb?raw=true", "raw.githubusercontent.com/o/r/main/a.ipynb", "a.ipynb"),
        ("https://github.com/o/r/blob/main/a.ipynb#L3", "raw.githubusercontent.com/o/r/main/a.ipynb", "a.ipynb"),
        ("https://raw.githubusercontent.com/o/r/main/a.ipynb", "raw.githubusercontent.com/o/r/main/a.ipynb", "a.ipynb"),
        ("https://gitlab.com/o/g/r/-/blob/main/a.ipynb", "gitlab.com/o/g/r/-/raw/main/a.ipynb", "a.ipynb"),
        ("https://bitbucket.org/o/r/src/main/a.ipynb", "bitbucket.org/o/r/raw/main/a.ipynb", "a.ipynb"),
        ("https://gist.github.com/o/0123abcd", "gist.githubusercontent.com/o/0123abcd/raw", None),
        ("https://drive.google.com/file/d/ID-x/view?usp=sharing", "drive.google.com/uc?export=download&id=ID-x", None),
        ("https://drive.google.com/open?id=ID-x", "drive.google.com/uc?export=download&id=ID-x", None),
        (
            "https://colab.research.google.com/drive/ID-x#scrollTo=1",
            "drive.google.com/uc?export=download&id=ID-x",
            None,
        ),
        (
            "https://colab.research.google.com/github/o/r/blob/main/a.ipynb",
            "raw.githubusercontent.com/o/r/main/a.ipynb",
            "a.ipynb",
        ),
        ("https://nbviewer.org/github/o/r/blob/main/a.ipynb", "raw.githubusercontent.com/o/r/main/a.ipynb", "a.ipynb"),
        (
            "https://nbviewer.jupyter.org/github/o/r/blob/main/a.ipynb",
            "raw.githubusercontent.com/o/r/main/a.ipynb",
            "a.ipynb",
        ),
        ("https://example.org/files/a.ipynb?x=1", "example.org/files/a.ipynb?x=1", "a.ipynb"),
    ],
)
def test_the_page_that_people_copy_gives_the_file(link, web, tmp_path, url, asked, name):
    web.on(f"/{asked}", (200, NOTEBOOK, {"Content-Type": "application/octet-stream"}))
    done = link(url)
    assert done.code == Exit.DONE, (done.err, [request.path for request in web.requests])
    assert [request.path for request in web.requests] == [f"/{asked}"]
    assert list(pulled(tmp_path).values()) == [NOTEBOOK]
    (found,) = pulled(tmp_path)
    assert found == name or (name is None and found.endswith(".ipynb"))
    assert "authorization" not in web.requests[0].headers


def test_a_raw_http_link_to_this_machine_works(ctx, web, tmp_path):
    url = web.on("/a.ipynb", (200, NOTEBOOK, {}))
    assert kagg(ctx, "pull", url, "--dest", tmp_path / "out").code == Exit.DONE
    assert pulled(tmp_path) == {"a.ipynb": NOTEBOOK}


def test_a_script_behind_a_link_keeps_its_name(ctx, web, tmp_path):
    url = web.on("/train.py", (200, b"print(1)\n", {"Content-Type": "text/plain"}))
    assert kagg(ctx, "pull", url, "--dest", tmp_path / "out").code == Exit.DONE
    assert pulled(tmp_path) == {"train.py": b"print(1)\n"}


@pytest.mark.parametrize("path", ["/a.ipynb", "/a.py", "/a", "/"])
@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Sign in</title>", b"\n<html><body>Login</body></html>"])
def test_a_login_page_is_not_saved_as_a_notebook(ctx, web, tmp_path, path, body):
    url = web.on(path, (200, body, {"Content-Type": "text/html; charset=utf-8"}))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out")
    assert done.code == Exit.SERVICE, done
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"cells": 5}', b"\xff\xfe", b"[" * 100_000, NOTEBOOK[:-5]]
)
def test_what_is_no_notebook_is_not_saved_as_one(ctx, web, tmp_path, body):
    url = web.on("/a.ipynb", (200, body, {"Content-Type": "application/json"}))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out")
    assert done.code == Exit.SERVICE, done
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_leads_nowhere_is_exit_12(ctx, web, tmp_path, status):
    url = web.on("/a.ipynb", (status, b"no", {}))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out")
    assert done.code == Exit.SERVICE
    assert str(status) in done.err
    assert len(web.requests) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "header",
    [
        'attachment; filename="../evil.ipynb"',
        'attachment; filename="/abs/evil.ipynb"',
        "attachment; filename=..%2F..%2Fevil.ipynb",
        "attachment; filename*=UTF-8''..%2Fevil.ipynb",
        "attachment; filename*=UTF-8''%2Fetc%2Fevil.ipynb",
        'attachment; filename="..\\evil.ipynb"',
        'attachment; filename="C:evil.ipynb"',
        "attachment; filename*=UTF-8''evil%00.ipynb",
        "attachment; filename*=UTF-8''evil%0a.ipynb",
        'attachment; filename="' + "a" * 300 + '.ipynb"',
        'attachment; filename=".."',
    ],
)
def test_a_hostile_file_name_writes_nothing_outside(ctx, web, tmp_path, header):
    url = web.on("/a.ipynb", (200, NOTEBOOK, {"Content-Disposition": header}))
    before = set(tmp_path.parent.rglob("*"))
    done = kagg(ctx, "pull", url, "--dest", tmp_path / "out" / "deep")
    new = [path for path in set(tmp_path.parent.rglob("*")) - before if path.is_file() and "home" not in path.parts]
    assert done.code in (Exit.INTEGRITY, Exit.DONE), done
    assert all(path.parent == tmp_path / "out" / "deep" for path in new)
    assert (done.code == Exit.DONE) == bool(new)
    if "../" in header or "/abs" in header or "''" in header:
        assert done.code == Exit.INTEGRITY


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="my notebook.ipynb"', "my notebook.ipynb"),
        ("attachment; filename=plain.ipynb; size=5", "plain.ipynb"),
        ("attachment; filename*=UTF-8''caf%C3%A9.ipynb", "café.ipynb"),
        ("attachment; filename=\"x.ipynb\"; filename*=UTF-8''caf%C3%A9.ipynb", "café.ipynb"),
        ("inline", "a.ipynb"),
    ],
)
def test_the_file_name_of_the_server_is_used(ctx, web, tmp_path, header, name):
    url = web.on("/a.ipynb", (200, NOTEBOOK, {"Content-Disposition": header}))
    assert kagg(ctx, "pull", url, "--dest", tmp_path / "out").code == Exit.DONE
    assert list(pulled(tmp_path)) == [name]


def test_a_link_is_tried_again_after_a_500(ctx, web, tmp_path):
    url = web.on("/a.ipynb", (500, b"", {}), (200, NOTEBOOK, {}))
    assert kagg(ctx, "pull", url, "--dest", tmp_path / "out").code == Exit.DONE
    assert pulled(tmp_path) == {"a.ipynb": NOTEBOOK}
