"""What a diarizer leaves of one piece of a recording: arrays in one block of bytes, marked with the model's hash."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError

Arrays = Mapping[str, NDArray[np.generic]]
_MODEL = "model"


def pack_heard(arrays: Arrays, checkpoint_hash: str | None) -> bytes:
    """Return the arrays as bytes, compressed (NumPy's npz)."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays, **{_MODEL: np.array(checkpoint_hash or "")})  # type: ignore[arg-type]
    return packed.getvalue()


def unpack_heard(heard: Sequence[bytes], checkpoint_hash: str | None) -> list[Arrays]:
    """Return the arrays of each piece. Raises ModelError where one of them was heard by another model."""
    pieces: list[Arrays] = []
    for data in heard:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
        if str(arrays.pop(_MODEL)) != (checkpoint_hash or ""):
            raise ModelError("the pieces of this recording were heard by different models")
        pieces.append(arrays)
    return pieces
