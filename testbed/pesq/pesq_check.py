"""Speech that a peer received against the original, by PESQ (ITU-T P.862; for G.722 the wideband form of P.862.2).

    pesq_check.py ORIGINAL.wav RECEIVED.{wav,pcap,ul,al} --codec PCMU|PCMA|G722|opus|L16 [--via CODEC] [--within 0.05]

The ceiling is what the codec alone leaves of the same speech: the original at the codec's rate and at the level of what
was received, through G.711 as below, through PyPI's G722, or through Debian's libopus (`libopus0`, which `opus-tools` needs) with
the settings that the engine has for prompts, and back. L16 leaves all of it. What was received in any but G.711 comes as a WAV file. Exit 1 when what was
received scores more than --within below the ceiling.

With --via, what was received had been sent in that codec, and was transcoded in a call. The ceiling is then what is left by
that codec at its rate, SciPy's resampling from and to --codec's, and --codec with the settings that the engine has in calls.
"""

import argparse
import ctypes
import struct
import sys
import wave
from pathlib import Path

import numpy as np
from G722 import G722
from pesq import pesq
from scipy.signal import correlate, resample_poly

RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "opus": 16000, "L16": 16000}
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}  # RFC 3551, table 4


def encode_ulaw(sample):
    """G.711 mu-law as in ITU-T G.191: one's complement of negative samples, bias 33 on 14 bits."""
    magnitude = min((~sample if sample < 0 else sample) // 4 + 33, 0x1FFF)
    segment = magnitude.bit_length() - 6
    code = segment << 4 | magnitude >> (segment + 1) & 0xF
    return ~code & 0x7F | (0 if sample < 0 else 0x80)


def decode_ulaw(byte):
    code = ~byte & 0xFF
    magnitude = (2 * (code & 0xF) + 33 << (code >> 4 & 7)) - 33 << 2
    return -magnitude if code & 0x80 else magnitude


def encode_alaw(sample):
    """G.711 A-law as in ITU-T G.191: one's complement of negative samples, 12 bits, even bits inverted."""
    magnitude = (~sample if sample < 0 else sample) >> 4
    segment = max(magnitude.bit_length() - 4, 0)
    code = segment << 4 | (magnitude >> max(segment - 1, 0)) & 0xF
    return (code | (0 if sample < 0 else 0x80)) ^ 0x55


def decode_alaw(byte):
    code = byte ^ 0x55
    segment, mantissa = code >> 4 & 7, code & 0xF
    magnitude = (2 * mantissa + 1 << 3) if segment == 0 else (2 * mantissa + 33 << segment + 2)
    return magnitude if code & 0x80 else -magnitude


ENCODE = {
    codec: np.array([encode(s) for s in range(-32768, 32768)], np.uint8)
    for codec, encode in (("PCMU", encode_ulaw), ("PCMA", encode_alaw))
}
DECODE = {
    codec: np.array([decode(b) for b in range(256)], np.int16)
    for codec, decode in (("PCMU", decode_ulaw), ("PCMA", decode_alaw))
}


def through(codec, samples, live=False):
    """The samples through the codec and back."""
    if codec == "G722":
        g722 = G722(16000, 64000)
        return np.frombuffer(g722.decode(g722.encode(samples.astype(np.int16))), np.int16).astype(float)
    if codec == "L16":
        return samples.astype(float)
    if codec == "opus":
        return through_opus(samples, live)
    return DECODE[codec][ENCODE[codec][samples + 32768]].astype(float)


def transcoded(via, codec, samples):
    """The samples, which are at the codec's rate, through `via` and from there through the codec."""
    narrow = through(via, resampled(samples, RATES[codec], RATES[via]))
    return through(codec, resampled(narrow, RATES[via], RATES[codec])[: len(samples)], live=True)


def resampled(samples, rate, to):
    return whole(resample_poly(samples.astype(float), to, rate) if to != rate else samples)


def whole(samples):
    return np.clip(np.rint(samples), -32768, 32767).astype(int)


# opus_defines.h
APPLICATION_AUDIO, SIGNAL_VOICE, BANDWIDTH_WIDEBAND = 2049, 3001, 1103
SET_BITRATE, SET_MAX_BANDWIDTH, SET_VBR, SET_COMPLEXITY, SET_SIGNAL = 4002, 4004, 4006, 4010, 4024


def through_opus(samples, live):
    """As the engine does it: 16 kHz, 20 ms, 24 kbit/s, for speech; in prompts a constant bitrate and complexity 9, in calls
    a variable one and complexity 5.

    Not by opusenc: at this bitrate that takes the layer for music, whatever it is told of speech."""
    opus = ctypes.CDLL("libopus.so.0")
    opus.opus_encoder_create.restype = opus.opus_decoder_create.restype = ctypes.c_void_p
    fault = ctypes.c_int()
    encoder = ctypes.c_void_p(opus.opus_encoder_create(16000, 1, APPLICATION_AUDIO, ctypes.byref(fault)))
    settings = {
        SET_BITRATE: 24000,
        SET_MAX_BANDWIDTH: BANDWIDTH_WIDEBAND,
        SET_VBR: int(live),
        SET_COMPLEXITY: 5 if live else 9,
        SET_SIGNAL: SIGNAL_VOICE,
    }
    for request, value in settings.items():
        if opus.opus_encoder_ctl(encoder, request, ctypes.c_int(value)) != 0:
            sys.exit(f"libopus refuses {request} = {value}")
    decoder = ctypes.c_void_p(opus.opus_decoder_create(16000, 1, ctypes.byref(fault)))
    # The encoder's lookahead, 6.5 ms, and what fills the last frame.
    said = np.concatenate([samples, np.zeros(640)]).astype("<i2")
    packet, frame, heard = (ctypes.c_ubyte * (1275 if live else 60))(), np.zeros(320, "<i2"), []
    pointer = lambda array: array.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
    for start in range(0, len(said) - 319, 320):
        length = opus.opus_encode(encoder, pointer(said[start : start + 320]), 320, packet, len(packet))
        if length < 0 or opus.opus_decode(decoder, packet, length, pointer(frame), 320, 0) != 320:
            sys.exit("libopus neither encodes nor decodes")
        heard.append(frame.copy())
    opus.opus_encoder_destroy(encoder)
    opus.opus_decoder_destroy(decoder)
    return np.concatenate(heard)[104 : 104 + len(samples)].astype(float)


def read_wav(path, rate):
    with wave.open(str(path)) as wav:
        if wav.getnchannels() != 1 or wav.getsampwidth() != 2 or wav.getframerate() not in (8000, 16000):
            sys.exit(f"{path}: must be mono, 16 bit, 8000 or 16000 Hz")
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(float)
        return samples if wav.getframerate() == rate else resample_poly(samples, rate, wav.getframerate())


def read_pcap(path, codec):
    """The longest RTP stream of the codec in a capture, laid out by its timestamps; what is missing is silence."""
    streams = {}
    for packet in udp_payloads(path.read_bytes()):
        if len(packet) < 12 or packet[0] >> 6 != 2 or packet[1] & 0x7F != PAYLOAD_TYPES[codec]:
            continue
        timestamp, ssrc = struct.unpack("!II", packet[4:12])
        streams.setdefault(ssrc, {})[timestamp] = packet[12 + 4 * (packet[0] & 0xF) :]
    if not streams:
        sys.exit(f"{path}: no {codec} in it")
    frames = max(streams.values(), key=len)
    first = min(frames)
    received = np.zeros(max(t - first + len(payload) for t, payload in frames.items()))
    for timestamp, payload in frames.items():
        received[timestamp - first :][: len(payload)] = DECODE[codec][np.frombuffer(payload, np.uint8)]
    return received


def udp_payloads(capture):
    """UDP over IPv4 in a classic pcap file with Ethernet, Linux cooked or raw framing."""
    order = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    framing = {0: 4, 1: 14, 101: 0, 113: 16, 276: 20}[struct.unpack(order + "I", capture[20:24])[0]]
    offset = 24
    while offset + 16 <= len(capture):
        (kept,) = struct.unpack(order + "I", capture[offset + 8 : offset + 12])
        datagram = capture[offset + 16 + framing : offset + 16 + kept]
        offset += 16 + kept
        if len(datagram) > 28 and datagram[0] >> 4 == 4 and datagram[9] == 17:
            yield datagram[(datagram[0] & 0xF) * 4 + 8 :]


def read_received(path, codec):
    if path.suffix == ".wav":
        return read_wav(path, RATES[codec])
    if codec not in DECODE:
        sys.exit(f"{path}: {codec} is read from WAV files only")
    if path.suffix in (".pcap", ".cap"):
        return read_pcap(path, codec)
    return DECODE[codec][np.frombuffer(path.read_bytes(), np.uint8)].astype(float)


def rms(samples):
    return np.sqrt(np.mean(samples**2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("received", type=Path)
    parser.add_argument("--codec", choices=RATES, required=True)
    parser.add_argument("--via", choices=RATES)
    parser.add_argument("--within", type=float, default=0.05)
    options = parser.parse_args()

    rate = RATES[options.codec]
    original = read_wav(options.original, rate)
    received = read_received(options.received, options.codec)
    if len(received) < len(original):
        sys.exit(f"{options.received}: {len(received) / rate:.2f} s received of {len(original) / rate:.2f} s")
    lag = int(np.argmax(correlate(received, original, mode="valid")))
    heard = received[lag : lag + len(original)]
    if not heard.any():
        sys.exit(f"{options.received}: silence")
    # What `via` has no room for is no loss of level.
    via_rate = RATES[options.via or options.codec]
    fits = resampled(resampled(original, rate, via_rate), via_rate, rate)
    at_level = whole(original * rms(heard) / rms(fits))
    left = through(options.codec, at_level) if options.via is None else transcoded(options.via, options.codec, at_level)
    mode = "nb" if rate == 8000 else "wb"
    ceiling = pesq(rate, original, left, mode)
    score = pesq(rate, original, heard, mode)
    gain = 20 * np.log10(rms(heard) / rms(fits))
    print(
        f"received {score:.3f}  ceiling {ceiling:.3f}  difference {score - ceiling:+.3f}"
        f"  (starts at {lag / rate * 1000:.1f} ms, gain {gain:+.1f} dB, {len(original) / rate:.2f} s of speech)"
    )
    return 0 if score >= ceiling - options.within else 1


if __name__ == "__main__":
    sys.exit(main())
