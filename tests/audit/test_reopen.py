"""A finished audit opened again gives the scores it gave, for any image, and finds its model."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from small_audit import PREPROCESS, model, read_with_pillow, save_program, write_stage

from gsc_core.audit.reopen import Reopened, reopen
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, OOD_SETS, Sizes, render_demo
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.detectors.readout import Scale
from gsc_core.detectors.selection import read
from gsc_core.errors import Cancelled, GscError, ImageError, SpecError
from gsc_core.images import ImageFile
from gsc_core.progress import Progress
from gsc_core.scoring.calibration_file import keep, load

ALL = tuple(DetectorSpec(name=detector.name) for detector in CATALOGUE)
TRUNCATING = DetectorSpec(
    name="gsc", settings={"intervention": "truncate", "granularity": "channel", "percentile": 0.8}
)


def spec_of(stage: Path, **changed: object) -> AuditSpec:
    values = {
        "model": ModelSpec(
            checkpoint=stage / "small.pt2", preprocessing=Preprocessing.parse(PREPROCESS)
        ),
        "id": stage / "id",
        "calibration": stage / "calibration",
        "ood": {"faint": stage / "faint"},
        "detectors": ALL,
        "repeats": 10,
    }
    return AuditSpec(**(values | changed))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def run(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One audit with every detector."""
    return run_audit(spec_of(stage), tmp_path_factory.mktemp("run")).path


@pytest.fixture(scope="module")
def opened(run: Path) -> Reopened:
    return reopen(run)


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def path_of(stage: Path, row: pd.Series) -> Path:
    return stage / row["set"] / row["file"]


# --- the same scores ---------------------------------------------------------------------------


def assert_same_scores(opened: Reopened, stage: Path, rows: pd.DataFrame, every: int) -> None:
    """Scores of some images against the stored ones, to float32 noise of another batch size.

    Those of calibration images are stored as of fits that left the image out.
    """
    rows = rows[rows["role"] != "calibration"]
    columns = [n for n in rows.columns if rows[n].dtype == np.float32 and n != "confidence"]
    scale = rows[columns].abs().max()
    for _, row in rows.iloc[::every].iterrows():
        scores = opened.score(path_of(stage, row))
        assert set(scores) == set(columns)
        for name in columns:
            assert scores[name] == pytest.approx(row[name], abs=2e-5 * float(scale[name])), name


@pytest.mark.slow
@pytest.mark.parametrize("stored", [{"shrinkage": "ledoit-wolf"}, {}], ids=["said", "left out"])
@pytest.mark.parametrize("name", ["mahalanobis", "rmd"])
def test_a_run_of_before_there_was_a_knob_does_as_it_did(
    name: str, stored: dict[str, str], stage: Path, tmp_path: Path
) -> None:
    """Its documents are those of today less all that tells of the knob, or of knobs at all."""
    before = DetectorSpec(name=name, settings={"normalise": "none"})
    folder = run_audit(spec_of(stage, detectors=(before,)), tmp_path / "before").path
    spec = json.loads((folder / "spec.json").read_text())
    spec["detectors"] = [{"name": name, "settings": stored}]
    (folder / "spec.json").write_text(json.dumps(spec))
    document = json.loads((folder / "metrics.json").read_text())
    for record in document["detectors"]:
        assert record.pop("settings")["normalise"] == "none"
        assert record.pop("family") == "distance" and record.pop("fails_on") is None
    (folder / "metrics.json").write_text(json.dumps(document))
    reopened = reopen(folder)
    assert reopened.detectors[name].settings()["normalise"] == "none"
    assert_same_scores(reopened, stage, rows_of(folder), every=9)


@pytest.mark.slow
def test_a_part_of_an_ensemble_of_before_does_as_it_did(stage: Path, tmp_path: Path) -> None:
    """The specification of a run has no settings of parts at all."""
    pair = DetectorSpec(name="energy+mahalanobis")
    part = DetectorSpec(name="mahalanobis", settings={"normalise": "none"})
    folder = run_audit(spec_of(stage, detectors=(part, pair)), tmp_path / "before").path
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"detectors": [{"name": pair.name}]}))
    document = json.loads((folder / "metrics.json").read_text())
    for record in document["detectors"]:
        del record["settings"]
    (folder / "metrics.json").write_text(json.dumps(document))
    assert_same_scores(reopen(folder), stage, rows_of(folder), every=9)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"normalise": "none"}], ids=["usual", "set"])
def test_a_run_of_today_tells_every_knob(
    settings: dict[str, str], stage: Path, tmp_path: Path
) -> None:
    spec = spec_of(stage, detectors=(DetectorSpec(name="mahalanobis", settings=settings),))
    run = run_audit(spec, tmp_path / "today")
    (record,) = run.document.detectors
    assert record.settings == {"shrinkage": "ledoit-wolf", "normalise": "l2"} | settings
    reopened = reopen(run.path)
    assert reopened.detectors["mahalanobis"].settings() == record.settings
    assert_same_scores(reopened, stage, rows_of(run.path), every=9)


@pytest.mark.slow
def test_every_detector_scores_as_in_the_audit(run: Path, opened: Reopened, stage: Path) -> None:
    rows = rows_of(run)
    assert {"gsc", "odin", "knn", "vim", "rmd", "she"} <= set(rows.columns)
    assert_same_scores(opened, stage, rows, every=9)


@pytest.mark.slow
def test_the_demo_scores_as_in_its_audit(tmp_path: Path) -> None:
    """Another network, with class names of its own, and rendered photos as JPEG."""
    folders = render_demo(tmp_path / "demo", sizes=Sizes(calibration=64, id=32, ood=3))
    spec = AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=folders["id"],
        calibration=folders["calibration"],
        ood={name: folders[name] for name in OOD_SETS},
        detectors=ALL,
        repeats=10,
    )
    folder = run_audit(spec, tmp_path / "out").path
    rows = rows_of(folder)
    roots = tmp_path / "all"
    roots.mkdir()
    for name in ("calibration", "id", *OOD_SETS):
        (roots / name).symlink_to(folders[name])
    opened = reopen(folder)
    assert_same_scores(opened, roots, rows, every=11)
    first = opened.explain(roots / "id" / rows.query("role == 'id'")["file"].iloc[0]).before[0]
    assert first.name in CLASS_NAMES and first.name == CLASS_NAMES[first.index]


@pytest.mark.slow
def test_settings_are_those_of_the_audit(stage: Path, tmp_path: Path) -> None:
    """A cut that is learned from the maps, half of the images apart, another layer."""
    knn = DetectorSpec(name="knn", settings={"k": 3})
    spec = spec_of(stage, detectors=(TRUNCATING, knn), calibration=0.5, split="first")
    folder = run_audit(spec, tmp_path / "out").path
    opened = reopen(folder)
    assert opened.network.split is not None and opened.network.split.name == "first"
    rows = rows_of(folder)
    assert_same_scores(opened, stage, rows[rows["role"] != "calibration"], every=7)


@pytest.mark.slow
def test_bytes_score_as_their_file(opened: Reopened, stage: Path) -> None:
    path = next((stage / "faint").iterdir())
    assert opened.score(path.read_bytes()) == opened.score(path) == opened.score(opened.look(path))


def test_the_pass_is_that_of_the_module(opened: Reopened, stage: Path) -> None:
    path = next((stage / "id" / "2").iterdir())
    with torch.no_grad():
        truth = model()(read_with_pillow(path))
    seen = opened.look(path)
    torch.testing.assert_close(seen.batch.logits, truth, rtol=1e-4, atol=1e-4)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert np.array_equal(seen.pixels.permute(1, 2, 0).numpy(), pixels)


def test_who_was_excused_stays_out(run: Path, opened: Reopened) -> None:
    excused = set(json.loads((run / "metrics.json").read_text())["excused"])
    assert "gmm" in excused, "too few images of each class"
    assert excused.isdisjoint(opened.detectors) and len(opened.detectors) + len(excused) == len(ALL)


def test_a_score_that_is_no_number_is_left_out_once(
    opened: Reopened, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike in an audit: one odd image takes no detector from the next one."""
    path = next((stage / "faint").iterdir())
    with monkeypatch.context() as patched:
        energy = opened.detectors["energy"]
        patched.setattr(energy, "score", lambda batch: torch.full((len(batch),), torch.nan))
        assert "energy" not in opened.score(path)
    assert "energy" in opened.score(path)


# --- what was chosen ---------------------------------------------------------------------------

AT_SPLIT = DetectorSpec(name="gsc-auto", settings={"layer": "split"})
POOLED = DetectorSpec(name="gsc-auto", settings={"layer": "pooled"})
ON_AUTO = (DetectorSpec(name="auto-ensemble"), DetectorSpec(name="gsc-auto+react"))


@pytest.fixture(scope="module")
def choosing(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One audit of what chooses for itself, and of what is built on that."""
    spec = spec_of(stage, detectors=(*ON_AUTO, AT_SPLIT))
    return run_audit(spec, tmp_path_factory.mktemp("choosing")).path


def document_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.slow
def test_what_chose_scores_again_as_it_did(choosing: Path, stage: Path) -> None:
    """Every row, the panel's too, to a ten thousandth of a standard deviation."""
    opened, rows = reopen(choosing), rows_of(choosing)
    names = {row["detector"] for row in document_of(choosing)["results"]}
    assert {"gsc-auto", "auto-ensemble", "gsc-auto+react", "knn", "energy"} <= names
    assert names == set(opened.detectors)
    for _, row in rows[rows["role"] != "calibration"].iloc[::7].iterrows():
        scores = opened.score(path_of(stage, row))
        assert scores.keys() == names
        for name in names:
            assert scores[name] == pytest.approx(row[name], abs=1e-4 * float(rows[name].std())), (
                name
            )


@pytest.mark.slow
def test_nothing_is_chosen_again(choosing: Path) -> None:
    """Fitted with the stored choice there is no search, and no surrogate is needed."""
    opened, chosen = reopen(choosing), document_of(choosing)["chosen"]
    assert chosen.keys() == {"gsc-auto", "auto-ensemble"}
    for name, settings in chosen.items():
        assert opened.detectors[name].settings() == opened.detectors[name].frozen() == settings
    automatic, fused = opened.detectors["gsc-auto"], opened.detectors["auto-ensemble"]
    assert isinstance(automatic, AutoGSC) and automatic.selection_ is None
    assert isinstance(fused, AutoEnsemble) and fused.held_out_ is None
    phases: list[str] = []
    known = replace(opened.stored.calibration, step=lambda phase, *_: phases.append(phase))
    again = AutoGSC.configured(chosen["gsc-auto"]).fit(replace(known, surrogates=None))
    assert phases == []
    assert torch.equal(again.score(known.sample), automatic.score(known.sample))
    AutoGSC.configured(AT_SPLIT.settings).fit(known)
    assert set(phases) == {"choosing the short-circuit"}, "else this would see nothing"


@pytest.mark.slow
def test_the_selection_again_from_what_is_kept(choosing: Path) -> None:
    """Chosen and all that was tried, to the last digit that JSON keeps; of these no better one."""
    opened, document = reopen(choosing), document_of(choosing)
    again = AutoGSC.configured(AT_SPLIT.settings).fit(opened.stored.calibration)
    assert again.selection_ is not None
    told = document["selections"]["gsc-auto"]
    assert told == again.selection_.model_dump(mode="json")
    cut = told["chosen"]["short_circuit"]
    assert document["chosen"]["gsc-auto"] == again.frozen()
    assert again.frozen() == {**cut, "cap": "both", "weights": again.frozen()["weights"]}
    assert cut["layer"] == "split"
    assert told["chosen"] in told["tried"] and told["nothing"] in told["tried"]
    assert told["images"] == len(opened.stored.calibration.sample)


def test_what_was_tried_is_what_the_stored_scores_say(choosing: Path) -> None:
    """FPR95 and AUROC of the chosen one by scikit-learn, by the readings it was judged by."""
    opened, document = reopen(choosing), document_of(choosing)
    known = opened.stored.calibration
    assert known.surrogates is not None
    chosen = AutoGSC.configured(document["chosen"]["gsc-auto"]).fit(known)
    ours, theirs = (
        read(each, chosen.cut_, chosen.read_out_, judging=True)
        for each in (known.sample, known.surrogates)
    )
    capped = document["selections"]["gsc-auto"]["chosen"]["capped"]
    scale, columns = Scale.of(ours), chosen.read_out_.columns(capped, judging=True)
    ours, theirs = (scale.mean(each, columns).numpy() for each in (ours, theirs))
    is_far = np.r_[np.zeros(len(ours)), np.ones(len(theirs))]
    told = document["selections"]["gsc-auto"]["chosen"]
    assert told["auroc"] == pytest.approx(roc_auc_score(is_far, np.r_[ours, theirs]), abs=1e-6)
    threshold = min(t for t in ours if np.mean(ours <= t) >= 0.95)
    assert told["fpr95"] == pytest.approx(np.mean(theirs <= threshold), abs=1e-9)
    for at, name in enumerate(told["by_kind"]):
        far = theirs[at :: len(told["by_kind"])]
        fpr95 = told["by_kind"][name][0]
        assert fpr95 == pytest.approx(np.mean(far <= threshold), abs=1e-9)


@pytest.mark.slow
def test_the_explanation_is_of_the_chosen_cut_where_it_cuts_at_the_split(
    choosing: Path, stage: Path, tmp_path: Path
) -> None:
    picture = next((stage / "faint").iterdir())
    opened, cut = reopen(choosing), document_of(choosing)["chosen"]["gsc-auto"]
    settings = opened.explain(picture, "gsc-auto").settings
    assert {name: settings[name] for name in cut if name in settings} == {
        name: value for name, value in cut.items() if name in settings
    }
    assert {"ranking", "share", "intervention", "granularity"} <= settings.keys()
    assert (settings["share"], settings["ranking"]) != (0.2, "gradient"), "not the usual one"
    elsewhere = run_audit(spec_of(stage, detectors=(POOLED,)), tmp_path / "out").path
    assert document_of(elsewhere)["chosen"]["gsc-auto"]["layer"] == "pooled"
    usual = reopen(elsewhere).explain(picture, "gsc-auto").settings
    assert usual == opened.explain(picture, "gsc").settings


@pytest.mark.slow
def test_a_run_from_before_anything_was_chosen_opens(stage: Path, tmp_path: Path) -> None:
    names = ("gsc", "energy", "knn")
    spec = spec_of(stage, detectors=tuple(DetectorSpec(name=name) for name in names))
    folder = run_audit(spec, tmp_path / "out").path
    document = document_of(folder)
    for later in ("chosen", "selections", "partners"):
        del document[later]
    (folder / "metrics.json").write_text(json.dumps(document))
    assert_same_scores(reopen(folder), stage, rows_of(folder), every=20)


# --- what is kept ------------------------------------------------------------------------------


def test_what_is_kept_belongs_together_row_by_row(run: Path, opened: Reopened, stage: Path) -> None:
    """Order, labels, logits and gradients of the calibration, again by the module alone."""
    kept, rows = opened.stored, rows_of(run)
    calibration = rows[rows["role"] == "calibration"]
    assert [file.name for file in kept.files] == list(calibration["file"])
    assert [file.sha256 for file in kept.files] == list(calibration["sha256"])
    assert list(calibration.index) == list(range(len(kept.files))), "the first rows of the scores"
    assert kept.calibration.labels.tolist() == list(calibration["label"])
    images = torch.cat([read_with_pillow(stage / "calibration" / f.name) for f in kept.files])
    module = model()
    with torch.no_grad():
        torch.testing.assert_close(kept.calibration.logits, module(images), rtol=1e-4, atol=1e-4)
        h = module.block[:2](module.first(images))
    sample = kept.calibration.sample
    torch.testing.assert_close(sample.feature_map, h, rtol=1e-4, atol=1e-4)
    leaf = h.clone().requires_grad_()
    logits = module.fc(module.block[2:](leaf).mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), leaf)
    torch.testing.assert_close(sample.gradient, gradient, rtol=1e-4, atol=1e-5)


def test_no_pixels_are_kept(run: Path) -> None:
    """ODIN reads them when it scores, and nobody when it is fitted."""
    with safe_open(run / "calibration.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "images" in name]  # noqa: SIM118
        assert {"logits", "features", "labels", "files", "surrogates.gradient"} <= set(file.keys())


def test_surrogates_keep_their_kinds(run: Path, opened: Reopened, tmp_path: Path) -> None:
    """Files of before they were kept have one of each of the first four in turn."""
    kept = opened.stored.calibration
    assert kept.surrogates is not None
    in_turn = [(0, 1, 4, 5)[i % 4] for i in range(len(kept.surrogates))]
    assert kept.surrogates.kinds.tolist() == in_turn
    path = tmp_path / "calibration.safetensors"
    other = replace(kept, surrogates=kept.surrogates[torch.tensor([7, 2, 4])])
    files = [ImageFile(Path(file.name), file.name, file.sha256) for file in opened.stored.files]
    keep(other, files, path)
    again = load(path, kept.network).calibration.surrogates
    assert again is not None and again.kinds.tolist() == [5, 4, 0]
    assert torch.equal(again.logits, kept.surrogates.logits[[7, 2, 4]])
    with safe_open(run / "calibration.safetensors", framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors["surrogates.kinds"]
    save_file(tensors, path, metadata=about)
    before = load(path, kept.network).calibration.surrogates
    assert before is not None and before.kinds.tolist() == [i % 4 for i in range(len(in_turn))]


def test_the_usual_range_of_each_channel(run: Path, opened: Reopened) -> None:
    """Against NumPy on the kept maps, one channel and one image at a time."""
    table = pd.read_parquet(run / "channels.parquet")
    sample = opened.stored.calibration.sample
    assert sample.feature_map is not None and sample.gradient is not None
    h, g = sample.feature_map.double().numpy(), sample.gradient.double().numpy()
    assert list(table["channel"]) == list(range(h.shape[1]))
    for channel in range(h.shape[1]):
        expected = {
            "activation": [h[i, channel].mean() for i in range(len(h))],
            "gradient": [g[i, channel].sum() for i in range(len(h))],
            "contribution": [(g[i, channel] * h[i, channel]).sum() for i in range(len(h))],
        }
        for name, values in expected.items():
            found = [table.loc[channel, f"{name}_{p}"] for p in ("05", "25", "50", "75", "95")]
            truth = np.percentile(values, [5, 25, 50, 75, 95])
            np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_without_gsc_there_are_no_channels_but_explanations(stage: Path, tmp_path: Path) -> None:
    energy = (DetectorSpec(name="energy"),)
    folder = run_audit(spec_of(stage, detectors=energy), tmp_path / "out").path
    assert not (folder / "channels.parquet").exists()
    opened = reopen(folder)
    picture = next((stage / "faint").iterdir())
    found = opened.explain(picture)
    assert found.settings["share"] == 0.2 and found.channels[0].normal_activation is None
    near = opened.nearest(picture, 3)
    assert len(near) == 3 and near[0].similarity >= near[1].similarity, "by the logits"


@pytest.mark.slow
def test_a_run_that_is_cut_short_leaves_what_it_was_and_is_redone(
    stage: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    small = spec_of(stage, detectors=(DetectorSpec(name="gsc"), DetectorSpec(name="energy")))
    run_audit(small, out)
    first = (out / "calibration.safetensors").read_bytes()

    def stop(progress: Progress) -> None:
        if progress.phase == "scoring faint" and progress.done:
            raise Cancelled

    again = small.model_copy(update={"seed": 5})
    with pytest.raises(Cancelled):
        run_audit(again, out, stop)
    assert not (out / "metrics.json").exists()
    with pytest.raises(SpecError, match="no finished audit"):
        reopen(out)
    run_audit(again, out)
    assert (out / "calibration.safetensors").read_bytes() != first, "another order"
    assert_same_scores(reopen(out), stage, rows_of(out), every=25)


@pytest.mark.slow
def test_an_earlier_calibration_is_gone_before_another_begins(stage: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_audit(spec_of(stage, detectors=(DetectorSpec(name="gsc"),)), out)

    def stop(progress: Progress) -> None:
        if progress.phase == "calibrating":
            raise Cancelled

    with pytest.raises(Cancelled):
        run_audit(spec_of(stage, detectors=(DetectorSpec(name="energy"),)), out, stop)
    left = {path.name for path in out.iterdir()}
    assert not left & {"calibration.safetensors", "channels.parquet", "metrics.json"}


# --- near images -----------------------------------------------------------------------------


def test_nearest_by_a_loop(opened: Reopened, stage: Path) -> None:
    path = next((stage / "id" / "1").iterdir())
    module = model()
    with torch.no_grad():
        ours = module.pooled(read_with_pillow(path))[0].double().numpy()
        features = {
            file.name: module.pooled(read_with_pillow(stage / "calibration" / file.name))[0]
            for file in opened.stored.files
        }
    cosine = {
        name: float(f.double().numpy() @ ours / np.linalg.norm(f.double()) / np.linalg.norm(ours))
        for name, f in features.items()
    }
    near = opened.nearest(path, 5)
    expected = sorted(cosine.values(), reverse=True)[:5]
    np.testing.assert_allclose([one.similarity for one in near], expected, atol=1e-5)
    for one in near:
        assert cosine[one.name] == pytest.approx(one.similarity, abs=1e-5)
        assert opened.stored.files[one.row].name == one.name


def test_a_calibration_picture_is_nearest_to_itself(opened: Reopened, stage: Path) -> None:
    file = opened.stored.files[7]
    (near,) = opened.nearest(stage / "calibration" / file.name, 1)
    assert (near.row, near.name) == (7, file.name)
    assert near.similarity == pytest.approx(1, abs=1e-5)
    assert len(opened.nearest(stage / "calibration" / file.name, 999)) == len(opened.stored.files)


# --- what cannot be opened ---------------------------------------------------------------------


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.slow
def test_another_model_file_is_noticed(stage: Path, tmp_path: Path) -> None:
    own = tmp_path / "stage"
    shutil.copytree(stage, own)
    spec = spec_of(own, detectors=(DetectorSpec(name="energy"),))
    folder = run_audit(spec, tmp_path / "out").path
    torch.export.save(
        torch.export.export(
            torch.nn.Sequential(model(), torch.nn.Tanh()),
            (torch.zeros(4, 3, 12, 12),),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        ),
        own / "small.pt2",
    )
    with pytest.raises(SpecError, match=r"small\.pt2 has changed since this audit"):
        reopen(folder)
    save_program(own / "small.pt2")


def test_a_run_of_before_says_so(copied: Path) -> None:
    (copied / "calibration.safetensors").unlink()
    with pytest.raises(SpecError, match="before calibration was stored"):
        reopen(copied)


@pytest.mark.parametrize("junk", [b"", b"\x08\0\0\0\0\0\0\0notjson!", None])
def test_a_damaged_calibration_is_one_sentence(copied: Path, junk: bytes | None) -> None:
    path = copied / "calibration.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if junk is None else junk)
    with pytest.raises(SpecError, match=r"calibration\.safetensors of this run is damaged"):
        reopen(copied)


@pytest.mark.parametrize("name", ["spec.json", "metrics.json"])
@pytest.mark.parametrize("junk", ["", "[]", "{}"])
def test_a_damaged_document_is_one_sentence(copied: Path, name: str, junk: str) -> None:
    (copied / name).write_text(junk)
    with pytest.raises(GscError, match="damaged"):
        reopen(copied)


def test_damaged_channels_are_one_sentence(copied: Path) -> None:
    (copied / "channels.parquet").write_bytes(b"PAR1")
    with pytest.raises(SpecError, match=r"channels\.parquet of this run is damaged"):
        reopen(copied)


def test_no_picture_is_one_sentence(opened: Reopened) -> None:
    with pytest.raises(ImageError, match=r"mine\.png is not an image"):
        opened.look(b"nothing of the kind", "mine.png")
    file = io.BytesIO()
    Image.new("RGB", (3, 3)).save(file, "PNG")
    with pytest.raises(ImageError, match="at least 8"):
        opened.look(file.getvalue(), "tiny.png")


def test_only_gsc_explains(opened: Reopened, stage: Path) -> None:
    picture = next((stage / "faint").iterdir())
    with pytest.raises(SpecError, match="energy short-circuits nothing"):
        opened.explain(picture, "energy")
    with pytest.raises(SpecError, match="no detector 'gcs'"):
        opened.explain(picture, "gcs")
    with pytest.raises(SpecError, match="share"):
        opened.explain(picture, k=1.5)


def test_another_share_leaves_the_fitted_detector_as_it_was(opened: Reopened, stage: Path) -> None:
    picture = next((stage / "faint").iterdir())
    before = opened.score(picture)
    assert opened.explain(picture, k=0.5).settings["share"] == 0.5
    assert opened.explain(picture).settings["share"] == 0.2
    assert opened.score(picture) == before


def test_opening_can_be_stopped(run: Path) -> None:
    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        reopen(run, stop)
