"""Write models and settings in the layout that `pyannote.audio.Pipeline.from_pretrained(folder)` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from pyannote.audio import Model

PIPELINE: dict[str, Any] = {
    "dependencies": {"pyannote.audio": "4.0.0"},
    "pipeline": {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": {
            "segmentation": "$model/segmentation",
            "segmentation_step": 0.25,
            "segmentation_batch_size": 32,
            "embedding": "$model/embedding",
            "embedding_batch_size": 32,
            "embedding_exclude_overlap": True,
            "plda": "$model/plda",
        },
    },
}


def save_model(model: Model, path: Path) -> None:
    """Write a checkpoint of weights and hyper-parameters alone: no optimizer, no callbacks, no code."""
    checkpoint: dict[str, Any] = {
        "state_dict": {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()},
        "hyper_parameters": _plain(dict(model.hparams)),
        "hparams_name": "kwargs",
        "pytorch-lightning_version": lightning.__version__,
    }
    model.on_save_checkpoint(checkpoint)  # type: ignore[no-untyped-call]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)


def _plain(value: Any) -> Any:
    """Turn Lightning's attribute dictionaries into built-in ones."""
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def save_config(folder: Path, clustering: str, parameters: dict[str, float | str]) -> None:
    """Write `config.yaml` for a clustering of pyannote and its parameters."""
    params = {**PIPELINE["pipeline"]["params"], "clustering": clustering}
    config = {
        **PIPELINE,
        "pipeline": {**PIPELINE["pipeline"], "params": params},
        "params": {"clustering": parameters, "segmentation": {"min_duration_off": 0.0}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
