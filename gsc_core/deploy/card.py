"""What a person and a program must know of an exported detector: `detector.json`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gsc_core.classifier import Preprocessing
from gsc_core.errors import SpecError

EXAMPLE = """\
import torch

detector = torch.export.load("detector.pt2").module()
# An image as red, green and blue from 0 to 255, uint8 [1, 3, height, width] of any size. A file's:
# torch.frombuffer(bytearray(f.tobytes()), dtype=torch.uint8).view(1, f.height, f.width, 3)
#     .permute(0, 3, 1, 2), with f = PIL.Image.open("photo.jpg").convert("RGB")
image = torch.randint(0, 256, (1, 3, 480, 640), dtype=torch.uint8)
logits, score, percentile, flagged = detector(image)
print("class", int(logits.argmax()), "flagged" if flagged else "accepted")
share = f"{float(percentile):.0f} of 100 familiar images"
print(f"scores at least as high as {share} ({float(score):.4g})")
"""
"""How to use the file, with torch alone."""

_LARGEST = 16 * 2**20  # bytes of a card: 100,000 class names and to spare

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=1000)]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Agreement(BaseModel):
    """How the written program was compared with the audit, image by image.

    against: `stored scores` of test images, or, where these are gone, the `reopened audit` on
    random pixels. A difference of up to `tolerance` is let pass. `decided_otherwise` counts the
    images that are flagged by one and not by the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    against: Literal["stored scores", "reopened audit"]
    pictures: Count
    largest_difference: Finite
    tolerance: Finite
    decided_otherwise: Count


class DetectorCard(BaseModel):
    """All about a `detector.pt2`.

    An image is flagged when its outlier score is above `threshold`; `calibration_flagged` of the
    `calibration` images, on which rule and percentiles rest, are; `in_sample` tells that the
    detector has learned from these very images, so that they promise nothing. `rule` is as
    `parse_rule` reads it. `preprocessing` is what the program does to an image by itself; for
    `detector.onnx`, resize and crop come first. `model_sha256` is of the audited classifier,
    `program_sha256` and `onnx_sha256` of the files beside the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gsc-detector"] = "gsc-detector"
    version: Literal[1] = 1
    detector: Text
    title: Text
    run: Text
    classes: tuple[Text, ...] | None
    threshold: Finite
    rule: Text
    calibration: Count
    calibration_flagged: Count
    in_sample: bool = False
    preprocessing: Preprocessing
    model_sha256: Digest
    program_sha256: Digest
    onnx_sha256: Digest | None = None
    agreement: Agreement
    versions: dict[Text, Text]
    made: datetime
    seed: int
    example: str = Field(default=EXAMPLE, max_length=10_000)


def read_card(path: Path) -> DetectorCard:
    """Read a `detector.json`. Raises SpecError when it is missing or no such card."""
    try:
        with path.open("rb") as file:
            return DetectorCard.model_validate_json(file.read(_LARGEST))
    except OSError as error:
        raise SpecError(
            f"{path.name} is missing: it belongs beside the detector, so copy both files."
        ) from error
    except ValidationError as error:
        raise SpecError(
            f"{path.name} is damaged or not a detector's card: export the detector again."
        ) from error
