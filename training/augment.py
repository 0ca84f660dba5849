"""What happens to speech on its way to a recording: rooms, noise, levels, telephones and codecs.

Every function takes and returns mono float32 samples at 16 kHz, keeps their number and does not shift them in time, so
that reference times stay true. All chance comes from the generator that is passed in.
"""

import io
from typing import Any

import av
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from training.speech import SAMPLE_RATE_HZ, Samples

TELEPHONE_RATE_HZ = 8_000
MU_LAW = 255.0
A_LAW = 87.6
CODECS = (("mp3", "mp3", 48_000), ("mp3", "mp3", 24_000), ("ogg", "libopus", 16_000), ("ogg", "libopus", 24_000))
"""Container, codec and bit rate (bits/s) of the lossy formats that training hears."""


def add_noise(samples: Samples, rng: np.random.Generator, snr_db: float) -> Samples:
    """Add coloured noise at a signal-to-noise ratio, measured against the loudest half of the signal."""
    power = np.sort(samples.astype(np.float64) ** 2)[len(samples) // 2 :].mean() if len(samples) else 0.0
    noise = make_noise(len(samples), rng)
    return np.asarray(samples + noise * np.sqrt(power / 10 ** (snr_db / 10)), dtype=np.float32)


def make_noise(length: int, rng: np.random.Generator) -> Samples:
    """`length` samples of noise with unit power: anything from a rumble to a hiss, sometimes with mains hum."""
    if not length:
        return np.zeros(0, np.float32)
    whole = next_fast_len(length)
    frequencies_hz = np.fft.rfftfreq(whole, 1 / SAMPLE_RATE_HZ)
    spectrum = rfft(rng.standard_normal(whole)) * np.maximum(frequencies_hz, 40.0) ** -rng.uniform(0.0, 1.2)
    noise = irfft(spectrum, whole)[:length]
    noise /= noise.std() + 1e-12
    if rng.random() < 0.2:
        hum_hz = rng.choice([50.0, 60.0])
        times_s = np.arange(length) / SAMPLE_RATE_HZ
        noise += sum(np.sin(2 * np.pi * hum_hz * k * times_s) / k for k in (1, 2, 3))
    return np.asarray(noise / (noise.std() + 1e-12), dtype=np.float32)


def reverberate(samples: Samples, rng: np.random.Generator, decay_s: float) -> Samples:
    """Put the speaker in a room: direct sound plus a tail that falls by 60 dB in `decay_s` seconds."""
    length = int(decay_s * SAMPLE_RATE_HZ)
    if not length or not len(samples):
        return samples
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail[: int(0.004 * SAMPLE_RATE_HZ)] = 0.0
    tail *= rng.uniform(0.2, 0.7) / (np.sqrt((tail**2).sum()) + 1e-12)
    tail[0] = 1.0
    return np.asarray(fftconvolve(samples, tail)[: len(samples)], dtype=np.float32)


def set_level(samples: Samples, peak: float) -> Samples:
    """Scale so that the loudest sample is at `peak`; above 1 the recording clips, as real ones do."""
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples if loudest == 0.0 else np.clip(samples * np.float32(peak / loudest), -1, 1)


def telephone(samples: Samples, a_law: bool = False) -> Samples:
    """Through a telephone line: 300 to 3,400 Hz, 8 kHz, eight bits of G.711 (mu-law, or A-law as in Europe)."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    narrow = resample_poly(sosfilt(band, samples), 1, 2)
    size = np.clip(np.abs(narrow), 0, 1)
    if a_law:
        knee = 1 + np.log(A_LAW)
        coded = np.where(size < 1 / A_LAW, A_LAW * size, 1 + np.log(np.maximum(A_LAW * size, 1))) / knee
        coded = np.round(coded * 127) / 127
        size = np.where(coded < 1 / knee, coded * knee / A_LAW, np.exp(coded * knee - 1) / A_LAW)
    else:
        coded = np.round(np.log1p(MU_LAW * size) / np.log1p(MU_LAW) * 127) / 127
        size = np.expm1(coded * np.log1p(MU_LAW)) / MU_LAW
    wide = resample_poly(np.sign(narrow) * size, 2, 1)
    return _fit(wide, len(samples))


def encode_audio(
    samples: Samples, container: str, codec: str, bit_rate: int, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> bytes:
    """Encode (length,) mono or (2, length) stereo samples in [-1, 1] with one of PyAV's codecs; returns the file."""
    channels = np.atleast_2d(samples)
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        layout = "mono" if len(channels) == 1 else "stereo"
        stream: Any = output.add_stream(codec, rate=sample_rate_hz, layout=layout)
        stream.bit_rate = bit_rate
        pcm = np.round(np.clip(channels, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm.T.reshape(1, -1)), format="s16", layout=layout)
        frame.sample_rate = sample_rate_hz
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return target.getvalue()


def decode_audio(encoded: bytes) -> Samples:
    """Decode a file to mono float32 at 16 kHz; the codec's own delay is left out by its container."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(io.BytesIO(encoded), "r") as source:
        parts = [part.to_ndarray()[0] for frame in source.decode(audio=0) for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def through_codec(samples: Samples, container: str, codec: str, bit_rate: int) -> Samples:
    """Encode and decode: what a lossy format leaves of the recording, at its original length."""
    return _fit(decode_audio(encode_audio(samples, container, codec, bit_rate)), len(samples))


def augment(samples: Samples, rng: np.random.Generator) -> Samples:
    """One plausible recording of clean speech: about a third stay almost clean, a sixth come over a telephone."""
    samples = set_level(samples, float(rng.uniform(0.25, 0.95)))
    if rng.random() < 0.3:
        samples = reverberate(samples, rng, float(rng.uniform(0.1, 0.5)))
    if rng.random() < 0.55:
        samples = add_noise(samples, rng, float(rng.uniform(8, 35)))
    if rng.random() < 0.17:
        samples = telephone(set_level(samples, float(rng.uniform(0.2, 0.9))), a_law=bool(rng.random() < 0.4))
    elif rng.random() < 0.12:
        container, codec, bit_rate = CODECS[int(rng.integers(len(CODECS)))]
        samples = through_codec(samples, container, codec, bit_rate)
    return set_level(samples, float(10 ** rng.uniform(-1.0, 0.0)))


def _fit(samples: "np.ndarray[Any, Any]", length: int) -> Samples:
    return np.asarray(np.pad(samples[:length], (0, max(0, length - len(samples)))), dtype=np.float32)
