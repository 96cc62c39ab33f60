"""A detector that was renamed is understood by both of its names, wherever one is given."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from policies import rule
from small_run import make, spec_of
from typer.testing import CliRunner

from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.cli.app import app
from gsc_core.detectors.catalogue import find, parse_detectors
from gsc_core.detectors.gsc import GSC
from gsc_core.errors import SpecError
from gsc_core.run import decisions
from gsc_core.run.detector_names import RENAMED, current_name, name_in, note_of
from gsc_core.run.stored import Run

FORMER, NOW = "gsc-published", "gsc-drop"


def test_names_are_understood_both_ways() -> None:
    assert RENAMED == {FORMER: NOW}
    assert current_name(FORMER) == NOW and current_name("energy") == "energy"
    assert current_name(f"{FORMER}+energy") == f"{NOW}+energy"
    assert name_in((NOW, "energy"), FORMER) == NOW
    assert name_in((FORMER, "energy"), NOW) == FORMER
    assert name_in((FORMER, NOW), FORMER) == FORMER
    assert name_in(("energy",), FORMER) == FORMER
    assert name_in((f"{FORMER}+energy",), f"{NOW}+energy") == f"{FORMER}+energy"
    assert note_of(["energy", FORMER]) == f"{FORMER} is now called {NOW}"
    assert note_of(["energy", NOW]) is None


def test_what_is_asked_for_on_the_command_line_gets_the_name_of_today() -> None:
    first, second = parse_detectors(f"{FORMER}:share=0.3,energy+{FORMER}")
    assert (first.name, first.settings()["share"]) == (NOW, 0.3)
    assert second.name == f"energy+{NOW}"
    with pytest.raises(SpecError, match="named twice"):
        parse_detectors(f"{FORMER},{NOW}")


def test_what_a_run_names_keeps_its_name() -> None:
    detector = DetectorSpec(name=FORMER).build()
    assert detector.name == FORMER and type(detector) is find(FORMER)
    assert isinstance(detector, find(NOW)) and isinstance(detector, GSC)
    assert NOW in detector.title


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the name of today, and beside it the same one as it was written before."""
    folder = make(tmp_path_factory.mktemp("names"))
    now = folder / "home" / "runs" / "small"
    former = folder / "former"
    shutil.copytree(now, former)
    for name in ("spec.json", "metrics.json"):
        text = (former / name).read_text(encoding="utf-8")
        (former / name).write_text(text.replace(NOW, FORMER), encoding="utf-8")
    table = pd.read_parquet(former / "scores.parquet")
    renamed = {column: column.replace(NOW, FORMER) for column in table.columns}
    table.rename(columns=renamed).to_parquet(former / "scores.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("asked", [FORMER, NOW])
@pytest.mark.parametrize("there", [FORMER, NOW])
def test_either_run_is_read_by_either_name(there: str, asked: str, made: Path) -> None:
    folder = made / "former" if there == FORMER else made / "home" / "runs" / "small"
    run = Run.load(folder)
    assert there in run.detectors and run.name_of(asked) == there
    decided = decisions.decide(run, asked, decisions.current(run).rule)
    assert decided.detector == there
    opened = reopen(folder)
    image = next((made / "stage" / "noise").iterdir())
    table = pd.read_parquet(folder / "scores.parquet")
    row = table[(table["set"] == "noise") & (table["file"] == image.name)].iloc[0]
    assert opened.score(image)[there] == pytest.approx(row[there], rel=1e-4, abs=1e-5)
    assert opened.gsc(asked) is opened.detectors[there]
    policy = made / "policy.toml"
    policy.write_text(rule("auroc", at_least=0.5, detector=asked))
    judged = CliRunner().invoke(app, ["gate", str(folder), "--policy", str(policy), "--json"])
    (limit,) = json.loads(judged.stdout)["limits"]
    measured = run.row(there)
    assert measured is not None and limit["value"] == measured.metrics["auroc"].value


@pytest.mark.slow
def test_the_command_line_says_the_name_of_today(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "detector.pt2"
    run = made / "home" / "runs" / "small"
    arguments = ["export", str(run), "--detector", FORMER, "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"{FORMER} is now called {NOW}" in done.stderr
    assert json.loads(done.stdout)["detector"] == NOW


@pytest.mark.slow
def test_an_order_of_before_is_carried_out(made: Path, tmp_path: Path) -> None:
    spec = spec_of(made / "stage", names=("energy", FORMER))
    stored = AuditSpec.model_validate_json(spec.model_dump_json())
    run = run_audit(stored, tmp_path / "out")
    assert run.detectors == ("energy", FORMER)
    with_now = pd.read_parquet(made / "home" / "runs" / "small" / "scores.parquet")
    scores = torch.from_numpy(run.column(FORMER).copy())
    torch.testing.assert_close(scores, torch.from_numpy(with_now[NOW].to_numpy().copy()))
