"""In which numbers the network computes: flags, bfloat16, compiled passes, and audits in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_audit import write_stage
from small_classifier import EVERYTHING, pictures, world
from small_run import spec_of

from gsc_core.audit.reopen import reopen
from gsc_core.audit.run import run_audit
from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.network import Network
from gsc_core.deploy.export import export_detector
from gsc_core.detectors.base import Representation
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.errors import SpecError
from gsc_core.report.limits import rounded
from gsc_core.run.document import Settings
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.trial import compile_where_faster, faster_of, largest_fast

pytestmark = pytest.mark.slow

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def small(precision: Precision | None = None, split: str | None = None) -> Network:
    """The trained small classifier in some precision."""
    module = world().model.eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (pictures(4, 0)[0],), dynamic_shapes=shapes)
    return Network(program, split, precision=precision)


def flags() -> tuple[str, bool]:
    """How CUDA multiplies matrices, and whether its convolutions are TF32."""
    products = torch.backends.cuda.matmul.fp32_precision
    return "ieee" if products == "none" else products, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "inside"),
    [
        (Precision.TF32, ("tf32", True)),
        (Precision.FLOAT32, ("ieee", False)),
        (Precision.BF16, ("ieee", False)),
    ],
)
def test_flags_hold_for_a_pass_alone(precision: Precision, inside: tuple[str, bool]) -> None:
    before = flags()
    with pytest.raises(ZeroDivisionError), precision.flags(CUDA):
        assert flags() == inside
        raise ZeroDivisionError
    assert flags() == before


def test_a_processor_is_left_alone() -> None:
    before = flags()
    for precision in Precision:
        with precision.flags(CPU):
            assert flags() == before


def test_auto_rounds_nothing_on_a_processor() -> None:
    assert Precision.of("auto", CPU) is Precision.FLOAT32
    assert Precision.of("float32", CPU) is Precision.FLOAT32
    assert Precision.of("bf16", CPU) is Precision.BF16


def test_float32_is_the_network_as_it_was() -> None:
    images = pictures(16, 3)[0]
    usual, strict = small(), small(Precision.FLOAT32)
    theirs = tensors_of(represent(usual, images, EVERYTHING))
    ours = tensors_of(represent(strict, images, EVERYTHING))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def tensors_of(representation: Representation) -> dict[str, torch.Tensor]:
    """What was asked for."""
    return {name: tensor for name, tensor in vars(representation).items() if tensor is not None}


def test_bf16_computes_in_bf16_and_is_read_in_float32() -> None:
    images = pictures(64, 3)[0]
    short, full = small(Precision.BF16), small()
    assert short.body(images).dtype is torch.bfloat16
    ours, theirs = (represent(each, images, EVERYTHING) for each in (short, full))
    for name, tensor in tensors_of(ours).items():
        assert tensor.dtype is torch.float32, name
        right = getattr(theirs, name)
        if name != "images":
            assert not torch.equal(tensor, right), name
            # 7 bits of mantissa, a few layers deep
            assert float((tensor - right).norm() / right.norm()) < 0.05, name
    assert short.linear is not None and ours.features is not None
    # the last map is not rounded: no two confident images tie because bfloat16 has no room
    assert torch.equal(ours.logits, short.linear(ours.features))
    assert len(ours.logits.amax(dim=1).unique()) == len(images)


def test_the_step_along_a_change_is_computed_in_bf16_too() -> None:
    short, full = small(Precision.BF16, "first"), small(None, "first")
    feature = full.body(pictures(8, 3)[0])
    ours, theirs = (each.first_order(feature, 0.1 * feature)[1] for each in (short, full))
    assert ours.dtype is torch.float32 and not torch.equal(ours, theirs)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.05


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("precision") / "stage")


ALL = tuple(detector.name for detector in CATALOGUE)


@pytest.fixture(scope="module")
def audits(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same audit with all detectors, in float32 and in bf16."""
    folder = tmp_path_factory.mktemp("audits")
    spec = spec_of(stage, names=ALL)
    for precision in ("float32", "bf16"):
        run_audit(spec.model_copy(update={"precision": precision}), folder / precision)
    return {precision: folder / precision for precision in ("float32", "bf16")}


def test_every_detector_reads_a_bf16_pass(audits: dict[str, Path]) -> None:
    of = {name: json.loads((run / "metrics.json").read_text()) for name, run in audits.items()}
    assert {name: doc["settings"]["precision"] for name, doc in of.items()} == {
        "float32": "float32",
        "bf16": "bf16",
    }
    assert set(of["bf16"]["excused"]) == set(of["float32"]["excused"])
    scores = {name: pd.read_parquet(run / "scores.parquet") for name, run in audits.items()}
    known = scores["float32"]["role"] == "calibration"
    for name in set(ALL) - set(of["bf16"]["excused"]):
        right, ours = scores["float32"][name], scores["bf16"][name]
        assert np.isfinite(ours).all()
        assert not np.array_equal(ours, right), name
        if name not in ("gsc-auto", "auto-ensemble", "odin"):  # two choose, one divides by 1,000
            order = np.corrcoef(right[~known].rank(), ours[~known].rank())[0, 1]
            assert order > 0.95, name


def test_an_audit_in_bf16_is_opened_again_in_bf16(audits: dict[str, Path], stage: Path) -> None:
    audit = reopen(audits["bf16"])
    rows = pd.read_parquet(audits["bf16"] / "scores.parquet").query("set == 'noise'")
    columns = [name for name in audit.detectors if name != "auto-ensemble"]
    spread = rows[columns].std()
    for _, row in rows.head(4).iterrows():
        again = pd.Series(audit.score(stage / "noise" / row["file"]))[columns]
        assert ((again - row[columns]).abs() <= 1e-3 * spread + 1e-6).all()


def test_the_batch_that_memory_allowed_is_recorded(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tight(self: Network, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("no room")
        return body(self, images)

    body = Network.body
    spec = spec_of(stage, names=("energy",)).model_copy(update={"batch_size": 8})
    roomy = run_audit(spec, tmp_path / "roomy").document.model_dump(mode="json")
    monkeypatch.setattr(Network, "body", tight)
    document = run_audit(spec, tmp_path / "tight").document.model_dump(mode="json")
    assert (roomy["settings"]["batch_size"], document["settings"]["batch_size"]) == (8, 2)
    assert document["results"] == roomy["results"]


def test_chunks_of_another_precision_are_not_taken_up(stage: Path, tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(progress: object) -> None:
        if getattr(progress, "phase", "").startswith("scoring noise"):
            raise Stopped

    spec = spec_of(stage, names=("energy",))
    with pytest.raises(Stopped):
        run_audit(spec, tmp_path, stop)
    run_audit(spec.model_copy(update={"precision": "bf16"}), tmp_path)
    mixed = pd.read_parquet(tmp_path / "scores.parquet")["energy"]
    run_audit(spec.model_copy(update={"precision": "bf16"}), tmp_path / "fresh")
    assert mixed.equals(pd.read_parquet(tmp_path / "fresh" / "scores.parquet")["energy"])


def test_compiling_is_for_cuda(stage: Path, tmp_path: Path) -> None:
    spec = spec_of(stage).model_copy(update={"compiled": True, "device": "cpu"})
    with pytest.raises(SpecError, match="Compiling pays off only on CUDA"):
        run_audit(spec, tmp_path / "out")
    assert not (tmp_path / "out" / "spec.json").exists()
    with pytest.raises(SpecError, match="Compiling pays off only on CUDA"):
        compile_where_faster(small(), pictures(4, 0)[0])


def test_compiled_passes_give_the_same_numbers() -> None:
    """With the real compiler, here for the processor; a smaller last batch is no other network."""
    usual = small()
    compiled = usual.compiled()
    for count in (16, 5):
        images = pictures(count, 3)[0]
        ours, theirs = (represent(each, images, EVERYTHING) for each in (compiled, usual))
        for name, right in vars(theirs).items():
            torch.testing.assert_close(getattr(ours, name), right, rtol=1e-4, atol=1e-5, msg=name)
    with torch.no_grad():
        feature = usual.body(images)
        torch.testing.assert_close(compiled.head(feature), usual.head(feature))
    along = (each.first_order(feature, 0.1 * feature)[1] for each in (compiled, usual))
    torch.testing.assert_close(*along)


def test_what_cannot_be_compiled_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    usual = small()

    class Broken(Network):
        def __init__(self) -> None:
            self.device = CPU

        def body(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler for C")

    chosen = faster_of(usual, Broken(), pictures(4, 0)[0])
    assert chosen.network is usual and chosen.speedup is None
    assert "no compiler for C" in caplog.text


def test_the_largest_batch_that_fits_and_is_not_slower() -> None:
    def card(rates: dict[int, float], most: int = 1024) -> int:
        def rate(size: int) -> float:
            if size > most:
                raise torch.OutOfMemoryError
            return rates[size]

        return largest_fast(rate, tuple(rates))

    growing = {32: 900.0, 64: 1500.0, 128: 1900.0, 256: 2000.0, 512: 1990.0}
    assert card(growing) == 512  # within what timings differ by
    assert card(growing, most=200) == 128
    assert card(growing | {512: 1700.0}) == 256
    assert card(dict.fromkeys(growing, 1000.0) | {32: 1100.0}) == 32
    assert card(growing, most=0) == 32


def test_bf16_is_said_and_not_exported(audits: dict[str, Path], tmp_path: Path) -> None:
    of = {name: json.loads((run / "metrics.json").read_text()) for name, run in audits.items()}
    assert "computed in bf16" in rounded(Settings.model_validate(of["bf16"]["settings"]))
    assert rounded(Settings.model_validate(of["float32"]["settings"])) == rounded(Settings()) == ""
    with pytest.raises(SpecError, match="audit again with precision auto or float32"):
        export_detector(audits["bf16"], "energy", 0.0, "typed:0", tmp_path / "energy.pt2")
    assert not list(tmp_path.iterdir())


def test_weights_rounded_once_give_the_bits_of_weights_rounded_in_each_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, _ = pictures(8, 0)
    once = small(Precision.BF16)
    weights = [w for part in (once._body, once._head) if part for w in part.state_dict().values()]
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    monkeypatch.setattr("gsc_core.classifier.network.round_weights", lambda *_: None)
    each = small(Precision.BF16)
    assert torch.equal(once.body(images), each.body(images))
    feature = each.body(images)
    assert torch.equal(once.head(feature), each.head(feature))
    change = -feature * (feature > 0)
    along = [network.first_order(feature, change)[1] for network in (once, each)]
    assert torch.equal(*along)
