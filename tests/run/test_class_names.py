"""What classes are called: as recorded, else as somebody said, else by number."""

import pytest
from pictured_run import write_pictured_run
from stored_run import write_run

from gsc_core import imagenet
from gsc_core.errors import GscError
from gsc_core.run import class_names
from gsc_core.run.class_names import class_name
from gsc_core.run.stored import Run, version_of
from gsc_core.workspace import run_class_names


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return Run.load(write_pictured_run(tmp_path / "runs" / "demo", names=None))


def test_names_that_are_given_are_used_and_no_figure_is_another(run):
    before = version_of(run.path)
    assert class_name(run, 1) == "class 1"
    run_class_names.give(run, ["cat", " dog ", "owl"])
    assert [class_name(run, i) for i in (0, 1, 2, 3, -1, None)] == [
        *("cat", "dog", "owl", "class 3"),
        *("unknown", "unknown"),
    ]
    assert class_names.names_of(Run.load(run.path)) == ("cat", "dog", "owl")
    assert version_of(run.path) == before
    run_class_names.give(run, ["a", "b", "c"])
    assert class_name(run, 0) == "a"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat", "dog"], "3 classes, but there are 2 names"),
        (["cat", "dog", ""], "1 to 200 characters"),
        (["cat", "dog", "x" * 201], "1 to 200 characters"),
        (None, "3 classes, but there are 1,000"),
    ],
)
def test_what_does_not_fit_is_refused(run, names, sentence):
    with pytest.raises(GscError, match=sentence):
        run_class_names.give(run, names)
    assert class_names.names_of(run) == ()


def test_names_of_the_model_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    run = Run.load(write_pictured_run(tmp_path / "runs" / "demo"))
    with pytest.raises(GscError, match="from its model"):
        run_class_names.give(run, ["a", "b", "c"])
    assert class_name(run, 0) == "cat"


def test_damaged_names_are_numbers(run):
    (run.path / "class-names.json").write_text("{")
    assert class_name(run, 0) == "class 0"


def test_a_thousand_classes_may_be_imagenets(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    run = Run.load(write_pictured_run(tmp_path / "runs" / "demo", names=None))
    assert not run_class_names.are_imagenets(run)
    thousand = run.document.settings.model_copy(update={"classes": 1000})
    run.document.model_copy(update={"settings": thousand}).write(run.path)
    run = Run.load(run.path)
    assert run_class_names.are_imagenets(run)
    run_class_names.give(run, None)
    assert class_name(run, 815) == imagenet.class_names()[815] == "spider web"


@pytest.mark.parametrize(
    ("content", "file", "names"),
    [
        (b"cat\ndog\n", "x.txt", ("cat", "dog")),
        (b'["cat", "dog"]', "X.JSON", ("cat", "dog")),
        (b'{"1": "dog", "0": "cat"}', "x.json", ("cat", "dog")),
    ],
)
def test_a_list_is_read_as_the_model_form_reads_it(content, file, names):
    assert run_class_names.read_names(content, file) == names


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"\xff\xfe", "not UTF-8"), (b"a\n\nb", "without gaps"), (b"", "without gaps")],
)
def test_a_list_that_is_none_is_a_sentence(content, sentence):
    with pytest.raises(GscError, match=sentence):
        run_class_names.read_names(content, "x.txt")


def test_a_blank_name_is_no_name(home):
    """An empty place in a sentence tells nobody which class is meant."""
    settings = {"class_names": ["stop", "  ", "", " yield "], "classes": 4}
    run = Run.load(write_run(home / "demo", settings=settings))
    assert [class_name(run, i) for i in range(4)] == ["stop", "class 1", "class 2", "yield"]
