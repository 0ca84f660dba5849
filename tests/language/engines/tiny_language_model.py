"""Makes a language model of a real architecture that fits into a test: random weights, bent towards being brief.

A random model under guided JSON fills every text to its limit. Here one dimension of the residual stream is a large
constant, and the output layer reads it as a wish for tokens that end something: texts and lists close as soon as the
grammar lets them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WISHES = {'"': 6.0, '"}': 6.0, '"]': 6.0, '"},': 6.0, "]": 3.0, "}": 3.0, "}]": 3.0, "]}": 3.0, "<|im_end|>": 6.0}
"""How much each of these is wished for: the end of a text more than brackets, which may stand inside one."""


def make_tiny_language_model(
    folder: Path, texts: Iterable[str], *, context_tokens: int = 16_384, seed: int = 0
) -> None:
    """Write a Qwen3 checkpoint of about a million weights, with a tokenizer made from ``texts``, into ``folder``."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    vocabulary = _write_tokenizer(folder, texts)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=False,
        bos_token_id=vocabulary[_SPECIAL[0]],
        eos_token_id=vocabulary[_SPECIAL[2]],
    )
    model: Any = Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 20.0
        model.lm_head.weight[:, 0] = 0.0
        for token, wish in _WISHES.items():
            if token in vocabulary:
                model.lm_head.weight[vocabulary[token], 0] = wish
    model.generation_config.temperature = 0.7
    model.generation_config.top_k = 20
    model.generation_config.do_sample = True
    model.save_pretrained(folder)


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> dict[str, int]:
    """Train a byte-level tokenizer and return its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": _SPECIAL[2],
        "pad_token": _SPECIAL[0],
        "chat_template": _CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary
