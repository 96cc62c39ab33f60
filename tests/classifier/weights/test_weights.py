"""Weights as people really have them, to the network that was meant: its logits, or a question.

Every network is made here, as its user would make it, and the truth is that network's own logits.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from gsc_core.classifier.weights.state_dict import Fitted, fit
from gsc_core.classifier.weights.weight_names import flattened
from gsc_core.errors import CheckpointError, GscError, SpecError

Content = Mapping[str, Any]


def resnet(classes: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=classes).eval()


def vit(seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("test_vit", **({"num_classes": 5} | options)).eval()


def opened(
    content: Content, architecture: str, weights: str | None = None, **options: Any
) -> Fitted:
    return fit(flattened(content, "mine.pt"), architecture, options, "mine.pt", weights)


def assert_same_network(
    fitted: Fitted, module: nn.Module, size: int = 64, channels: int = 3
) -> None:
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(fitted.module.eval()(images), module.eval()(images))


def question(content: Content, architecture: str, **options: Any) -> str:
    with pytest.raises(GscError) as refusal:
        opened(content, architecture, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def prefixed(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in module.state_dict().items()}


# What a state dict cannot tell


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_how_an_input_is_scaled_is_asked(name: str) -> None:
    torch.manual_seed(0)
    build = getattr(torchvision.models, name)
    modules = {
        scaled: build(transform_input=scaled, num_classes=4, init_weights=False).eval()
        for scaled in (True, False)
    }
    content = modules[True].state_dict()
    said = question(content, f"torchvision/{name}")
    assert "choose options transform_input=true (if it was fine-tuned" in said
    assert "or options transform_input=false (if it was trained from scratch)" in said
    modules[False].load_state_dict(content)
    for scaled, module in modules.items():
        fitted = opened(content, f"torchvision/{name}", transform_input=scaled)
        assert_same_network(fitted, module, size=96)
        assert any("only training needs them: the heads" in note for note in fitted.notes)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [7, 1000])
def test_auxiliary_heads_may_be_there_or_not(classes: int) -> None:
    torch.manual_seed(0)
    module = torchvision.models.googlenet(init_weights=False, aux_logits=True).eval()
    module.fc = nn.Linear(1024, classes)  # and the auxiliary heads keep their 1,000
    without = {k: v for k, v in module.state_dict().items() if not k.startswith("aux")}
    for content in (module.state_dict(), without):
        fitted = opened(content, "torchvision/googlenet", transform_input=False)
        assert_same_network(fitted, module, size=64)


def test_an_option_that_weights_show_is_taken_and_said() -> None:
    module = vit(img_size=96)
    fitted = opened(module.state_dict(), "timm/test_vit")
    assert fitted.options["img_size"] == 96
    assert (
        "The network is built with img_size=96, which the shapes of the weights show."
        in fitted.notes
    )
    assert_same_network(fitted, module, size=96)


@pytest.mark.slow
def test_options_between_which_weights_do_not_decide_are_asked() -> None:
    module = vit(global_pool="avg")
    said = question(module.state_dict(), "timm/test_vit")
    assert "options global_pool=avg" in said
    assert "options global_pool=max" in said
    fitted = opened(module.state_dict(), "timm/test_vit", global_pool="avg")
    assert_same_network(fitted, module, size=160)


def test_grey_images_are_seen_in_the_weights() -> None:
    module = vit(in_chans=1)
    fitted = opened(module.state_dict(), "timm/test_vit")
    assert (
        "The network is built with in_chans=1, which the shapes of the weights show."
        in fitted.notes
    )
    assert_same_network(fitted, module, size=160, channels=1)


# Averages, students and teachers


def ema_files() -> list[Content]:
    plain, averaged = resnet(seed=1), resnet(seed=2)
    return [
        {"state_dict": plain.state_dict(), "state_dict_ema": averaged.state_dict(), "epoch": 3},
        {
            "model": prefixed(plain, "module."),
            "model_ema": {**prefixed(averaged, "module."), "n_averaged": torch.tensor(9)},
            "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 3)}}},
        },
        {"state_dict": prefixed(plain, "net.") | prefixed(averaged, "ema_model.module.")},
        {
            "state_dict": prefixed(plain, "model."),
            "callbacks": {"EMA": {"ema_weights": prefixed(averaged, "model.")}},
        },
    ]


@pytest.mark.parametrize("kind", range(4))
def test_a_file_with_averaged_weights_too_is_asked_about(kind: int) -> None:
    content = ema_files()[kind]
    said = question(content, "timm/test_resnet")
    assert "holds several weights for one network" in said
    assert "weights ema" in said
    assert "weights plain" in said
    for choice, seed in (("plain", 1), ("ema", 2)):
        fitted = opened(content, "timm/test_resnet", weights=choice)
        assert_same_network(fitted, resnet(seed=seed))
        assert any("was left out" in note for note in fitted.notes)
    assert any("average over training (EMA)" in note for note in fitted.notes)


def test_two_networks_without_averages_are_chosen_by_name() -> None:
    content = prefixed(resnet(seed=1), "student.") | prefixed(resnet(seed=2), "teacher.")
    said = question(content, "timm/test_resnet")
    assert "weights student or weights teacher" in said
    fitted = opened(content, "timm/test_resnet", weights="teacher")
    assert_same_network(fitted, resnet(seed=2))
    assert "has no weights 'ema'" in question(content, "timm/test_resnet", weights="ema")


def test_the_same_weights_twice_are_no_question() -> None:
    weights = resnet().state_dict()
    fitted = opened({"state_dict": weights, "state_dict_ema": dict(weights)}, "timm/test_resnet")
    assert_same_network(fitted, resnet())


def test_averages_without_names_are_said() -> None:
    shadow = [value.clone() for value in resnet().state_dict().values()]
    content = {"model": resnet().state_dict(), "ema": {"shadow_params": shadow}}
    fitted = opened(content, "timm/test_resnet")
    assert any("averaged weights (ema.shadow_params" in note for note in fitted.notes)


def shadow(module: nn.Module) -> dict[str, Any]:
    """As `torch_ema` saves its average, and `diffusers` much the same."""
    parameters = [parameter.detach().clone() for parameter in module.parameters()]
    return {"decay": 0.99, "num_updates": 7, "shadow_params": parameters, "collected_params": None}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["beside", "prefixed", "lightning"])
def test_averages_without_names_are_taken_in_the_order_of_the_parameters(form: str) -> None:
    plain, averaged = resnet(seed=1), resnet(seed=2)
    of_plain = dict(plain.named_buffers())
    for name, buffer in averaged.named_buffers():  # an average of parameters has no others
        buffer.copy_(of_plain[name])
    content: Content = {
        "beside": {"model": plain.state_dict(), "ema": shadow(averaged)},
        "prefixed": {"net": prefixed(plain, "module."), "ema_state": shadow(averaged)},
        "lightning": {
            "state_dict": prefixed(plain, "model."),
            "callbacks": {"EMA": shadow(averaged)},
        },
    }[form]
    said = question(content, "timm/test_resnet")
    assert "weights plain or weights ema" in said or "weights ema or weights plain" in said
    assert_same_network(opened(content, "timm/test_resnet", weights="plain"), plain)
    fitted = opened(content, "timm/test_resnet", weights="ema")
    assert_same_network(fitted, averaged)
    assert any("average over training (EMA)" in note for note in fitted.notes)


def test_an_average_without_names_alone_is_enough_where_there_are_only_parameters() -> None:
    averaged = vit(seed=3, num_classes=7)
    fitted = opened({"ema": shadow(averaged)}, "timm/test_vit")
    assert_same_network(fitted, averaged, size=160)


@pytest.mark.slow
def test_plain_weights_set_aside_while_the_average_is_tried_are_no_average() -> None:
    """`torch_ema` in the midst of a validation: `collected_params` are the plain weights."""
    plain, averaged = vit(seed=1), vit(seed=2)
    aside = {"collected_params": [each.detach().clone() for each in plain.parameters()]}
    fitted = opened({"ema": shadow(averaged) | aside}, "timm/test_vit")
    assert_same_network(fitted, averaged, size=160)
    content = {"model": plain.state_dict(), "ema": shadow(averaged) | aside}
    assert question(content, "timm/test_vit").count("weights ema") == 1
    for weights, module in (("plain", plain), ("ema", averaged)):
        fitted = opened(content, "timm/test_vit", weights=weights)
        assert_same_network(fitted, module, size=160)


def test_an_average_without_statistics_of_batch_norms_is_no_network() -> None:
    with pytest.raises(CheckpointError, match="without the statistics of its batch norms"):
        opened(shadow(resnet()), "timm/test_resnet")


def test_an_average_of_some_parameters_alone_is_left_out_and_said() -> None:
    some = shadow(resnet(seed=2))
    some["shadow_params"] = some["shadow_params"][2:]  # as where the first layers are frozen
    content = {"model": resnet().state_dict(), "ema": some}
    fitted = opened(content, "timm/test_resnet")
    assert_same_network(fitted, resnet())
    assert any("averaged weights (ema.shadow_params" in note for note in fitted.notes)


# What training leaves in a file


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "_orig_mod.", "net.backbone.", "a.b."])
def test_prefixes_are_seen_beside_what_training_leaves(prefix: str) -> None:
    content = prefixed(resnet(), prefix) | {
        "loss_fn.weight": torch.ones(5),
        "criterion.centers": torch.ones(5, 8),
        "train_acc.tp": torch.ones(5),
        "val_confmat": torch.ones(5, 5),
        f"{prefix}total_ops": torch.zeros(1),
        f"{prefix}stem.total_params": torch.zeros(1),
        "num_updates": torch.tensor(7),
    }
    fitted = opened(content, "timm/test_resnet")
    assert_same_network(fitted, resnet())
    note = next(note for note in fitted.notes if "only training needs them" in note)
    assert "7 tensors (" in note
    assert "loss_fn" in note or "total_ops" in note


@pytest.mark.slow
def test_wrappers_in_the_middle_of_names_are_seen() -> None:
    weights = resnet().state_dict()
    wrappers = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module")
    for wrapper in wrappers:
        first = next(iter(weights)).partition(".")[0]
        content = {k.replace(f"{first}.", f"{first}.{wrapper}.", 1): v for k, v in weights.items()}
        assert_same_network(opened(content, "timm/test_resnet"), resnet())


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["head2.weight", "attention.proj.weight", "logit_scale"])
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_layers_that_the_architecture_lacks_are_never_left_out(extra: str, prefix: str) -> None:
    content = prefixed(resnet(), prefix) | {extra: torch.ones(5, 5)}
    said = question(content, "timm/test_resnet")
    assert extra in said


@pytest.mark.slow
def test_pruning_is_carried_out() -> None:
    module = resnet()
    convolution = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    prune.l1_unstructured(convolution, "weight", amount=0.5)
    fitted = opened(module.state_dict(), "timm/test_resnet")
    assert_same_network(fitted, module)
    zeros = int((convolution.weight == 0).sum())
    assert any(f"masks of 1 tensors were applied ({zeros:,} zeros)" in n for n in fitted.notes)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: {**w, "fc.zero_point": torch.zeros(1)}, "quantised.*in float32"),
        (lambda w: {**w, "fc.weight.absmax": torch.zeros(1)}, "quantised"),
        (lambda w: {**w, "fc.SCB": torch.zeros(1)}, "quantised"),
        (lambda w: {**w, "fc.lora_A.default.weight": torch.zeros(1, 2)}, "LoRA.*merge_and_unload"),
    ],
)
def test_values_that_need_other_code_are_named(
    change: Callable[[Content], Content], said: str
) -> None:
    assert re.search(said, question(change(resnet().state_dict()), "timm/test_resnet"))


def test_weight_normalisation_is_named() -> None:
    module = resnet()
    parametrizations.weight_norm(module.fc)
    said = question(module.state_dict(), "timm/test_resnet")
    assert "in parts" in said
    assert "remove_parametrizations" in said


# Heads


@pytest.mark.slow
def test_the_number_of_classes_comes_from_the_weights_where_the_default_has_none() -> None:
    torch.manual_seed(0)
    options = {"img_size": 56, "depth": 2}
    module = timm.create_model("vit_small_patch14_dinov2", num_classes=5, **options).eval()
    fitted = opened(module.state_dict(), "timm/vit_small_patch14_dinov2", depth=2)
    assert_same_network(fitted, module, size=56)
    bare = timm.create_model("vit_small_patch14_dinov2", num_classes=0, **options)
    said = question(bare.state_dict(), "timm/vit_small_patch14_dinov2", depth=2)
    assert "without a head, so it gives features and no classes" in said


HEADS: list[tuple[str, Callable[[nn.Module], None]]] = [
    ("resnet18", lambda m: setattr(m, "fc", nn.Sequential(nn.Dropout(), nn.Linear(512, 3)))),
    ("resnet18", lambda m: setattr(m, "fc", nn.Sequential(nn.Linear(512, 3, bias=False)))),
    (
        "mobilenet_v3_small",
        lambda m: m.classifier.__setitem__(3, nn.Sequential(nn.Dropout(), nn.Linear(1024, 3))),
    ),
    ("mobilenet_v3_small", lambda m: setattr(m, "classifier", nn.Linear(576, 3))),
    ("efficientnet_b0", lambda m: setattr(m, "classifier", nn.Sequential(nn.Linear(1280, 3)))),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "replace"), HEADS)
def test_one_linear_layer_in_the_place_of_the_head(
    name: str, replace: Callable[[nn.Module], None]
) -> None:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name)
    replace(module)
    fitted = opened(prefixed(module, "model."), f"torchvision/{name}")
    assert_same_network(fitted, module)
    assert any("one linear layer of its own" in note for note in fitted.notes)


@pytest.mark.slow
def test_a_vision_transformers_heads_as_one_layer() -> None:
    torch.manual_seed(0)
    module = torchvision.models.vit_b_32(image_size=64)
    module.heads = nn.Linear(768, 3)
    fitted = opened(module.state_dict(), "torchvision/vit_b_32")
    assert fitted.options["image_size"] == 64
    assert_same_network(fitted, module)


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)),
        nn.Sequential(nn.Linear(512, 8), nn.Tanh(), nn.Linear(8, 3)),
        nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 3)),
    ],
)
def test_a_head_of_several_layers_is_named_with_the_way_out(head: nn.Module) -> None:
    module = torchvision.models.resnet18()
    module.fc = head
    said = question(module.state_dict(), "torchvision/resnet18")
    assert "head of your own in place of fc (fc." in said
    assert "torch.export.export" in said


def test_a_wrapper_with_a_head_beside_the_network_is_named() -> None:
    module = torchvision.models.resnet18()
    module.fc = nn.Identity()
    content = prefixed(module, "backbone.") | {"classifier.weight": torch.ones(3, 512)}
    said = question(content, "torchvision/resnet18")
    assert "without its head, and layers besides (classifier.weight)" in said


# Names of earlier versions


@pytest.mark.slow
def test_torchvisions_loader_of_earlier_names_is_tried() -> None:
    torch.manual_seed(0)
    module = torchvision.models.densenet121(num_classes=4)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
        for key, value in module.state_dict().items()
    }
    assert old.keys() != module.state_dict().keys()
    fitted = opened(old, "torchvision/densenet121")
    assert_same_network(fitted, module)
    assert any("earlier version" in note for note in fitted.notes)


@pytest.mark.slow
def test_layers_that_read_earlier_names_are_asked() -> None:
    torch.manual_seed(0)
    module = torchvision.models.vit_b_32(image_size=64, num_classes=4)
    old = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in module.state_dict().items()
    }
    fitted = opened(old, "torchvision/vit_b_32")
    assert_same_network(fitted, module)


def test_mnasnet_loads_although_a_plain_table_has_no_version() -> None:
    torch.manual_seed(0)
    module = torchvision.models.mnasnet0_5(num_classes=4)
    assert_same_network(opened(dict(module.state_dict()), "torchvision/mnasnet0_5"), module)


@pytest.mark.slow
def test_timms_filters_of_earlier_names_are_tried() -> None:
    torch.manual_seed(0)
    module = timm.create_model("densenet121", num_classes=4)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
        for key, value in module.state_dict().items()
    }
    assert_same_network(opened(old, "timm/densenet121"), module)


@pytest.mark.slow
def test_a_loader_that_resizes_makes_no_other_network() -> None:
    module = vit(img_size=(96, 64))  # as no square image has
    said = question(module.state_dict(), "timm/test_vit")
    assert "pos_embed" in said
    assert "img_size" in said


@pytest.mark.slow
def test_refusals_name_the_options() -> None:
    module = vit(depth=3)
    with pytest.raises(
        CheckpointError, match=r"such as .*img_size.*depth.* \(architecture, options\)"
    ):
        opened(module.state_dict(), "timm/test_vit")
    with pytest.raises(SpecError, match="has 5 classes, but the options say 9"):
        opened(module.state_dict(), "timm/test_vit", depth=3, num_classes=9)
