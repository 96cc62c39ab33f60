"""Weights from a file to a network: unwrap, strip prefixes, compare name by name, load."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from gsc_core.classifier import architectures
from gsc_core.classifier.program import check_weights
from gsc_core.errors import CheckpointError, SpecError

# Where training scripts put the weights; an average over training (EMA) comes last.
_NESTS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
)
_PREFIXES = ("module.", "model.", "_orig_mod.")
_MAX_DEPTH = 8


def unwrap(content: object, name: str) -> dict[str, Tensor]:
    """The table of tensors inside a training checkpoint.

    Raises:
        CheckpointError: there is none.
    """
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, Mapping):
            break
        tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
        inner = next((content[k] for k in _NESTS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            if tensors and all(isinstance(key, str) for key in tensors):
                return tensors
            break
        content = inner
    raise CheckpointError(
        f"{name} holds no table of weights: save one with "
        f"torch.save(model.state_dict(), 'weights.pt')."
    )


def module_of(
    weights: dict[str, Tensor], architecture: str, options: Mapping[str, Any], name: str
) -> nn.Module:
    """Build the named architecture with as many classes as the weights have, and load them.

    Half-precision weights are widened to float32, which loses nothing.

    Raises:
        SpecError: the architecture or its options are wrong.
        CheckpointError: the weights do not fit, or are not finite and dense.
    """
    module = architectures.build(architecture, None, options)
    layer, usual = _last_layer(module)
    weights = strip_prefixes(weights, module.state_dict().keys())
    last = weights.get(f"{layer}.weight")
    if last is not None and last.ndim >= 1 and last.shape[0] != usual and last.shape[0] > 0:
        if "num_classes" in options:
            raise SpecError(
                f"{name} has {last.shape[0]} classes, but the options say {options['num_classes']}."
            )
        if _fits_but_for_classes(last, module.state_dict()[f"{layer}.weight"]):
            module = architectures.build(architecture, last.shape[0], options)
    _compare(weights, module.state_dict(), name, architectures.resolve(architecture))
    weights = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    check_weights(weights, name)
    module.load_state_dict(weights, strict=False)  # names and shapes were compared above
    return module


def strip_prefixes(weights: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Remove what wrappers put before every name, until the names are the architecture's."""
    weights = {key: value for key, value in weights.items() if key != "n_averaged"}
    while weights and not weights.keys() & set(expected):
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in weights)), None)
        if prefix is None:
            break
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _last_layer(module: nn.Module) -> tuple[str, int]:
    """Name and width of the layer that gives the logits, the last linear or 1×1 convolution."""
    layers = [
        (name, layer.weight.shape[0])
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
    ]
    return layers[-1] if layers else ("", 0)


def _fits_but_for_classes(weight: Tensor, expected: Tensor) -> bool:
    return weight.shape[1:] == expected.shape[1:]


def _compare(
    actual: dict[str, Tensor], expected: dict[str, Tensor], name: str, architecture: str
) -> None:
    """Raise a CheckpointError that names the first tensors that do not fit, and how many."""
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    problems = {
        "missing": sorted(expected.keys() - actual.keys() - counters),
        "not in the architecture": sorted(actual.keys() - expected.keys()),
        "of another shape": [
            f"{key} ({_shape(actual[key])} instead of {_shape(expected[key])})"
            for key in sorted(actual.keys() & expected.keys())
            if actual[key].shape != expected[key].shape
        ],
    }
    mismatches = [f"{len(keys)} {what}: {_first(keys)}" for what, keys in problems.items() if keys]
    if mismatches:
        raise CheckpointError(
            f"The weights in {name} do not fit {architecture} ({'; '.join(mismatches)}): name the "
            f"architecture and options it was trained with."
        )


def _first(keys: list[str]) -> str:
    return ", ".join(key[:100] for key in keys[:3]) + (", …" if len(keys) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
