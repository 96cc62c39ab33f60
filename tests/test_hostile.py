"""Files made to harm, by kind: each is refused in one sentence, and nothing else happens.

`docs/security.md` lists the threats. What is seen here: no other error than a GscError, a sentence
that says what is wrong, nothing written beside the file, and no code of the file run.
"""

import functools
import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_programs as programs
import numpy as np
import pytest
import safetensors.torch
import torch
from hostile_archives import (
    DEVICE,
    LINK,
    PIPE,
    PNG,
    bomb,
    changed_byte,
    lying_size,
    named_twice,
    of_kind,
    renamed,
    with_flags,
    zipped,
)
from PIL import Image

from gsc_core.audit.tuning_file import read_tuned
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import load_classifier
from gsc_core.classifier.metadata import read_class_names
from gsc_core.deploy.card import read_card
from gsc_core.deploy.loading import load_detector
from gsc_core.deploy.watch_state import read_state
from gsc_core.errors import GscError
from gsc_core.images.archive import Limits, unpack
from gsc_core.images.decode import decode
from gsc_core.images.label_table import read_table
from gsc_core.release.policy import read_policy
from gsc_core.run.stored import Run
from gsc_core.scoring.decoder import prepared

pytestmark = pytest.mark.slow

SMALL = Limits(members=50, total_bytes=10_000_000)
BATCH = "Symbol('s0', positive=True, integer=True)"
ROWS = ("a/1.png", "a/2.png", "b/1.png")
RULE = '[[rule]]\nmetric = "fpr95"\ndetector = "gsc"\nat_most = 0.2\n'


def refused(read: Callable[[], object], folder: Path, said: str) -> None:
    """The reader raises one sentence that says this, and the folder is as it was."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(GscError) as error:
        read()
    sentence = str(error.value)
    assert said in sentence
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    assert len(sentence) < 700
    assert sorted(folder.rglob("*")) == before


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "up and out": (lambda: zipped({"../x.png": PNG}), "lead outside"),
    "up in the middle": (lambda: zipped({"a/../../x.png": PNG}), "lead outside"),
    "from the root": (lambda: zipped({"/x.png": PNG}), "lead outside"),
    "a drive": (lambda: zipped({"C:/x.png": PNG}), "lead outside"),
    "backslashes": (lambda: renamed(b"..\\"), "lead outside"),
    "a NUL in a name": (lambda: renamed(b"a\0b"), "lead outside"),
    "no name": (lambda: renamed(b"\0"), "without a name"),
    "a folder that leads out": (lambda: zipped({"../": b"", "a.png": PNG}), "lead outside"),
    "a hidden file that leads out": (lambda: zipped({"../.x": b"", "a.png": PNG}), "lead outside"),
    "a link": (lambda: of_kind(LINK), "a link or device"),
    "a device": (lambda: of_kind(DEVICE), "a link or device"),
    "a pipe": (lambda: of_kind(PIPE), "a link or device"),
    "encrypted": (lambda: with_flags(1), "is encrypted"),
    "bzip2": (lambda: zipped({"a.png": PNG}, zipfile.ZIP_BZIP2), "packed in an unusual way"),
    "lzma": (lambda: zipped({"a.png": PNG}, zipfile.ZIP_LZMA), "packed in an unusual way"),
    "a name twice": (lambda: named_twice("a.png", "a.png"), "a name twice"),
    "a name twice, written otherwise": (lambda: named_twice("a/b.png", "a//b.png"), "a name twice"),
    "a file that is a folder": (lambda: named_twice("a.png", "a.png/b.png"), "a name twice"),
    "a bomb": (bomb, "unpacks to more than 200 times its size"),
    "too much": (lambda: zipped({"a.bmp": bytes(11_000_000)}), "more than is allowed"),
    "too many": (lambda: zipped({f"{i}.png": b"" for i in range(51)}), "more than 50 files"),
    "a size that lies, more": (lambda: lying_size(9_000_000), "unpacks to more than 200 times"),
    "a size that lies, less": (lambda: lying_size(3), "damaged"),
    "a byte changed": (changed_byte, "damaged"),
    "cut off": (lambda: zipped({"a.png": PNG})[:-30], "not a ZIP archive"),
    "text": (lambda: b"hello", "not a ZIP archive"),
    "empty": (lambda: b"", "not a ZIP archive"),
    "a directory of nothing": (lambda: b"PK\x05\x06" + b"\xff" * 18, "ZIP"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives(case, tmp_path):
    make, said = ARCHIVES[case]
    (tmp_path / "x.zip").write_bytes(make())
    refused(lambda: unpack(tmp_path / "x.zip", tmp_path / "into", SMALL), tmp_path, said)


@pytest.mark.parametrize(
    "names",
    [("A.png", "a.png"), ("CON.png", "nul.jpg"), ("a.png ", "a.png"), ("é.png", "é.png")],
    ids=["case", "device names", "a blank", "composed and not"],
)
def test_names_that_only_another_system_confuses_stay_apart(names, tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(dict.fromkeys(names, PNG)))
    unpack(tmp_path / "x.zip", tmp_path / "into")
    unpacked = {path.name for path in (tmp_path / "into").iterdir()}
    assert unpacked == {name for name in names if name.endswith(".png") or name.endswith(".jpg")}


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_of(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that declares a size and holds one row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = zlib.compress(bytes(1 + min(width, 1000)))[:-6]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def thin() -> bytes:
    return saved(Image.new("L", (1_000_000, 8)), "PNG")


IMAGES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty": ("x.png", lambda: b"", "is empty"),
    "text": ("x.png", lambda: b"no image", "is not an image"),
    "ten gigapixels": ("x.png", lambda: png_of(100_000, 100_000), "far too many"),
    "ninety megapixels": ("x.png", lambda: png_of(9_500, 9_500), "more than 80 million"),
    "a size that overflows": ("x.png", lambda: png_of(2**31 - 1, 2**31 - 1), "far too many"),
    "no width": ("x.png", lambda: png_of(0, 50), "x.png"),
    "one line": ("x.png", lambda: png_of(5000, 1), "each side needs at least 8"),
    "less than declared": ("x.png", lambda: png_of(500, 500), "damaged or cut off"),
    "an unknown depth": ("x.png", lambda: png_of(50, 50, 7), "x.png is"),
    "cut off": ("x.png", lambda: PNG[:-30], "damaged or cut off"),
    "a wrong checksum": ("x.png", lambda: PNG[:40] + b"\xff" + PNG[41:], "x.png is"),
    "thin": ("x.png", thin, "so thin that resizing"),
    "a JPEG cut off": ("x.jpg", lambda: saved(Image.new("RGB", (90, 90)), "JPEG")[:200], "damaged"),
    "a JPEG of headers": ("x.jpg", lambda: b"\xff\xd8\xff\xe0" * 500, "x.jpg"),
    "a BMP of negative size": (
        "x.bmp",
        lambda: b"BM" + bytes(8) + struct.pack("<IIiiHHIIIIII", 54, 40, -9, -9, 1, 24, *[0] * 6),
        "x.bmp",
    ),
    "values that are no numbers": (
        "x.tif",
        lambda: saved(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        "not finite numbers",
    ),
    "a TIFF that leads back to itself": (
        "x.tif",
        lambda: b"II*\0\x08\0\0\0\x01\0\x00\x01\x03\0\x01\0\0\0\x09\0\0\0\x08\0\0\0",
        "x.tif is",
    ),
    "PostScript": ("x.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not an image"),
    "SVG": ("x.png", lambda: b'<svg onload="alert(1)"/>', "is not an image"),
    "HEIC cut off": ("x.heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0", "x.heic"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images(case, tmp_path):
    name, make, said = IMAGES[case]
    (tmp_path / name).write_bytes(make())
    refused(lambda: prepared(Preprocessing(), tmp_path / name), tmp_path, said)


def test_a_pipe_called_an_image_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    refused(lambda: decode(tmp_path / "x.png"), tmp_path, "is not a file")


@functools.cache
def honest() -> programs.Members:
    with tempfile.TemporaryDirectory() as folder:
        return programs.read(programs.save(programs.Small(), Path(folder) / "a.pt2", size=32))


def graph(change: Callable[[Any], None]) -> programs.Members:
    members = dict(honest())
    programs.edit(members, programs.MODEL, change)
    return members


def called(name: str) -> programs.Members:
    """The program whose input has another name."""
    members = dict(honest())
    members[programs.MODEL] = members[programs.MODEL].replace(
        b'"images"', json.dumps(name).encode()
    )
    return members


def sized(expression: str) -> programs.Members:
    """The program whose batch is this expression."""
    members = dict(honest())
    text = members[programs.MODEL].decode()
    start = text.index("Symbol('s")
    symbol = text[start : text.index('"', start)]
    number = symbol[len("Symbol('s") : symbol.index("',")]
    wanted = expression.replace("s0", f"s{number}")
    members[programs.MODEL] = text.replace(symbol, wanted).encode()
    return members


def with_sizes(number: int, field: str) -> programs.Members:
    def change(content: Any) -> None:
        for tensor in content["graph_module"]["graph"]["tensor_values"].values():
            for size in tensor[field]:
                size.clear()
                size["as_int"] = number

    return graph(change)


def with_payload(field: str, number: int) -> programs.Members:
    members = dict(honest())

    def change(content: Any) -> None:
        for payload in content["config"].values():
            meta = payload["tensor_meta"]
            for size in meta[field] if isinstance(meta[field], list) else [meta[field]]:
                size["as_int"] = number

    programs.edit(members, programs.WEIGHTS, change)
    return members


def with_argument(target: str, at: int, argument: dict[str, Any]) -> programs.Members:
    def change(content: Any) -> None:
        nodes = content["graph_module"]["graph"]["nodes"]
        (node,) = (node for node in nodes if target in node["target"])
        node["inputs"][at]["arg"] = argument

    return graph(change)


def calling(operator: str) -> programs.Members:
    def change(content: Any) -> None:
        content["graph_module"]["graph"]["nodes"][0]["target"] = operator

    return graph(change)


def sum_of(count: int) -> str:
    return f"Add({', '.join(f'Integer({i})' for i in range(count))})"


SUMS = ",".join(f"Add({BATCH}, Integer({i}))" for i in range(1, 8))
PROGRAMS: dict[str, tuple[Callable[[], programs.Members], str]] = {
    **{
        f"an input called {name}": (functools.partial(called, name), "cannot be run")
        for name in ("import", "None", "class", "lambda", "self", "torch")
    },
    "an input that is code": (lambda: called("x=print()"), "was not opened"),
    "an input without a name": (lambda: called(""), "was not opened"),
    "a product of sums": (lambda: sized(f"Mul({SUMS})"), "the expression"),
    "a maximum of sums": (lambda: sized(f"Max({SUMS})"), "the expression"),
    "maxima in each other": (lambda: sized("Max(Integer(1), " * 9 + BATCH + ")" * 9), "the expr"),
    "quotients in each other": (
        lambda: sized("FloorDiv(" * 50 + BATCH + ", Integer(2))" * 50),
        "the expr",
    ),
    "a symbol times itself": (lambda: sized(f"Mul({BATCH}, {BATCH})"), "the expression"),
    "many summands": (lambda: sized(sum_of(60)), "the expression"),
    "powers": (lambda: sized("Pow(Integer(9), Integer(999999999))"), "the expression"),
    "code as a size": (lambda: sized("__import__('os').getpid()"), "the expression"),
    "sizes that overflow": (lambda: with_sizes(2**62, "sizes"), "cannot read it"),
    "sizes below zero": (lambda: with_sizes(-5, "sizes"), "cannot read it"),
    "weights with strides that overflow": (lambda: with_payload("strides", 2**62), "cannot read"),
    "weights behind their end": (lambda: with_payload("storage_offset", 2**40), "cannot read it"),
    "weights larger than the file": (lambda: with_payload("sizes", 2**20), "lacks the values"),
    "weights below zero": (lambda: with_payload("sizes", -1), "not a plain number"),
    "a mean of no such dimension": (
        lambda: with_argument("mean", 1, {"as_ints": [7, 9]}),
        "hostile.pt2",
    ),
    "an operator that opens files": (
        lambda: calling("torch.ops.aten.from_file.default"),
        "not an operator",
    ),
    "an operator of Python": (lambda: calling("builtins.eval"), "not an operator"),
    "an attribute walk": (lambda: calling("torch.ops.aten.add.__class__"), "not an operator"),
    "no graph": (lambda: dict(honest()) | {programs.MODEL: b"{}"}, "was not opened"),
    "deep JSON": (lambda: dict(honest()) | {programs.MODEL: b"[" * 10**5}, "was not opened"),
    "a library": (lambda: dict(honest()) | {"data/aotinductor/x.so": b"x"}, "was not opened"),
    "a second model": (lambda: dict(honest()) | {"models/other.json": b"{}"}, "was not opened"),
    "nothing": (lambda: {"archive_format": b"pt2"}, "was not opened"),
}


def opened(path: Path) -> object:
    return load_classifier(ModelSpec(checkpoint=path, preprocessing=Preprocessing(crop=(32, 32))))


@pytest.mark.parametrize("case", PROGRAMS)
def test_programs(case, tmp_path, capfd):
    make, said = PROGRAMS[case]
    path = programs.write(tmp_path / "hostile.pt2", make())
    refused(lambda: opened(path), tmp_path, said)
    assert "Traceback" not in capfd.readouterr().err, "torch has printed its own"


@pytest.mark.parametrize("attack", programs.ATTACKS, ids=lambda attack: attack.__name__)
def test_programs_that_carry_code_do_not_run_it(attack, tmp_path):
    members, marker = dict(honest()), tmp_path / "ran"
    attack(members, marker)
    path = programs.write(tmp_path / "hostile.pt2", members)
    if attack.__name__ in programs.DROPPED:
        opened(path)
    else:
        refused(lambda: opened(path), tmp_path, "was not opened")
    assert not marker.exists()


class Runs:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it ran",)


def torch_saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tensors(options: object = None, architecture: str = "torchvision/resnet18") -> bytes:
    """A safetensors file whose own text asks for an architecture with options."""
    told = {"architecture": architecture}
    if options is not None:
        told["options"] = options if isinstance(options, str) else json.dumps(options)
    return safetensors.torch.save({"fc.weight": torch.ones(3, 512)}, told)


WEIGHTS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "code in a state dict": ("x.pt", lambda: torch_saved({"a": Runs()}), "could run code"),
    "code in a plain pickle": ("x.pt", lambda: pickle.dumps(Runs()), "could run code"),
    "code in an old state dict": (
        "x.pt",
        lambda: torch_saved({"a": Runs()}, _use_new_zipfile_serialization=False),
        "could run code",
    ),
    "a whole module": ("x.pt", lambda: torch_saved(torch.nn.Linear(2, 3)), "could run code"),
    "cut off": ("x.pt", lambda: torch_saved({"a": torch.ones(99)})[:-99], "damaged"),
    "not finite": (
        "x.pt",
        lambda: torch_saved({"fc.weight": torch.full((3, 512), torch.nan)}),
        "x.pt",
    ),
    "text": ("x.pt", lambda: b"weights", "not a model file"),
    "empty": ("x.pt", lambda: b"", "is empty"),
    "a ZIP of something else": ("x.pt", lambda: zipped({"x/a.txt": b"x"}), "no PyTorch weights"),
    "a bomb": ("x.pt", lambda: zipped({"x/data.pkl": bytes(9**7)}, 8), "would unpack to"),
    "TorchScript": (
        "x.pt",
        lambda: zipped({"x/code/a.py": b"", "x/constants.pkl": b""}),
        "TorchScript",
    ),
    "a header longer than the file": (
        "x.safetensors",
        lambda: struct.pack("<Q", 2**60) + b"{}",
        "damaged",
    ),
    "a header that is no JSON": (
        "x.safetensors",
        lambda: struct.pack("<Q", 4) + b"{{{{",
        "damaged",
    ),
    "tensors that overlap": (
        "x.safetensors",
        lambda: (
            struct.pack("<Q", 64)
            + b'{"a":{"dtype":"F32","shape":[9999],"data_offsets":[0,4]}}'.ljust(64)
            + bytes(4)
        ),
        "damaged",
    ),
    "options that are no table": ("x.safetensors", lambda: tensors("[1]"), "cannot be read"),
    "options within options": ("x.safetensors", lambda: tensors({"a": {"b": 1}}), "cannot be read"),
    "a billion classes": ("x.safetensors", lambda: tensors({"num_classes": 10**9}), "far larger"),
    "giant groups": (
        "x.safetensors",
        lambda: tensors({"width_per_group": 10**6}, "torchvision/resnet50"),
        "far larger",
    ),
    "a hundred thousand layers": (
        "x.safetensors",
        lambda: tensors({"depths": [10**5] * 4}, "timm/convnext_tiny"),
        "far larger",
    ),
    "images of ten million pixels a side": (
        "x.safetensors",
        lambda: tensors({"img_size": 10**7}, "timm/vit_tiny_patch16_224"),
        "far larger",
    ),
    "classes below zero": (
        "x.safetensors",
        lambda: tensors({"num_classes": -5}),
        "cannot be built",
    ),
    "an option that fetches": (
        "x.safetensors",
        lambda: tensors({"weights": "DEFAULT"}),
        "cannot be set",
    ),
    "an option that opens a file": (
        "x.safetensors",
        lambda: tensors({"checkpoint_path": "/etc/passwd"}, "timm/vit_tiny_patch16_224"),
        "cannot be set",
    ),
    "an architecture that is a path": (
        "x.safetensors",
        lambda: tensors(None, "../../etc/passwd"),
        "no architecture",
    ),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case, tmp_path, capfd):
    name, make, said = WEIGHTS[case]
    (tmp_path / name).write_bytes(make())
    spec = ModelSpec(
        checkpoint=tmp_path / name,
        architecture=None if name.endswith("safetensors") else "torchvision/resnet18",
    )
    refused(lambda: load_classifier(spec), tmp_path, said)
    assert "it ran" not in capfd.readouterr().out


def test_a_header_of_any_length_is_no_pickle(tmp_path):
    """Of one in 32 honest files the first byte is that of a pickle."""
    for blanks in range(256):
        header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + b" " * blanks
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        with pytest.raises(GscError, match="holds only weights"):
            load_classifier(ModelSpec(checkpoint=tmp_path / "x.safetensors"))


def in_file(read: Callable[[Path], object], name: str) -> Callable[[Path, bytes], object]:
    def written(folder: Path, content: bytes) -> object:
        (folder / name).write_bytes(content)
        return read(folder / name)

    return written


def run_of(path: Path) -> object:
    return Run.load(path.parent)


def detector_of(path: Path) -> object:
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    return load_detector(path)


DEEP = b"[" * 200_000
TABLE = in_file(lambda path: read_table(path, ROWS), "x.csv")
NAMES = in_file(read_class_names, "x.txt")
JSON_NAMES = in_file(read_class_names, "x.json")
TUNED = in_file(read_tuned, "x.json")
CARD = in_file(read_card, "x.json")
STATE = in_file(lambda path: read_state(path, "a" * 64, 0.05), "x.json")
RUN = in_file(run_of, "metrics.json")
POLICY = in_file(lambda path: read_policy(path.read_bytes()), "policy.toml")
DOCUMENTS: dict[str, tuple[Callable[[Path, bytes], object], bytes, str]] = {
    "a table of nothing": (TABLE, b"", "no columns called file and label"),
    "a table that is binary": (TABLE, bytes(range(256)), "not a CSV table"),
    "a table of other images": (TABLE, b"file,label\nz.png,cat\n", "names none of these images"),
    "a table with a NUL": (TABLE, b"file,label\n\0,cat\n", "x.csv"),
    "a table of one giant cell": (TABLE, b"file,label\n" + b"x" * 200_000, "x.csv"),
    "a table that leads out": (TABLE, b"file,label\n../../etc/passwd,cat\n", "names none"),
    "an image with two labels": (
        TABLE,
        b"file,label\na/1.png,cat\na/1.png,dog\n",
        "x.csv",
    ),
    "names with a gap": (NAMES, b"cat\n\ndog", "without gaps"),
    "names that are no text": (NAMES, b"\xff\xfe\xfa", "not UTF-8"),
    "deep JSON of names": (JSON_NAMES, DEEP, "not valid JSON"),
    "names numbered wrongly": (JSON_NAMES, b'{"0": "a", "7": "b"}', "without gaps"),
    "a policy of nothing": (POLICY, b"", "no rules"),
    "a policy that is no text": (POLICY, b"\xff\xfe", "not text in UTF-8"),
    "a policy that is no TOML": (POLICY, b"[[rule", "not TOML"),
    "a deep policy": (POLICY, b"a=" + b"[" * 50_000, "policy"),
    "a giant policy": (POLICY, b"#" * 2_000_000, "at most"),
    "a policy of many rules": (POLICY, RULE.encode() * 1001, "rules"),
    "a policy with a limit that is no number": (
        POLICY,
        RULE.replace("0.2", "nan").encode(),
        "Rule 1",
    ),
    "a policy with an unknown metric": (POLICY, RULE.replace("fpr95", "x").encode(), "Rule 1"),
    "a policy with an unknown key": (POLICY, RULE.replace("at_most", "evil").encode(), "Rule 1"),
    "a tuning file of nothing": (TUNED, b"", "not written by gsc tune"),
    "a deep tuning file": (TUNED, DEEP, "not written by gsc tune"),
    "a tuning file of later": (
        TUNED,
        b'{"format": "gsc-audit-tuning", "version": 99}',
        "newer version",
    ),
    "a tuning file of half": (TUNED, b'{"format": "gsc-audit-tuning", "version": 1}', "damaged"),
    "a card of nothing": (CARD, b"", "not a detector's card"),
    "a deep card": (CARD, DEEP, "not a detector's card"),
    "a detector with another's card": (
        in_file(detector_of, "x.pt2"),
        b"PK\x03\x04",
        "not a detector's card",
    ),
    "a watch state of nothing": (STATE, b"", "not the state of a watch"),
    "a deep watch state": (STATE, DEEP, "not the state of a watch"),
    "a watch state that counts wrongly": (
        STATE,
        json.dumps(
            {"format": "gsc-watch", "program_sha256": "a" * 64, "alpha": 0.05, "flagged": 9}
        ).encode(),
        "not the state of a watch",
    ),
    "a watch state of another detector": (
        STATE,
        json.dumps({"program_sha256": "b" * 64, "alpha": 0.05}).encode(),
        "another detector",
    ),
    "a run of nothing": (RUN, b"", "is damaged"),
    "a deep run": (RUN, DEEP, "is damaged"),
    "a run of later": (RUN, b'{"format": "gsc-audit-run", "version": 99}', "later version"),
    "a run without results": (RUN, b'{"format": "gsc-audit-run", "version": 1}', "is damaged"),
    "a run that is a list": (RUN, b"[1, 2]", "is damaged"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_documents(case, tmp_path):
    read, content, said = DOCUMENTS[case]
    with pytest.raises(GscError) as error:
        read(tmp_path, content)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith((".", "?"))


def test_there_are_many():
    every = (ARCHIVES, IMAGES, PROGRAMS, programs.ATTACKS, WEIGHTS, DOCUMENTS)
    assert sum(map(len, every)) >= 130
