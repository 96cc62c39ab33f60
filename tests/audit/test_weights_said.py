"""What was chosen, concluded or left out of a file of weights is in the run and on the terminal."""

import json
from pathlib import Path

import pytest
import timm
import torch
from command_line import gsc
from small_audit import known, strange

from gsc_core.classifier.weights import architectures
from gsc_core.workspace.catalogue_maker import make_catalogue

pytestmark = pytest.mark.slow


def test_an_audit_asks_and_then_says_which_weights_it_took(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, averaged = (timm.create_model("test_resnet", num_classes=4) for _ in range(2))
    content = {
        "state_dict": {f"model.{key}": value for key, value in plain.state_dict().items()},
        "callbacks": {"EMA": {"ema": averaged.state_dict()}},
    }
    torch.save(content | {"criterion": {"weight": torch.ones(4)}}, tmp_path / "mine.ckpt")
    known(tmp_path / "id", 60, seed=1)
    strange(tmp_path / "noise", 30, seed=2)
    command = ("audit", "--model", tmp_path / "mine.ckpt", "--arch", "timm/test_resnet")
    command += ("--preprocess", "resize=32,crop=32", "--id", tmp_path / "id")
    command += ("--ood", f"noise={tmp_path / 'noise'}", "--detectors", "energy")
    command += ("--out", tmp_path / "out")
    asked = gsc(*command)
    assert asked.code == 2
    assert "--weights ema or --weights plain" in asked.err
    said = gsc(*command, "--weights", "ema")
    assert said.code == 0, said.err
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    (check,) = (check for check in document["checks"] if check["name"] == "opening")
    text = check["sentence"]
    assert "an average over training (EMA), callbacks.EMA.ema in the file" in text
    assert "also holds state_dict.model, which was left out" in text
    assert "criterion" in text
    assert document["settings"]["model"]["weights"] == "ema"


def test_both_ways_in_assume_the_same_preprocessing() -> None:
    """What the command line assumes of weights is what the app shows of the architecture."""
    offered = make_catalogue().architectures
    for name in ("timm/test_vit", "timm/vit_small_patch14_dinov2", "torchvision/inception_v3"):
        assumed = architectures.assumed_preprocessing(name, {})
        assert assumed.source == "assumed"
        assert assumed.model_copy(update={"source": offered[name].source}) == offered[name]
    timms = timm.get_pretrained_cfg("test_vit")
    assert offered["timm/test_vit"].mean == tuple(timms.mean)
