"""The same detector for ONNX runtimes, from pixels that were resized and cropped already.

Resizing differs between libraries, so it is left out: whoever runs the file does it first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gsc_core.audit.reopen import Reopened
from gsc_core.deploy.agreement import Stored, noise, test_images, tolerance_of
from gsc_core.deploy.program import Alarm
from gsc_core.errors import CheckpointError, GscError

OUTPUTS = ("logits", "score", "percentile", "flagged")
_BATCH = 13


def write_onnx(alarm: Alarm, audit: Reopened, detector: str, stored: Stored, path: Path) -> None:
    """Write `pixels uint8 [B,C,h,w] -> OUTPUTS`, and compare it with the program by onnxruntime.

    Raises CheckpointError where an operator of the graph has no ONNX form, GscError where the
    scores differ.
    """
    import onnxruntime  # noqa: PLC0415 - heavy, and few ask for it

    _convert(alarm, audit, detector, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _compare(session, alarm, audit, detector, stored)


def _convert(alarm: Alarm, audit: Reopened, detector: str, path: Path) -> None:
    pixels = torch.zeros(_BATCH, *audit.classifier.preprocessing.shape, dtype=torch.uint8)
    shapes = ({0: torch.export.Dim("batch")},)
    try:
        with torch.no_grad(), _quiet():
            graph = torch.export.export(alarm, (pixels,), dynamic_shapes=shapes, strict=False)
            program = torch.onnx.export(
                graph.run_decompositions({torch.ops.aten.sort.stable: _sorted}),
                input_names=["pixels"],
                output_names=OUTPUTS,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises anything where it knows no way
        raise CheckpointError(
            f"{detector} on this network has an operator without an ONNX form: use the .pt2 alone, "
            "or another detector."
        ) from error
    assert program is not None
    for node in program.model.graph.all_nodes():  # where our code lies is nobody's business
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(path)


def _sorted(
    values: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """A stable sort as the one that ONNX knows, where equal values keep their order anyway."""
    result: tuple[Tensor, Tensor] = torch.ops.aten.sort.default(values, dim, descending)
    return result


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter prints and warns about what its readers cannot change."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _compare(session: Any, alarm: Alarm, audit: Reopened, detector: str, stored: Stored) -> None:
    tolerance = tolerance_of(audit, detector, stored)
    prepared = audit.classifier.preprocessing.resize_crop  # photos are large: few are held whole
    small = [prepared(image)[None] for image, _ in test_images(audit, stored)]
    for pixels in small or [prepared(image)[None] for image, _ in noise(audit, detector)]:
        with torch.no_grad():
            right = float(alarm(pixels)[1])
        score = float(session.run(["score"], {"pixels": pixels.numpy()})[0][0])
        if not abs(score - right) <= tolerance:
            raise GscError(
                f"The ONNX form of {detector} gives different scores (by "
                f"{abs(score - right):.3g}), so nothing was written: use the .pt2 alone."
            )
