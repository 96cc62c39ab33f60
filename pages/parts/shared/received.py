"""What a visitor sent, where the server has put it."""

from typing import BinaryIO

from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from gsc_core.workspace.upload_spool import upload_spool


def received(file: UploadedFile) -> BinaryIO:
    """The content of an uploaded file, from its start.

    The server has it on disk, and Streamlit has an empty file; a test gives Streamlit the content.
    """
    context = get_script_run_ctx()
    if context is not None:
        spooled = upload_spool().opened(context.session_id, file.file_id, file.name)
        if spooled is not None:
            return spooled
    return file


def arriving() -> bool:
    """Whether this visitor's browser is still sending a file, or about to say that it did."""
    context = get_script_run_ctx()
    return context is not None and upload_spool().arriving(context.session_id)
