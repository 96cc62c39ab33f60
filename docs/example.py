"""From an audit to a deployed detector, cell by cell: open it as a notebook, or run it.

It needs no files: the images are the road signs that the package draws, the model is the network
that it carries (`pip install 'gsc-audit[timm]'`). Everything is written into the folder where you
run it. Half a minute on two cores.
"""

# %% Images: what the classifier was made for, and what it was not
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from gsc_core import AuditSpec, DetectorSpec, ModelSpec, export_detector, load_detector, run_audit
from gsc_core.demo import DEMO_WEIGHTS, Sizes, render_demo
from gsc_core.evaluation.thresholds import Evidence, KeepId

signs = render_demo(Path("signs"), sizes=Sizes(calibration=160, id=160, ood=60))

# %% Audit: every image passes the network once, every detector scores it
spec = AuditSpec(
    model=ModelSpec(checkpoint=DEMO_WEIGHTS),
    id=signs["id"],
    calibration=signs["calibration"],
    ood={name: signs[name] for name in ("unseen-signs", "textures", "noise")},
    detectors=tuple(DetectorSpec(name=name) for name in ("gsc-auto", "energy", "knn")),
    repeats=100,
)
run = run_audit(spec, Path("result"))

# %% How well each detector separates the two, as means over the sets (FPR95: lower is better)
for name in run.ranked():
    fpr95 = run.row(name).metric("fpr95")
    print(f"{name}: FPR95 {fpr95.value:.3f} ({fpr95.low:.3f} to {fpr95.high:.3f})")

# %% The decision, named before any unfamiliar image was seen: 95 % of familiar images are accepted
scores = pd.read_parquet("result/scores.parquet")
decision = run.document.decision
assert decision is not None and decision.value is not None
detector, threshold = decision.detector, decision.value
calibration = scores.loc[scores["role"] == "calibration", detector].to_numpy()
assert threshold == KeepId(share=0.95).threshold(Evidence(calibration, {}))
flagged = scores[detector] > threshold
print(f"{detector} flags, at {threshold:.4g}:")
print(flagged.groupby(scores["set"]).mean().round(3).to_string())

# %% Deploy: preprocessing, network, detector and threshold as one file that needs torch alone
exported = export_detector(
    Path("result"), detector, threshold, "keep-id:0.95", Path("detector.pt2")
)
detect, card = load_detector(exported.program)

# %% One image
row = scores[scores["set"] == "noise"].iloc[0]
photo = Image.open(signs["noise"] / row["file"]).convert("RGB")
pixels = torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8)
image = pixels.view(1, photo.height, photo.width, 3).permute(0, 3, 1, 2)
logits, score, percentile, is_flagged = detect(image)
print(f"{row['file']}: score {float(score):.4g} (the audit: {row[detector]:.4g}),", end=" ")
print("flagged" if is_flagged else "accepted")
