"""How well speech is heard, by PESQ (ITU-T P.862; for 16 kHz the wideband form of P.862.2).

    pesq_score.py ORIGINAL.wav RECEIVED.wav...

Prints one score for each received file, in their order. All are mono, 16 bit, at the rate of what was received, which
the original is brought to. Unlike pesq_check.py it knows nothing of codecs: it is for comparing ways to hear the same.
"""

import sys
import wave
from pathlib import Path

import numpy as np
from pesq import pesq
from scipy.signal import correlate, resample_poly


def read(path):
    with wave.open(str(path)) as wav:
        if wav.getnchannels() != 1 or wav.getsampwidth() != 2 or wav.getframerate() not in (8000, 16000):
            sys.exit(f"{path}: must be mono, 16 bit, 8000 or 16000 Hz")
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(float), wav.getframerate()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    original, original_rate = read(Path(sys.argv[1]))
    for name in sys.argv[2:]:
        received, rate = read(Path(name))
        reference = original if rate == original_rate else resample_poly(original, rate, original_rate)
        if len(received) < len(reference):
            sys.exit(f"{name}: {len(received) / rate:.2f} s received of {len(reference) / rate:.2f} s")
        lag = int(np.argmax(correlate(received, reference, mode="valid")))
        print(f"{pesq(rate, reference, received[lag : lag + len(reference)], 'nb' if rate == 8000 else 'wb'):.3f}")


if __name__ == "__main__":
    main()
