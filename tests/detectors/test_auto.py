"""gsc-auto: what it chooses, what it leaves alone, and that its choice holds without a search."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from small_classifier import (
    EVERYTHING,
    Convolutional,
    calibrate,
    exported,
    in_turn,
    pictures,
    planted,
    world,
)
from torch import Tensor

from gsc_core.classifier import ModelSpec
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.demo import DEMO_WEIGHTS
from gsc_core.demo.labelled import labelled_images
from gsc_core.demo.render import OOD_SETS, Purpose, paint
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Calibration, Detector, Representation
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.gsc import GSC
from gsc_core.detectors.readout import levels
from gsc_core.detectors.selection import select
from gsc_core.detectors.short_circuit import candidates
from gsc_core.errors import Excused
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.selection import NOTHING
from gsc_core.images.surrogates import surrogates_of_tensor
from gsc_core.scoring.onepass import represent

SETTINGS = [
    {},
    {"layer": "none"},
    {"layer": "none", "cap": "no"},
    {"layer": "pooled", "ranking": "attribution", "intervention": "truncate", "cap": "yes"},
    {"layer": "split", "granularity": "channel", "share": 0.25, "cap": "no"},
    {"layer": "split", "granularity": "element", "ranking": "activation", "intervention": "zero"},
]
each_setting = pytest.mark.parametrize(
    "knobs", SETTINGS, ids=lambda knobs: ",".join(knobs) or "open"
)


def auroc(detector: Detector, known: Representation, strange: Representation) -> float:
    scores = [detector.score(batch).numpy() for batch in (known, strange)]
    return float(roc_auc_score(np.repeat([0, 1], list(map(len, scores))), np.concatenate(scores)))


def few(n: int, surrogates: int | None = None) -> Calibration:
    """The small world's calibration, cut to its first images: under 48 nothing is dropped."""
    c, m = world().calibration, surrogates if surrogates is not None else n
    return replace(c.only(slice(n)), sample=c.sample[:n], surrogates=c.surrogates[:m])


@cache
def convolutional() -> tuple[Network, Calibration]:
    """A network that does not end in a linear layer, with a class of its own for each image."""
    torch.manual_seed(0)
    network = exported(Convolutional())
    return network, calibrate(network, *pictures(40, seed=2))


# --- what it promises as a detector --------------------------------------------------------------


@pytest.mark.slow
@each_setting
def test_strangers_score_higher(knobs: dict[str, object]) -> None:
    w = world()
    assert auroc(AutoGSC(**knobs).fit(w.calibration), w.known, w.strange) > 0.8


@pytest.mark.slow
@each_setting
def test_one_finite_number_an_image_whatever_the_batch(knobs: dict[str, object]) -> None:
    w = world()
    detector = AutoGSC(**knobs).fit(w.calibration)
    traced = replace(
        w.strange,
        logits=w.strange.logits.clone().requires_grad_(),
        features=w.strange.features.clone().requires_grad_(),
        feature_map=w.strange.feature_map.clone().requires_grad_(),
    )
    whole = detector.score(traced)
    assert whole.shape == (80,) and not whole.requires_grad
    assert bool(whole.isfinite().all())
    spread = float(whole.max() - whole.min())
    for size in (1, 7):
        pieces = [detector.score(w.strange[i : i + size]) for i in range(0, 80, size)]
        assert float((torch.cat(pieces) - whole).abs().max()) <= 1e-4 * spread


def test_batches_beyond_its_own_are_scored_alike() -> None:
    """It reads 64 images at a time: an image's score is the same on either side of that."""
    w = world()
    detector = AutoGSC(**SETTINGS[3]).fit(w.calibration)
    alone = torch.cat([detector.score(w.known[i : i + 1]) for i in (63, 64, 65)])
    assert torch.allclose(detector.score(w.known)[63:66], alone, atol=1e-5)


# --- the choice ----------------------------------------------------------------------------------


@cache
def found() -> tuple[AutoGSC, Representation, Representation]:
    """Fitted where one short-circuit of all works, with images of the same kinds to try it on."""
    other = planted(200, seed=5)
    assert other.surrogates is not None
    return AutoGSC().fit(planted()), other.sample, other.surrogates


@pytest.mark.slow
def test_the_planted_short_circuit_is_found_and_used() -> None:
    detector, known, strange = found()
    assert detector.short_circuit_.model_dump() == {
        "layer": "pooled",
        "granularity": "element",
        "ranking": "gradient",
        "share": 0.01,
        "intervention": "zero",
    }
    assert auroc(detector, known, strange) == 1
    assert auroc(AutoGSC(layer="none").fit(planted()), known, strange) < 0.7
    assert detector.selection_.nothing.short_circuit == NOTHING


def test_logits_after_are_those_of_the_cut_feature() -> None:
    detector, known, _ = found()
    cut = known.features.clone()
    cut[:, :5] = 0  # the five heavy weights
    after = detector.logits_after(known)
    assert torch.allclose(after, detector.read_out_.linear(cut), atol=1e-4)
    assert not torch.allclose(after, known.logits, atol=0.1)


@pytest.mark.slow
def test_there_are_no_logits_after_where_nothing_is_cut() -> None:
    w = world()
    assert AutoGSC(layer="none").fit(w.calibration).logits_after(w.known) is None
    open_ = AutoGSC().fit(w.calibration)
    assert (open_.logits_after(w.known) is None) == (open_.short_circuit_ == NOTHING)


def test_a_score_is_the_mean_of_standardised_readings() -> None:
    """The whole detector by numpy, from the features to the score, levels and all."""
    detector, known, _ = found()
    calibration = planted()
    linear = calibration.network.linear
    weight, bias = linear.weight.double().numpy(), linear.bias.double().numpy()
    cuts = (np.inf, *levels(calibration.features))
    usual = calibration.features.double().numpy()

    def read(features: Tensor) -> np.ndarray:
        whole = features.double().numpy()
        cut = whole.copy()
        cut[:, :5] = 0
        return np.concatenate([left(cut, whole), left(whole, whole)], axis=1)

    def left(x: np.ndarray, whole: np.ndarray) -> np.ndarray:
        rows = []
        for cut in cuts:
            y = np.minimum(x, cut) @ weight.T + bias
            rows += [-y[:, 0], -np.log(np.exp(y).sum(axis=1))]  # class 0 is predicted throughout
            length = np.linalg.norm(
                np.minimum(x, cut) - np.minimum(usual, cut).mean(axis=0), axis=1
            )
            rows.append((y.mean(axis=1) - y[:, 0]) / length)
        return np.stack(rows, axis=1)

    low, middle, high = np.quantile(read(calibration.sample.features), [0.16, 0.5, 0.84], axis=0)
    spread = np.maximum((high - low) / 2, 1e-9)
    weights = detector.fusion_.weights.numpy()
    assert weights.sum() == pytest.approx(1) and weights.min() >= 0.5 / 24 - 1e-12
    expected = ((read(known.features) - middle) / spread) @ weights
    np.testing.assert_allclose(detector.score(known), expected, rtol=1e-4, atol=1e-4)

    former = AutoGSC(**detector.frozen() | {"cap": "yes", "weights": "mean"}).fit(calibration)
    after_the_cut = ((read(known.features) - middle) / spread)[:, 3:12].mean(axis=1)
    np.testing.assert_allclose(former.score(known), after_the_cut, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_levels_are_those_of_all_calibration_images() -> None:
    """Not of the bounded sample alone, and not where there is nothing to cap."""
    c = world().calibration
    small = replace(c, sample=c.sample[:40], surrogates=c.surrogates[:40])
    found = AutoGSC().fit(small).read_out_.cuts
    assert found == (np.inf, *levels(c.features)) != (np.inf, *levels(small.sample.features))
    assert AutoGSC().fit(convolutional()[1]).read_out_.cuts == ()


@pytest.mark.slow
def test_fitting_again_gives_the_same() -> None:
    detector, known, _ = found()
    before, chosen = detector.score(known), detector.selection_
    torch.manual_seed(7)
    again = AutoGSC().fit(planted())
    assert again.selection_ == chosen
    assert torch.equal(again.score(known), before)
    assert torch.equal(again.fit(planted()).score(known), before)


# --- its choice without a search -----------------------------------------------------------------


def refuse(phase: str, done: int, total: int) -> None:
    raise AssertionError("a search was made")


@pytest.mark.slow
@each_setting
def test_a_frozen_choice_scores_the_same_without_surrogates(knobs: dict[str, object]) -> None:
    w = world()
    first = AutoGSC(**knobs).fit(w.calibration)
    written = json.loads(json.dumps(first.frozen()))
    again = AutoGSC.configured(written)
    again.fit(replace(w.calibration, surrogates=None, step=refuse))
    assert torch.equal(again.score(w.strange), first.score(w.strange))
    assert again.selection_ is None
    assert again.frozen() == first.frozen()


def test_a_frozen_cut_is_the_same_cut() -> None:
    first, known, strange = found()
    again = AutoGSC.configured(first.frozen()).fit(replace(planted(), surrogates=None))
    for batch in (known, strange):
        assert torch.equal(again.score(batch), first.score(batch))
        assert torch.equal(again.logits_after(batch), first.logits_after(batch))


@pytest.mark.parametrize("layer", ["none", "split"])
def test_a_frozen_choice_of_a_network_without_a_linear_layer(layer: str) -> None:
    network, calibration = convolutional()
    first = AutoGSC(layer=layer).fit(calibration)
    again = AutoGSC.configured(first.frozen()).fit(replace(calibration, surrogates=None))
    batch = represent(network, pictures(20, seed=3)[0], EVERYTHING)
    assert torch.equal(again.score(batch), first.score(batch))


# --- what is set is kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs",
    [
        {"layer": "pooled"},
        {"layer": "split"},
        {"ranking": "activation"},
        {"intervention": "truncate"},
        {"share": 0.07},
        {"granularity": "channel"},
        {"layer": "split", "granularity": "element", "ranking": "gradient"},
        {"share": 1.0, "intervention": "zero", "layer": "split"},
    ],
    ids=str,
)
def test_a_knob_that_is_set_is_kept_by_every_option(knobs: dict[str, object]) -> None:
    calibration = few(40)
    detector = AutoGSC(**knobs).fit(calibration)
    allowed = set()
    for option in candidates(calibration.network):
        if option == NOTHING:
            allowed |= {option} if "layer" not in knobs else set()
        elif knobs.get("layer", option.layer) == option.layer:
            kept = {
                n: v for n, v in knobs.items() if (option.layer, n) != ("pooled", "granularity")
            }
            allowed.add(option.model_copy(update=kept))  # pooled features have no positions
    tried = {each.short_circuit for each in detector.selection_.tried}
    assert tried == allowed | {NOTHING}  # which is there to compare with
    assert detector.short_circuit_ in allowed


@pytest.mark.slow
@pytest.mark.parametrize("cap", ["yes", "no"])
@pytest.mark.parametrize("make", [planted, lambda: few(40)], ids=["planted", "small"])
def test_the_cap_that_is_set_is_kept(make, cap: str) -> None:
    detector = AutoGSC(cap=cap).fit(make())
    assert detector.frozen()["cap"] == cap
    assert len(detector.fusion_.weights) == (9 if cap == "yes" else 3) * (
        1 if detector.cut_ is None else 2
    )
    assert detector.selection_.chosen.capped is detector.selection_.nothing.capped is (cap == "yes")


def test_doing_nothing_can_be_asked_for() -> None:
    w = world()
    detector = AutoGSC(layer="none", cap="no").fit(
        replace(w.calibration, surrogates=None, step=refuse)
    )
    assert detector.cut_ is None and detector.selection_ is None
    linear, usual = w.calibration.network.linear, w.calibration.features.mean(dim=0)

    def read(batch: Representation) -> np.ndarray:
        y, length = batch.logits, (batch.features - usual).norm(dim=1)
        margin = (y.mean(dim=1) - y.amax(dim=1)) / length
        return np.stack([-y.amax(dim=1), -y.logsumexp(dim=1), margin], axis=1)

    assert torch.allclose(linear(w.known.features), w.known.logits, atol=1e-4)
    low, middle, high = np.quantile(read(w.calibration.sample), [0.16, 0.5, 0.84], axis=0)
    expected = ((read(w.known) - middle) / ((high - low) / 2)).mean(axis=1)
    np.testing.assert_allclose(detector.score(w.known), expected, rtol=1e-4, atol=1e-4)


# --- where it cannot -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "calibration"),
    [({"layer": "split"}, planted), ({"layer": "pooled"}, lambda: convolutional()[1])],
    ids=["split", "pooled"],
)
def test_a_layer_that_is_not_there_is_said(knobs: dict[str, object], calibration) -> None:
    with pytest.raises(Excused, match=f"no feature.*{knobs['layer']}"):
        AutoGSC(**knobs).fit(calibration())


@pytest.mark.parametrize(("n", "surrogates"), [(19, 19), (40, 19), (19, 40)])
def test_too_few_images_are_named(n: int, surrogates: int) -> None:
    with pytest.raises(Excused, match=r"20.*19"):
        AutoGSC().fit(few(n, surrogates))


def test_twenty_images_are_enough() -> None:
    w = world()
    detector = AutoGSC().fit(few(20))
    assert (detector.selection_.images, detector.selection_.surrogates) == (20, 20)
    assert bool(detector.score(w.known).isfinite().all())


def test_without_surrogates_it_does_not_say_that_images_are_missing() -> None:
    with pytest.raises(Excused) as told:
        AutoGSC().fit(replace(world().calibration, surrogates=None))
    assert "240" not in str(told.value)


@pytest.mark.parametrize("cap", ["auto", "yes", "no"])
def test_without_a_linear_layer_nothing_is_capped(cap: str) -> None:
    network, calibration = convolutional()
    detector = AutoGSC(cap=cap).fit(calibration)
    assert len(detector.fusion_.weights) == 2 * (1 if detector.cut_ is None else 2)
    assert not any(each.capped for each in detector.selection_.tried)
    assert {each.short_circuit.layer for each in detector.selection_.tried} == {"none", "split"}
    assert bool(
        detector.score(represent(network, pictures(20, seed=3)[0], EVERYTHING)).isfinite().all()
    )


def test_without_a_split_the_pooled_feature_is_cut() -> None:
    calibration = planted(40)
    assert calibration.network.split is None and calibration.sample.feature_map is None
    detector = AutoGSC().fit(calibration)
    assert {each.short_circuit.layer for each in detector.selection_.tried} == {"none", "pooled"}
    assert isinstance(detector.cut_, GSC)


# --- a real network and real surrogates ----------------------------------------------------------


def rendered(kinds: dict, number: int, seed: int, n: int = 40) -> Tensor:
    """Images `[n,3,96,96]` of an OOD set of the demo."""
    names = list(kinds)
    files = (
        paint(
            kinds[names[i % len(names)]], seed, Purpose.OOD_TEST, 1000 * number + i % len(names), i
        )
        for i in range(n)
    )
    arrays = [np.asarray(Image.open(io.BytesIO(file))).transpose(2, 0, 1) for file in files]
    return torch.from_numpy(np.stack(arrays))


@cache
def demo_classifier() -> tuple[Classifier, Network]:
    classifier = load_classifier(ModelSpec(checkpoint=DEMO_WEIGHTS))
    return classifier, Network(classifier.program)


@cache
def demo(seed: int) -> tuple[Calibration, Representation, list[Representation]]:
    """The demo's network with 160 calibration images, 96 familiar ones, and five OOD sets."""
    classifier, network = demo_classifier()

    def seen(pixels: Tensor) -> Representation:
        ready = (classifier.preprocessing.normalise(part) for part in pixels.split(32))
        return Representation.cat([represent(network, part, AutoGSC.needs) for part in ready])

    ours = torch.from_numpy(labelled_images(seed, Purpose.CALIBRATION, 10)[0])
    ours = ours[torch.randperm(len(ours), generator=torch.Generator().manual_seed(seed))]
    sample, far = seen(ours), seen(surrogates_of_tensor(ours[: len(ours) // 4]))
    unknown = torch.full((len(ours),), -1)
    surrogates = in_turn(far)
    calibration = Calibration(network, sample.logits, sample.features, unknown, sample, surrogates)
    known = seen(torch.from_numpy(labelled_images(seed, Purpose.ID_TEST, 6)[0]))
    strange = [seen(rendered(kinds, i, seed)) for i, kinds in enumerate(OOD_SETS.values())]
    return calibration, known, strange


def mean_loss(detector: Detector, known: Representation, sets: list[Representation]) -> float:
    """FPR95 + 1 − AUROC of a fitted detector, the mean over OOD sets."""
    ours = detector.score(known).numpy()
    found = [metrics(ours, detector.score(strange).numpy()) for strange in sets]
    return fmean(each.fpr95 + 1 - each.auroc for each in found)


@pytest.mark.slow
def test_surrogates_choose_what_is_better_than_energy_on_real_strangers() -> None:
    ours, energy = [], []
    for seed in (0, 1):
        calibration, known, strange = demo(seed)
        ours.append(mean_loss(AutoGSC().fit(calibration), known, strange))
        energy.append(mean_loss(Energy().fit(calibration), known, strange))
    assert fmean(ours) < fmean(energy)


@pytest.mark.slow
def test_what_tells_surrogates_tells_real_strangers() -> None:
    """Rank correlation over some of all ways to cut and to read."""
    calibration, known, strange = demo(0)
    on_surrogates, on_strangers = [], []
    for option in list(candidates(calibration.network))[::6]:
        for cap in ("yes", "no"):
            detector = AutoGSC.configured({**option.model_dump(), "cap": cap}).fit(calibration)
            on_strangers.append(mean_loss(detector, known, strange))
            judged = select(calibration, [option], detector.read_out_, capped=cap == "yes")
            on_surrogates.append(judged.chosen.loss)
    assert spearmanr(on_surrogates, on_strangers).statistic > 0.5
