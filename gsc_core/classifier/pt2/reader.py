"""The static gate for `.pt2` files: read without torch, rewrite what is known, let torch read that.

`torch.export.load` runs code from the file it reads. Nothing in the user's
file is therefore given to torch: the archive is read with `zipfile` and `json`, each part is
checked against an allow-list, and a new archive is written in memory from what passed.

Covered, each where torch 2.15 (`torch/_export/serde/serialize.py`,
`torch/export/pt2_archive/_package.py`, `torch/utils/_pytree.py`) would run or import something:

- `data/sample_inputs/*.pt`: unpickled with `weights_only=False` as a fallback. Never copied; an
  empty record takes its place, which torch reads as "no sample inputs".
- weights or constants marked `use_pickle`, `custom_obj_*`, `opaque_obj_*`, and the older
  `data/weights/model.pt`, `data/constants/model.pt`: unpickled. Refused.
- `expr_str` and symbolic hints: evaluated by sympy. Strict grammar, integers only.
- names of inputs, nodes and arguments: pasted into the source of a function that is executed.
  Plain identifiers only; dotted layer names of letters, digits, `_` and `-`.
- `guards_code`: compiled and executed. Left out.
- `in_spec`, `out_spec`: pytree descriptions whose contexts import modules by name. Compared, or
  written again.
- operators: found by attribute walks from `torch`, `math` and `operator`. Allow-list by name.
- sub-graphs: only those under `no_grad` or autocast, each checked as the graph is.
- other higher-order operators, custom objects, tokens, named-tuple tables, `custom` and
  `source_fn_stack` metadata, stack traces: refused or left out.
- `data/aotinductor/**` (shared libraries), ExecuTorch programs, further models: refused.
- `extra/*`: text that torch only returns. Not copied.
- the archive before torch 2.8 (`serialized_*.pt`), which torch falls back to: refused, with what
  writes it again.
- two readers that see two archives in one file (duplicate, compressed, overlapping or encrypted
  members): refused, and torch only sees the archive written here.
- sizes: a weight is at most as large as its bytes, on the CPU, strided.
"""

from __future__ import annotations

import io
import json
import operator
import re
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import GraphModule

from gsc_core.classifier.pt2.graph_schema import Payloads, Program
from gsc_core.classifier.pt2.operators import CLASSIFIER, Contents
from gsc_core.errors import CheckpointError
from gsc_core.files import DAMAGED_ZIP

RECIPE = (
    "torch.export.export(model.eval(), (torch.randn(2, 3, 224, 224),), "
    'dynamic_shapes=({0: torch.export.Dim("batch")},)) and torch.export.save'
)

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLES = "data/sample_inputs/model.pt"
_MEMBER = re.compile(
    r"models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|data/weights/(weight_[0-9]{1,6}|model_weights_config\.json)"
    r"|data/constants/(tensor_[0-9]{1,6}|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.{1,200}"
)
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2}
_MODULES = {"_operator": operator, "torch": torch}
_MAX_JSON = 64 * 2**20

_M = TypeVar("_M", bound=BaseModel)


def inspect(path: Path) -> None:
    """Check a `.pt2` file without torch.

    Raises:
        CheckpointError: the file holds something that an exported image classifier does not need.
    """
    checked_copy(path)


def open_program(path: Path, contents: Contents = CLASSIFIER) -> ExportedProgram:
    """Open a `.pt2` file of a kind of program through the gate.

    Only a copy made of the checked parts is given to `torch.export.load`.

    Raises:
        CheckpointError: the file does not pass the gate, or torch cannot read what passed.
    """
    clean = checked_copy(path, contents)
    try:
        program = torch.export.load(clean)
    except Exception as error:  # a stranger's graph can make torch fail in any way
        raise CheckpointError(
            f"{path.name} passed the safety check, but torch {torch.__version__} cannot read it: "
            f"export it again with this version of torch."
        ) from error
    functions = {operator.getitem, *map(_function, contents.arithmetic | contents.regions)}
    for graph in (m.graph for m in program.graph_module.modules() if isinstance(m, GraphModule)):
        for node in graph.nodes:
            allowed = isinstance(node.target, OpOverload) or node.target in functions
            if node.op == "call_function" and not allowed:
                raise _refused(path, f"calls {str(node.target)[:80]!r}, which is not an operator")
    return program


def _function(name: str) -> Any:
    module, _, function = name.partition(".")
    return operator.attrgetter(function)(_MODULES[module])


def checked_copy(path: Path, contents: Contents = CLASSIFIER) -> io.BytesIO:
    """The archive again, from checked parts alone; raises CheckpointError as `open_program`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            program = _read(archive, members, _MODEL, Program, path, contents)
            weights = _read(archive, members, _WEIGHTS, Payloads, path, contents)
            constants = _read(archive, members, _CONSTANTS, Payloads, path, contents)
            tensors = _tensors(weights, "data/weights/", members, path)
            tensors |= _tensors(constants, "data/constants/", members, path)
            return _written(archive, program, weights, constants, tensors)
    except (*DAMAGED_ZIP, OSError) as error:
        raise CheckpointError(
            f"{path.name} is damaged or incomplete: copy or export it again."
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Members by their name below the archive's one root folder."""
    members: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    if min((info.header_offset for info in archive.infolist()), default=1) > 0:
        # the directory of an archive inside this one, whose own was cut off
        raise zipfile.BadZipFile("does not start at the start of the file")
    if any(info.filename.startswith("serialized_") for info in archive.infolist()):
        raise CheckpointError(
            f"{path.name} was saved by a torch before 2.8: with torch 2.8 or later, save it "
            f"again with torch.export.save(torch.export.load({path.name!r}), 'new.pt2')."
        )
    for info in archive.infolist():
        root, _, name = info.filename.partition("/")
        roots.add(root)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1 or name in members:
            raise _refused(path, f"packs {info.filename[:80]!r} in a way torch never does")
        if not _MEMBER.fullmatch(name):
            raise _refused(path, f"holds {info.filename[:80]!r}, which no image classifier needs")
        members[name] = info
    if len(roots) != 1 or sum(i.file_size for i in members.values()) > path.stat().st_size:
        raise _refused(path, "is not packed the way torch packs a program")
    if members.get("byteorder") and archive.read(members["byteorder"]) != b"little":
        raise _refused(path, "was not written on a little-endian machine")
    return members


def _read(
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    name: str,
    schema: type[_M],
    path: Path,
    contents: Contents,
) -> _M:
    """One JSON member, checked against its schema."""
    if name not in members or members[name].file_size > _MAX_JSON:
        raise _refused(path, f"has no usable {name}")
    try:
        return schema.model_validate(json.loads(archive.read(members[name])), context=contents)
    except ValidationError as error:
        raise _refused(path, _reason(error)) from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"has no usable {name}") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    place = [str(part) for part in first["loc"]]
    if "use_pickle" in place:
        return f"holds a pickled object ({'.'.join(place[1:-1])})"
    if any(part.endswith("_mutation") for part in place):
        return "was exported in training mode (it changes its own weights or input)"
    if "expr_str" in place:
        return "leaves the height and width of its images free in a way that is too complicated"
    if "constant_input" in place:
        return "takes arguments other than the images"
    return f"holds something unexpected at {'.'.join(place)[:120]}"


def _tensors(
    config: Payloads, folder: str, members: dict[str, zipfile.ZipInfo], path: Path
) -> dict[str, zipfile.ZipInfo]:
    """The members that hold the tensors; each is there and large enough."""
    tensors = {}
    for tensor, payload in config.config.items():
        name = folder + payload.path_name
        itemsize = _BYTES.get(payload.tensor_meta.dtype)
        if itemsize is None:
            raise _refused(path, f"holds {tensor} in a number format that is not supported")
        if name not in members or payload.elements * itemsize > members[name].file_size:
            raise _refused(path, f"lacks the values of {tensor}")
        tensors[name] = members[name]
    return tensors


def _written(
    archive: zipfile.ZipFile,
    program: Program,
    weights: Payloads,
    constants: Payloads,
    tensors: dict[str, zipfile.ZipInfo],
) -> io.BytesIO:
    clean = io.BytesIO()
    with zipfile.ZipFile(clean, "w", zipfile.ZIP_STORED) as out:

        def put(name: str, content: bytes | str) -> None:
            out.writestr(f"model/{name}", content)

        put("archive_format", "pt2")
        put("archive_version", "0")
        put("byteorder", "little")
        put(".data/version", "6\n")
        put(_MODEL, _json(program))
        put(_WEIGHTS, _json(weights))
        put(_CONSTANTS, _json(constants))
        put(_SAMPLES, b"")
        for name, info in tensors.items():
            put(name, archive.read(info))
    clean.seek(0)
    return clean


def _json(model: BaseModel) -> str:
    """Only the fields that the file set and the schema declares."""
    content: dict[str, Any] = model.model_dump(exclude_unset=True)
    return json.dumps(content)


def _refused(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} {reason} and was not opened: export it again with {RECIPE}, or save "
        f"model.state_dict() and name the architecture."
    )
