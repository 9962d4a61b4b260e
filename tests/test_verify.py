"""--verify FILE: schemas, required files, limits of metrics; a bad FILE ends before anything is pushed."""

from __future__ import annotations

import json

import pytest

from kagg import Exit, KaggError
from plugins.lib.launch.verify import load

SCHEMA = {"type": "object", "required": ["accuracy"], "properties": {"accuracy": {"type": "number", "minimum": 0.9}}}


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "output"
    (found / "plots").mkdir(parents=True)
    (found / "metrics.json").write_text('{"accuracy": 0.5, "loss": 0.25}')
    (found / "plots" / "a.png").write_bytes(b"png")
    (found / "plots" / "b.png").write_bytes(b"")
    return found


@pytest.fixture
def check(tmp_path, folder):
    """Load FILE from text or JSON and return its findings."""

    def findings(asked, record=None, name="verify.json"):
        path = tmp_path / name
        path.write_text(asked if isinstance(asked, str) else json.dumps(asked))
        return load(path).apply(folder, record or {})

    return findings


class TestFiles:
    def test_a_list_of_files_and_patterns_with_comments(self, check):
        text = "# what must be there\n\n./metrics.json\nplots/*.png   # both\nplots/\nmodel.pt\n"
        assert check(text, name="files.txt") == ["model.pt: no such file among the outputs"]

    def test_a_json_list_is_a_list_too(self, check):
        assert check(["metrics.json", "x*"]) == ["x*: no such file among the outputs"]

    def test_sizes_and_hashes(self, check):
        asked = {"files": [{"path": "plots/*.png", "min_bytes": 1}, {"path": "metrics.json", "max_bytes": 3}]}
        asked["files"].append({"path": "plots/a.png", "sha256": "A" * 64})
        found = check(asked)
        assert found[:2] == [
            "plots/b.png: it has 0 bytes, 1 at least are asked for",
            "metrics.json: it has 31 bytes, 3 at most are asked for",
        ]
        assert found[2].startswith("plots/a.png: its SHA-256 is")

    def test_a_link_is_no_output(self, check, folder, tmp_path):
        (tmp_path / "secret.txt").write_text("x")
        (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
        assert check("link.txt", name="f.txt") == ["link.txt: no such file among the outputs"]


class TestSchemas:
    def test_a_schema_is_about_metrics_json(self, check):
        assert check(SCHEMA) == ["metrics.json: $.accuracy: 0.5 is less than the minimum of 0.9"]

    def test_else_about_result_json_else_about_the_metrics(self, check, folder):
        (folder / "metrics.json").rename(folder / "result.json")
        assert check(SCHEMA)[0].startswith("result.json: $.accuracy")
        (folder / "result.json").unlink()
        assert check(SCHEMA, {"metrics": {"accuracy": 0.95}}) == []
        assert check(SCHEMA, {"metrics": {"x": 1.0}}) == ["metrics: $: 'accuracy' is a required property"]
        assert check(SCHEMA) == ["metrics.json: no such file among the outputs, and no other metrics to check"]

    def test_a_schema_may_name_its_file(self, check, folder):
        (folder / "report.json").write_text("[1]")
        assert check({**SCHEMA, "x-kagg-file": "report.json"}) == ["report.json: $: [1] is not of type 'object'"]
        assert check({**SCHEMA, "x-kagg-file": "no.json"}) == ["no.json: no such file among the outputs"]

    def test_the_draft_is_the_one_that_it_names(self, check):
        old = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"accuracy": {"minimum": 0.5}}}
        old["properties"]["accuracy"]["exclusiveMinimum"] = True  # a number in later drafts
        assert len(check(old)) == 1

    def test_our_form_takes_schemas_in_place_and_from_files(self, check, tmp_path):
        (tmp_path / "schema").mkdir()
        (tmp_path / "schema" / "m.json").write_text(json.dumps(SCHEMA))
        assert len(check({"schemas": {"metrics.json": "schema/m.json"}})) == 1
        assert len(check({"schemas": {"*.json": SCHEMA}})) == 1

    def test_an_output_that_is_not_json_is_a_finding(self, check, folder):
        (folder / "metrics.json").write_text("{")
        assert check(SCHEMA)[0].startswith("metrics.json: it is not JSON")

    @pytest.mark.parametrize("content", ["[" * 50_000, '{"accuracy": ' + "9" * 5000 + "}"])
    def test_a_hostile_output_is_a_finding(self, check, folder, content):
        (folder / "metrics.json").write_text(content)
        assert check(SCHEMA)[0].startswith("metrics.json: it is not JSON")

    def test_many_faults_are_cut_and_long_ones_shortened(self, check, folder):
        (folder / "metrics.json").write_text(json.dumps(["x" * 5000] * 200))
        found = check({"items": {"type": "number"}})
        assert (len(found), max(map(len, found)) < 400) == (51, True)

    def test_references_inside_the_schema_work(self, check):
        inner = {"$defs": {"n": {"type": "string"}}, "properties": {"accuracy": {"$ref": "#/$defs/n"}}}
        assert len(check(inner)) == 1
        assert check({**inner, "properties": {"accuracy": {"$ref": "#/$defs/no"}}})[0].endswith("which is not in it")

    @pytest.mark.parametrize(
        "target", ["http://127.0.0.1:9/x.json", "https://example.com/s#/a", "other.json", "file:///etc/x"]
    )
    def test_a_reference_that_leads_out_is_refused_and_never_fetched(self, check, target):
        with pytest.raises(KaggError, match="nothing is fetched") as caught:
            check({"properties": {"a": {"$ref": target}}})
        assert caught.value.code == Exit.USAGE


class TestMetrics:
    def test_limits(self, check):
        found = check({"metrics": {"accuracy": {"min": 0.9}, "loss": {"max": 0.1}, "f1": {"min": 0}}})
        assert found == [
            "metric accuracy: 0.5 is less than 0.9",
            "metric loss: 0.25 is more than 0.1",
            "metric f1: it was not found; there are: accuracy, loss",
        ]
        assert check({"metrics": {"accuracy": {"min": 0.5, "max": 0.5}}}) == []

    def test_nan_passes_no_limit(self, check, folder):
        (folder / "metrics.json").write_text('{"accuracy": NaN}')
        assert check({"metrics": {"accuracy": {"min": 0}}}) == ["metric accuracy: it is NaN"]
        assert check({"metrics": {"accuracy": {"min": 0}}}, {"metrics": {"accuracy": 1.0}}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "asks for nothing"),
        ("# only\n", "asks for nothing"),
        ("a.txt\n../x\n", "line 2: '../x' leads out"),
        ("/etc/passwd", "line 1"),
        ("C:\\x", "line 1"),
        ("{\n", "line 2: it is not JSON"),
        ('{"files": ["a"],\n "metric": 1}', "line 2: there is no key 'metric'"),
        ('{"files": [\n{"path": "a.txt", "bytes": 1}]}', "line 2: there is no key 'bytes'"),
        ('{"files": [{"path": "a.txt", "min_bytes": true}]}', "no number of bytes"),
        ('{"files": [{"path": "a.txt", "sha256": "zz"}]}', "no SHA-256"),
        ('{"files": [3]}', "is no file name"),
        ('{"files": [{}]}', "is no file name"),
        ('{"files": {}, "schemas": []}', "asks for nothing"),
        ('{"files": "a"}', "files is a list"),
        ('{"metrics": {\n"a": {"least": 1}}}', "line 2: the limits of a"),
        ('{"metrics": {"a": {"min": "1"}}}', "the limits of a"),
        ('{"metrics": {"a": {}}}', "the limits of a"),
        ('{"schemas": {"m.json": "no.json"}}', "no.json"),
        ('{"schemas": {"m.json": 3}}', "a JSON Schema is an object"),
        ('{"file": ["a"]}', "asks for nothing"),
        ("{}", "asks for nothing"),
        ("3", None),
        ('{"type": "nonsense"}', "no valid JSON Schema"),
        ('{"$schema": "http://example.com/mine", "type": "object"}', "no JSON Schema draft"),
        ("[" * 50_000, "not JSON"),
        ("a\0b", "is not text"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_file_is_one_line_with_its_place(check, text, said):
    if said is None:
        assert check(text, name="f.txt") == ["3: no such file among the outputs"]
        return
    with pytest.raises(KaggError) as caught:
        check(text, name="verify.json" if text[:1] in ("{", "[") else "f.txt")
    assert (caught.value.code, said in caught.value.message, "\n" in caught.value.message) == (Exit.USAGE, True, False)


@pytest.mark.parametrize("name", ["no.json", "folder", "latin.txt", "big.json", "f.yaml"])
def test_a_file_that_cannot_be_read_is_usage(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "big.json").write_bytes(b" " * 5_000_000)
    (tmp_path / "f.yaml").write_text("files: [a]")
    with pytest.raises(KaggError) as caught:
        load(tmp_path / name)
    assert caught.value.code == Exit.USAGE
