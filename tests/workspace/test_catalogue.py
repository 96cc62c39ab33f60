"""What the app offers of the engine, against the classes that it was made from."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gsc_core.audit.spec import DetectorSpec
from gsc_core.classifier.weights import architectures
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.catalogue import CATALOGUE, facts_of
from gsc_core.detectors.ensemble import with_parts
from gsc_core.errors import GscError, SpecError
from gsc_core.workspace import catalogue as offered
from gsc_core.workspace.audits import scored
from gsc_core.workspace.catalogue import CATALOGUE_FILE, Catalogue, catalogue


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workspace whose server has just started."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    offered._catalogue.cache_clear()
    yield tmp_path
    offered._catalogue.cache_clear()


@pytest.mark.slow
def test_it_is_what_the_classes_say(home):
    found = catalogue()
    assert found.detectors == tuple(facts_of(each) for each in CATALOGUE)
    for facts, detector in zip(found.detectors, CATALOGUE, strict=True):
        defaults = {knob.name: knob.default for knob in facts.settings}
        assert defaults == detector().settings()
        assert [*map(type, defaults.values())] == [*map(type, detector().settings().values())]
    assert tuple(found.architectures) == architectures.names()
    name = "torchvision/inception_v3"
    assert found.architectures[name] == architectures.usual_preprocessing(name)


@pytest.mark.slow
def test_it_is_made_once_for_a_version_and_kept(home, monkeypatch):
    with ThreadPoolExecutor(2) as visitors:
        first, second = visitors.map(lambda _: catalogue(), range(2))
    assert first is second
    kept = home / CATALOGUE_FILE
    assert Catalogue.model_validate_json(kept.read_bytes()) == first
    offered._catalogue.cache_clear()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert catalogue() == first  # no process is asked
    for content in (first.model_copy(update={"made_of": "older"}).model_dump_json(), "{", ""):
        offered._catalogue.cache_clear()
        kept.write_text(content)
        with pytest.raises(GscError, match="/nowhere/python"):
            catalogue()


@pytest.mark.slow
def test_nothing_is_kept_where_there_is_no_workspace(home, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(home / "not" / "yet"))
    assert catalogue().detectors
    assert not (home / "not").exists()


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_a_sentence(home, monkeypatch):
    broken = home / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libcudart is missing')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(
        GscError,
        match=r"The list of detectors cannot be made \(.*torch.*\): check the installation\.$",
    ):
        catalogue()


@pytest.mark.slow
@pytest.mark.parametrize("partner", AutoEnsemble.knobs()[0].choices)
def test_the_ensembles_parts_are_those_that_an_audit_scores(partner):
    specs = [
        DetectorSpec(name="odin"),
        DetectorSpec(name="auto-ensemble", settings={"partner": partner}),
    ]
    audited = {each.name for each in with_parts([spec.build() for spec in specs])}
    assert set(scored(specs)) == audited


@pytest.mark.parametrize(
    ("name", "settings"),
    [("knm", {}), ("knn", {"neighbours": 3}), ("knn", {"k": 0}), ("gsc", {"ranking": "loud"})],
)
def test_a_page_refuses_what_the_detector_refuses_in_the_same_words(name, settings):
    spec = DetectorSpec(name=name, settings=settings)
    with pytest.raises(SpecError) as theirs:
        spec.build()
    with pytest.raises(SpecError) as ours:
        scored([spec])
    assert str(ours.value) == str(theirs.value)
