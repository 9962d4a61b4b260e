"""Job files of every format, right and wrong."""

from __future__ import annotations

import csv
import io
import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kagg import Context, Exit, KaggError, safe_path
from plugins.lib.jobfile import folder_name, read_jobs


@pytest.fixture
def ctx(tmp_path):
    return Context({"KAGG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}, stderr=io.StringIO())


@pytest.fixture
def jobs_from(tmp_path, ctx):
    def read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_jobs(path, ctx, **options)

    return read


def bad_rows(read, name, content):
    """Return {line: error} of a file that must be refused."""
    with pytest.raises(KaggError) as caught:
        read(name, content)
    assert caught.value.code == Exit.USAGE
    return {row["line"]: row["error"] for row in caught.value.details["rows"]}


def test_a_csv_row_says_everything_a_job_can(jobs_from):
    (job,) = jobs_from(
        "jobs.csv",
        "id,notebook,operation,name,params,payload,monitor,timeout,on,dest,param.rate,p:word\n"
        'a,owner/slug/v3,deploy,end-point,x=1;y=two,"{""n"": [1]}",10s,1.5m,kaggle,out/a,0.5,07\n',
    )
    assert job._asdict() == {
        "key": "a",
        "ref": "owner/slug/v3",
        "operation": "deploy",
        "name": "end-point",
        "folder": "out/a",
        "path": None,
        "params": {"x": 1, "y": "two", "rate": 0.5, "word": "07"},
        "payload": {"n": [1]},
        "monitor_s": 10.0,
        "timeout_s": 90.0,
        "on": "kaggle",
        "line": 2,
        "kaggle": {},
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiter_and_byte_order_mark_are_found_out(jobs_from, delimiter, encoding):
    text = f'id{delimiter}ref{delimiter}params\r\né{delimiter}owner/slug{delimiter}"{{""a"": 1, ""b"": 2}}"\r\n'
    (job,) = jobs_from("jobs.csv", text.encode(encoding))
    assert (job.key, job.params) == ("é", {"a": 1, "b": 2})


def test_lines_are_counted_in_the_file_also_after_quoted_newlines_and_empty_lines(jobs_from):
    text = 'id,ref,payload\n\na,o/s,"{\n\n""n"": 1}"\n\n ,, \nb,o/s,\n'
    assert [(job.key, job.line) for job in jobs_from("jobs.csv", text)] == [("a", 3), ("b", 8)]


def test_json_lists_objects_and_bare_references_are_read_with_their_lines(jobs_from):
    text = (
        '{"defaults": {"timeout": 5, "params": {"a": 1, "b": 1}},\n "jobs": [\n'
        '"o/s",\n\n{"id": 7, "ref": "o/t",\n "params": {"b": 2}}]}'
    )
    first, second = jobs_from("jobs.json", text)
    assert (first.line, first.params, first.timeout_s) == (3, {"a": 1, "b": 1}, 5.0)
    assert (second.line, second.key, second.params) == (5, "7", {"a": 1, "b": 2})
    assert [job.line for job in jobs_from("list.json", '[{"ref": "o/s"},\n{"ref": "o/t"}]')] == [1, 2]


def test_json_lines_keep_separators_inside_strings(jobs_from):
    text = '{"ref": "o/s", "params": {"a": "x\u2028y"}}\n\n{"ref": "o/t"}\r\n'
    assert [(job.line, job.params) for job in jobs_from("jobs.jsonl", text)] == [(1, {"a": "x\u2028y"}), (3, {})]


def test_text_takes_one_reference_per_line_and_comments(jobs_from):
    text = "# all of them\no/s   # the first\n\nhttps://example.org/a.ipynb#cell\n"
    jobs = jobs_from("jobs.txt", text, operation="download")
    assert [(job.ref, job.operation, job.line) for job in jobs] == [
        ("o/s", "download", 2),
        ("https://example.org/a.ipynb#cell", "download", 4),
    ]


def test_local_paths_are_relative_to_the_job_file(tmp_path, jobs_from, monkeypatch):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.ipynb").write_text("{}")
    (tmp_path / "in.json").write_text('{"n": 3}')
    monkeypatch.chdir("/")
    (job,) = jobs_from("jobs.csv", "path,payload\nbooks/a.ipynb,@in.json\n")
    assert job.path == (tmp_path / "books" / "a.ipynb").resolve()
    assert job.payload == {"n": 3}


def test_the_command_line_s_operation_is_for_rows_that_name_none(jobs_from):
    text = "ref,operation\no/s,deploy\no/t,\n"
    assert [job.operation for job in jobs_from("jobs.csv", text)] == ["deploy", "run"]
    assert [job.operation for job in jobs_from("jobs.csv", text, operation="download")] == ["deploy", "download"]


def test_an_absent_id_depends_on_the_content_only(jobs_from):
    one = jobs_from("one.csv", "ref,param.a\no/s,1\no/s,2\n")
    two = jobs_from(
        "two.jsonl", '{"ref": "o/t"}\n{"params": {"a": 2}, "ref": "o/s"}\n{"ref": "o/s", "params": {"a": 1}}\n'
    )
    assert [job.key for job in one] == [two[2].key, two[1].key]
    assert one[0].key.startswith("s-")


def test_unknown_columns_are_told_once_with_the_nearest_known_one(jobs_from, ctx):
    jobs_from("jobs.csv", "ref,tiemout,owner\no/s,5,x\no/t,6,y\n")
    said = ctx.stderr.getvalue()
    assert said.count("column 'tiemout' is not used; did you mean timeout?") == 1
    assert said.count("column 'owner' is not used") == 1


def test_every_bad_row_is_reported_with_its_line_and_the_good_ones_are_not(jobs_from, ctx):
    rows = {
        "a,o/s,run,,,": None,
        "a,o/t,run,,,": "id 'a' is also on line 2",
        ",,run,,,": "ref is empty",
        ",o/s/t/u,,,,": "neither owner/slug nor a link",
        ",ftp://x/y,,,,": "neither owner/slug nor a link",
        ",gone.ipynb,,,,": "is not there",
        ",o/u,fly,,,": "operation 'fly' is none of download, run, deploy",
        ",o/u,,x,,": "params has 'x' without =",
        ",o/u,,1x=2,,": "'1x' is no variable name",
        ',o/u,,"{""a"": NaN}",,': "params is not JSON",
        ",o/u,,,soon,": "'soon' is not a duration",
        ",o/u,,,0s,": "no duration above zero",
        ",o/u,,,,{": "payload is not JSON",
        ",o/u,,,,@gone.json": "cannot read the payload",
        ",o/u,,,,,,": "8 cells, but the header has 6 columns",
        "b,o/v,run,,,": None,
    }
    errors = bad_rows(jobs_from, "jobs.csv", "\n".join(["id,ref,operation,params,timeout,payload", *rows]) + "\n")
    expected = {line: text for line, text in enumerate(rows.values(), 2) if text}
    assert errors.keys() == expected.keys()
    for line, text in expected.items():
        assert text in errors[line]
    assert "jobs.csv:3: id 'a' is also on line 2" in ctx.stderr.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jobs.csv", "", "holds no jobs"),
        ("jobs.csv", "\n\n", "holds no jobs"),
        ("jobs.csv", "id,ref\n", "holds no jobs"),
        ("jobs.csv", "id,name\na,b\n", "has no column for the notebook"),
        ("jobs.csv", "ref,ref\no/s,o/t\n", "has two columns 'ref'"),
        ("jobs.csv", b"ref\no/s\n\xff\xfe\n", "line 3 is not utf-8"),
        ("jobs.csv", 'ref,id\no/s,"a\n', "line 2: not CSV"),
        ("jobs.json", '{"jobs": ', "is not JSON"),
        ("jobs.json", "[" * 100_000, "is not JSON"),
        ("jobs.json", '{"rows": []}', "is no list of jobs"),
        ("jobs.json", '{"defaults": {"id": 1}, "jobs": []}', "gives every job the same id"),
        ("jobs.json", "[1, null]", "first line 1: not an object"),
        ("jobs.json", '[{"ref": ["o/s"]}]', "ref is ['o/s'], not text"),
        ("jobs.json", '[{"ref": "o/s", "timeout": true}]', "no duration"),
        ("jobs.json", '[{"ref": "o/s", "params": [1]}]', "not an object or a=1;b=2"),
        ("jobs.jsonl", '{"ref": "o/s"}\n{"ref": \n', "line 2: not JSON"),
        ("jobs.txt", "# nothing\n", "holds no jobs"),
        ("jobs.xlsx", "PK", "no job file that kagg reads"),
    ],
)
def test_a_malformed_file_is_one_clear_usage_error(jobs_from, name, content, said):
    with pytest.raises(KaggError) as caught:
        jobs_from(name, content)
    assert caught.value.code == Exit.USAGE
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path, ctx):
    with pytest.raises(KaggError, match="cannot read") as caught:
        read_jobs(tmp_path / "gone.csv", ctx)
    assert caught.value.code == Exit.USAGE


def test_two_jobs_never_share_a_folder_or_an_endpoint(jobs_from):
    errors = bad_rows(
        jobs_from, "jobs.csv", "id,ref,dest,name,operation\na,o/s,,x,deploy\nA,o/s,,,\nb,o/s,a,,\nc,o/s,,x,deploy\n"
    )
    assert errors == {
        3: "folder 'A' is also on line 2",
        4: "folder 'a' is also on line 2",
        5: "endpoint 'x' is also on line 2",
    }


@pytest.mark.parametrize("dest", ["../x", "/abs", "a/../../b", "C:\\x", "~/x"])
def test_a_dest_that_leaves_the_folder_is_a_bad_row(jobs_from, dest):
    assert "refused the file name" in bad_rows(jobs_from, "jobs.csv", f"ref,dest\no/s,{dest}\n")[2]


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=300)
def test_the_folder_of_any_id_stays_inside(tmp_path_factory, key):
    folder = tmp_path_factory.getbasetemp()
    path = safe_path(folder, folder_name(key))
    assert path.parent == folder
    assert len(path.name) < 100


@pytest.mark.parametrize("pair", [("a/b", "a-b"), ("..", "."), ("é", "è"), ("CON", "con-"), ("x" * 150, "x" * 151)])
def test_different_ids_have_different_folders(pair):
    assert folder_name(pair[0]) != folder_name(pair[1])


_words = st.text(string.ascii_letters + string.digits + " ,;\"'=+@-_#\t\u2028é", min_size=1, max_size=12)
_values = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False), _words)
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(string.ascii_letters + string.digits + " ,;\"'=+@#é", min_size=1, max_size=20)
            .map(str.strip)
            .filter(bool),
            "ref": st.sampled_from(["o/s", "owner/slug/v2", "https://example.org/a.ipynb?x=1,2;3"]),
            "operation": st.sampled_from(["download", "run", "deploy"]),
            "params": st.dictionaries(st.from_regex(r"v[a-z]{0,5}", fullmatch=True), _values, max_size=3),
            "payload": st.one_of(st.none(), st.dictionaries(_words, _values, min_size=1, max_size=3)),
            "timeout": st.one_of(st.none(), st.integers(1, 10**6)),
        }
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row["id"].casefold(),
)


@given(
    rows=_rows,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    indent=st.sampled_from([None, 2]),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_written_csv_reads_back_as_the_same_jobs(tmp_path, ctx, rows, delimiter, end, indent):
    path = tmp_path / "jobs.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        for row in rows:
            cells = {name: json.dumps(row[name], indent=indent) for name in ("params", "payload") if row[name]}
            writer.writerow({**row, "payload": "", **cells})
    jobs = read_jobs(path, ctx)
    assert [(job.key, job.ref, job.operation, job.timeout_s) for job in jobs] == [
        (row["id"], row["ref"], row["operation"], row["timeout"]) for row in rows
    ]
    assert [job.params for job in jobs] == [row["params"] for row in rows]
    assert [job.payload for job in jobs] == [row["payload"] for row in rows]
