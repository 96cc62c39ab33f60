"""Which architectures open, as a user saves them: `docs/models.md`, one family a row.

`python -m benchmarks.architectures` measures what `docs/models.jsonl` does not hold yet, each
architecture in a process of its own, and writes the table. Weights are random, images are noise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, Field
from torch import nn
from torch.export import Dim

from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import Classifier, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.weights import architectures
from gsc_core.errors import GscError

DOCS = Path(__file__).parents[1] / "docs"
ROWS, TABLE = DOCS / "models.jsonl", DOCS / "models.md"
CLASSES, SMALL, LIMIT_S = 7, 128, 400
CLOSE = 1e-4  # of the logits' largest
SHARES = (0.01, 0.40)
# What is asked of weights, which cannot tell it; the networks here are built from scratch.
ANSWERS: dict[str | None, dict[str, bool]] = {
    "torchvision/googlenet": {"transform_input": False},
    "torchvision/inception_v3": {"transform_input": False},
}

# One a family; those that take images of any size are measured on small ones.
_ANY_SIZE = """
torchvision/alexnet torchvision/convnext_tiny torchvision/densenet121 torchvision/efficientnet_b0
torchvision/efficientnet_v2_s torchvision/googlenet torchvision/inception_v3
torchvision/mnasnet0_5 torchvision/mobilenet_v2 torchvision/mobilenet_v3_small
torchvision/regnet_y_400mf torchvision/resnet18 torchvision/resnext50_32x4d
torchvision/shufflenet_v2_x0_5 torchvision/squeezenet1_1 torchvision/swin_t torchvision/vgg11_bn
torchvision/wide_resnet50_2 timm/resnetv2_50x1_bit timm/nfnet_l0 timm/nf_resnet26
timm/convmixer_768_32 timm/convnextv2_atto timm/cs3darknet_s timm/dla34 timm/dpn68
timm/edgenext_xx_small timm/efficientvit_b0 timm/fasternet_t0 timm/fastvit_t8 timm/ghostnet_100
timm/hgnetv2_b0 timm/hrnet_w18_small timm/inception_next_atto timm/inception_v4
timm/mambaout_femto timm/poolformer_s12 timm/mobilenetv4_conv_small timm/mobilevit_xxs
timm/mobileone_s0 timm/pvt_v2_b0 timm/regnetz_005 timm/repghostnet_050 timm/repvit_m0_9
timm/res2net50_26w_4s timm/resnest14d timm/rexnet_100 timm/selecsls42b timm/legacy_seresnet18
timm/skresnet18 timm/starnet_s1 timm/ese_vovnet19b_dw timm/xception41 timm/shvit_s1
timm/rdnet_tiny
"""
_FIXED_SIZE = """
torchvision/vit_b_32 torchvision/maxvit_t timm/vit_tiny_patch16_224 timm/vit_small_patch14_dinov2
timm/deit_tiny_distilled_patch16_224 timm/xcit_nano_12_p16_224 timm/coatnet_nano_rw_224
timm/cait_xxs24_224 timm/coat_lite_tiny timm/convit_tiny timm/crossvit_tiny_240
timm/swinv2_tiny_window8_256 timm/levit_128s timm/mixer_s32_224 timm/tiny_vit_5m_224
timm/eva02_tiny_patch14_224 timm/efficientformerv2_s0 timm/pit_ti_224
"""
ANY_SIZE, FIXED_SIZE = _ANY_SIZE.split(), _FIXED_SIZE.split()

Percent = Annotated[float, Field(ge=0, le=1)]


class Opened(BaseModel):
    """How a file was opened: `refused` says why it was not, `asked` what was asked first."""

    refused: str | None = None
    asked: str | None = None
    difference: float | None = None
    cut: str | None = None
    behind: Percent | None = None
    finite: bool = False

    @property
    def right(self) -> bool:
        """Whether it opened and gives the original's logits."""
        return self.refused is None and self.difference is not None and self.difference <= CLOSE


class Row(BaseModel):
    """An architecture, opened from both of its files."""

    name: str
    size: int
    weights: Opened
    program: Opened


def main() -> None:
    """Measure what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="measure this architecture and print its row")
    parser.add_argument("--only", nargs="*", help="measure these again")
    parser.add_argument("--share", nargs=2, type=int, default=(0, 1), help="every n-th, from i on")
    options = parser.parse_args()
    if options.one:
        print(_measured(options.one).model_dump_json())
        return
    every = [*ANY_SIZE, *FIXED_SIZE]
    first, step = options.share
    measured = {row.name for row in _rows()} - set(options.only or ())
    for name in (options.only or every)[first::step]:
        if name not in measured:
            row = _in_a_process(name)
            with ROWS.open("a") as file:
                file.write(f"{row.model_dump_json()}\n")
            print(row, flush=True)
    rows = {row.name: row for row in _rows()}  # the last of each
    ROWS.write_text("".join(f"{rows[n].model_dump_json()}\n" for n in every if n in rows))
    TABLE.write_text(_table([rows[n] for n in every if n in rows]))


def _rows() -> list[Row]:
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return [Row.model_validate_json(line) for line in lines]


def _in_a_process(name: str) -> Row:
    """The row of an architecture, whose memory is free again afterwards."""
    command = [sys.executable, "-m", "benchmarks.architectures", "--one", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if done.returncode == 0:
            return Row.model_validate_json(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        last = f"took more than {LIMIT_S} seconds"
    return Row(name=name, size=0, weights=Opened(refused=last), program=Opened(refused=last))


def _measured(name: str) -> Row:
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    size = SMALL if name in ANY_SIZE else architectures.usual_size(name)[0]
    module = architectures.build(name, CLASSES).eval()
    with torch.no_grad():
        for parameter in module.parameters():  # some begin as zeros, and would hide what follows
            parameter.add_(0.01 * torch.randn_like(parameter))
    preprocessing = Preprocessing(resize=size, crop=(size, size))
    with tempfile.TemporaryDirectory() as folder:
        weights, program = Path(folder, "weights.pt"), Path(folder, "model.pt2")
        torch.save(module.state_dict(), weights)
        of_weights = ModelSpec(checkpoint=weights, architecture=name, preprocessing=preprocessing)
        opened = _opened(of_weights, module)
        try:
            torch.export.save(_exported(module, size), program)
        except Exception as error:  # torch has many ways to say that it cannot
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return Row(
                name=name,
                size=size,
                weights=opened,
                program=Opened(refused=f"torch cannot export it: {reason[:200]}"),
            )
        of_program = ModelSpec(checkpoint=program, preprocessing=preprocessing)
        return Row(name=name, size=size, weights=opened, program=_opened(of_program, module))


def _exported(module: nn.Module, size: int) -> torch.export.ExportedProgram:
    """As the README tells a user to."""
    images = torch.randn(2, 3, size, size)
    return torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))


def _opened(spec: ModelSpec, module: nn.Module) -> Opened:
    answer = ANSWERS.get(spec.architecture)
    try:
        return _compared(load_classifier(spec), module)
    except GscError as error:
        if error.question is None or answer is None or spec.options:
            return Opened(refused=str(error))
    answered = _opened(spec.model_copy(update={"options": answer}), module)
    return answered.model_copy(update={"asked": ", ".join(answer)})


def _compared(classifier: Classifier, module: nn.Module) -> Opened:
    """Against the original: logits of three images and of one; and the gradient at the cut."""
    network = Network(classifier.program)
    images = torch.randn(3, 3, *classifier.preprocessing.crop)
    with torch.no_grad():
        expected = module(images)
        together, alone = network(images), network(images[:1])
    most = max((together - expected).abs().max(), (alone - expected[:1]).abs().max())
    leaf = network.body(images).requires_grad_()
    gradient = network.gradient(network.head(leaf).amax(dim=1), leaf)
    split = network.split
    return Opened(
        difference=float(most / expected.abs().max()),
        cut=None if split is None else split.name,
        behind=None if split is None else split.behind,
        finite=bool(gradient.isfinite().all()) and bool(gradient.any()),
    )


def _table(rows: list[Row]) -> str:
    both = [row for row in rows if row.weights.right and row.program.right]
    within = [r for r in both if SHARES[0] <= (r.weights.behind or 0) <= SHARES[1]]
    lines = [
        "# Architectures that were tried",
        "",
        f"{len(rows)} architectures, one a family, with random weights: {len(both)} open both from "
        "a state dict and as a `.pt2` program and give the original's logits within "
        f"{CLOSE:g} of the largest; with {len(within)} of them between {SHARES[0]:.0%} and "
        f"{SHARES[1]:.0%} of the operations lie behind the default cut. Made by "
        "`python -m benchmarks.architectures`.",
        "",
        "The program is what a user's simplest export gives: "
        '`torch.export.export(model.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))`.',
        "",
        "| Architecture | Images | State dict | `.pt2` | Default cut | Behind | Gradient |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    first = row.weights if row.weights.refused is None else row.program
    behind = "" if first.behind is None else f"{first.behind:.1%}"
    gradient = "finite" if first.finite else "none"
    cells = [
        row.name,
        f"{row.size}×{row.size}" if row.size else "",
        _outcome(row.weights),
        _outcome(row.program),
        first.cut or "none",
        behind,
        gradient if first.refused is None else "",
    ]
    return f"| {' | '.join(cells)} |"


def _outcome(opened: Opened) -> str:
    if opened.refused is not None:
        return opened.refused.replace("|", r"\|")
    asked = f", asks for {opened.asked}" if opened.asked else ""
    return f"{opened.difference:.0e}{asked}"


if __name__ == "__main__":
    main()
