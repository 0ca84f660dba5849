"""Tiny random checkpoints in the layout of the real ones, so that engines are tested without a download."""

from importlib import import_module
from pathlib import Path
from typing import Any


def write_tokenizer(folder: Path) -> int:
    """Write a word-level tokenizer with XLM-R's special tokens; return its vocabulary's size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    sentence = "the a exam is on monday train leaves at nine cells divide in two when what night"
    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *sentence.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    _transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(str(folder))
    return len(vocabulary)


def write_bge_m3(folder: Path) -> Path:
    """Write an encoder with BGE-M3's two extra heads."""
    import torch

    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_tokenizer(folder))
    _transformers().XLMRobertaModel(config).save_pretrained(folder)
    torch.save(torch.nn.Linear(config.hidden_size, config.hidden_size).state_dict(), folder / "colbert_linear.pt")
    torch.save(torch.nn.Linear(config.hidden_size, 1).state_dict(), folder / "sparse_linear.pt")
    return folder


def write_reranker(folder: Path) -> Path:
    """Write a cross-encoder with one output."""
    import torch

    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_tokenizer(folder))
    config.num_labels = 1
    _transformers().XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def _config(vocabulary: int) -> Any:
    return _transformers().XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=1030,
        pad_token_id=1,
    )


def _transformers() -> Any:
    """Seconds to import, and typed in part only."""
    return import_module("transformers")
