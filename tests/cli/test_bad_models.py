"""Models that do not fit, are damaged or hold code: one sentence, and nothing is run."""

import contextlib
import io
import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from command_line import audit, gsc, refused
from hostile_programs import ATTACKS, DROPPED, Payload, read, save, write
from hostile_programs import Small as OtherSmall
from small_audit import model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny architecture, as safetensors and as a state dict."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    state = timm.create_model("test_resnet", num_classes=4).state_dict()
    safetensors.torch.save_file(state, folder / "tiny.safetensors")
    torch.save(state, folder / "tiny.pt")
    spoilt = {name: value.clone() for name, value in state.items()}
    next(value for value in spoilt.values() if value.is_floating_point()).view(-1)[0] = torch.nan
    safetensors.torch.save_file(spoilt, folder / "nan.safetensors")
    return folder


CROP_32 = "resize=32,crop=32"


def test_weights_with_their_architecture_are_audited(
    weights: Path, stage: Path, tmp_path: Path
) -> None:
    for name in ("tiny.safetensors", "tiny.pt"):
        more = {"model": weights / name, "arch": "timm/test_resnet", "preprocess": CROP_32}
        ran = gsc(*audit(stage, tmp_path / name, "--json", **more))
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["settings"]["architecture"] == "timm/test_resnet"


@pytest.mark.parametrize(
    ("file", "arch", "said"),
    [
        ("nothing.pt2", None, ("nothing.pt2", "check the path")),
        ("tiny.safetensors", None, ("name the architecture",)),
        ("tiny.pt", None, ("name the architecture",)),
        ("tiny.safetensors", "torchvision/resnet18", ("do not fit torchvision/resnet18",)),
        ("tiny.safetensors", "timm/test_resnat", ("no architecture", "test_resnet")),
        ("nan.safetensors", "timm/test_resnet", ("NaN",)),
    ],
)
def test_weights_that_do_not_fit(
    file: str,
    arch: str | None,
    said: tuple[str, ...],
    weights: Path,
    stage: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    more = {"model": weights / file, "arch": arch, "preprocess": CROP_32}
    refused(gsc(*audit(stage, out, **more)), out, *said)
    assert not out.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("file", ["small.pt2", "tiny.safetensors", "tiny.pt"])
def test_a_truncated_checkpoint(
    file: str, share: float, weights: Path, stage: Path, tmp_path: Path
) -> None:
    content = next(p for p in (stage / file, weights / file) if p.exists()).read_bytes()
    cut = tmp_path / file
    cut.write_bytes(content[: int(len(content) * share)])
    arch = None if file == "small.pt2" else "timm/test_resnet"
    ran = gsc(*audit(stage, tmp_path / "out", model=cut, arch=arch))
    refused(ran, tmp_path / "out", file)
    assert not (tmp_path / "out").exists()


def whole_pickle(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps({"weight": torch.zeros(2), "evil": payload}))


def torch_archive(path: Path, payload: Payload) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "evil": payload}, path)


@pytest.mark.parametrize("build", [whole_pickle, torch_archive])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2", ".safetensors"])
def test_a_pickle_with_code_in_it_is_not_run(
    build, suffix: str, stage: Path, tmp_path: Path
) -> None:
    marker, evil = tmp_path / "marker", tmp_path / f"evil{suffix}"
    build(evil, Payload(marker))
    ran = gsc(*audit(stage, tmp_path / "out", model=evil))
    refused(ran, tmp_path / "out", evil.name)
    assert not marker.exists()
    with contextlib.suppress(Exception):
        torch.load(io.BytesIO(evil.read_bytes()), weights_only=False)
    with contextlib.suppress(Exception):
        pickle.loads(evil.read_bytes())
    assert marker.exists(), "the payload does nothing: this test would prove nothing"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_program_with_code_in_it_is_not_run(attack, stage: Path, tmp_path: Path) -> None:
    """That each payload is live is shown in test_classifier_gate."""
    marker = tmp_path / "marker"
    members = read(save(OtherSmall(), tmp_path / "honest.pt2", size=32))
    attack(members, marker)
    evil = write(tmp_path / "evil.pt2", members)
    ran = gsc(*audit(stage, tmp_path / "out", model=evil, preprocess=CROP_32))
    if attack.__name__ in DROPPED:
        assert ran.code == 0, ran.err
    else:
        refused(ran, tmp_path / "out", "evil.pt2")
    assert not marker.exists()


def test_torchscript_is_refused_with_the_way_out(stage: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(model()), script)
    ran = gsc(*audit(stage, tmp_path / "out", model=script))
    refused(ran, tmp_path / "out", "TorchScript", "state_dict")


def test_names_that_are_not_one_a_class(stage: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree\n")
    ran = gsc(*audit(stage, tmp_path / "out", class_names=names))
    refused(ran, tmp_path / "out", "4 classes", "3 names")
