"""Any module to one kind of program: images float32 `[B,3,H,W]` in, logits `[B,K]` out."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from gsc_core.classifier.pt2.reader import RECIPE
from gsc_core.errors import CheckpointError

_PROBABILITIES = {"aten.softmax.int", "aten._softmax.default", "aten.log_softmax.int"}


def export(module: nn.Module, size: tuple[int, int], name: str) -> ExportedProgram:
    """Export a module with a free batch size; turns it to eval mode and freezes its parameters.

    Args:
        module: takes float32 images `[B,3,H,W]` and gives logits `[B,K]`.
        size: height and width of the images.
        name: how messages call the classifier.

    Raises:
        CheckpointError: torch cannot export it, or it is no image classifier.
    """
    module.eval().requires_grad_(False)
    check_weights(dict(module.state_dict()), name)
    images = torch.zeros(2, 3, *size)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            module(images)  # a plain call fails with a clearer reason than an export does
            program = torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # an unfamiliar image's forward() can raise anything
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise CheckpointError(
            f"{name} cannot be run and exported on images of {size[0]}×{size[1]} pixels: {reason}"
        ) from error
    return conform(program, name)


def conform(program: ExportedProgram, name: str) -> ExportedProgram:
    """The same program with frozen parameters, once it is seen to be an image classifier.

    Raises:
        CheckpointError: the inputs, outputs or weights are not those of a classifier.
    """
    check_weights({**program.state_dict, **_tensors(program.constants)}, name)
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [values.get(str(user)) for user in signature.user_inputs]
    outputs = [values.get(str(user)) for user in signature.user_outputs]
    _check_input(inputs, name)
    logits = outputs[0] if len(outputs) == 1 else None
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise CheckpointError(
            f"{name} must give one tensor of logits [batch, classes] with two classes or more: "
            f"wrap it so that it does."
        )
    last = next(node for node in program.graph.nodes if node.name == signature.user_outputs[0])
    if str(last.target) in _PROBABILITIES:
        raise CheckpointError(
            f"{name} ends in a softmax: leave it out, the audit needs the logits before it."
        )
    if any(map(_is_training, program.graph.nodes)):
        raise CheckpointError(
            f"{name} was exported in training mode, so that an image's logits depend on the others "
            f"in its batch or on chance: export it again after model.eval()."
        )
    for parameter in program.parameters():
        parameter.requires_grad_(False)
    return program


def input_size(program: ExportedProgram) -> tuple[int, int] | None:
    """Height and width that the program asks for; None when it takes any."""
    name = program.graph_signature.user_inputs[0]
    shape = next(n.meta["val"].shape for n in program.graph.nodes if n.name == name)
    height, width = shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def number_of_classes(program: ExportedProgram) -> int:
    """`K`, the width of the logits."""
    name = program.graph_signature.user_outputs[0]
    return int(next(n.meta["val"].shape[1] for n in program.graph.nodes if n.name == name))


def check_weights(weights: dict[str, Tensor], name: str) -> None:
    """Raise a CheckpointError unless all weights are dense, finite and, if real, float32."""
    for key, tensor in weights.items():
        if tensor.is_meta or tensor.is_quantized or tensor.layout is not torch.strided:
            kind = "no values" if tensor.is_meta else "sparse or quantised values"
            raise CheckpointError(
                f"{name}: the tensor {key} has {kind}; save dense float32 weights."
            )
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            precision = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{name} was saved with {precision} weights ({key}): save it again after "
                f"model.float()."
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{name}: the weights {key} hold NaN or infinite values: use an earlier "
                f"checkpoint, training has failed before this one."
            )


def _is_training(node: Node) -> bool:
    """Whether an operator such as batch norm or dropout works as in training."""
    if not isinstance(node.target, OpOverload):
        return False
    names = (argument.name for argument in node.target._schema.arguments)
    values = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return values.get("training") is True or values.get("train") is True


def _check_input(inputs: list[object], name: str) -> None:
    images = inputs[0] if inputs else None
    if len(inputs) != 1 or not isinstance(images, Tensor) or images.ndim != 4:
        raise CheckpointError(f"{name} must take one batch of images [batch, 3, height, width].")
    if images.shape[1] != 3 or images.dtype is not torch.float32:
        precision = str(images.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{name} takes {images.shape[1]} {precision} channels: colour images in float32 "
            f"[batch, 3, height, width] are needed."
        )
    if type(images.shape[0]) is int:  # it is a torch.SymInt when the batch is dynamic
        raise CheckpointError(
            f"{name} was exported for batches of {images.shape[0]} only: export it with {RECIPE}."
        )


def _tensors(constants: dict[str, object]) -> dict[str, Tensor]:
    return {key: value for key, value in constants.items() if isinstance(value, Tensor)}
