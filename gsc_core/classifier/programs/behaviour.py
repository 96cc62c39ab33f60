"""Whether a program gives an image the same logits whatever else is in its batch, and each time.

Names of operators do not tell: weight standardisation calls a batch norm in training mode on
weights, which harms nobody.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram

from gsc_core.classifier.guard import said_by
from gsc_core.classifier.programs.careful import Careful
from gsc_core.classifier.programs.ending import may_be_bounded
from gsc_core.classifier.programs.scale import Scale, probabilities_refused, scale_of
from gsc_core.errors import CheckpointError

_CONTRASTS = (1.0, 0.3, 2.0, 0.7)  # so that the statistics of a batch are not those of its images
_ORDER = (2, 0, 3, 1)


def check_behaviour(program: ExportedProgram, shape: tuple[int, int, int], name: str) -> None:
    """Run the program on noise of a shape `[C,H,W]`, in several batches.

    Raises:
        CheckpointError: it cannot be run, an image's logits depend on the rest of its batch or on
            chance, or they are probabilities.
    """
    module = program.module(check_guards=False)
    images = _noise(shape)
    order = torch.tensor(_ORDER)

    def run(batch: Tensor, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        logits: Tensor = module(batch)
        return logits.double()

    def run_carefully(batch: Tensor) -> Tensor:
        torch.manual_seed(0)
        logits: Tensor = Careful(module).run(batch)
        return logits.double()

    with torch.random.fork_rng(), torch.no_grad():
        try:
            usual, again = run_carefully(images), run(images, seed=1)
            reordered, fewer = run(images[order]), run(images[:2])
        except Exception as error:  # an unfamiliar graph can fail in any way
            raise CheckpointError(
                f"{name} cannot be run on {len(images)} images of {shape[1]}×{shape[2]} pixels "
                f"({said_by(error)}): export it again."
            ) from error
    if not usual.isfinite().all():
        return  # noise may go where images do not; the audit looks at those
    if _differ(again, usual, usual):
        raise CheckpointError(
            f"{name} gives the same image different logits each time, as dropout does in training "
            f"mode: save or export it again after model.eval()."
        )
    if _differ(reordered, usual[order], usual) or _differ(fewer, usual[:2], usual):
        raise CheckpointError(
            f"{name} gives an image different logits in another batch, as batch norm does in "
            f"training mode: save or export it again after model.eval(), with norms that use "
            f"stored statistics."
        )
    scale = scale_of(usual, bounded=may_be_bounded(program))
    if scale is Scale.PROBABILITIES:
        raise CheckpointError(probabilities_refused(scale, name, "noise"))


def _noise(shape: tuple[int, int, int]) -> Tensor:
    noise = torch.randn(len(_CONTRASTS), *shape, generator=torch.Generator().manual_seed(0))
    return noise * torch.tensor(_CONTRASTS)[:, None, None, None]


def _differ(logits: Tensor, expected: Tensor, usual: Tensor) -> bool:
    """Whether they differ by more than rounding, which is little beside images' differences."""
    tolerance = 1e-2 * (usual - usual.mean(dim=0)).abs().max() + 1e-4 * usual.abs().max()
    return bool((logits - expected).abs().max() > tolerance)
