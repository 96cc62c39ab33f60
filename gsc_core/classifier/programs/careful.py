"""A program run operator by operator, with a look at arguments that some operators do not check.

A few kernels of torch trust what they are given: statistics of another length, grids of another
batch, scales that do not fit the size. They read past the end of a tensor then, or end the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Interpreter

_MOST = 2**16  # of a stride, a padding, a kernel's side
_STEPS = ("stride", "dilation", "kernel_size")


class Careful(Interpreter):
    """Runs a graph; ValueError for an operator whose arguments do not fit together."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # it would be printed

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Look at the arguments, then call."""
        if isinstance(target, OpOverload):
            check_arguments(target, args, kwargs)
        return super().call_function(target, args, kwargs)


def check_arguments(
    target: OpOverload[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise ValueError where an operator would read past what it is given, or end the process."""
    names = [argument.name for argument in target._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    name = target._schema.name.removeprefix("aten::")
    fits = _CHECKS.get(name)
    if not (_has_sane_steps(given) and (fits is None or fits(given))):
        raise ValueError(f"arguments of {name} do not fit together")


def _images(given: Mapping[str, Any]) -> Any:
    return given.get("input", given.get("self"))


def _is_for_channels(given: Mapping[str, Any]) -> bool:
    """Whether weights and statistics have one value for each channel."""
    images = _images(given)
    by_channel = (given.get(key) for key in ("weight", "bias", "running_mean", "running_var"))
    return images.ndim >= 2 and all(
        values is None or tuple(values.shape) == (images.shape[1],) for values in by_channel
    )


def _has_fitting_scales(given: Mapping[str, Any]) -> bool:
    """Whether a stated scale is that between the sizes, but for what is rounded off."""
    images, sizes = _images(given), given.get("output_size")
    if sizes is None:
        return True
    inner = images.shape[2:]
    if len(inner) != len(sizes) or not all(0 < int(size) <= _MOST for size in sizes):
        return False
    names = ("scales",) if len(inner) == 1 else ("scales_d", "scales_h", "scales_w")[-len(inner) :]
    return all(
        (scale := given.get(name)) is None or abs(before * scale - after) <= 1
        for name, before, after in zip(names, inner, sizes, strict=True)
    )


def _is_grouped(given: Mapping[str, Any]) -> bool:
    """Whether a group norm's stated sizes are those of the images."""
    sizes = math.prod(int(given[size]) for size in ("N", "C", "HxW"))
    return int(given["group"]) > 0 and sizes == _images(given).numel()


def _is_grid_of(given: Mapping[str, Any]) -> bool:
    """Whether there is a grid of points for each image."""
    images, grid = _images(given), given["grid"]
    fits = images.ndim == grid.ndim == 4 and grid.shape[-1] == 2
    return bool(fits and len(images) == len(grid))


def _is_norm_of(given: Mapping[str, Any]) -> bool:
    """Whether a weight norm's lengths are as many as the weight's dimension has."""
    weight, lengths, dim = given["v"], given["g"], int(given.get("dim", 0))
    return bool(-weight.ndim <= dim < weight.ndim and lengths.numel() == weight.shape[dim])


def _can_be_divided(given: Mapping[str, Any]) -> bool:
    """Whether no whole numbers are divided by -1, which no processor does of the least of them."""
    by = torch.as_tensor(given["other"])
    if any(term.is_floating_point() or term.is_complex() for term in (_images(given), by)):
        return True
    return not bool((by == -1).any())


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    **dict.fromkeys(
        ("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm"), _is_for_channels
    ),
    **dict.fromkeys(
        (
            *(f"upsample_{kind}" for kind in ("nearest1d", "nearest2d", "linear1d")),
            *("upsample_bilinear2d", "upsample_bicubic2d"),
            *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        ),
        _has_fitting_scales,
    ),
    **{
        f"{name}{in_place}": _can_be_divided
        for name in ("div", "divide", "floor_divide", "remainder", "fmod")
        for in_place in ("", "_")
    },
    "native_group_norm": _is_grouped,
    "grid_sampler_2d": _is_grid_of,
    "_weight_norm": _is_norm_of,
}


def _has_sane_steps(given: Mapping[str, Any]) -> bool:
    for key in (*_STEPS, "padding", "output_padding"):
        value = given.get(key)
        numbers = value if isinstance(value, list | tuple) else [value]
        least = 1 if key in _STEPS else 0
        for number in numbers:
            if isinstance(number, int) and not least <= number <= _MOST:
                return False
    return True
