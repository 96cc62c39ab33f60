"""Any module to one kind of program: images float32 `[B,3,H,W]` in, logits `[B,K]` out."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from gsc_core.classifier.guard import said_by
from gsc_core.classifier.programs.behaviour import check_behaviour
from gsc_core.classifier.programs.graph import shape_of
from gsc_core.classifier.programs.logits import Say, give_logits
from gsc_core.classifier.programs.regions import without_regions
from gsc_core.classifier.programs.sizes import fix_sizes, fix_squeezes
from gsc_core.classifier.pt2.reader import RECIPE
from gsc_core.errors import CheckpointError


def export(
    module: nn.Module, size: tuple[int, int], name: str, say: Say = lambda _: None
) -> ExportedProgram:
    """Export a module with a free batch size; turns it to eval mode and freezes its parameters.

    Args:
        module: takes float32 images `[B,3,H,W]`, or `[B,1,H,W]`, and gives logits `[B,K]`.
        size: height and width of the images.
        name: how messages call the classifier.
        say: takes a sentence for each thing that had to be changed.

    Raises:
        CheckpointError: torch cannot export it, or it is not an image classifier.
    """
    module.eval().requires_grad_(False)
    check_weights(dict(module.state_dict()), name)
    images = torch.zeros(2, _first_channels(module), *size)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            module(images)  # a plain call fails with a clearer reason than an export does
            program = torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # a stranger's forward() can raise anything
        raise CheckpointError(
            f"{name} cannot be run and exported on images of {size[0]}×{size[1]} pixels "
            f"({said_by(error)}): check its preprocessing, or export it yourself."
        ) from error
    return conform(program, name, size, say)


def conform(
    program: ExportedProgram,
    name: str,
    size: tuple[int, int] = (224, 224),
    say: Say = lambda _: None,
) -> ExportedProgram:
    """The same program with frozen parameters, once it is seen to be an image classifier.

    What stands in the way of that, and can be mended exactly, is mended in place, and `say` takes a
    sentence for each such thing.

    Args:
        program: takes images and gives logits, among other tensors perhaps.
        name: how messages call it.
        size: height and width of the images, where the program leaves them free.

    Raises:
        CheckpointError: the inputs, outputs, weights or behaviour are not those of a classifier.
    """
    check_weights({**program.state_dict, **_tensors(program.constants)}, name)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    images = [values.get(str(user)) for user in program.graph_signature.user_inputs]
    _check_input(images, name)
    inlined = without_regions(program, say)
    if inlined or input_size(program) is None:
        fix_sizes(program, input_size(program) or size)
    fix_squeezes(program)
    give_logits(program, name, say)
    channels, height, width = shape_of(_images(program))[1:]  # type: ignore[index]
    check_behaviour(program, (channels, height, width), name)
    for parameter in program.parameters():
        parameter.requires_grad_(False)
    return program


def input_size(program: ExportedProgram) -> tuple[int, int] | None:
    """Height and width that the program asks for; None when it takes any."""
    shape = shape_of(_images(program)) or ()
    if len(shape) != 4 or any(type(size) is not int for size in shape[2:]):
        return None
    return shape[2], shape[3]


def input_channels(program: ExportedProgram) -> int:
    """How many channels its images have: 3, or 1 of grey images."""
    return int(_images(program).meta["val"].shape[1])


def number_of_classes(program: ExportedProgram) -> int:
    """`K`, the width of the logits."""
    name = program.graph_signature.user_outputs[0]
    return int(next(n.meta["val"].shape[1] for n in program.graph.nodes if n.name == name))


def _images(program: ExportedProgram) -> Node:
    name = program.graph_signature.user_inputs[0]
    images: Node = next(n for n in program.graph.nodes if n.name == name)
    return images


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
                f"{name} was saved with {precision} weights ({key}): save or export it again after "
                f"model.float(), on float32 images."
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{name}: the weights {key} hold NaN or infinite values: use an earlier "
                f"checkpoint, from before the training failed."
            )


def _first_channels(module: nn.Module) -> int:
    """What the first convolution takes; colour images where there is none."""
    convolutions = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    first = next(convolutions, None)
    return 3 if first is None else first.in_channels


def _check_input(inputs: list[object], name: str) -> None:
    images = inputs[0] if inputs else None
    if len(inputs) != 1 or not isinstance(images, Tensor) or images.ndim != 4:
        raise CheckpointError(f"{name} must take one batch of images [batch, 3, height, width].")
    if images.dtype is not torch.float32:
        precision = str(images.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{name} takes {precision} images: export it for float32 [batch, 3, height, width]."
        )
    if images.shape[1] not in (1, 3):
        raise CheckpointError(
            f"{name} takes images of {images.shape[1]} channels: only networks for colour images "
            f"(3 channels) or grey ones (1 channel) can be audited."
        )
    if type(images.shape[0]) is int:  # it is a torch.SymInt when the batch is dynamic
        raise CheckpointError(
            f"{name} was exported for batches of {images.shape[0]} only: export it with {RECIPE}."
        )


def _tensors(constants: dict[str, object]) -> dict[str, Tensor]:
    return {key: value for key, value in constants.items() if isinstance(value, Tensor)}
