"""The committed network: small, fully described by its file, good at its job; and its recipe."""

import json
from dataclasses import asdict

import pytest
import timm
import torch
from safetensors import safe_open
from torchvision.transforms import v2

from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS
from gsc_core.demo.labelled import labelled_images
from gsc_core.demo.render import VERSION, Purpose
from gsc_core.demo.train import Recipe, run

pytestmark = pytest.mark.slow


def load(path):
    """The network from its file alone, as an unfamiliar image would: (network, metadata)."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    library, name = metadata["architecture"].split("/")
    assert library == "timm"
    classes = json.loads(metadata["class_names"])
    network = timm.create_model(name, num_classes=len(classes), **json.loads(metadata["options"]))
    network.load_state_dict(state, strict=True)
    return network.eval(), metadata


def measured_accuracy(path, seed, purpose, per_class):
    network, metadata = load(path)
    given = json.loads(metadata["preprocessing"])
    prepare = v2.Compose(
        [
            v2.Resize(given["resize"], v2.InterpolationMode(given["interpolation"])),
            v2.CenterCrop(given["crop"]),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(given["mean"], given["std"]),
        ]
    )
    pictures, labels = labelled_images(seed, purpose, per_class)
    with torch.inference_mode():
        named = network(prepare(torch.from_numpy(pictures))).argmax(1)
    return float((named.numpy() == labels).mean())


def check_metadata(metadata):
    assert json.loads(metadata["class_names"]) == list(CLASS_NAMES)
    given = json.loads(metadata["preprocessing"])
    assert (given["resize"], given["crop"], given["interpolation"]) == (96, 96, "bilinear")
    assert len(given["mean"]) == len(given["std"]) == 3
    assert all(0 < m < 1 for m in given["mean"])
    assert all(0 < s < 1 for s in given["std"])
    assert set(json.loads(metadata["versions"])) == {"torch", "timm", "demo"}
    assert metadata["recipe"]
    assert int(metadata["seed"]) >= 0


def test_the_weights_are_small_finite_and_fully_described():
    assert DEMO_WEIGHTS.stat().st_size < 2_000_000
    network, metadata = load(DEMO_WEIGHTS)
    check_metadata(metadata)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())


def test_the_weights_come_from_this_recipe_and_these_pictures():
    _, metadata = load(DEMO_WEIGHTS)
    assert metadata["recipe"].endswith(json.dumps(asdict(Recipe())))
    assert json.loads(metadata["versions"])["demo"] == VERSION


def test_the_network_names_new_pictures():
    assert measured_accuracy(DEMO_WEIGHTS, 71, Purpose.ID_TEST, 15) >= 0.9


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("recipe") / "weights.safetensors"
    recipe = Recipe(seed=9, per_class=5, held_out_per_class=1, epochs=8, batch=10)
    heard: list[str] = []
    run(recipe, out, heard.append, workers=1)
    return out, heard


def test_the_recipe_runs_and_writes_a_file_like_the_committed_one(trained):
    out, heard = trained
    network, metadata = load(out)
    check_metadata(metadata)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert sum(line.startswith("epoch") for line in heard) == 8
    committed, _ = load(DEMO_WEIGHTS)
    assert [p.shape for p in network.parameters()] == [p.shape for p in committed.parameters()]


def test_the_recipe_learns(trained):
    by_chance = 1 / len(CLASS_NAMES)
    assert measured_accuracy(trained[0], 9, Purpose.TRAINING, 5) > 3 * by_chance
