"""What a backup contains: its last file, and the first that a restore reads."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MANIFEST_FILE = "backup.json"
VERSION = 1


class Entry(BaseModel):
    """One file: its name in the backup and in the workspace, its size and SHA-256."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """All files, when they were so, and the folder of the workspace, which stored paths begin with.

    `program` is the version that wrote it.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["gsc-backup"] = "gsc-backup"
    version: int = Field(default=VERSION, ge=1)
    program: str
    made: datetime
    home: str = Field(pattern="^/")
    files: tuple[Entry, ...]
