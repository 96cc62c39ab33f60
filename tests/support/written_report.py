"""A report written by hand: every part is there, and nothing had to be audited for it."""

import base64
import io
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from gsc_core.report import model

CHANNELS = tuple(
    model.Channel(
        index=i,
        contribution=1.5 - i / 4,
        removed=1.2 - i / 4,
        usual=(-0.2, 0.4) if i else None,
    )
    for i in range(3)
)


def data_url(size: tuple[int, int] = (40, 30), colour: str = "teal", kind: str = "jpeg") -> str:
    """A small image."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind.upper())
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def counted(name: str, passed: int, tested: int = 100) -> model.Counted:
    share = passed / tested
    low, high = max(share - 0.05, 0), min(share + 0.05, 1)
    return model.Counted(
        name=name, tested=tested, passed=passed, share=share, low=low, high=high
    )  # fmt: skip


def figure(value: float) -> model.Figure:
    return model.Figure(value=value, low=max(value - 0.02, 0), high=min(value + 0.02, 1))


def bars(name: str, centre: float, bins: int = 60) -> model.Bars:
    heights = np.exp(-(((np.linspace(0, 1, bins) - centre) / 0.12) ** 2))
    return model.Bars(name=name, shares=tuple(heights / heights.sum()))


def roc_line(name: str, power: float) -> model.RocLine:
    x = np.linspace(0, 1, 60)
    points = tuple(zip(x.tolist(), (x**power).tolist(), strict=True))
    return model.RocLine(name=name, auroc=1 / (1 + power), points=points)


def refusing() -> model.Refusing:
    kept = np.linspace(0.05, 1, 40)
    risk = 0.12 * kept**2
    return model.Refusing(
        accuracy=0.88,
        accuracy_passing=0.8917,
        low=0.87,
        high=0.91,
        kept=0.95,
        area=0.04,
        points=tuple(zip(kept.tolist(), risk.tolist(), strict=True)),
    )


def confidence(class_name: str = "stop") -> model.Confidence:
    sure = np.linspace(0.3, 0.98, 6)
    return model.Confidence(
        sentences=("When it says 84 %, it is right 76 % of the time.", "It is too sure of itself."),
        class_sentences=("Of 3 classes, 1 is clearly worse than the others.",),
        confidence=0.7,
        accuracy=figure(0.63),
        error=figure(0.06),
        groups=tuple(
            model.ConfidenceGroup(
                images=20,
                right=round(18 * x),
                confidence=x,
                accuracy=round(18 * x) / 20,
                low=0.8 * x,
                high=min(1, 1.05 * x),
            )
            for x in sure.tolist()
        ),
        scaled=model.Scaled(
            temperature=1.4,
            fitted_on=500,
            tested=120,
            error_before=figure(0.06),
            error_after=figure(0.02),
            log_loss_before=0.7,
            log_loss_after=0.6,
        ),
        classes=(
            model.ClassAccuracy(
                name=class_name, images=20, right=9, low=0.26, high=0.66, worse=True
            ),
        ),
        classes_more=2,
        untested=4,
    )


def errors() -> model.Errors:
    x = np.linspace(0.1, 1, 30)
    ways = {
        name: tuple(zip(x.tolist(), (height * x**2).tolist(), strict=True))
        for name, height in (("by_confidence", 0.3), ("by_detector", 0.25), ("by_both", 0.2))
    }
    return model.Errors(
        sentences=("143 of 1,000 accepted images are answered wrongly.", "Both: 120.", "Halves."),
        prevalence=0.1,
        accepted=0.9,
        wrong=figure(0.143),
        mistakes=0.083,
        unfamiliar=0.06,
        **ways,
    )


def picture(
    file: str = "a.png", name: str = "noise", class_name: str = "stop", **changed: object
) -> model.Picture:
    explained = model.Explained(
        detector="gsc-auto",
        heat=data_url(kind="png"),
        no_heat=None,
        channels=CHANNELS,
        channels_cut=16,
        channel_count=320,
        share_cut=0.05,
        logit_before=9.5,
        logit_after=3.25,
        confidence_before=0.91,
        confidence_after=0.34,
    )
    plain = model.Picture(
        file=file,
        set=name,
        label=None,
        predicted=class_name,
        confidence=0.91,
        score=0.4,
        thumbnail=data_url(),
        explained=explained,
    )
    return plain.model_copy(update=changed)


def groups(pictures: int = 4, **about: object) -> tuple[model.PictureGroup, ...]:
    titles = (
        "Unfamiliar images that look most familiar",
        "Familiar images that look strangest",
        "Unfamiliar images that stand out most",
    )
    row = tuple(picture(**about) for _ in range(pictures))
    return tuple(model.PictureGroup(title=title, pictures=row) for title in titles)


GATE = model.Gate(
    outcome="fail",
    sentence="This model may not be released: 1 of 2 agreed limits is broken.",
    rules=(
        model.GateRule(
            title="Unfamiliar images of noise that are accepted",
            limit="at most 100 of 1,000",
            figure="310 of 1,000 (260 to 360)",
            outcome="fail",
            because="The whole interval lies above the limit.",
        ),
        model.GateRule(
            title="Right answers",
            limit="at least 80 %",
            figure="88 %",
            outcome="pass",
            because="The whole interval lies above the limit.",
        ),
    ),
)


def written_report(
    sets: tuple[str, ...] = ("noise", "textures"),
    classes: tuple[str, ...] = ("stop", "yield"),
    detectors: tuple[str, ...] = ("energy", "gsc-auto"),
    file: str = "a.png",
    **changed: object,
) -> model.Report:
    """A report over these names; `changed` are fields of it."""
    drawn = sets[:12]
    first = classes[0] if classes else "0"
    decision = model.Decided(
        detector=detectors[0],
        title="Energy",
        about="It adds up how loudly all classes answer.",
        rule="accept 95 % of familiar images",
        value=0.47,
        chosen=None,
        halved=False,
        calibration=500,
        familiar=counted("Familiar images", 95),
        strangers=tuple(counted(name, 30 + i % 40) for i, name in enumerate(sets)),
        strangers_share=0.305,
        sentences=(
            "Of 1,000 familiar images, 950 are accepted (95 % interval 900 to 1,000) "
            "and 50 are flagged.",
            "Of 1,000 unfamiliar images, 305 would be accepted.",
            "The 500 calibration images promise that at least 950 of 1,000 are accepted.",
        ),
        warning=None,
    )
    report = model.Report(
        run="demo",
        title="Road signs",
        subject="Road signs: a network with 12 classes",
        made=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        verdict="305 of 1,000 unfamiliar images would be accepted unnoticed.",
        limits=("Only 2 kinds of unfamiliar images were tried.", "The smallest set has 40 images."),
        gate=GATE,
        decision=decision,
        by_set=tuple(
            model.SetFigures(name=name, fpr95=figure(0.3), auroc=figure(0.9)) for name in sets
        ),
        classes=tuple(
            model.ClassRow(name=name, familiar=counted(name, 95), strangers=None)
            for name in classes
        ),
        refusing=refusing(),
        confidence=confidence(first),
        errors=errors(),
        accuracy=0.88,
        accuracy_after={"gsc": 0.87},
        detectors=tuple(
            model.DetectorRow(
                name=name,
                title=name.title(),
                fpr95=figure(0.3),
                auroc=figure(0.9),
                notes=("turned",),
            )
            for name in detectors
        ),
        own_choices=("gsc-auto cut 5 % of the channels.",),
        excused={"she": "It needs 10 images of each class."},
        histogram=model.Histogram(
            low=-1.0,
            high=2.0,
            familiar=bars("Familiar images", 0.35),
            strangers=tuple(bars(name, 0.6) for name in drawn),
        ),
        roc=tuple(roc_line(name, 0.2) for name in drawn),
        pictures=groups(file=file, name=sets[0], class_name=first),
        images_left_out=False,
        sets=tuple(
            model.SetTested(
                name=name, role="strangers", scored=100, broken=1, duplicates=0, sha256="0f" * 32
            )
            for name in sets
        ),
        settings={"seed": 0, "class_names": list(classes)},
        provenance={"model_sha256": "ab" * 32, "finished": "2026-01-02", "seconds": 75.0},
        glossary=(model.Term(word="Unfamiliar image (OOD)", meaning="An image of another kind."),),
    )  # fmt: skip
    return report.model_copy(update=changed)
