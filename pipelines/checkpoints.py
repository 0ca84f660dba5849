"""What identifies the weights that really ran."""

import hashlib
from functools import lru_cache
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def checkpoint_hash(folder: Path) -> str:
    """Return ``sha256:`` over a model folder's files: the sorted lines ``<sha256>  <relative path>``.

    Hidden files and folders (a hub client's bookkeeping) and Markdown (the model's card: not a weight)
    do not count. The same as, in the folder, ``find * -type f ! -path '*/.*' ! -name '*.md' | LC_ALL=C sort |
    xargs -d '\\n' sha256sum | sha256sum``. A file is read again only when its size or modification time has changed.
    Raises OSError.
    """
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and _counts(path.relative_to(folder))
    )
    lines = "".join(f"{_file_hash(folder / name)}  {name}\n" for name in names)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below ``folder``: about what the weights need in memory."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _counts(name: Path) -> bool:
    return name.suffix != ".md" and not any(part.startswith(".") for part in name.parts)


def _file_hash(path: Path) -> str:
    status = path.stat()
    return _hash_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash_of_version(path: Path, _size_bytes: int, _modified_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
