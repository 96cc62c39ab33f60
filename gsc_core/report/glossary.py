"""The words of a report, explained to a reader without training."""

from gsc_core.report.model import Term

GLOSSARY = tuple(
    Term(word=word, meaning=meaning)
    for word, meaning in (
        ("Familiar image (ID)", "An image of the kind the classifier was made for."),
        (
            "Unfamiliar image (OOD)",
            "An image of another kind, which the classifier cannot classify correctly.",
        ),
        (
            "Outlier score",
            "A detector's number for an image; the higher, the less familiar it looks.",
        ),
        ("Detector", "A rule that computes the outlier score from what the network does."),
        (
            "Threshold",
            "The outlier score up to which an image is accepted; an image above it is flagged.",
        ),
        (
            "Calibration images",
            "Familiar images set aside to fit the detectors and set the threshold.",
        ),
        (
            "Surrogate image",
            "A calibration image enlarged, shuffled, scrambled or blended with another, to stand "
            "for an unfamiliar image while detectors are fitted.",
        ),
        (
            "FPR95",
            "Share of unfamiliar images that are accepted when 95 % of the familiar images are; 0 "
            "is best.",
        ),
        (
            "AUROC",
            "How often an unfamiliar image scores higher than a familiar image; 50 % is a coin "
            "toss.",
        ),
        (
            "ROC curve",
            "What every possible threshold would do: the share of familiar images accepted "
            "against the share of unfamiliar images accepted.",
        ),
        (
            "95 % interval",
            "A range made so that 95 of 100 such ranges contain the true value, for images of the "
            "same kinds.",
        ),
        (
            "Confidence",
            "How sure the classifier says it is of its class, from 0 to 100 % (softmax).",
        ),
        (
            "Calibration error",
            "How far the confidence lies from the share that is right, on average over groups of "
            "images of about the same confidence (expected calibration error, ECE); 0 is best.",
        ),
        (
            "Log loss",
            "How little the classifier trusts the class that is right, on average: 0 where it is "
            "sure of it for every image, more the surer it is of others.",
        ),
        (
            "Temperature",
            "A number that the points of all classes are divided by, which changes how sure the "
            "classifier says it is, but not what it answers.",
        ),
        (
            "Channel",
            "One of the features that a layer of the network looks for, such as an edge or a "
            "pattern.",
        ),
        (
            "Points of an answer (logit)",
            "What the network adds up for a class; the class with the most points is the answer.",
        ),
        (
            "Short-circuit",
            "Cutting the channels that an answer relies on, to see what is left of it.",
        ),
        ("GSC", "Gradient Short-Circuit: how the answer changes when its main channels are cut."),
        ("SHA-256", "A fingerprint of a file's content: the same fingerprint, the same file."),
    )
)
