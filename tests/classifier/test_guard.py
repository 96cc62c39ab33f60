"""Whatever an unfamiliar graph raises is one sentence, in time, and nothing of it is printed."""

import errno
import sys
import time

import hostile_programs as programs
import pytest
import torch
from torch import nn

from gsc_core.classifier import ModelSpec, guard
from gsc_core.classifier.guard import loading, of_memory, running
from gsc_core.classifier.load import load_classifier
from gsc_core.classifier.network import Network
from gsc_core.errors import Cancelled, CheckpointError, SpecError


@pytest.mark.parametrize(
    "error",
    [IndexError("7 is\nout"), SyntaxError("x"), RecursionError(), AssertionError(), OSError()],
)
@pytest.mark.parametrize("block", [loading, running])
def test_any_error_is_a_sentence_about_the_model(block, error, capsys):
    with (
        pytest.raises(
            CheckpointError, match=r"^x\.pt2 cannot be run \(.*\): export it again, "
        ) as at,
        block("x.pt2"),
    ):
        sys.stderr.write("Traceback of torch")
        raise error
    assert "\n" not in str(at.value)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [SpecError("its own"), Cancelled(), KeyboardInterrupt()])
def test_what_says_its_own_goes_through(error):
    with pytest.raises(type(error)), running("x"):
        raise error


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (OSError(errno.ENOMEM, "x"), True),
        (OSError(errno.ENOENT, "x"), False),
        (RuntimeError("x"), False),
    ],
)
def test_a_lack_of_memory_is_for_who_runs_it_and_a_sentence_for_who_opens(error, lacks):
    assert of_memory(error) is lacks
    with pytest.raises(type(error) if lacks else CheckpointError), running("x"):
        raise error
    said = "needs more memory" if lacks else "cannot be run"
    with pytest.raises(CheckpointError, match=said), loading("x"):
        raise error


def test_what_takes_too_long_to_open_is_stopped(monkeypatch):
    monkeypatch.setattr(guard, "LOAD_LIMIT_S", 0.05)

    def open_for_ever() -> None:
        while True:
            time.monotonic()

    late = pytest.raises(CheckpointError, match="took longer than 0 minutes to open")
    with late, loading("x.pt2"), loading("a part of it"):
        open_for_ever()
    with loading("x.pt2"):
        pass


class Seeking(nn.Module):
    """Reads a table where the brightness of an image says, which may be behind its end."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.register_buffer("table", torch.zeros(6, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        at = (images.mean((1, 2, 3)) > 5).long() * 99
        logits: torch.Tensor = 9 * self.fc(images.mean((2, 3))) + self.table.index_select(0, at)
        return logits


@pytest.mark.slow
def test_an_index_behind_the_end_at_run_time_is_a_sentence(tmp_path):
    path = programs.save(Seeking(), tmp_path / "x.pt2", size=32)
    network = Network(load_classifier(ModelSpec(checkpoint=path)).program)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(CheckpointError, match=r"The model cannot be run \(.*index out of range"):
        network(torch.full((2, 3, 32, 32), 9.0))
