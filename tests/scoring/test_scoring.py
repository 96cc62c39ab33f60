"""The one pass over real files: scores, out of memory, detectors that fail, and bounded memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
from browser import PATIENCE
from scored import (
    DETECTORS,
    Memory,
    Moody,
    child,
    fitted,
    normal,
    pixels_of,
    preprocessing,
    same,
)
from small_classifier import EVERYTHING, World, pictures
from torch import Tensor

from gsc_core.detectors.base import Need, Representation
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.detectors.energy import Energy
from gsc_core.images import ImageFile
from gsc_core.scoring.loading import read_batches
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.scorer import Scorer, Scores


@pytest.mark.parametrize("needs", [Need.LOGITS, Need.LOGITS | Need.FEATURES, EVERYTHING])
def test_a_pass_leaves_no_graph_and_only_what_is_needed(small: World, needs: Need) -> None:
    images = pictures(4, seed=5)[0]
    before = [None if p.grad is None else p.grad.clone() for p in small.model.parameters()]
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            found = represent(small.network, images, needs)
        tensors = {f.name: getattr(found, f.name) for f in fields(found)}
        assert tensors["logits"] is not None
        for need, name in (
            (Need.FEATURES, "features"),
            (Need.GRADIENT, "gradient"),
            (Need.FEATURE_MAP, "feature_map"),
            (Need.IMAGES, "images"),
        ):
            assert (tensors[name] is not None) == (need in needs)
        for tensor in tensors.values():
            assert tensor is None or (tensor.grad_fn is None and not tensor.requires_grad)
        for parameter, grad in zip(small.model.parameters(), before, strict=True):
            assert grad is parameter.grad is None or torch.equal(grad, parameter.grad)
    torch.testing.assert_close(found.logits, small.model(images).detach(), rtol=1e-5, atol=1e-5)


def test_scores_of_files_are_those_of_pillows_pixels(
    small: World, some: Sequence[ImageFile]
) -> None:
    scorer = fitted(small)
    (batch,) = read_batches(some, scorer.preprocessing, len(some))
    ours = scorer.score(scorer.represent(batch.pixels), after=True)
    images = normal(some)
    truth = small.model(images).detach().double()
    assert torch.equal(ours.predicted, truth.argmax(1))
    torch.testing.assert_close(
        ours.confidence.double(), truth.softmax(1).amax(1), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        ours.outlier["energy"].double(), -truth.logsumexp(1), rtol=0, atol=1e-4
    )
    assert set(ours.outlier) == {d.name for d in scorer.detectors}
    assert set(ours.predicted_after) == {"gsc", "gsc-drop"}
    direct = represent(small.network, images, EVERYTHING)
    for detector in scorer.detectors:
        expected = detector.score(direct).float()
        torch.testing.assert_close(ours.outlier[detector.name], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("most", "pieces"), [(1, 9), (2, 8), (3, 4), (5, 2)])
def test_out_of_memory_halves_the_batch_and_changes_no_score(
    small: World, some: Sequence[ImageFile], most: int, pieces: int
) -> None:
    network = Memory.like(small.network, most)
    tight = Scorer(network, preprocessing(), fitted(small).detectors)
    pixels = pixels_of(some)[:9]
    truth = fitted(small).score(fitted(small).represent(pixels))
    same(tight.score(tight.represent(pixels)), truth)
    assert network.seen == 9 and network.calls == pieces
    tight.represent(pixels)  # what was learned is kept
    assert network.seen == 18 and network.calls == 2 * pieces


@dataclass(eq=False)
class Hungry(Energy):
    """Energy that goes back to the network, which has no room for more than two images."""

    name = "hungry"

    def score(self, batch: Representation) -> Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no room")
        return super().score(batch)


def test_out_of_memory_in_a_detector_halves_the_batch_too(
    small: World, some: Sequence[ImageFile]
) -> None:
    """It is no fault of the detector: it stays in, and no score changes."""
    scorer = Scorer(small.network, preprocessing(), [Hungry(), *parse_detectors("energy,msp")])
    pixels = pixels_of(some)[:9]
    scores = scorer.score(scorer.represent(pixels), after=True)
    assert not scorer.excused and scorer.pieces == 8
    assert torch.equal(scores.outlier["hungry"], scores.outlier["energy"])
    assert len(scores.predicted) == 9
    truth = fitted(small, "msp").score(fitted(small, "msp").represent(pixels))
    same(Scores(scores.predicted, scores.confidence, {"msp": scores.outlier["msp"]}), truth)


def test_no_room_for_a_single_image_is_an_error(small: World, some: Sequence[ImageFile]) -> None:
    scorer = Scorer(Memory.like(small.network, 0), preprocessing(), parse_detectors("energy"))
    with pytest.raises(torch.OutOfMemoryError):
        scorer.represent(pixels_of(some)[:4])


def test_a_detector_that_fails_midway_is_excused_and_the_others_go_on(
    small: World, some: Sequence[ImageFile]
) -> None:
    logits = small.model(normal(some)).detach()
    strange = Moody(limit=float(logits[:, 0].sort().values[-2:].mean()))  # one is too much
    scorer = fitted(small, DETECTORS, strange)
    parts = [scorer.score(scorer.represent(pixels_of([image])), after=True) for image in some]
    assert list(scorer.excused) == ["moody"]
    assert "number" in scorer.excused["moody"]
    worst = int(logits[:, 0].argmax())
    for i, part in enumerate(parts):
        assert ("moody" in part.outlier) == (i < worst)
    whole = Scores.cat(parts)
    same(whole, fitted(small).score(fitted(small).represent(pixels_of(some))), within=1e-4)
    assert set(whole.predicted_after) == {"gsc", "gsc-drop"}


MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.images import ImageFile, ImageSet
from gsc_core.scoring.calibration import calibrate
from gsc_core.scoring.chunks import ChunkStore
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.local import score_set
from gsc_core.scoring.scorer import Scorer
folder = Path(sys.argv[1])
photo = folder / "photo.jpg"
noise = np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8)
Image.fromarray(noise).resize((224, 224)).save(photo)
torch.manual_seed(0)
PACE = Pace(8, 2, lambda *_: None)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 16, stride=8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(), torch.nn.Linear(8, 4),
).eval()
shapes = ({0: torch.export.Dim("batch")},)
program = torch.export.export(model, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
scorer = Scorer(Network(program), Preprocessing(), parse_detectors("energy,gsc-drop"))
files = [ImageFile(photo, f"{i}.jpg", f"{i:064}") for i in range(600)]
calibrate(scorer, files[:20], [0] * 20, seed=0, pace=PACE)
peaks = []
for n in (100, 600):
    store = ChunkStore(folder / "chunks", str(n))
    score_set(scorer, ImageSet("id", tuple(files[:n])), {}, store, PACE)
    assert sum(table.num_rows for table, _ in store.tables("id")) == n
    # not getrusage: a child's maximum there starts at its parent's
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peaks.append(int(status["VmHWM"].split()[0]) / 1024)
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    with child(MEASURE, tmp_path) as run:
        output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0
    few, more = json.loads(output)
    assert more - few < 60  # MB; kept as bytes alone, 500 images would take 75
