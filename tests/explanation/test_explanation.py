"""Explanations against brute force: loops, autograd and finite differences on the plain module."""

import copy
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from small_classifier import CLASSES, EVERYTHING, Small, calibrate, exported, pictures, world
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.explanation import Explanation, crop_jpeg, heat_png
from gsc_core.explanation.channels import ChannelNormals
from gsc_core.explanation.one_image import explain, heat_of
from gsc_core.scoring.onepass import represent

NAMES = ("upper left", "upper right", "lower left", "<b>lower right</b>")


def cut_at(module: nn.Module, split: str, size: int = 12) -> Network:
    shapes = ({0: torch.export.Dim("batch")},)
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Network(torch.export.export(module.eval(), (images,), dynamic_shapes=shapes), split)


def fitted(network: Network, images: Tensor, **settings: object) -> GSC:
    labels = torch.zeros(len(images), dtype=torch.long)
    return GSC(**settings).fit(calibrate(network, images, labels))


@pytest.fixture(scope="module")
def early() -> Network:
    """The small classifier cut where two convolutions and ReLUs follow: the head is not linear."""
    return cut_at(world().model, "first")


def tail(model: Small) -> Callable[[Tensor], Tensor]:
    """What follows `first`, in float64 and without the product's code."""
    double = copy.deepcopy(model).double().eval()
    return lambda h: double.fc(double.block(h).mean(dim=(2, 3)))


def body(model: Small, image: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).double().eval().first(image.double())


def gradient_of(head: Callable[[Tensor], Tensor], h: Tensor) -> tuple[int, Tensor]:
    """Predicted class and ∂y_c/∂h."""
    leaf = h.clone().requires_grad_()
    logits = head(leaf)
    c = int(logits.argmax())
    return c, torch.autograd.grad(logits[0, c], leaf)[0]


def chosen_by_hand(h: Tensor, g: Tensor, granularity: str, ranking: str, share: float) -> Tensor:
    """The short-circuited coordinates, by sorting in plain Python."""
    value = {"gradient": g, "attribution": g * h, "activation": h}[ranking][0]
    if granularity == "element":
        flat = value.flatten().abs().tolist()
        k = int(np.ceil(share * len(flat) - 1e-9))
        best = sorted(range(len(flat)), key=lambda i: (-flat[i], i))[:k]
        mask = torch.zeros(len(flat), dtype=torch.bool)
        mask[best] = True
        return mask.view_as(h)
    sums = [abs(float(channel.sum())) for channel in value]
    k = int(np.ceil(share * len(sums) - 1e-9))
    best = sorted(range(len(sums)), key=lambda i: (-sums[i], i))[:k]
    mask = torch.zeros_like(h, dtype=torch.bool)
    mask[:, best] = True
    return mask


def heat_by_hand(removed: Tensor) -> np.ndarray:
    """What was removed and spoke for the prediction, one position at a time."""
    expected = np.zeros(removed.shape[2:])
    for y in range(expected.shape[0]):
        for x in range(expected.shape[1]):
            expected[y, x] = max(0.0, sum(removed[0, :, y, x].tolist()))
    return expected


def assert_channels(
    found: Explanation, h: Tensor, g: Tensor, mask: Tensor, removed: Tensor
) -> None:
    """Each channel that is told, from the maps of the image, of the mask and of what it removed."""
    touched = mask[0].flatten(1).any(dim=1)
    assert found.channels_touched == int(touched.sum())
    for channel in found.channels:
        i = channel.index
        assert channel.activation == pytest.approx(float(h[0, i].mean()), abs=1e-4)
        assert channel.gradient == pytest.approx(float(g[0, i].sum()), rel=1e-3, abs=1e-4)
        assert channel.contribution == pytest.approx(float((g * h)[0, i].sum()), rel=1e-3, abs=1e-4)
        assert channel.removed == pytest.approx(float(removed[0, i].sum()), rel=1e-3, abs=1e-4)
        assert channel.positions == pytest.approx(float(mask[0, i].double().mean()))
        assert channel.short_circuited == bool(touched[i])


GRID = [
    (granularity, ranking, intervention)
    for granularity in ("channel", "element")
    for ranking in ("gradient", "attribution", "activation")
    for intervention in ("zero", "truncate")
]


@pytest.mark.parametrize(("granularity", "ranking", "intervention"), GRID)
def test_against_the_plain_module(
    early: Network, granularity: str, ranking: str, intervention: str
) -> None:
    """Selection, contributions, new logits, what was removed and the heat, all by hand."""
    share = 0.3
    settings = {"share": share, "granularity": granularity, "ranking": ranking}
    known, _ = pictures(40, seed=7)
    detector = fitted(
        early, known, **settings, intervention=intervention, percentile=0.6, update="exact"
    )
    image = pictures(6, seed=8)[0][[5]]
    found = explain(represent(early, image, EVERYTHING), detector, class_names=NAMES)

    model = world().model
    head, h = tail(model), body(model, image)
    c, g = gradient_of(head, h)
    mask = chosen_by_hand(h, g, granularity, ranking, share)
    target = torch.zeros_like(h)
    if intervention == "truncate":
        maps = torch.cat([body(model, one[None]) for one in known])
        for channel in range(h.shape[1]):
            values = sorted(maps[:, channel].flatten().tolist())
            cap = values[int(np.ceil(0.6 * len(values))) - 1]
            target[:, channel] = h[:, channel].clamp(max=cap)
    cut = torch.where(mask, target, h)
    with torch.no_grad():
        before, after = head(h)[0], head(cut)[0]

    assert found.before[0].index == c and found.before[0].name == NAMES[c]
    told = {each.index: each.share for each in found.after}
    assert len(told) == CLASSES
    for k, probability in enumerate(after.softmax(0).tolist()):
        assert told[k] == pytest.approx(probability, abs=1e-4)
    assert found.logit_before == pytest.approx(float(before[c]), rel=1e-4, abs=1e-4)
    assert found.logit_after == pytest.approx(float(after[c]), rel=1e-4, abs=1e-4)
    assert found.confidence_before == pytest.approx(float(before.softmax(0)[c]), abs=1e-4)
    assert found.confidence_after == pytest.approx(float(after.softmax(0)[c]), abs=1e-4)
    assert found.short_circuited_share == pytest.approx(float(mask.double().mean()))
    removed = g * (h - cut)
    assert found.removed == pytest.approx(float(removed.sum()), rel=1e-3, abs=1e-4)
    assert_channels(found, h, g, mask, removed)
    assert [channel.rank for channel in found.channels] == list(range(1, h.shape[1] + 1))
    if granularity == "channel":
        first = [channel.short_circuited for channel in found.channels]
        assert first == sorted(first, reverse=True), "the leading ones are those that were taken"
    else:
        size = [abs(channel.removed) for channel in found.channels]
        assert size == sorted(size, reverse=True)
    if (expected := heat_by_hand(removed)).max() > 1e-9:
        assert found.heat is not None and max(map(max, found.heat)) == 1
        np.testing.assert_allclose(found.heat, expected / expected.max(), atol=1e-3)
    else:
        assert found.heat is None and found.no_heat is not None


def test_a_contribution_is_what_scaling_the_channel_does_to_the_logit(early: Network) -> None:
    """Finite differences of the module: no gradient is asked for."""
    image = pictures(6, seed=9)[0][[2]]
    detector = fitted(early, pictures(20, seed=7)[0], granularity="channel")
    found = explain(represent(early, image, EVERYTHING), detector)
    head, h = tail(world().model), body(world().model, image)
    for channel in found.channels:
        slope = []
        for step in (1e-6, -1e-6):
            scaled = h.clone()
            scaled[:, channel.index] *= 1 + step
            with torch.no_grad():
                slope.append(float(head(scaled)[0, found.before[0].index]))
        difference = (slope[0] - slope[1]) / 2e-6
        assert channel.contribution == pytest.approx(difference, rel=1e-3, abs=1e-3)


def test_the_first_order_update_is_a_step_along_the_derivative(early: Network) -> None:
    image = pictures(6, seed=10)[0][[1]]
    settings = {"share": 0.25, "granularity": "channel", "ranking": "attribution"}
    detector = fitted(early, pictures(20, seed=7)[0], **settings)
    found = explain(represent(early, image, EVERYTHING), detector)
    head, h = tail(world().model), body(world().model, image)
    _, g = gradient_of(head, h)
    change = torch.where(chosen_by_hand(h, g, "channel", "attribution", 0.25), -h, 0.0)
    with torch.no_grad():
        step = (head(h + 1e-6 * change) - head(h - 1e-6 * change)) / 2e-6
        after = (head(h) + step)[0]
    assert found.update == "first_order"
    assert found.logit_after == pytest.approx(float(after[found.before[0].index]), abs=1e-3)
    told = {each.index: each.share for each in found.after}
    for k, probability in enumerate(after.softmax(0).tolist()):
        assert told[k] == pytest.approx(probability, abs=1e-3)
    assert found.logit_before - found.removed == pytest.approx(found.logit_after, abs=1e-3)


def test_nothing_taken_changes_nothing(early: Network) -> None:
    image = pictures(6, seed=10)[0][[1]]
    detector = fitted(early, pictures(20, seed=7)[0], share=0.0)
    found = explain(represent(early, image, EVERYTHING), detector)
    assert found.heat is None and found.no_heat is not None and "nothing" in found.no_heat
    assert found.removed == 0 and found.channels_touched == 0
    for before, after in zip(found.before, found.after, strict=True):
        assert before.index == after.index
        assert before.share == pytest.approx(after.share, abs=1e-6)


def test_at_a_linear_head_the_selection_is_the_same_for_every_image_of_a_class() -> None:
    """By gradient it is, and it is said; by attribution it is not."""
    small = world()
    images = pictures(40, seed=21)[0][::CLASSES]  # all of the same class
    taken: dict[str, set[frozenset[tuple[int, float]]]] = {}
    for ranking in ("gradient", "attribution"):
        detector = GSC(share=0.1, ranking=ranking).fit(small.calibration)
        explained = [
            explain(represent(small.network, image[None], EVERYTHING), detector) for image in images
        ]
        assert len({found.before[0].index for found in explained}) == 1
        assert {found.same_for_class for found in explained} == {ranking == "gradient"}
        assert {found.update for found in explained} == {"exact"}, "there is no difference here"
        taken[ranking] = {
            frozenset((c.index, c.positions) for c in found.channels) for found in explained
        }
    assert len(taken["gradient"]) == 1 < len(taken["attribution"])


def test_a_random_selection_is_the_same_for_all(early: Network) -> None:
    detector = fitted(early, pictures(20, seed=7)[0], ranking="random", granularity="channel")
    found = [
        explain(represent(early, image[None], EVERYTHING), detector)
        for image in pictures(4, seed=3)[0]
    ]
    assert all(each.same_for_class for each in found)
    assert len({tuple(c.index for c in each.channels if c.short_circuited) for each in found}) == 1


def test_of_many_channels_and_classes_the_leading_are_told() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential()
    wide.add_module("cut", nn.Sequential(nn.Conv2d(3, 50, 3), nn.ReLU(), nn.Conv2d(50, 50, 3)))
    wide.add_module("rest", nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    wide.add_module("fc", nn.Linear(50, 9))
    network = cut_at(wide, "cut")
    detector = fitted(network, pictures(20, seed=7)[0], granularity="channel", share=0.8)
    found = explain(represent(network, pictures(1, seed=1)[0], EVERYTHING), detector)
    assert (len(found.channels), found.channel_count, found.channels_touched) == (32, 50, 40)
    assert len(found.before) == len(found.after) == 5
    shares = [each.share for each in found.before]
    assert shares == sorted(shares, reverse=True)
    assert all(each.name is None for each in found.before)


def test_an_explanation_is_the_same_after_storing(early: Network) -> None:
    sample = represent(early, pictures(20, seed=7)[0], EVERYTHING)
    normals = ChannelNormals.of(sample, 1)
    assert normals is not None
    image = represent(early, pictures(1, seed=2)[0], EVERYTHING)
    detector = fitted(early, pictures(20, seed=7)[0])
    found = explain(image, detector, normals, NAMES)
    assert Explanation.model_validate_json(found.model_dump_json()) == found
    again = ChannelNormals.of_table(normals.table())
    assert explain(image, detector, again, NAMES) == found
    for channel in found.channels:
        usual = channel.normal_contribution
        assert usual is not None and usual.low <= usual.median <= usual.high
        assert usual.median == normals.contribution[2, channel.index]


# --- other layouts -----------------------------------------------------------------------------


class ChannelsLast(nn.Module):
    """A map `[B,H,W,C]`, not square, at which it can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 10, 3, stride=(3, 2))
        self.mixing = nn.Sequential(
            nn.LayerNorm(10), nn.Linear(10, 10), nn.GELU(), nn.Linear(10, 10)
        )
        self.fc = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mixing(self.patches(x).permute(0, 2, 3, 1)).relu().mean(dim=(1, 2)))


def test_a_map_with_its_channels_last() -> None:
    torch.manual_seed(3)
    module = ChannelsLast()
    network = cut_at(module, "mixing")
    assert network.split is not None and network.split.channel == 3
    settings = {"granularity": "channel", "ranking": "attribution", "share": 0.4}
    detector = fitted(network, pictures(20, seed=7)[0], **settings)
    image = pictures(1, seed=5)[0]
    found = explain(represent(network, image, EVERYTHING), detector)
    with torch.no_grad():
        h = module.mixing(module.patches(image).permute(0, 2, 3, 1))
    leaf = h.clone().requires_grad_()
    (g,) = torch.autograd.grad(module.fc(leaf.relu().mean(dim=(1, 2))).max(), leaf)
    assert found.channel_count == 10
    for channel in found.channels:
        truth = float((g * h)[0, :, :, channel.index].sum())
        assert channel.contribution == pytest.approx(truth, abs=1e-4)
    taken = [channel.index for channel in found.channels if channel.short_circuited]
    assert len(taken) == 4
    heat = (g * h)[0, :, :, taken].sum(dim=-1).clamp(min=0)
    assert heat.shape[0] != heat.shape[1]
    np.testing.assert_allclose(found.heat, heat / heat.max(), atol=1e-3)


def vit(**options: object) -> VisionTransformer:
    torch.manual_seed(1)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return VisionTransformer(**sizes, num_classes=5, **options)


def of_vit(module: VisionTransformer, split: str) -> tuple[Explanation, Tensor]:
    """An explanation of noise, and what was removed at each token, by autograd on the module."""
    network = cut_at(module, split, size=32)
    generator = torch.Generator().manual_seed(2)
    detector = fitted(
        network,
        torch.randn(12, 3, 32, 32, generator=generator),
        granularity="channel",
        ranking="attribution",
        share=0.5,
    )
    image = torch.randn(1, 3, 32, 32, generator=generator)
    found = explain(represent(network, image, EVERYTHING), detector)
    held: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        held.append(output.detach().requires_grad_())
        return held[0]

    with module.get_submodule(split).register_forward_hook(keep):
        logits = module(image)
    (g,) = torch.autograd.grad(logits.max(), held[0])
    taken = [channel.index for channel in found.channels if channel.short_circuited]
    return found, (g * held[0].detach())[0, :, taken].sum(dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"class_token": False, "global_pool": "avg"}], ids=["class token", "mean"]
)
def test_tokens_lie_on_their_grid(options: dict) -> None:
    found, removed = of_vit(vit(**options), "blocks.0")
    patches = removed[-16:].clamp(min=0).reshape(4, 4)
    assert found.channel_count == 24 and found.no_heat is None
    np.testing.assert_allclose(found.heat, patches / patches.max(), atol=1e-3)


@pytest.mark.slow
def test_where_only_the_class_token_is_read_there_is_no_place() -> None:
    found, _ = of_vit(vit(), "blocks.1")
    assert found.heat is None and found.no_heat is not None and "class token" in found.no_heat
    assert any(abs(channel.contribution) > 1e-4 for channel in found.channels)


@pytest.mark.slow
def test_tokens_that_form_no_square_have_no_heat() -> None:
    found, _ = of_vit(vit(reg_tokens=2), "blocks.0")
    assert found.heat is None and found.no_heat == "its 19 tokens do not lie on a square grid"


@pytest.mark.parametrize(("tokens", "side"), [(4, 2), (5, 2), (50, 7), (49, 7), (3, None)])
def test_grids(tokens: int, side: int | None) -> None:
    removed = torch.arange(1.0, tokens + 1)
    heat, reason = heat_of(removed, torch.ones(tokens, 1), (tokens,))
    if side is None:
        assert heat is None and reason is not None
    else:
        assert heat is not None and len(heat) == len(heat[0]) == side
        assert heat[-1][-1] == 1 and heat[0][0] == pytest.approx((tokens - side**2 + 1) / tokens)


# --- usual ranges --------------------------------------------------------------------------------


def test_without_maps_there_are_no_usual_ranges() -> None:
    logits = torch.zeros(4, 3)
    assert ChannelNormals.of(Representation(logits), 1) is None
    assert ChannelNormals.of(Representation(logits, feature_map=torch.zeros(4, 2, 3, 3)), 1) is None


def test_usual_ranges_of_tokens() -> None:
    """`[B,N,C]`: the channel is last."""
    generator = torch.Generator().manual_seed(0)
    h, g = torch.randn(2, 30, 7, 4, generator=generator, dtype=torch.float64)
    normals = ChannelNormals.of(Representation(torch.zeros(30, 2), None, h, g), 2)
    assert normals is not None
    truth = [np.percentile((g * h)[:, :, c].sum(1).numpy(), [5, 25, 50, 75, 95]) for c in range(4)]
    np.testing.assert_allclose(normals.contribution, np.transpose(truth))
    truth = [np.percentile(h[:, :, c].mean(1).numpy(), [5, 25, 50, 75, 95]) for c in range(4)]
    np.testing.assert_allclose(normals.activation, np.transpose(truth))


# --- images ------------------------------------------------------------------------------------


def test_the_crop_as_a_picture() -> None:
    x, y = np.meshgrid(np.arange(60), np.arange(40))
    pixels = torch.from_numpy(np.stack([4 * x, 6 * y, 2 * (x + y)]).astype(np.uint8))
    shown = Image.open(io.BytesIO(crop_jpeg(pixels)))
    assert shown.size == (60, 40)
    difference = np.asarray(shown).astype(int) - pixels.permute(1, 2, 0).numpy()
    assert np.abs(difference).mean() < 4


def test_the_heat_as_a_layer() -> None:
    heat = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.5, 0.0]]
    layer = np.asarray(Image.open(io.BytesIO(heat_png(heat, (90, 120)))))
    assert layer.shape == (90, 120, 4)
    alpha = layer[..., 3].astype(int)
    cells = np.array([[alpha[15 + 30 * y, 15 + 30 * x] for x in range(4)] for y in range(3)])
    assert cells[0, 0] == 0 and cells[1, 3] == cells.max() > 170
    assert cells[2, 2] == pytest.approx(cells[1, 3] / 2, abs=4)
    assert cells.max() < 255, "the image shines through"


def test_hotter_is_brighter() -> None:
    """One perceptual map: lightness rises with the heat, for readers who see no colour."""
    ramp = [[i / 20 for i in range(21)]]
    layer = np.asarray(Image.open(io.BytesIO(heat_png(ramp, (1, 21)))))[0]
    grey = layer[:, :3].astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 0).all() and (np.diff(layer[:, 3].astype(int)) > 0).all()


def test_the_network_of_the_tests_is_what_it_says(early: Network) -> None:
    assert early.split is not None and not early.split.linear
    linear = exported(world().model, "block").split
    assert linear is not None and linear.linear
