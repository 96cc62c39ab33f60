"""An image classifier of the transformers library, from a folder's configuration and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gsc_core.classifier.guard import first_line
from gsc_core.classifier.huggingface.configuration import CONFIG, Configuration
from gsc_core.classifier.weights.weight_names import Table, listed
from gsc_core.errors import CheckpointError
from gsc_core.extras import require

_SUFFIX = "ForImageClassification"
# What would fetch code or weights from elsewhere: an attention "owner/name" is a kernel of a hub.
_REACHING_OUT = ("implementation", "implementation_internal", "auto_map", "quantization_config")


class Logits(nn.Module):
    """A transformers classifier as images `[B,3,H,W]` to logits `[B,K]`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The logits of a batch of images."""
        logits: Tensor = self.model(pixel_values=images, return_dict=True).logits
        return logits


def transformers_network(folder: Path, configuration: Configuration, weights: Table) -> Logits:
    """The network, built by transformers' own code and no other, with these weights.

    Raises:
        MissingExtra: transformers is not installed.
        CheckpointError: it is not an image classifier, needs the folder's own code, or its weights
            do not fit.
    """
    require("transformers")
    model_class, config = _class_and_config(folder, configuration)
    try:
        model, report = model_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(weights),
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except Exception as error:  # hundreds of models, and each fails in its own way
        reason = first_line(error)[:200]
        raise CheckpointError(
            f"transformers cannot build {folder.name} ({reason}): export it whole, as .pt2."
        ) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, report.get(problem) or ())):
            raise CheckpointError(
                f"The weights in {folder.name} do not fit {model_class.__name__} "
                f"({problem.replace('_keys', '')}: {listed(names)}): save the model again with "
                "save_pretrained."
            )
    return Logits(model.eval())


def _class_and_config(folder: Path, configuration: Configuration) -> tuple[Any, Any]:
    """transformers' class for the folder, and its configuration."""
    from transformers import (  # noqa: PLC0415 - seconds
        CONFIG_MAPPING,
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    )

    named = (configuration.architectures or [""])[0]
    if configuration.model_type not in CONFIG_MAPPING:
        own = ", and its own code is never run" if configuration.auto_map else ""
        raise CheckpointError(
            f"{folder.name} is not a model that transformers has "
            f"({configuration.model_type}){own}: export it whole, as .pt2."
        )
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config = CONFIG_MAPPING[configuration.model_type].from_dict(_harmless(content))
    classes = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(config), ())
    for candidate in classes if isinstance(classes, tuple | list) else (classes,):
        if candidate.__name__ == named:
            return candidate, config
    raise CheckpointError(
        f"{folder.name} is {named or 'an unnamed model'} and not an image classifier "
        f"(…{_SUFFIX}): an audit needs one that was fine-tuned on classes."
    )


def _harmless(content: Any) -> Any:
    """The configuration, and those inside it, without what would reach beyond the folder."""
    if isinstance(content, dict):
        return {
            key: _harmless(value)
            for key, value in content.items()
            if not key.endswith(_REACHING_OUT) and key != "use_pretrained_backbone"
        }
    return [_harmless(value) for value in content] if isinstance(content, list) else content
