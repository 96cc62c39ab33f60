"""The Python of README and docs, run as it stands there."""

import re
import textwrap
from pathlib import Path

import pytest
import torch
from own_process import said_by_python
from small_audit import PREPROCESS, known, model, save_program, strange
from small_classifier import pictures, strangers
from torch.utils.data import DataLoader, TensorDataset

import gsc_core.detectors.base
from gsc_core import (
    AuditSpec,
    DetectorSpec,
    ModelSpec,
    Preprocessing,
    Run,
    export_detector,
    run_audit,
)

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def examples(file: str | Path) -> list[str]:
    """The blocks of Python in a document, in their order."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return [textwrap.dedent(block) for _, block in PYTHON.findall(text)]


def run(block: str, **given: object) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "example", **given}
    exec(compile(block, "example", "exec"), names)
    return names


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that README names: `model.pt2` and `photos`."""
    save_program(tmp_path / "model.pt2")
    known(tmp_path / "photos" / "known", 80, seed=11)
    strange(tmp_path / "photos" / "textures", 40, seed=13)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_document_with_python_is_run_here() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    counts = {str(path.relative_to(ROOT)): len(examples(path)) for path in documents}
    found = {name: count for name, count in counts.items() if count}
    assert found == {"README.md": 2, "CONTRIBUTING.md": 2, "docs/deploy.md": 1}


@pytest.mark.slow
def test_an_audit_as_readme_has_it(place: Path) -> None:
    audited = run(examples("README.md")[0])["run"]
    assert isinstance(audited, Run)
    assert set(audited.detectors) == {"gsc-auto", "energy"}
    assert audited.ood_sets == ("textures",)
    assert audited.path.samefile(place / "result")


@pytest.mark.slow
def test_a_loop_of_pytorch_ood_as_readme_has_it() -> None:
    train = DataLoader(TensorDataset(*pictures(64, 1)), batch_size=16)
    familiar, labels = pictures(40, 2)
    unfamiliar = strangers(40, 3)
    images = torch.cat([familiar, unfamiliar])
    test = DataLoader(TensorDataset(images, torch.cat([labels, -torch.ones(40).long()])))
    block = examples("README.md")[1]
    metrics = run(block, model=model(), train_loader=train, test_loader=test)["metrics"]
    assert metrics.compute()["AUROC"] > 0.9


@pytest.mark.slow
def test_an_exported_detector_as_deploy_has_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=Path("model.pt2"), preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        id=Path("photos/known"),
        ood={"textures": Path("photos/textures")},
        detectors=(DetectorSpec(name="energy"),),
        repeats=10,
    )
    run_audit(spec, place / "result")
    export_detector(place / "result", "energy", 0.0, "typed:value=0.0", place / "detector.pt2")
    run(examples("docs/deploy.md")[0])
    assert re.match(
        r"class \d (accepted|flagged)\nscores at least as high as \d+ of 100",
        capsys.readouterr().out,
    )


def test_the_recipes_of_contributing_hold() -> None:
    detector, guard = examples("CONTRIBUTING.md")
    norm = run(detector, **vars(gsc_core.detectors.base))["Norm"]
    assert norm().settings() == {"power": 1.0}
    run(guard)


@pytest.mark.slow
def test_the_walk_from_an_audit_to_a_detector(tmp_path: Path) -> None:
    script = ROOT / "docs" / "example.py"
    said = said_by_python(script, cwd=tmp_path)
    score, audited = re.search(r"score (\S+) \(the audit: (\S+)\)", said).groups()
    assert float(score) == pytest.approx(float(audited), rel=1e-3)
