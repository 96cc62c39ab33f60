"""Names of tensors as wrappers, pruning, quantisation and training leave them, made plain."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor

from gsc_core.errors import CheckpointError

Table: TypeAlias = dict[str, Tensor]
"""Tensors by their dotted names."""

_MAX_DEPTH = 8
# What torch.compile, FSDP and activation checkpointing put between two names.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_OF_TRAINING = re.compile(
    r"(optim\w*|\w*optimizers?|optimizer_states|\w*schedulers?|\w*scaler|amp|callbacks|loops|hparams|hyper_parameters"
    r"|\w*rng_state\w*|total_ops|total_params|n_averaged|num_updates|collected_params"
    r"|(\w+_)?(loss|losses|loss_fn|loss_func|criterion|criterions|criteria)(_\w+)?"
    r"|(\w+_)?(metric|metrics|acc|accuracy|auroc|auc|confmat|confusion_matrix)(_?\d+)?"
    r"|(train|val|valid|validation|test)_\w+)",
    re.IGNORECASE,
)
_AVERAGE = re.compile(r"(^|[._])(ema|swa|shadow|averaged?|avg)(?=$|[._])", re.IGNORECASE)
_QUANTISED = re.compile(
    r"(^|\.)(_packed_params|zero_point|qweight|qzeros|SCB|absmax|quant_map|quant_state|weight_format"
    r"|activation_post_process|weight_fake_quant)(\.|$)"
)
_ADAPTERS = re.compile(r"(^|\.)(lora_[AB]|lora_[a-z]+)(\.|$)")
_NORMALISED = re.compile(r"(^|\.)(parametrizations\.\w+\.original\d?|weight_[guv])$")


def flattened(content: object, name: str) -> Table:
    """Every tensor of a training checkpoint under its whole dotted name.

    Raises:
        CheckpointError: there is none.
    """
    table: Table = {}
    _collect(content, (), table)
    if not table:
        raise CheckpointError(
            f"{name} holds no table of weights: save one with "
            f"torch.save(model.state_dict(), 'weights.pt')."
        )
    return table


def _collect(content: object, path: tuple[str, ...], into: Table) -> None:
    if isinstance(content, Tensor) and path:
        into[".".join(path)] = content
    elif len(path) < _MAX_DEPTH and isinstance(content, Mapping):
        for key, value in content.items():
            _collect(value, (*path, str(key)), into)
    elif len(path) < _MAX_DEPTH and isinstance(content, list | tuple):
        for at, value in enumerate(content):
            _collect(value, (*path, str(at)), into)


def unwrapped(table: Table) -> Table:
    """Without the parts of names that `torch.compile`, FSDP and checkpointing put between."""
    return {
        ".".join(p for p in key.split(".") if p not in _WRAPPERS): v for key, v in table.items()
    }


def without_parallel(table: Table, expected: Collection[str]) -> Table:
    """`features.module.0.weight` as `features.0.weight`, where only that is expected."""
    renamed: Table = {}
    for key, value in table.items():
        shorter = ".".join(part for part in key.split(".") if part != "module")
        renamed[shorter if key not in expected and shorter in expected else key] = value
    return renamed


def plain_values(table: Table, name: str) -> tuple[Table, tuple[str, ...]]:
    """The table with pruning carried out, and what to say of that.

    Raises:
        CheckpointError: its values are quantised, or make sense only with code that is not here.
    """
    table, notes = _pruned(table)
    refused = (
        (_QUANTISED, "quantised weights", "save the network as it was before, in float32"),
        (
            _ADAPTERS,
            "low-rank adapters (LoRA) besides the weights",
            "merge them with model.merge_and_unload() and save the weights again",
        ),
        (
            _NORMALISED,
            "weights in parts (weight or spectral normalisation)",
            "put them together with torch.nn.utils.parametrize.remove_parametrizations (or "
            "remove_weight_norm, remove_spectral_norm) and save the weights again",
        ),
    )
    for pattern, what, remedy in refused:
        quantised = pattern is _QUANTISED
        hits = [k for k, v in table.items() if pattern.search(k) or (quantised and v.is_quantized)]
        if hits:
            raise CheckpointError(
                f"{name} holds {what} ({listed(hits)}), from which the network cannot be computed "
                f"here: {remedy}."
            )
    return table, notes


def _pruned(table: Table) -> tuple[Table, tuple[str, ...]]:
    """Weights times their masks, as `torch.nn.utils.prune` computes them."""
    stems = [k.removesuffix("_orig") for k in table if k.endswith("_orig")]
    stems = [stem for stem in stems if f"{stem}_mask" in table]
    if not stems:
        return table, ()
    table, zeros = dict(table), 0
    for stem in stems:
        weight, mask = table.pop(f"{stem}_orig"), table.pop(f"{stem}_mask")
        table[stem] = weight * mask.to(weight.dtype)
        zeros += int((mask == 0).sum())
    note = f"The file is pruned: the masks of {len(stems)} tensors were applied ({zeros:,} zeros)."
    return table, (note,)


def of_training(key: str, value: Tensor) -> bool:
    """Whether a tensor serves training alone: a loss, a metric, an optimizer's state, a counter."""
    if any(_OF_TRAINING.fullmatch(part) for part in key.split(".")):
        return True
    return value.numel() == 1 and not value.is_floating_point()


def is_average(name: str) -> bool:
    """Whether a name says that the weights are an average over training (EMA, SWA)."""
    return bool(_AVERAGE.search(name))


def listed(names: Sequence[str]) -> str:
    """The first three, and that there are more."""
    return ", ".join(name[:100] for name in names[:3]) + (", …" if len(names) > 3 else "")


def roots(names: Sequence[str]) -> list[str]:
    """What the names begin with, each once: `criterion.weight`, `criterion.bias` → `criterion`."""
    return list(dict.fromkeys(name.partition(".")[0] for name in names))
