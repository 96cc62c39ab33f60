"""The values in a `.pt2` file's JSON: names, sizes, tensors, arguments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from gsc_core.classifier.pt2.expressions import SYMBOL, check_expression
from gsc_core.classifier.pt2.operators import CLASSIFIER, Contents

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,499}$")]
ArgumentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]*$")]
Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*$")]
Text = Annotated[str, StringConstraints(max_length=20_000)]
Int = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Float = float | Literal["Infinity", "-Infinity", "NaN"]
Symbol = Annotated[str, StringConstraints(pattern=f"^{SYMBOL}$")]


def _allowed_expression(text: str, info: ValidationInfo) -> str:
    allowed: Contents = info.context or CLASSIFIER
    return check_expression(text, allowed.sizes)


Expression = Annotated[str, AfterValidator(_allowed_expression)]


class Strict(BaseModel):
    """Values keep the type they have in the JSON; keys that are not declared are left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class OneOf(BaseModel):
    """torch's tagged union: an object with one key out of the declared ones."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _exactly_one(self) -> OneOf:
        if len(self.model_fields_set) != 1:
            raise ValueError("holds a value of no kind or of several at once")
        return self


class Hint(OneOf):
    """The batch size of the sample inputs; sympy would evaluate a text here."""

    as_int: Int = 0


class SymExpr(Strict):
    """A symbolic size."""

    expr_str: Expression
    hint: Hint | None = None


class SymInt(OneOf):
    """A size: a number or an expression."""

    as_expr: SymExpr | None = None
    as_int: Int = 0


class Device(Strict):
    """Always rewritten to the CPU: a program exported on a GPU opens on any machine."""

    type: Annotated[Literal["cpu"], BeforeValidator(lambda _: "cpu")] = "cpu"
    index: Annotated[None, BeforeValidator(lambda _: None)] = None


class TensorMeta(Strict):
    """Shape, strides and number format of a tensor."""

    dtype: Int
    sizes: list[SymInt]
    requires_grad: bool
    device: Device
    strides: list[SymInt]
    storage_offset: SymInt
    layout: Literal[7]


class Tensor(Strict):
    """A tensor by the name of the node that makes it."""

    name: Name


class OptionalTensor(OneOf):
    """A tensor or nothing."""

    as_tensor: Tensor | None = None
    as_none: bool = True


class SymIntArgument(OneOf):
    """A number or the node that makes it."""

    as_name: Name = "_"
    as_int: Int = 0


class Value(OneOf):
    """An argument or result of an operator; no custom objects or operators."""

    as_none: bool = True
    as_tensor: Tensor | None = None
    as_tensors: list[Tensor] = []
    as_optional_tensor: OptionalTensor | None = None
    as_optional_tensors: list[OptionalTensor] = []
    as_int: Int = 0
    as_ints: list[Int] = []
    as_float: Float = 0.0
    as_floats: list[Float] = []
    as_bool: bool = False
    as_bools: list[bool] = []
    as_string: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_ ,>\.\-]{0,200}$")] = ""
    as_sym_int: SymIntArgument | None = None
    as_sym_ints: list[SymIntArgument] = []
    as_scalar_type: Int = 0
    as_memory_format: Int = 0
    as_layout: Int = 0
    as_device: Device | None = None
