"""The data folder: its schema number, and the folders in it."""

from uuid import uuid4

from pipelines.errors import InvalidRequest
from serve_app.settings import DataSettings

DATA_VERSION = 1
"""Raised when what is in the folder changes shape: a folder of another schema is refused."""


def prepare_data_folder(data: DataSettings) -> None:
    """Create the folder where it does not exist, and check its schema number.

    Raises InvalidRequest where another RayScribe wrote it: this one could damage it.
    """
    data.root.mkdir(parents=True, exist_ok=True)
    version_file = data.root / "VERSION"
    if not version_file.exists():
        # Replicas start at once: none may read the number between the making of the file and the writing of it.
        complete = data.root / f".VERSION-{uuid4()}"
        complete.write_text(f"{DATA_VERSION}\n")
        complete.replace(version_file)
    found = version_file.read_text().strip()
    if found != str(DATA_VERSION):
        raise InvalidRequest(
            f"the data folder has schema {found!r}, this RayScribe knows {DATA_VERSION}: "
            "use the RayScribe that wrote it, or another folder (--data)"
        )
    for name in ("artifacts", "qdrant", "models"):
        (data.root / name).mkdir(exist_ok=True)
