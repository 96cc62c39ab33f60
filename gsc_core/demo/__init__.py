"""The embedded default: rendered road signs and a small network that was trained on them."""

from pathlib import Path

from gsc_core.demo.render import OOD_SETS, Sizes, render_demo
from gsc_core.demo.signs import CLASS_NAMES

DEMO_WEIGHTS = Path(__file__).with_name("weights.safetensors")

__all__ = ["CLASS_NAMES", "DEMO_WEIGHTS", "OOD_SETS", "Sizes", "render_demo"]
