"""One contract, held by every detector in the catalogue on a real, small classifier."""

from dataclasses import fields, replace
from functools import cache

import pytest
import torch
from small_classifier import CLASSES, EVERYTHING, Convolutional, World, calibrate, exported, world
from torch import Tensor

from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import CATALOGUE, find, parse_detectors
from gsc_core.detectors.ensemble import Ensemble
from gsc_core.detectors.facts import Family
from gsc_core.detectors.gsc_drop import DropGSC
from gsc_core.detectors.gsc_energy import EnergyGSC
from gsc_core.errors import Excused, SpecError
from gsc_core.scoring.onepass import represent

every_detector = pytest.mark.parametrize("detector", CATALOGUE, ids=lambda d: d.name)


def auroc(known: Tensor, strange: Tensor) -> float:
    """Share of pairs in which the strange image scores higher; ties count half."""
    differences = strange[:, None] - known[None, :]
    return float((differences > 0).double().mean() + 0.5 * (differences == 0).double().mean())


def assert_same(scores: Tensor, others: Tensor) -> None:
    """Equal up to float32 noise, measured by how far scores lie apart."""
    spread = float(others.max() - others.min())
    assert float((scores - others).abs().max()) <= 1e-4 * spread


@pytest.fixture(scope="module")
def small() -> World:
    return world()


@pytest.fixture(scope="module")
def convolutional() -> tuple[Calibration, Representation]:
    """Calibration of a network without a last linear layer, every class predicted; its images."""
    torch.manual_seed(0)
    network = exported(Convolutional())
    images, labels = torch.randn(40, 3, 12, 12), torch.arange(40) % CLASSES
    calibration = calibrate(network, images, labels)
    assert calibration.features is None
    evenly = replace(calibration, logits=torch.eye(CLASSES)[labels])
    return evenly, represent(network, images, EVERYTHING)


@cache
def fitted_once(detector: type[Detector]) -> Detector:
    """A detector on the small classifier's calibration, for all that only score with it."""
    return detector().fit(world().calibration)


def test_every_detector_has_a_file_of_its_own() -> None:
    files = [detector.__module__ for detector in CATALOGUE]
    assert len(set(files)) == len(CATALOGUE)


@pytest.mark.slow
@every_detector
def test_strange_pictures_score_higher(detector: type[Detector], small: World) -> None:
    fitted = fitted_once(detector)
    value = auroc(fitted.score(small.known), fitted.score(small.strange))
    if detector is DropGSC:  # documented: at a linear head its direction is backwards
        assert value < 0.4
    else:
        assert value > 0.6


@pytest.mark.slow
@every_detector
def test_one_finite_number_an_image_without_a_graph(detector: type[Detector], small: World) -> None:
    fitted = fitted_once(detector)
    both = Representation.cat([small.known, small.strange])
    tensors = {f.name: getattr(both, f.name) for f in fields(Representation)}
    there = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    traced = Representation(**{n: tensor.clone().requires_grad_() for n, tensor in there.items()})
    scores = fitted.score(traced)
    assert scores.shape == (len(both),)
    assert scores.is_floating_point()
    assert not scores.requires_grad
    assert bool(scores.isfinite().all())
    assert len(scores.unique()) > 1


@pytest.mark.slow
@every_detector
def test_other_images_of_the_batch_do_not_matter(detector: type[Detector], small: World) -> None:
    fitted = fitted_once(detector)
    whole = fitted.score(small.known)
    for size in (1, 3):
        pieces = [fitted.score(small.known[i : i + size]) for i in range(0, len(whole), size)]
        assert_same(torch.cat(pieces), whole)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    assert_same(fitted.score(small.known[order]), whole[order])


@pytest.mark.slow
@every_detector
def test_fitting_again_gives_the_same_scores(detector: type[Detector], small: World) -> None:
    before = fitted_once(detector).score(small.strange)
    again = detector().fit(small.calibration)
    assert torch.equal(again.score(small.strange), before)
    assert torch.equal(again.fit(small.calibration).score(small.strange), before)


@every_detector
def test_reads_only_what_it_needs_and_changes_nothing(
    detector: type[Detector], small: World
) -> None:
    fitted = fitted_once(detector)
    wanted = {Need.FEATURES: "features", Need.FEATURE_MAP: "feature_map"}
    wanted |= {Need.GRADIENT: "gradient", Need.IMAGES: "images", Need.LAYERS: "layers"}
    absent = {name: None for need, name in wanted.items() if need not in detector.needs}
    bare = replace(small.known, **absent)
    tensors = {f.name: getattr(bare, f.name) for f in fields(bare)}
    copies = [None if t is None else t.clone() for t in tensors.values()]
    assert torch.equal(fitted.score(bare), fitted.score(small.known))
    for tensor, copy in zip(tensors.values(), copies, strict=True):
        assert tensor is None or torch.equal(tensor, copy)


@every_detector
def test_works_without_and_with_gradients_enabled(detector: type[Detector], small: World) -> None:
    fitted = fitted_once(detector)
    with torch.no_grad():
        quiet = fitted.score(small.known)
    assert torch.equal(fitted.score(small.known), quiet)


@every_detector
def test_empty_features_and_even_logits_score_finite(
    detector: type[Detector], small: World
) -> None:
    fitted = fitted_once(detector)
    for value in (0.0, 3.0):
        even = (getattr(small.known, f.name) for f in fields(Representation))
        # what no detector reads is not there
        same = (None if t is None else torch.full_like(t, value) for t in even)
        assert bool(fitted.score(Representation(*same)).isfinite().all())


@every_detector
def test_too_few_images_are_named(detector: type[Detector], small: World) -> None:
    if Fit.IMAGES not in detector.fitted_with or detector in (DropGSC, EnergyGSC):
        detector().fit(few(small, 1))  # learns nothing from images, as it is set
        return
    # the parts of an ensemble name numbers
    said = "cannot run here|at least 10" if issubclass(detector, Ensemble) else r"\d"
    with pytest.raises(Excused, match=said):
        detector().fit(few(small, 1))


@pytest.mark.slow
@every_detector
def test_labels_are_asked_for_only_where_needed(detector: type[Detector], small: World) -> None:
    unlabelled = replace(small.calibration, labels=torch.full_like(small.labels, -1))
    if Fit.LABELS not in detector.fitted_with:
        expected = fitted_once(detector).score(small.known)
        assert torch.equal(detector().fit(unlabelled).score(small.known), expected)
        return
    with pytest.raises(Excused, match="label"):
        detector().fit(unlabelled)


@pytest.mark.parametrize(
    "detector", [d for d in CATALOGUE if Fit.LABELS in d.fitted_with], ids=lambda d: d.name
)
def test_images_without_a_label_are_left_out(detector: type[Detector], small: World) -> None:
    some = slice(0, 160)
    labels = small.labels.clone()
    labels[160:] = -1
    partly = detector().fit(replace(small.calibration, labels=labels))
    fewer = small.calibration.only(some)
    assert_same(partly.score(small.known), detector().fit(fewer).score(small.known))


@every_detector
def test_without_a_linear_layer(
    detector: type[Detector], convolutional: tuple[Calibration, Representation]
) -> None:
    calibration, images = convolutional
    if Need.FEATURES in detector.needs and detector not in (AutoGSC, AutoEnsemble):
        with pytest.raises(Excused, match="linear layer"):
            detector().fit(calibration)
        return
    scores = detector().fit(calibration).score(images)
    assert bool(scores.isfinite().all())


@every_detector
def test_knobs_keep_their_limits(detector: type[Detector]) -> None:
    for item in detector.knobs():
        assert item.about
        assert item.parse(item.default) == item.default
        inside = [item.default, *item.choices, *(v for v in (item.low, item.high) if v is not None)]
        for value in inside:
            assert getattr(detector.configured({item.name: str(value)}), item.name) == type(
                item.default
            )(value)
        outside = ["no such choice"] if item.choices else ["word"]
        outside += ["nan"] if isinstance(item.default, float) else []
        outside += [] if item.low is None else [str(item.low - 1)]
        outside += [] if item.high is None else [str(item.high + 1)]
        for value in outside:
            with pytest.raises(SpecError, match=item.name):
                detector.configured({item.name: value})
    with pytest.raises(SpecError, match="no setting"):
        detector.configured({"nonsense": 1})


@pytest.mark.slow
@every_detector
def test_scores_stay_finite_at_the_limits_of_every_knob(
    detector: type[Detector], small: World
) -> None:
    for item in detector.knobs():
        for value in (*item.choices, item.low, item.high):
            if value is None:
                continue
            fitted = detector.configured({item.name: value}).fit(small.calibration)
            scores = fitted.score(small.strange)
            assert bool(scores.isfinite().all()), f"{item.name}={value}"


@every_detector
def test_says_what_it_is(detector: type[Detector]) -> None:
    assert detector.name == detector.name.lower()
    assert not set(detector.name) & set(",:= ")
    assert detector.title and detector.__doc__
    assert detector.about.endswith(".") and detector.about.count(". ") == 0
    assert detector.family is not Family.OTHER
    assert detector.fails_on is None or not detector.fails_on.endswith(".")
    assert Need.LOGITS in detector.needs
    assert (Need.IMAGES in detector.needs) == (detector.extra_forwards > 0)
    # a classical baseline that no single paper introduced, and combinations of others
    if detector.name != "gmm" and not issubclass(detector, Ensemble):
        assert detector.paper is not None
        assert detector.paper.url.startswith("https://")


def test_names_are_distinct_and_found() -> None:
    assert len({d.name for d in CATALOGUE}) == len(CATALOGUE)
    assert [find(d.name) for d in CATALOGUE] == list(CATALOGUE)
    with pytest.raises(SpecError, match="nearest: energy"):
        find("Enrgy")
    with pytest.raises(SpecError, match="gsc"):
        find("zzz")


def test_detectors_are_parsed_with_their_settings() -> None:
    first, second, third = parse_detectors(" gsc, energy ,knn:k=7")
    assert [first.name, second.name, third.name] == ["gsc", "energy", "knn"]
    assert third.settings() == {"k": 7}
    (ash,) = parse_detectors("ash:variant=ash-b:percentile=0.65")
    assert ash.settings() == {"variant": "ash-b", "percentile": 0.65}
    assert [d.name for d in parse_detectors("all")] == [d.name for d in CATALOGUE]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "No detector"),
        (" , ", "No detector"),
        ("energy,energy", "energy is named twice"),
        ("knn:k=5,knn:k=10", "knn is named twice"),
        ("energy,all", "all names every detector"),
        ("knn:k", "knob=value"),
        ("knn:k=5:k=6", "knob=value"),
        ("knn:k=five", "k="),
        ("knn:k=0", "k=0"),
        ("knn:j=5", "no setting 'j'"),
        ("mahalnobis", "mahalanobis"),
    ],
)
def test_what_cannot_be_parsed_is_said(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_detectors(text)


def few(small: World, n: int) -> Calibration:
    """The calibration with its first `n` images alone."""
    c = small.calibration
    assert c.surrogates is not None
    return replace(c.only(slice(n)), sample=c.sample[:n], surrogates=c.surrogates[:n])
