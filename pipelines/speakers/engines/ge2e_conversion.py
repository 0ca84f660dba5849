"""Makes the folder that the diarizer loads from the two files in which its networks are published.

Both are PyTorch pickles, and a pickle can run code. The encoder is read with ``weights_only``; the segmentation, which
carries objects of libraries that are not here, with an unpickler of its own that builds tensors and plain containers
and puts an empty object in the place of what else is named: nothing of what the file names is imported or called.
"""

import hashlib
import json
import pickle
import tempfile
import zipfile
from collections import OrderedDict, defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

from pipelines.domain.audio import SAMPLE_RATE_HZ

ENCODER, SEGMENTATION, HYPER_PARAMETERS, CONFIG = (
    "encoder.safetensors",
    "segmentation.safetensors",
    "segmentation.json",
    "config.json",
)
_CONTAINERS: dict[tuple[str, str], Any] = {
    ("__builtin__", "dict"): dict,  # the names that Python 2 had: PyTorch writes pickles of protocol 2
    ("__builtin__", "list"): list,
    ("__builtin__", "long"): int,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
}
_IGNORED = frozenset(
    {
        ("omegaconf.base", "ContainerMetadata"),
        ("omegaconf.base", "Metadata"),
        ("omegaconf.listconfig", "ListConfig"),
        ("omegaconf.nodes", "AnyNode"),
        ("pyannote.audio.core.model", "Introspection"),
        ("pyannote.audio.core.task", "Problem"),
        ("pyannote.audio.core.task", "Resolution"),
        ("pyannote.audio.core.task", "Specifications"),
        ("torch.torch_version", "TorchVersion"),
        ("typing", "Any"),
    }
)
"""What the published segmentation names beside its tensors: read as an empty object, and not kept."""


def convert_sources(pretrained_pt: Path, pyannote_bin: Path | None, folder: Path) -> None:
    """Write the diarizer's folder from Resemblyzer's ``pretrained.pt`` and pyannote's segmentation, or replace it.

    Blocking, about 2 s. The same sources give the same bytes. ``folder`` is either as it was or whole. Raises OSError,
    and ValueError for a source that is not what it should be, which includes one that names code.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "made"
        made.mkdir(mode=0o755)
        _write_encoder(pretrained_pt, made)
        sources = {"encoder": {"file": "resemblyzer/pretrained.pt", "sha256": _sha256(pretrained_pt)}}
        if pyannote_bin is not None:
            _write_segmentation(pyannote_bin, made)
            sources["segmentation"] = {"file": "pyannote segmentation", "sha256": _sha256(pyannote_bin)}
        config = {"format": 1, "sample_rate_hz": SAMPLE_RATE_HZ, "sources": sources}
        (made / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        if folder.exists():
            folder.rename(Path(temporary) / "former")
        made.rename(folder)


def _write_encoder(source: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(source, weights_only=True, map_location="cpu")["model_state"]
        kept = {name: state[name].contiguous() for name in sorted(state) if name.startswith(("lstm.", "linear."))}
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{source.name} is not a GE2E encoder") from error
    save_file(kept, folder / ENCODER)


def _write_segmentation(source: Path, folder: Path) -> None:
    from safetensors.torch import save_file

    checkpoint = read_restricted(source)
    try:
        state, hyper_parameters = checkpoint["state_dict"], checkpoint["hyper_parameters"]
        kept = {name: state[name].contiguous() for name in sorted(state) if not name.startswith("loss")}
        chosen = {name: dict(hyper_parameters[name]) for name in ("sincnet", "lstm", "linear")}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{source.name} is not a pyannote segmentation") from error
    save_file(kept, folder / SEGMENTATION)
    (folder / HYPER_PARAMETERS).write_text(json.dumps(chosen, indent=2, sort_keys=True) + "\n", "utf-8")


def read_restricted(source: Path) -> Any:
    """Return what a PyTorch archive holds, tensors and plain containers; objects of other libraries become empty ones.

    Raises ValueError for anything else that the pickle names: then nothing of it has run.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            return _Unpickler(archive, root).load()
    except (zipfile.BadZipFile, StopIteration, pickle.UnpicklingError, KeyError, EOFError, TypeError) as error:
        raise ValueError(f"{source.name} cannot be read as weights: {error}") from error


class _Empty:
    """Stands for an object that is not kept."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(BytesIO(archive.read(f"{root}data.pkl")))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if (module, name) in _IGNORED:
            return _Empty
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        import torch

        _, kind, key, _, _ = pid
        dtype = {"FloatStorage": torch.float32, "LongStorage": torch.int64}[kind]
        return torch.frombuffer(bytearray(self._archive.read(f"{self._root}data/{key}")), dtype=dtype)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Any:
    import torch

    return torch.as_strided(storage, size, stride, offset).clone()


def _sha256(source: Path) -> str:
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
