"""A tiny multilingual Whisper with random weights: it says nothing sensible, in all languages and by all the rules."""

import json
from pathlib import Path
from typing import Any

import numpy as np

TEXT_TOKENS = 50_257
"""Whisper's own count; the special tokens follow."""
_WIDTH, _HEADS, _MELS = 16, 2, 80


def write_multilingual_whisper(folder: Path) -> Path:
    """Write a CTranslate2 folder that ``faster_whisper.WhisperModel`` loads; return its path."""
    from ctranslate2.specs.whisper_spec import WhisperConfig, WhisperSpec

    tokens = _tokens()
    spec = WhisperSpec(1, _HEADS, 1, _HEADS)
    _fill(spec, len(tokens))
    spec.register_vocabulary(tokens)
    languages = range(TEXT_TOKENS + 2, TEXT_TOKENS + 2 + len(_languages()))
    spec._config = WhisperConfig(
        suppress_ids=[], suppress_ids_begin=[TEXT_TOKENS], lang_ids=list(languages), alignment_heads=[(0, 0), (0, 1)]
    )
    spec.validate()
    spec.save(str(folder))
    _tokenizer(tokens).save(str(folder / "tokenizer.json"))
    features = {"chunk_length": 30, "feature_size": _MELS, "hop_length": 160, "n_fft": 400, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(features))
    return folder


def _fill(spec: Any, vocabulary: int) -> None:
    """Give every weight a random value of the shape that its place asks for."""
    random = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    def linear(layer: Any, outputs: int, inputs: int) -> None:
        layer.weight, layer.bias = weight(outputs, inputs), np.zeros(outputs, dtype=np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(_WIDTH, dtype=np.float32), np.zeros(_WIDTH, dtype=np.float32)

    def attention(layer: Any, *widths: int) -> None:
        norm(layer.layer_norm)
        for part, width in zip(layer.linear, widths, strict=True):
            linear(part, width * _WIDTH, _WIDTH)

    def feed_forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, _WIDTH, _WIDTH)
        linear(layer.linear_1, _WIDTH, _WIDTH)

    encoder, decoder = spec.encoder, spec.decoder
    for convolution, inputs in ((encoder.conv1, _MELS), (encoder.conv2, _WIDTH)):
        convolution.weight, convolution.bias = weight(_WIDTH, inputs, 3), np.zeros(_WIDTH, dtype=np.float32)
    encoder.position_encodings.encodings = weight(1500, _WIDTH)
    decoder.position_encodings.encodings = weight(448, _WIDTH)
    decoder.embeddings.weight = weight(vocabulary, _WIDTH)
    decoder.projection.weight = weight(vocabulary, _WIDTH)
    norm(encoder.layer_norm)
    norm(decoder.layer_norm)
    attention(encoder.layer[0].self_attention, 3, 1)
    attention(decoder.layer[0].self_attention, 3, 1)
    attention(decoder.layer[0].attention, 1, 2, 1)
    feed_forward(encoder.layer[0].ffn)
    feed_forward(decoder.layer[0].ffn)


def _languages() -> list[str]:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return list(_LANGUAGE_CODES)  # 100 of them, as since large-v3


def _tokens() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"Ġw{number}" for number in range(TEXT_TOKENS - len(letters)))]
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in _languages())]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    return [*words, *special, "<|notimestamps|>", *(f"<|{step * 0.02:.2f}|>" for step in range(1501))]


def _tokenizer(tokens: list[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(tokens[:TEXT_TOKENS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[TEXT_TOKENS:]])
    return tokenizer
