"""`gsc gate` on real audits."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import gsc
from junitparser import JUnitXml
from places import IMPORTABLE
from policies import rule
from small_audit import PREPROCESS, known, write_stage
from small_classifier import Small

from gsc_core.evaluation.thresholds import Typed
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace import release_policy

POLICY = (
    rule("id_accuracy", at_least=0.7)
    + rule("fpr95", at_most=0.5, set="noise")
    + rule("accuracy_loss", at_most=0.3, detector="gsc")
    + rule("strangers_passing", at_most=0.4)
    + rule("familiar_pictures", at_least=80)
)


@pytest.fixture(scope="module")
def audits(tmp_path_factory) -> Path:
    """Two audits of the same images: of the trained classifier, and of one that never learned."""
    stage = write_stage(tmp_path_factory.mktemp("stage"))
    known(stage / "id", 100, seed=11)  # of fewer than 88 an FPR95 has no upper end
    torch.manual_seed(3)
    untrained = Small().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(untrained, (torch.rand(4, 3, 12, 12),), dynamic_shapes=shapes)
    torch.export.save(program, stage / "bad.pt2")
    (stage / "policy.toml").write_text(POLICY)
    for name, model in {"good": "small", "bad": "bad"}.items():
        ran = gsc(
            "audit", "--model", stage / f"{model}.pt2", "--preprocess", PREPROCESS,
            "--id", stage / "id", "--calibration", stage / "calibration",
            "--ood", f"noise={stage / 'noise'}", "--detectors", "energy,gsc",
            "--split", "block", "--out", stage / name,
        )  # fmt: skip
        assert ran.code == 0, ran.err
    return stage


@pytest.mark.slow
def test_the_good_model_passes_and_the_bad_one_fails(audits):
    policy = audits / "policy.toml"
    good = gsc("gate", audits / "good", "--policy", policy)
    assert good.code == 0, good.out
    assert "This model meets all 5 limits of the release policy." in good.out
    bad = gsc("gate", audits / "bad", "--policy", policy)
    assert bad.code == 3, bad.out
    assert "This model breaks" in bad.out
    assert "Familiar images classified correctly" in bad.out
    assert not good.told
    assert not bad.told


@pytest.mark.slow
def test_it_does_not_wait_for_the_engine(audits):
    """A pipeline asks for a verdict, which takes the stored run alone."""
    order = [sys.executable, "-X", "importtime", "-m", "gsc_core", "gate", str(audits / "good")]
    done = subprocess.run(
        [*order, "--policy", str(audits / "policy.toml")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": IMPORTABLE},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "gsc_core" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "streamlit", "pytorch_ood"}


@pytest.mark.slow
def test_too_few_pictures_are_neither(audits):
    """100 images cannot show that 99 % are classified correctly; a set that is not there,
    nothing."""
    for text in (rule("id_accuracy", at_least=0.99), rule("fpr95", at_most=1, set="faint")):
        (audits / "more.toml").write_text(text)
        ran = gsc("gate", audits / "good", "--policy", audits / "more.toml")
        assert ran.code == 4, ran.out
        assert "cannot be decided yet" in ran.out
        assert "not enough data" in ran.out


def test_the_same_verdict_in_every_form(audits, tmp_path):
    junit, markdown = tmp_path / "new" / "gate.xml", tmp_path / "summary.md"
    markdown.write_text("what another step wrote\n")
    order = ["gate", audits / "bad", "--policy", audits / "policy.toml"]
    ran = gsc(*order, "--junit", junit, "--markdown", markdown, "--json")
    assert ran.code == 3
    document = json.loads(ran.out)
    assert document["outcome"] == "fail"
    assert document["run"] == "bad"
    assert document["detector"] in {"energy", "gsc"}
    assert math.isfinite(document["threshold"])
    assert [limit["rule"] for limit in document["limits"]] == [1, 2, 3, 4, 5]
    first = document["limits"][0]
    assert first["low"] <= first["value"] <= first["high"] < 0.7
    assert JUnitXml.fromfile(str(junit)).failures == sum(
        limit["outcome"] == "fail" for limit in document["limits"]
    )
    printed = gsc(*order, "--markdown", "-")
    assert printed.code == 3
    assert printed.out.startswith("### ❌ Release gate: fail (bad)")
    assert markdown.read_text() == "what another step wrote\n" + printed.out


def test_what_a_user_can_mend_is_told_and_ends_with_2(audits, tmp_path, home):
    policy, good = audits / "policy.toml", audits / "good"
    (tmp_path / "bad.toml").write_text(rule("fpr", at_most=1))
    for arguments, said in (
        ((good,), "No limits were given: name a file with --policy"),
        ((good, "--policy", tmp_path / "none.toml"), "none.toml cannot be used"),
        ((good, "--policy", tmp_path / "bad.toml"), 'Rule 1 of the policy has the metric "fpr"'),
        (("nothing", "--policy", policy), 'no result for the run "nothing"'),
        (("../nowhere", "--policy", policy), "letters, digits"),
        ((tmp_path, "--policy", policy), "There is no result"),
        ((good, "--policy", policy, "--json", "--markdown", "-"), "both print"),
    ):
        ran = gsc("gate", *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert len(ran.told) == 1
        assert said in ran.told[0]


def test_the_workspace_s_policy_and_the_run_s_threshold_hold(audits, home, monkeypatch):
    """By its name and by its folder; a copy elsewhere has the default threshold."""
    shutil.copytree(audits / "good", home / "good")
    release_policy.keep(rule("familiar_passing", at_least=0.8))
    assert gsc("gate", "good").code == 0
    run = Run.load(home / "good")
    decision = decisions.decide(run, "energy", Typed(value=-1e6))
    decisions.store(run, decision)
    assert gsc("gate", "good").code == 3
    assert gsc("gate", home / "good").code == 3
    monkeypatch.chdir(home)
    assert gsc("gate", "good").code == 3
    assert gsc("gate", audits / "good").code == 0
