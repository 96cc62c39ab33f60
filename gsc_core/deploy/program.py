"""A fitted detector with its classifier as one graph: uint8 images in, an alarm out.

The scores are traced from the code that made them in the audit, gradient and all, so that the
graph holds plain operators and needs neither this package nor any library but torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table
from torch._subclasses import FakeTensorMode
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from gsc_core.audit.reopen import Reopened
from gsc_core.classifier import Preprocessing
from gsc_core.classifier.resizing import grey, resized_size
from gsc_core.scoring.onepass import represent

_aten = torch.ops.aten

# A size that the batch has while it is traced must be that of nothing else: torch would take the
# two for one. These are primes.
_BATCH, _HEIGHT, _WIDTH = 1021, 67, 71
_LARGEST_SIDE = 2**16

Decomposition = Callable[..., Any]


class ResizeCrop(nn.Module):
    """`Preprocessing.resize_crop` of a batch, for images of any size, pixel for pixel."""

    colour: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        colour = torch.tensor(preprocessing.colour, dtype=torch.uint8)
        self.register_buffer("colour", colour.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 `[B,3,H,W]` to uint8 `[B,C,h,w]`."""
        height, width = self.preprocessing.crop
        rows = self._centre(self._resized(images), 2, height)
        cropped = self._centre(rows, 3, width)
        return grey(cropped) if self.preprocessing.shape[0] == 1 else cropped

    def _resized(self, images: Tensor) -> Tensor:
        if self.preprocessing.resize is None:
            return images
        size = list(resized_size(self.preprocessing, *images.shape[2:]))
        resized: Tensor
        if self.preprocessing.interpolation == "nearest":
            resized = _aten.upsample_nearest2d(images, size)
        elif self.preprocessing.interpolation == "bilinear":
            resized = _aten._upsample_bilinear2d_aa(images, size, False)
        else:
            resized = _aten._upsample_bicubic2d_aa(images, size, False)
        return resized

    def _centre(self, images: Tensor, axis: int, length: int) -> Tensor:
        """The middle `length` rows (axis 2) or columns (axis 3), `colour` where there are none."""
        size = images.shape[axis]
        spare, lacking = torch.sym_max(size - length, 0), torch.sym_max(length - size, 0)
        # half of what is to spare, rounded half to even, or less than half of what lacks
        first = (spare + spare // 2 % 2) // 2 - lacking // 2
        at = torch.arange(length) + first
        within = torch.logical_and(at >= 0, at < size).view(-1, *[1] * (3 - axis))
        last = torch.scalar_tensor(size - 1, dtype=torch.int64)
        taken = images.index_select(axis, at.clamp(min=0).minimum(last))
        return torch.where(within, taken, self.colour)


class Alarm(nn.Module):
    """From pixels as the classifier sees them to what a user asks.

    `score` is a traced graph, `calibration [N]` the outlier scores of the calibration images.
    """

    calibration: Tensor
    threshold: Tensor

    def __init__(self, score: GraphModule, calibration: Tensor, threshold: float) -> None:
        super().__init__()
        self.score = score
        self.register_buffer("calibration", calibration.float())
        self.register_buffer("threshold", float32_at_most(threshold))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uint8 `[B,C,h,w]` to logits `[B,K]`, score, percentile and flagged, `[B]` each.

        The percentile is the share of calibration images that score at most as high, 0 to 100.
        """
        logits, score = self.score(pixels)
        below = (self.calibration <= score[:, None]).float().mean(dim=1)
        return logits, score, 100 * below, score > self.threshold


class DetectorProgram(nn.Module):
    """The whole of it: images of any size in."""

    def __init__(self, preprocessing: Preprocessing, alarm: Alarm) -> None:
        super().__init__()
        self.resize_crop = ResizeCrop(preprocessing)
        self.alarm = alarm

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uint8 `[B,3,H,W]` to the outputs of `Alarm`."""
        _aten._assert_tensor_metadata(images, dtype=torch.uint8)
        outputs: tuple[Tensor, Tensor, Tensor, Tensor] = self.alarm(self.resize_crop(images))
        return outputs


def float32_at_most(threshold: float) -> Tensor:
    """The largest float32 that is not above a threshold: no float32 score lies between the two."""
    value = torch.tensor(threshold, dtype=torch.float64).clamp(*_FLOAT32).float()
    if float(value) > threshold:
        value = torch.nextafter(value, torch.tensor(-math.inf))
    return value


_FLOAT32 = (torch.finfo(torch.float32).min, torch.finfo(torch.float32).max)


def traced(audit: Reopened, name: str) -> GraphModule:
    """The graph `pixels uint8 [B,C,h,w] -> (logits [B,K], score [B])`, float32, of a detector.

    Raises whatever torch does where the detector's code cannot be traced.
    """
    detector, preprocessing = audit.detectors[name], audit.classifier.preprocessing

    def scored(pixels: Tensor) -> tuple[Tensor, Tensor]:
        batch = represent(audit.network, preprocessing.normalise(pixels), detector.needs)
        return batch.logits, detector.score(batch).float()

    pixels = torch.empty(1, *preprocessing.shape, dtype=torch.uint8).expand(_BATCH, -1, -1, -1)
    trace = make_fx(scored, _DECOMPOSITIONS, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    # the gradients of the fused kernels are no plain operators
    with sdpa_kernel(SDPBackend.MATH), _PlainMean():
        return trace(_of_any_batch(pixels))


def exported(program: DetectorProgram) -> ExportedProgram:
    """The program as torch saves it, with free batch, height and width."""
    side = {"min": 1, "max": _LARGEST_SIDE}
    sizes = {0: Dim("batch"), 2: Dim("height", **side), 3: Dim("width", **side)}
    images = torch.zeros(_BATCH, 3, _HEIGHT, _WIDTH, dtype=torch.uint8)
    with torch.no_grad():
        exported_program: ExportedProgram = torch.export.export(
            program, (images,), dynamic_shapes=(sizes,), strict=False
        )
    exported_program = exported_program.run_decompositions(
        {}
    )  # no operator changes anything in place
    exported_program.example_inputs = None  # else they are saved with it
    return exported_program


def _of_any_batch(pixels: Tensor) -> Tensor:
    """A surrogate image for pixels whose batch alone is a symbol."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * 3]
    context = StatelessSymbolicContext(dynamic_sizes=sizes)  # type: ignore[var-annotated]
    return mode.from_tensor(pixels, symbolic_context=context)


class _PlainMean(TorchFunctionMode):
    """Pooling to one position as the mean that it is; torch also sets strides by hand there."""

    def __torch_function__(
        self, function: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is _aten.adaptive_avg_pool2d.default and set(args[1]) == {1}:
            return args[0].mean(dim=(-2, -1), keepdim=True)
        return function(*args, **(kwargs or {}))


def _convolution_backward(
    gradient: Tensor, images: Tensor, weight: Tensor, *settings: Any
) -> tuple[Tensor, None, None]:
    """The gradient at the input of a convolution, which is a convolution the other way round."""
    _, stride, padding, dilation, transposed, _, groups, output_mask = settings
    assert not any(output_mask[1:]), "the weights are frozen"
    n = weight.ndim - 2
    stride, padding, dilation = (v * n if len(v) == 1 else v for v in (stride, padding, dilation))
    missing = [0] * n
    if not transposed:
        reached = [
            (gradient.shape[2 + i] - 1) * stride[i]
            - 2 * padding[i]
            + dilation[i] * (weight.shape[2 + i] - 1)
            + 1
            for i in range(n)
        ]
        missing = [images.shape[2 + i] - reached[i] for i in range(n)]
    back: Tensor = _aten.convolution(
        gradient, weight, None, stride, padding, dilation, not transposed, missing, groups
    )
    return back, None, None


def _kthvalue(
    values: Tensor, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The last of the `k` smallest, which ONNX knows."""
    smallest, at = values.topk(k, dim, largest=False)
    smallest_at = smallest.narrow(dim, k - 1, 1), at.narrow(dim, k - 1, 1)
    return smallest_at if keepdim else (smallest_at[0].squeeze(dim), smallest_at[1].squeeze(dim))


def _searchsorted(ordered: Tensor, values: Tensor, *, right: bool = False, **_: Any) -> Tensor:
    """How many of `ordered [N]` are below each of `values [B]`, or with `right` not above."""
    below = ordered <= values[:, None] if right else ordered < values[:, None]
    return below.sum(dim=1)


# Gradients as the plain operators that they are: a program with these opens through the gate, and
# most have an ONNX form.
_DECOMPOSITIONS: dict[Any, Decomposition] = {
    **{op: rule for op, rule in decomposition_table.items() if "backward" in str(op)},
    _aten._safe_softmax.default: decomposition_table[_aten._safe_softmax.default],
    _aten.convolution_backward.default: _convolution_backward,
    _aten.kthvalue.default: _kthvalue,
    _aten.searchsorted.Tensor: _searchsorted,
}
