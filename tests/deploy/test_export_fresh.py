"""An exported detector in an interpreter that has torch, and nothing that this project adds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from places import ROOT
from small_audit import MEAN, STD, write_stage

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.deploy.card import EXAMPLE
from gsc_core.deploy.export import export_detector
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.images.decode import decode

pytestmark = pytest.mark.slow

DETECTORS = "gsc,gsc-auto,energy,react,knn,mahalanobis"

# The standard library, torch, and what pip installs with it; not even numpy.
ALONE = """
import json, sys
from importlib.machinery import PathFinder

ALLOWED = set(sys.stdlib_module_names) | {
    "torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
    "fsspec", "filelock", "typing_extensions",
}

class Only:
    # finds what a fresh environment would have; anything else is not there
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ALLOWED or top.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [each for each in sys.meta_path if each is not PathFinder] + [Only()]
import torch

found = {}
for name, file, images in json.load(sys.stdin):
    detector = torch.export.load(file).module()
    found[name] = [
        [float(each) for each in detector(torch.tensor(image, dtype=torch.uint8)[None])[1:]]
        for image in images
    ]
tops = {name.split(".")[0] for name in sys.modules}
json.dump({"found": found, "loaded": sorted(tops)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = write_stage(tmp_path_factory.mktemp("stage"))
    preprocessing = Preprocessing(resize=12, crop=(12, 12), mean=(MEAN,) * 3, std=(STD,) * 3)
    spec = AuditSpec(
        model=ModelSpec(checkpoint=here / "small.pt2", preprocessing=preprocessing),
        id=here / "id",
        calibration=here / "calibration",
        ood={"faint": here / "faint"},
        detectors=tuple(DetectorSpec.of(each) for each in parse_detectors(DETECTORS)),
        device="cpu",
        repeats=20,
    )
    return run_audit(spec, here / "run").path


def test_torch_alone_gives_the_scores_of_the_audit(run: Path, tmp_path: Path) -> None:
    table = pq.read_table(run / "scores.parquet")
    rows = [i for i, name in enumerate(table["set"].to_pylist()) if name == "faint"][:8]
    files = [run.parent / "faint" / table["file"][row].as_py() for row in rows]
    pictures = [decode(file).tolist() for file in files]
    orders = []
    for name in DETECTORS.split(","):
        out = tmp_path / name / "detector.pt2"
        middle = float(np.median(table[name].to_numpy()[rows]))
        export_detector(run, name, middle, f"typed:{middle!r}", out)
        orders.append([name, str(out), pictures])
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ALONE],
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    foreign = {"gsc_core", "torchvision", "pytorch_ood", "timm", "sklearn", "scipy", "numpy"}
    assert not foreign & set(answer["loaded"])
    for name, found in answer["found"].items():
        scores, percentiles, flagged = np.array(found).T
        expected = table[name].to_numpy()[rows]
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
        assert set(flagged) == {0.0, 1.0}
        assert ((percentiles >= 0) & (percentiles <= 100)).all()


def test_the_example_runs_as_it_is_printed(run: Path, tmp_path: Path) -> None:
    export_detector(run, "gsc", 0.0, "typed:0.0", tmp_path / "detector.pt2")
    assert len(EXAMPLE.splitlines()) <= 12
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", EXAMPLE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of 100 familiar images" in done.stdout


def test_the_documentation_shows_the_same_example() -> None:
    assert EXAMPLE in (ROOT / "docs" / "deploy.md").read_text()
