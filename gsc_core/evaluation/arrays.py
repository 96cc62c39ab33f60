"""Arrays in documents that pydantic reads and writes: lists of numbers, to the last digit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class AsList:
    """How an array of this type stands in a document."""

    dtype: DTypeLike

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from a list, and written as one."""
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(_list)
        )

    def _read(self, value: object) -> NDArray[Any]:
        try:
            return np.asarray(value, dtype=self.dtype)
        except (TypeError, OverflowError) as error:
            raise ValueError("not a list of numbers") from error


def _list(array: NDArray[Any]) -> list[Any]:
    return list(array.tolist())
