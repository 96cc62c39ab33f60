"""The confidence at a temperature, against scipy's softmax."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import log_softmax, softmax

from gsc_core.scoring.tempering import Tempered


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_softmax_of_divided_logits(dtype):
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = [0, 3, -1, 2, 2, -1]
    found = Tempered.of(logits, labels, 2.5)
    z, known = logits.double().numpy(), np.array(labels) >= 0
    at = np.arange(6)[known], np.array(labels)[known]
    assert found.confidence[known] == pytest.approx(softmax(z / 2.5, axis=1).max(axis=1)[known])
    assert found.log_loss[known] == pytest.approx(-log_softmax(z, axis=1)[at])
    assert found.log_loss_after[known] == pytest.approx(-log_softmax(z / 2.5, axis=1)[at])


def test_what_has_no_label_is_null_in_the_table():
    parts = [Tempered.of(torch.randn(2, 3), labels, 1.5) for labels in ([1, -1], [-1, 0])]
    table = pa.table(Tempered.cat(parts).table_columns())
    assert table.num_columns == 3
    for column in table.columns:
        assert column.is_valid().to_pylist() == [True, False, False, True]
        assert column.type == pa.float32()
