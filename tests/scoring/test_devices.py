"""No detector mixes devices: everything it is used in, on a device that refuses as CUDA does.

What the pretend device computes is computed on the CPU, so scores are the CPU's to the bit. A
network gets there by moving its parameters and buffers one by one, and takes its first-order step
by two gradients: `torch.export` and forward mode do not know the device.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pretend_device import DEVICE, NAME, PretendDevice
from pytorch_ood.detector import gmm
from small_audit import MEAN, STD, known, write_stage
from small_classifier import EVERYTHING, World, calibrate, strangers, world
from small_run import spec_of
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode

from gsc_core.ablation.consistency import around_feature, around_image
from gsc_core.ablation.run import ablate
from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.tuning import TuneSpec, tune
from gsc_core.audit.tuning_file import with_tuned
from gsc_core.classifier import Preprocessing, float64
from gsc_core.classifier import network as network_module
from gsc_core.classifier.network import Network
from gsc_core.classifier.programs.program import export
from gsc_core.deploy.export import export_detector
from gsc_core.detectors import library_shaping
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import CATALOGUE, parse_detectors
from gsc_core.detectors.ensemble import Ensemble
from gsc_core.detectors.readout import Scale
from gsc_core.scoring.drop_in import PytorchOodDetector
from gsc_core.scoring.held_out import held_out_scores
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.scorer import Scorer

pytestmark = pytest.mark.slow

IMAGES = 120
ALL = [detector.name for detector in CATALOGUE]
# what the usual settings do not reach
OTHERS = (
    "energy+knn",
    "gsc+vra+she",
    "gsc:intervention=truncate:granularity=channel",
    "gsc:ranking=attribution:update=exact:reading=energy",
    "gsc:ranking=random:reading=relative_drop:confidence=logit",
    "gsc:ranking=activation:share=0:reading=residual_logit",
    "gsc-auto:layer=split:intervention=truncate",
    "gsc-auto:layer=pooled:share=0.1:intervention=truncate:ranking=activation:cap=no",
    "gsc-auto:layer=none",
    "ash:variant=ash-b",
    "ash:variant=ash-p",
    "mahalanobis:shrinkage=none",
)
scale_of = Scale.of
MANY_PASSES = ("odin", "adascale")
# torch takes the kernel of a convolution's gradient, down to the pixels, by the device
ROUNDING = {"odin": 1e-6}
every_detector = pytest.mark.parametrize("name", (*ALL, *OTHERS))


# --- the device itself --------------------------------------------------------------------------


REFUSED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "arithmetic": lambda away, here: away + here,
    "no dimensions there": lambda away, here: away[0] + here,
    "joining": lambda away, here: torch.cat([away, here]),
    "joining single numbers": lambda away, here: torch.stack([away[0], here[0]]),
    "product": lambda away, here: away @ here,
    "choice": lambda away, here: torch.where(here > 0, away, 0),
    "comparison": torch.equal,
    "search": lambda away, here: torch.searchsorted(here, away),
    "writing": lambda away, here: away.add_(here),
    "an index of the CPU's": lambda away, here: here[away > 0],
    "values by index": lambda away, here: away.index_put_((torch.arange(3),), here),
    "numpy": lambda away, _: away.numpy(),
    "asarray": lambda away, _: np.asarray(away),
    "a generator": lambda away, _: away.normal_(generator=torch.Generator()),
    "a generator for a new one": lambda away, _: torch.rand(
        3, device=away.device, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_it_refuses_what_cuda_refuses(how: str) -> None:
    with PretendDevice():
        away = torch.arange(3.0).to(NAME)
        with pytest.raises((RuntimeError, TypeError)):
            REFUSED[how](away, torch.arange(3.0))


def test_it_allows_what_cuda_allows() -> None:
    with PretendDevice():
        here = torch.tensor([3.0, 1.0, 2.0])
        away = here.to(NAME)
        results = {
            "a number of the CPU's": (away * torch.tensor(2.0), here * 2),
            "an index of the CPU's": (away[here > 1], here[here > 1]),
            "an index put": (
                away.clone().index_put_((here > 1,), torch.tensor(0.0)),
                here.where(here <= 1, 0),
            ),
            "new ones beside it": (
                away.new_ones(2) + torch.ones(2, device=NAME),
                torch.full((2,), 2.0),
            ),
            "quantiles": (away.quantile(0.5), here.quantile(0.5)),
        }
        for what, (found, right) in results.items():
            assert found.device == DEVICE, what
            assert torch.equal(found.cpu(), right), what
        assert away.tolist() == [3, 1, 2] and float(away[0]) == 3
        leaf = away.clone().requires_grad_()
        (leaf**2).sum().backward()
        assert leaf.grad is not None and leaf.grad.device == DEVICE
        assert torch.equal(leaf.grad.cpu(), 2 * here)
    with PretendDevice(float64=False), pytest.raises(TypeError, match="float64"):
        torch.ones(3, device=NAME).double()


def test_nothing_takes_it_by_itself() -> None:
    assert torch.accelerator.current_accelerator(check_available=True) is None or (
        torch.accelerator.current_accelerator() != torch.device(NAME)
    )


# --- networks and calibrations there ------------------------------------------------------------


def _moved_by_parts(program: ExportedProgram, device: torch.device) -> GraphModule:
    module: GraphModule = program.module(check_guards=False)
    for part in module.modules():
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)
        for name, parameter in part._parameters.items():
            if parameter is not None:
                there = nn.Parameter(parameter.detach().to(device), requires_grad=False)
                part._parameters[name] = there
    return module


def _first_order(network: Network, feature: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    return network_module._by_two_gradients(network.head, feature.detach(), change)


@pytest.fixture(scope="module")
def pretend() -> Iterator[None]:
    """The device is there, and networks can be opened on it."""
    with pytest.MonkeyPatch.context() as patch, PretendDevice():
        patch.setattr(network_module, "_on_device", _moved_by_parts)
        patch.setattr(Network, "first_order", _first_order)
        yield


@dataclass(frozen=True)
class Place:
    """The small classifier with its calibration and its test images on one device."""

    network: Network
    calibration: Calibration
    known: Representation
    strange: Representation
    fits: dict[str, Detector] = field(default_factory=dict)

    def fitted(self, name: str) -> Detector:
        """A detector fitted here, once."""
        if name not in self.fits:
            (detector,) = parse_detectors(name)
            self.fits[name] = detector.fit(self.calibration)
        return self.fits[name]

    @classmethod
    def on(cls, device: str, small: World) -> Place:
        network = Network(export(small.model.eval(), (12, 12), "Small"), None, device)
        images, labels = small.images[:IMAGES].to(device), small.labels[:IMAGES].to(device)
        known = represent(network, images[:64], EVERYTHING)
        strange = represent(network, strangers(40, seed=4).to(device), EVERYTHING)
        return cls(network, calibrate(network, images, labels), known, strange)


@pytest.fixture(scope="module")
def places(pretend: None) -> tuple[Place, Place]:
    """The CPU and the pretend device."""
    return Place.on("cpu", world()), Place.on(NAME, world())


@dataclass(frozen=True)
class Held:
    """A tensor that a fitted detector holds: where, and how another takes its place."""

    path: str
    tensor: Tensor
    put: Callable[[Tensor], None]


def held_by(detector: Detector, network: Network) -> list[Held]:
    """Every tensor that a fitted detector holds; those of the network are not its own."""
    return list(_held(detector, "", lambda _: None, (id(network), id(network.linear))))


def _held(thing: Any, at: str, put: Callable[[Any], None], seen: tuple[int, ...]) -> Iterator[Held]:
    if isinstance(thing, Tensor):
        yield Held(at, thing, put)
        return
    if id(thing) in seen:
        return
    for name, inner, put_inner in (*_attributes(thing), *_items(thing, put)):
        yield from _held(inner, f"{at}.{name}", put_inner, (*seen, id(thing)))


Part = tuple[Any, Any, Callable[[Any], None]]


def _attributes(thing: Any) -> Iterator[Part]:
    for name, inner in list(getattr(thing, "__dict__", {}).items()):
        yield name, inner, partial(object.__setattr__, thing, name)
    for cell in getattr(thing, "__closure__", None) or ():
        yield "closure", cell.cell_contents, partial(setattr, cell, "cell_contents")


def _items(thing: Any, put: Callable[[Any], None]) -> Iterator[Part]:
    if isinstance(thing, dict):
        for key, inner in list(thing.items()):
            yield key, inner, partial(thing.__setitem__, key)
    elif isinstance(thing, list | tuple):
        for i, inner in enumerate(thing):
            yield i, inner, lambda new, i=i: put((*thing[:i], new, *thing[i + 1 :]))


def assert_at_home(detector: Detector, network: Network) -> None:
    for held in held_by(detector, network):
        assert held.tensor.device.type == network.device.type, f"{held.path} stayed on the CPU"


def assert_alike(here: Detector, away: Detector, places: tuple[Place, Place]) -> None:
    """The detector of the pretend device does as the CPU's, in all that it does."""
    within = ROUNDING.get(here.name, 0)
    for of in ("known", "strange"):
        right, found = (getattr(place, of) for place in places)
        same(away.score(found), here.score(right), within)
        after, right_after = away.logits_after(found), here.logits_after(right)
        assert (after is None) == (right_after is None)
        if after is not None and right_after is not None:
            same(after, right_after)
    assert away.frozen() == here.frozen()


def same(found: Tensor, right: Tensor, within: float = 0) -> None:
    torch.testing.assert_close(found.cpu(), right, rtol=within, atol=within)


# --- every detector -----------------------------------------------------------------------------


@every_detector
def test_scores_there_are_the_cpus(name: str, places: tuple[Place, Place]) -> None:
    here, away = places
    assert_alike(here.fitted(name), away.fitted(name), places)
    assert away.fitted(name).score(away.known).device == DEVICE
    assert_at_home(away.fitted(name), away.network)


class Meetings(TorchDispatchMode):
    """Counts where the two devices meet: each time one of them stands idle for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        places = {each.device.type for each in (args[0], result) if isinstance(each, Tensor)}
        read = name == "aten::_local_scalar_dense" and NAME in places
        if read or (name == "aten::_to_copy" and len(places) > 1):
            self.at.append(name)
        return result


@pytest.mark.parametrize("names", [("msp",), ALL])
def test_a_batch_meets_the_cpu_as_often_for_all_detectors_as_for_one(
    names: Sequence[str], places: tuple[Place, Place]
) -> None:
    _, away = places
    passing = [away.fitted(name) for name in names if name not in MANY_PASSES]
    single = [detector for detector in passing if not isinstance(detector, Ensemble)]
    scorer = Scorer(away.network, Preprocessing(), single)
    with Meetings() as meetings:
        scores = scorer.score(away.known, after=True)
    assert len(scores.outlier) == len(single) and not scorer.excused
    scores_classes = 1 + any(scores.predicted_after)
    assert len(meetings.at) == scores_classes + 2  # and the classes and confidences before


@pytest.mark.parametrize("name", ALL)
def test_one_tensor_on_the_cpu_is_found(name: str, places: tuple[Place, Place]) -> None:
    """Each learned tensor in its turn, and one that a fit has made and only keeps."""
    _, away = places
    fitted = away.fitted(name)
    vars(fitted)["stray_"] = torch.zeros(4)
    with pytest.raises(AssertionError, match="stray_ stayed"):
        assert_at_home(fitted, away.network)
    del vars(fitted)["stray_"]
    for held in held_by(fitted, away.network):
        if "parts_" in held.path:  # each has its own turn
            continue
        held.put(held.tensor.cpu())
        with pytest.raises(AssertionError, match="stayed"):
            assert_at_home(fitted, away.network)
        read_elsewhere = held.path.endswith(("held_out_", "familiar_"))  # calibration, explanation
        # the library moves some by itself
        if not hasattr(fitted, "bound_") and not read_elsewhere:
            with pytest.raises(RuntimeError, match="same device"):
                fitted.score(away.known)
        held.put(held.tensor)
    assert_at_home(fitted, away.network)


def test_what_failed_on_cuda_fails_there(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """VRA as it was: the library's object settled on the CPU."""
    monkeypatch.setattr(library_shaping, "settled", lambda bound, _: bound)
    _, away = places
    (vra,) = parse_detectors("vra")
    with pytest.raises(RuntimeError, match="same device"):
        vra.fit(away.calibration).score(away.known)


def _scale_by_the_cpu(readings: Tensor) -> Scale:
    """`torch.quantile` goes through float64 by itself on every device but MPS."""
    scale = scale_of(readings.cpu())
    return Scale(scale.middle.to(readings), scale.spread.to(readings))


WITHOUT_FLOAT64 = [name for name in ALL if not name.startswith("auto") and name != "gsc-auto"]
WITHOUT_FLOAT64 += ["gsc-auto:layer=pooled:share=0.1", "gsc+knn"]  # what they add, in less time


@pytest.mark.parametrize("name", WITHOUT_FLOAT64)
def test_a_device_without_float64_is_enough(
    name: str, places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MPS: what needs float64 is computed on the CPU."""
    monkeypatch.setattr(float64, "_WITHOUT", {NAME})
    monkeypatch.setattr(Scale, "of", _scale_by_the_cpu)
    for place in places:  # what a linear map has derived in float64, it keeps
        network = place.calibration.network
        monkeypatch.setattr(network, "linear", replace(network.linear))
    monkeypatch.setattr(gmm, "_dtype", lambda _: torch.float32)  # as the library has it for MPS
    (here,), (away,) = parse_detectors(name), parse_detectors(name)
    with PretendDevice(float64=False):
        fits = [d.fit(p.calibration) for d, p in zip((here, away), places, strict=True)]
        assert_alike(*fits, places)


LEARNING = [
    d.name
    for d in CATALOGUE
    if Fit.IMAGES in d.fitted_with
    and not issubclass(d, Ensemble)
    and not d.needs & (Need.FEATURE_MAP | Need.GRADIENT | Need.IMAGES)
]


@pytest.mark.parametrize("name", LEARNING)
def test_held_out_fits_there_give_the_cpus_scores(name: str, places: tuple[Place, Place]) -> None:
    (detector,) = parse_detectors(name)
    here, away = (
        held_out_scores(detector, place.calibration, torch.arange(IMAGES, device=device))
        for place, device in zip(places, ("cpu", NAME), strict=True)
    )
    assert here is not None and away is not None
    assert here.surrogates is not None and away.surrogates is not None
    same(away.images, here.images)
    same(away.surrogates, here.surrogates)


def test_gradients_are_as_steady_there(places: tuple[Place, Place]) -> None:
    spread = torch.tensor([0.1, 0.2, 0.3])
    feature, picture = (
        [
            around_feature(place.network, place.known.feature_map, seed=3),
            around_image(
                place.network, place.known.images, spread.to(place.network.device), seed=3
            ),
        ]
        for place in places
    )
    for right, found in zip(feature, picture, strict=True):
        same(found, right)


# --- what they are used in ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_stage(tmp_path_factory.mktemp("devices"))
    known(folder / "many", 80, seed=12)  # enough of each class for a covariance
    return folder


@pytest.fixture
def audits(stage: Path, tmp_path: Path, pretend: None) -> tuple[Path, Path]:
    """A finished audit by every detector on the CPU, and one on the pretend device."""
    for device in ("cpu", NAME):
        changes = {"device": device, "calibration": stage / "many"}
        spec = spec_of(stage, names=(*ALL, "energy+knn")).model_copy(update=changes)
        document = run_audit(spec, tmp_path / device).document.model_dump(mode="json")
        assert document["excused"].keys() == set(), document["excused"]
    return tmp_path / "cpu", tmp_path / NAME


def test_an_audit_there_is_the_cpus_and_so_is_what_comes_after(
    audits: tuple[Path, Path], stage: Path, tmp_path: Path
) -> None:
    here, away = (pd.read_parquet(folder / "scores.parquet") for folder in audits)
    pd.testing.assert_frame_equal(away, here)
    measured, right = (json.loads((f / "metrics.json").read_text()) for f in reversed(audits))
    for key in ("results", "chosen", "partners", "selections", "surrogate_auroc", "in_sample"):
        assert measured[key] == right[key]
    assert measured["provenance"]["device"] == NAME

    # the path of `reopened`: refit from the stored calibration, score, explain, look for near ones
    opened, reopened = (reopen(folder) for folder in audits)
    assert reopened.network.device.type == NAME and not reopened.scorer.excused
    for fitted in reopened.scorer.detectors:
        if not isinstance(fitted, Ensemble):  # whose ranks are columns of an audit, on the CPU
            assert_at_home(fitted, reopened.network)
    picture = next((stage / "noise").iterdir())
    row = away[(away["set"] == "noise") & (away["file"] == picture.name)].iloc[0]
    found = reopened.score(picture)
    right = opened.score(picture)
    # the step of ODIN takes another kernel there
    assert found == right | {"odin": pytest.approx(right["odin"], rel=1e-5)}
    assert found == pytest.approx({name: row[name] for name in found}, rel=1e-4, abs=1e-4)
    assert found.keys() == reopened.detectors.keys()
    for name in ("gsc", "gsc-drop", "gsc-auto"):
        assert reopened.explain(picture, name) == opened.explain(picture, name)
    assert reopened.explain(picture, k=0.5) == opened.explain(picture, k=0.5)
    assert reopened.nearest(picture) == opened.nearest(picture)

    # what is exported is a CPU's: nothing is left of the device
    for name in ("vra", "energy"):
        written = export_detector(
            audits[1], name, float(here[name].median()), "value:0", tmp_path / f"{name}.pt2"
        )
        assert written.card.agreement.decided_otherwise == 0


def test_tuning_there_chooses_as_on_the_cpu(stage: Path, tmp_path: Path, pretend: None) -> None:
    audit = spec_of(stage)
    chosen = [
        tune(
            TuneSpec(model=audit.model, id=audit.id, calibration=audit.calibration, device=device),
            tmp_path / f"{device}.json",
        )
        for device in ("cpu", NAME)
    ]
    assert chosen[0] == chosen[1]

    # an audit of the images that its weights were learned from
    tables = []
    for device in ("cpu", NAME):
        names = ("gsc-auto", "auto-ensemble")
        spec = spec_of(stage, names=names).model_copy(update={"device": device})
        spec = with_tuned(spec, tmp_path / "cpu.json")
        run_audit(spec, tmp_path / device)
        tables.append(pd.read_parquet(tmp_path / device / "scores.parquet"))
    pd.testing.assert_frame_equal(*tables)
    assert set(names) <= set(tables[0])


def test_an_ablation_there_is_the_cpus(stage: Path, tmp_path: Path, pretend: None) -> None:
    rows = []
    for device in ("cpu", NAME):
        spec = spec_of(stage).model_copy(update={"device": device})
        found = ablate(spec, tmp_path / device, images_per_set=40)
        assert not found.facts.excused
        rows.append((found.rows(), found.facts.consistency))
    pd.testing.assert_frame_equal(rows[0][0], rows[1][0])
    assert rows[0][1] == rows[1][1]


@pytest.mark.parametrize(
    "name", ["gsc", "gsc-auto:layer=none", "vra", "knn", "mahalanobis", "odin", "msp"]
)
def test_the_drop_in_there_gives_the_cpus_scores(name: str, pretend: None) -> None:
    small, within = world(), ROUNDING.get(name, 0)
    preprocessing = Preprocessing(resize=None, crop=12, mean=MEAN, std=STD)
    loader = [(small.images[i : i + 40], small.labels[i : i + 40]) for i in range(0, 120, 40)]
    x = strangers(20, seed=5)

    def ours() -> PytorchOodDetector:
        return PytorchOodDetector(small.model, parse_detectors(name)[0], preprocessing)

    right = ours().fit(loader)(x)
    there = ours().to(NAME).fit([(x.to(NAME), y.to(NAME)) for x, y in loader])
    assert there.device.type == NAME
    found = there(x.to(NAME))
    assert found.device == DEVICE
    same(found, right, within)
    same(there(x), right, within)  # and images that come from the CPU
    moved = ours().fit(loader).to(NAME)  # fitted again where it is
    same(moved(x), right, within)
    same(moved.set_hyperparameters()(x), right, within)
