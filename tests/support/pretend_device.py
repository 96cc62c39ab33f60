"""An accelerator that is not there, to find code that mixes devices without owning one.

Inside `with PretendDevice():` tensors can be made on `pretend`, or moved there. They say that they
live on `pretend:0`, are computed on the CPU, and refuse what CUDA's refuse: to meet a CPU tensor
(one of no dimensions is let into arithmetic, one of any may index), to be filled by a CPU
generator, to become a NumPy array. So scores on it are the CPU's to the bit, or an error.

    with PretendDevice():
        x = torch.randn(4, 3, device="pretend")
        x + torch.ones(3)  # RuntimeError: Expected all tensors to be on the same device …

Importing this registers the device with torch, as one that is not available, so that nothing takes
it by itself. It must come before the first backward pass of a process: autograd counts the devices
once. Forward mode does not work on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"


class _NotAvailable(_DummyPrivateUse1Hook):
    def is_available(self) -> bool:
        return False


class _NoDevices(_DummyBackendModule):
    def is_available(self) -> bool:
        return False

    def device_count(self) -> int:
        return 0


_setup_privateuseone_for_python_backend(NAME, _NoDevices(), _NotAvailable())

DEVICE = torch.device(NAME, 0)
_MOVES = frozenset({"aten::_to_copy", "aten::copy_"})
_INDEXING = frozenset({"aten::index", "aten::index_put", "aten::index_put_"})
_TAKES_SCALARS = frozenset({"aten::fill", "aten::fill_", "aten::index_put", "aten::index_put_"})


class _Away(Tensor):
    """A tensor of the pretend device; `held` is what it stands for."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> _Away:
        made: _Away = torch.Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=DEVICE,
        )
        made.held = real
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"away({self.held})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.tolist:
            return args[0].held.tolist()
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError(
                f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """While it is entered, `device="pretend"` works, in this thread.

    Without `float64` the device has none, as MPS.
    """

    def __init__(self, *, float64: bool = True) -> None:
        super().__init__()
        self.float64 = float64

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = _run(func, args, kwargs or {})
        if not self.float64 and any(
            _is_away(x) and x.dtype == torch.float64 for x in tree_leaves(result)
        ):
            raise TypeError(f"Cannot convert a tensor to float64 dtype: {NAME} doesn't support it")
        return result


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operator on tensors of either device: refused, or computed on the CPU."""
    _refuse_mixed(func, args, kwargs)
    device = kwargs.get("device")
    to_away = any(map(_is_away, tree_leaves((args, kwargs))))
    if device is not None:
        to_away = torch.device(device).type == NAME
        kwargs = kwargs | {"device": torch.device("cpu")}
    if to_away:
        _refuse_generators(args, kwargs)
    if kwargs.get("pin_memory"):
        kwargs = kwargs | {"pin_memory": False}
    result = func(*tree_map(_real, args), **tree_map(_real, kwargs))
    if (written := _written(func, args, kwargs)) is not None:
        if torch.Tag.inplace_view in func.tags and _is_away(written):
            with no_dispatch():  # the wrapper has a shape of its own
                func(*args, **kwargs)
        return written
    return tree_map(lambda x: _Away(x) if to_away and isinstance(x, Tensor) else x, result)


def _refuse_mixed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    name = func._schema.name
    if name in _MOVES:
        return
    if name in _INDEXING and _is_away(args[0]):
        args = (args[0], *args[2:])  # the indices may be anywhere
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    here = [x for x in tensors if not _is_away(x)]
    if torch.Tag.pointwise in func.tags or name in _TAKES_SCALARS:
        here = [x for x in here if x.dim()]
    if here and len(tensors) > len(here) and any(map(_is_away, tensors)):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{DEVICE} and cpu! (when checking {name})"
        )


def _refuse_generators(args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    if any(isinstance(x, torch.Generator) for x in (*args, *kwargs.values())):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """The tensor that the operator writes into and gives back, if it is such a one."""
    out: Tensor | None = kwargs.get("out")
    name = func._schema.name
    if out is None and name.endswith("_") and not name.endswith("__") and args:
        return args[0] if isinstance(args[0], Tensor) else None
    return out


def _is_away(x: object) -> bool:
    return isinstance(x, _Away)


def _real(x: Any) -> Any:
    return x.held if isinstance(x, _Away) else x


# What torch does below any mode, such as the allocation in `torch.tensor(…, device=…)`.
_LIBRARY = torch.library.Library("aten", "IMPL")


def _empty(size: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return _Away(torch.empty(size, dtype=dtype))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return _Away(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _real(target).copy_(_real(source))
    return target


_BELOW: dict[str, Callable[..., Tensor]] = {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
}
for _name, _below in _BELOW.items():
    _LIBRARY.impl(_name, _below, "PrivateUse1")
