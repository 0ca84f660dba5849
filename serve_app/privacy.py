"""Switches that keep libraries from calling home. Set before those libraries are imported, in every process."""

import os

PRIVATE_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # serving uses what is on disk; only `rayscribe models pull` downloads
    "PYANNOTE_METRICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray reports even that reporting is switched off (usage_stats_head.py): to a port where nobody listens.
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    "TOKENIZERS_PARALLELISM": "false",  # a tokenizer that forks its threads warns about it into the log
    "VLLM_NO_USAGE_STATS": "1",
}


def silence_usage_statistics() -> None:
    """Put the switches into this process's environment, where the operator has not decided otherwise."""
    for name, value in PRIVATE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
