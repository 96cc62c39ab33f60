"""What the graph inside a `.pt2` file may say: a strict schema, checked before torch sees it.

torch rebuilds a program from JSON and on the way evaluates much of it: symbolic expressions *and
their hints* go through sympy's `sympify`, which is Python's `eval`; names of inputs and layers
become the source text of a function that is executed; guards are compiled; pytree descriptions
may import modules; an operator is looked up by walking attributes from `torch`. So each field is
either validated here or left out: what is not declared below never reaches torch.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from gsc_core.classifier.pt2.operators import CLASSIFIER, REGIONS, Contents
from gsc_core.classifier.pt2.value_schema import (
    ArgumentName,
    Int,
    Name,
    OneOf,
    Path,
    Strict,
    Symbol,
    SymInt,
    Tensor,
    TensorMeta,
    Text,
    Value,
)


def _allowed(info: ValidationInfo) -> Contents:
    """What the program may hold: the context of the validation."""
    allowed: Contents = info.context or CLASSIFIER
    return allowed


def _operator(name: str, info: ValidationInfo) -> str:
    aten = re.fullmatch(r"torch\.ops\.aten\.([a-z0-9_]+)\.([A-Za-z][A-Za-z0-9_]*)", name)
    allowed = _allowed(info)
    if (
        name in allowed.arithmetic
        or name in allowed.regions
        or (aten and aten[1] in allowed.operators)
    ):
        return name
    raise ValueError(f"calls {name[:80]!r}, which is not an operator that image classifiers need")


Operator = Annotated[str, AfterValidator(_operator)]


class Region(Strict):
    """A part of the graph under `no_grad` or autocast, checked like the rest."""

    name: Name
    graph: Graph


class Argument(Value):
    """An argument of an operator, which can be a region."""

    as_graph: Region | None = None


class NamedArgument(Strict):
    """An argument of an operator by its name."""

    name: ArgumentName
    arg: Argument
    kind: Int | None = None


class NodeNames(Strict):
    """Where in the module a node came from: text that is only ever compared."""

    nn_module_stack: Text | None = None
    torch_fn: Text | None = None


class Node(Strict):
    """A call of an operator."""

    target: Operator
    inputs: list[NamedArgument]
    outputs: list[Value]
    metadata: NodeNames
    name: Name | None = None

    @model_validator(mode="after")
    def _arguments_that_fit(self) -> Node:
        kinds = {kind for argument in self.inputs for kind in argument.arg.model_fields_set}
        if ("as_graph" in kinds) != (self.target in REGIONS):
            raise ValueError(f"calls {self.target} with something it does not take")
        on_numbers = kinds <= {"as_int", "as_float", "as_sym_int"}
        if not self.target.startswith("torch.ops.") and not on_numbers:
            raise ValueError(f"calls {self.target} on something that is not a number")
        return self


class Graph(Strict):
    """Inputs, calls and outputs, and the shapes of what passes between them."""

    inputs: list[Value]
    outputs: list[Value]
    nodes: list[Node]
    tensor_values: dict[Name, TensorMeta]
    sym_int_values: dict[Name, SymInt]
    sym_bool_values: Annotated[dict[str, Any], Field(max_length=0)]


class Parameter(Strict):
    """An input that is a trained weight."""

    arg: Tensor
    parameter_name: Path


class Buffer(Strict):
    """An input that is a buffer."""

    arg: Tensor
    buffer_name: Path
    persistent: bool


class TensorConstant(Strict):
    """An input that is a constant tensor."""

    arg: Tensor
    tensor_constant_name: Path


class UserValue(Strict):
    """An input or output of the whole program."""

    arg: Value


class InputSpec(OneOf):
    """What an input of the graph stands for."""

    user_input: UserValue | None = None
    parameter: Parameter | None = None
    buffer: Buffer | None = None
    tensor_constant: TensorConstant | None = None


class OutputSpec(OneOf):
    """What an output stands for; a change of weights or inputs is refused."""

    user_output: UserValue | None = None


def _as_many(outputs: list[OutputSpec], info: ValidationInfo) -> list[OutputSpec]:
    needed = _allowed(info).outputs
    if needed is not None and len(outputs) != needed:
        raise ValueError(f"gives {len(outputs)} results instead of {needed}")
    return outputs


class Signature(Strict):
    """What the graph's inputs and outputs stand for."""

    input_specs: list[InputSpec]
    output_specs: Annotated[list[OutputSpec], AfterValidator(_as_many)]


class Range(Strict):
    """Bounds of a symbolic size."""

    min_val: Int | None
    max_val: Int | None


class SchemaVersion(Strict):
    """Version of the format, which torch checks."""

    major: Int
    minor: Int


_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_NO_KEYWORDS = {"type": "builtins.dict", "context": "[]", "children_spec": []}


def _tuple(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": "builtins.tuple", "context": "null", "children_spec": list(children)}


def _takes_images(text: str) -> str:
    """One argument, by position; one given by its name is the same to the graph."""
    accepted = [1, _tuple(_tuple(_LEAF), _NO_KEYWORDS)]
    match described := json.loads(text):
        case [1, {"type": "builtins.tuple", "children_spec": [positional, keywords]}]:
            by_name = positional == _tuple() and _is_plain_dictionary([1, keywords])
            if by_name and len(keywords["children_spec"]) == 1:
                return json.dumps(accepted)
    if described != accepted:
        raise ValueError("takes something other than one batch of images")
    return text


def _gives_tensors(text: str, info: ValidationInfo) -> str:
    """A description that torch may read, of as many outputs: of a plain dictionary or a tuple.

    How the tensors were nested does not count for a classifier, of which one is taken.
    """
    outputs = _allowed(info).outputs
    if outputs is not None:
        if json.loads(text) != [1, _tuple(*[_LEAF] * outputs)]:
            raise ValueError("gives something other than a tuple of tensors")
        return text
    described = json.loads(text)
    if described == [1, _LEAF] or _is_plain_dictionary(described):
        return text
    return json.dumps([1, _tuple(*[_LEAF] * _leaves(described))])


def _is_plain_dictionary(described: Any) -> bool:
    match described:
        case [1, {"type": "builtins.dict", "context": str(context), "children_spec": list(inner)}]:
            keys = json.loads(context)
            return (
                isinstance(keys, list)
                and len(keys) == len(inner)
                and all(isinstance(key, str) and len(key) < 100 for key in keys)
                and all(child == _LEAF for child in inner)
            )
    return False


def _leaves(described: Any) -> int:
    """The number of outputs that a description of any kind of container holds."""
    match described:
        case [1, {"children_spec": list()} as tree]:
            todo, leaves = [tree], 0
            while todo:
                inner = todo.pop()
                children = inner.get("children_spec") if isinstance(inner, dict) else None
                if not isinstance(children, list):
                    break
                leaves += inner.get("type") is None
                todo += children
            else:
                return leaves
    raise ValueError("does not say what it gives")


class CallSignature(Strict):
    """How the program is called."""

    inputs: list[Value]
    outputs: list[Value]
    in_spec: Annotated[Text, AfterValidator(_takes_images)]
    out_spec: Annotated[Text, AfterValidator(_gives_tensors)]
    forward_arg_names: list[Name] | None = None


class ModuleCall(Strict):
    """A layer of the original module."""

    fqn: Path | Literal[""]
    signature: CallSignature | None = None


def _tells_how_it_is_called(calls: list[ModuleCall]) -> list[ModuleCall]:
    if not calls or calls[0].fqn or calls[0].signature is None:
        raise ValueError("does not say how it is called")
    return calls


class GraphModule(Strict):
    """The graph with its signature; metadata that torch would parse is left out."""

    graph: Graph
    signature: Signature
    module_call_graph: Annotated[list[ModuleCall], AfterValidator(_tells_how_it_is_called)]

    @model_validator(mode="after")
    def _describes_its_outputs(self) -> GraphModule:
        call = self.module_call_graph[0].signature
        outputs = len(self.signature.output_specs)
        if call is not None and _leaves(json.loads(call.out_spec)) != outputs:
            raise ValueError("describes outputs that it does not give")
        return self


class Program(Strict):
    """All of `models/model.json` that torch gets to read; guards, which are code, are left out."""

    graph_module: GraphModule
    opset_version: dict[Name, Int]
    range_constraints: dict[Symbol, Range]
    schema_version: SchemaVersion
    verifiers: list[Literal["TRAINING", "ATEN"]]
    torch_version: Text


class PayloadMeta(Strict):
    """A weight or constant; never pickled, and never larger than the bytes that hold it."""

    path_name: Annotated[str, StringConstraints(pattern=r"^(weight|tensor)_[0-9]{1,6}$")]
    is_param: bool
    use_pickle: Literal[False]
    tensor_meta: TensorMeta

    @property
    def elements(self) -> int:
        """Number of values the tensor claims to have."""
        return math.prod(size.as_int for size in self.tensor_meta.sizes)

    @model_validator(mode="after")
    def _plain_sizes(self) -> PayloadMeta:
        meta = self.tensor_meta
        numbers = [*meta.sizes, *meta.strides, meta.storage_offset]
        if any(number.as_expr is not None or number.as_int < 0 for number in numbers):
            raise ValueError("holds a weight whose size is not a plain number")
        return self


class Payloads(Strict):
    """The tensors of the program by name."""

    config: dict[Path, PayloadMeta]
