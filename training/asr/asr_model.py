"""The network: a Whisper of 4.5 M parameters, its tokenizer, and the character CTC head that makes it learn.

The architecture is Whisper's own (Radford et al. 2022), small; the auxiliary loss follows hybrid CTC/attention training
(Watanabe et al. 2017). Without it the encoder sits on a plateau for hours.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

from training.asr.asr_dataset import MEL_BANDS, WINDOW_FRAMES
from training.asr.text import make_sentence

END, START, NO_SPEECH, NO_TIMESTAMPS = (
    "<|endoftext|>", "<|startoftranscript|>", "<|nospeech|>", "<|notimestamps|>"
)  # fmt: skip
TIMESTAMP_STEP_S = 0.02
SPECIAL_TOKENS = [
    END, START, "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
    NO_SPEECH, NO_TIMESTAMPS,
    *(f"<|{index * TIMESTAMP_STEP_S:.2f}|>" for index in range(WINDOW_FRAMES // 2 + 1)),
]  # fmt: skip
CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the network is; the defaults are the shipped model's."""

    width: int = 192
    encoder_layers: int = 4
    decoder_layers: int = 3
    text_tokens: int = 768
    """Byte-pair tokens; fewer spell more, and spell unknown words better."""


class DemoWhisper(nn.Module):
    """Whisper with an encoder that takes windows of any length up to 30 s, and a character head on the encoder."""

    def __init__(self, size: Size, vocabulary: int, end: int, start: int) -> None:
        super().__init__()
        config = WhisperConfig(
            vocab_size=vocabulary,
            num_mel_bins=MEL_BANDS,
            d_model=size.width,
            encoder_layers=size.encoder_layers,
            decoder_layers=size.decoder_layers,
            encoder_attention_heads=size.width // 32,
            decoder_attention_heads=size.width // 32,
            encoder_ffn_dim=4 * size.width,
            decoder_ffn_dim=4 * size.width,
            max_source_positions=WINDOW_FRAMES // 2,
            max_target_positions=448,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=start,
            dropout=0.0,
        )
        self.whisper = WhisperForConditionalGeneration(config)
        self.characters = nn.Linear(size.width, len(CHARACTERS) + 1)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, 80, frames) with an even number of frames to (batch, frames / 2, width)."""
        encoder = self.whisper.model.encoder
        hidden = nn.functional.gelu(encoder.conv1(features))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        return torch.as_tensor(encoder.layer_norm(hidden))

    def decode(self, tokens: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """(batch, length) tokens to (batch, length, vocabulary) logits of the next token."""
        hidden = self.whisper.model.decoder(input_ids=tokens, encoder_hidden_states=encoded).last_hidden_state
        return torch.as_tensor(self.whisper.proj_out(hidden))

    def load_initial(self, folder: Path) -> None:
        """Start from the weights of an earlier run with the same tokenizer."""
        self.whisper.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        self.characters.load_state_dict(torch.load(folder / "ctc.pt", weights_only=True))


def train_tokenizer(size: Size, seed: int, sentences: int = 20_000) -> Tokenizer:
    """Byte-pair encoding of the grammar's text, then Whisper's special tokens and its 1,501 timestamps."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.text_tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((" " + make_sentence(rng) for _ in range(sentences)), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The number of a token that must exist."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise KeyError(token)
    return number


def spell(text: str) -> list[int]:
    """Targets of the character head: indices into `CHARACTERS`; its blank is the index after the last."""
    return [CHARACTERS.index(character) for character in text.lower() if character in CHARACTERS]
