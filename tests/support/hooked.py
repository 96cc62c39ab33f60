"""The truth that a cut is held against: the original module, hooked at a layer, one call at a time.

Nothing here touches the exported program or gsc_core's own graph work.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel


def export(module: nn.Module, size: int) -> ExportedProgram:
    """The module with a free batch size, for square images of `size` pixels."""
    images = torch.randn(2, 3, size, size)
    return torch.export.export(module.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics and weights that matter; turns to eval mode."""
    generator = torch.Generator().manual_seed(seed)

    def around(tensor: Tensor, centre: float, width: float) -> None:
        tensor.copy_(centre + width * (torch.rand(tensor.shape, generator=generator) - 0.5))

    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                if norm.running_mean is not None and norm.running_var is not None:
                    around(norm.running_mean, 0, 0.5)
                    around(norm.running_var, 1, 1)
                if norm.affine:
                    around(norm.weight, 1, 1)
                    around(norm.bias, 0, 0.5)
    return module.eval()


def feature_of(module: nn.Module, layer: str, images: Tensor) -> Tensor:
    """What `layer` gives for `images`, before anything later can write into it."""
    seen: list[Tensor] = []
    hook = module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: seen.append(output.detach().clone())
    )
    with torch.no_grad():
        module(images)
    hook.remove()
    (feature,) = seen
    return feature


def tail(module: nn.Module, layer: str, images: Tensor) -> Callable[[Tensor], Tensor]:
    """Everything after `layer`, as a function of the feature alone: a whole call with it put in."""

    def run(feature: Tensor) -> Tensor:
        hook = module.get_submodule(layer).register_forward_hook(lambda *_: feature.clone())
        try:
            logits: Tensor = module(images[: len(feature)])
        finally:
            hook.remove()
        return logits

    return run


def gradient_of(module: nn.Module, layer: str, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits `[K]`, feature and gradient of the predicted logit, of one image `[1,3,H,W]`."""
    feature = feature_of(module, layer, image).requires_grad_()
    logits = tail(module, layer, image)(feature)[0]
    logits[int(logits.argmax())].backward()
    assert feature.grad is not None
    return logits.detach(), feature.detach()[0], feature.grad[0]


def along(run: Callable[[Tensor], Tensor], feature: Tensor, change: Tensor) -> Tensor:
    """Derivative of `run` along `change`, by reverse mode twice (the product goes forward)."""
    with sdpa_kernel(SDPBackend.MATH):  # a fused kernel cannot be differentiated twice
        derivative: Tensor = torch.autograd.functional.jvp(run, feature, change)[1]
    return derivative.detach()
