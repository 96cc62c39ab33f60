"""Arguments with which a kernel would read past a tensor are refused; honest ones are not."""

import pytest
import torch
from torch import nn

from gsc_core.classifier.programs.careful import Careful, check_arguments

ATEN = torch.ops.aten
IMAGES = torch.ones(2, 4, 6, 6)
ONES = torch.ones(4)
WHOLE = torch.ones(3, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "honest", "hostile"),
    [
        (
            ATEN._native_batch_norm_legit_no_training.default,
            (IMAGES, ONES, ONES, ONES, ONES, 0.1, 1e-5),
            (IMAGES, ONES, ONES, ONES[:1], ONES, 0.1, 1e-5),
        ),
        (
            ATEN._native_batch_norm_legit_no_training.default,
            (IMAGES, None, None, ONES, ONES, 0.1, 1e-5),
            (IMAGES, ONES[:2], None, ONES, ONES, 0.1, 1e-5),
        ),
        (
            ATEN.native_group_norm.default,
            (IMAGES, ONES, ONES, 2, 4, 36, 2, 1e-5),
            (IMAGES, ONES, ONES, 2, 4, 3600, 2, 1e-5),
        ),
        (
            ATEN.grid_sampler_2d.default,
            (IMAGES, torch.zeros(2, 3, 3, 2), 0, 0, False),
            (IMAGES, torch.zeros(9, 3, 3, 2), 0, 0, False),
        ),
        (
            ATEN._upsample_bilinear2d_aa.default,
            (IMAGES, [3, 3], False, 0.5, 0.5),
            (IMAGES, [3, 3], False, 0.0001, 0.5),
        ),
        (
            ATEN._upsample_bilinear2d_aa.default,
            (IMAGES, [3, 3], False, None, None),
            (IMAGES, [3, 3], False, float("nan"), None),
        ),
        (ATEN._weight_norm.default, (IMAGES, torch.ones(2, 1, 1, 1)), (IMAGES, torch.ones(1))),
        (ATEN.remainder.Tensor, (WHOLE, WHOLE), (WHOLE, -WHOLE)),
        (ATEN.floor_divide.default, (WHOLE, WHOLE), (WHOLE, -WHOLE)),
        (
            ATEN.max_pool2d.default,
            (IMAGES, [2, 2], [2, 2], [0, 0], [1, 1]),
            (IMAGES, [2, 2], [2, 2], [0, 0], [2**40, 1]),
        ),
        (
            ATEN.max_pool2d.default,
            (IMAGES, [2, 2], [2, 2]),
            (IMAGES, [2, 2], [0, -2]),
        ),
    ],
)
def test_arguments_fit_together_or_are_refused(call, honest, hostile):
    check_arguments(call, honest, {})
    call(*honest)  # as torch sees it too
    with pytest.raises(ValueError, match="do not fit together"):
        check_arguments(call, hostile, {})


def test_arguments_given_by_name_are_looked_at_too():
    with pytest.raises(ValueError, match="arguments of div do not fit"):
        check_arguments(ATEN.div.Tensor_mode, (WHOLE,), {"other": -WHOLE, "rounding_mode": "trunc"})
    check_arguments(ATEN.div.Tensor_mode, (WHOLE.float(),), {"other": -WHOLE})


def test_a_program_gives_the_same_operator_by_operator():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Upsample(scale_factor=2.0), nn.Flatten()
    ).eval()
    images = torch.randn(2, 3, 8, 8)
    program = torch.export.export(module, (images,)).module(check_guards=False)
    with torch.no_grad():
        assert torch.equal(Careful(program).run(images), module(images))
