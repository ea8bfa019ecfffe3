"""Speech as a narrowband peer sends it: the original at 8 kHz, by SciPy's resampling and not the engine's.

    pesq_narrow.py ORIGINAL.wav NARROW.wav

Both are mono, 16 bit.
"""

import sys
import wave
from pathlib import Path

from pesq_check import read_wav, resampled


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    narrow = resampled(read_wav(Path(sys.argv[1]), 16000), 16000, 8000)
    with wave.open(sys.argv[2], "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", None))
        wav.writeframes(narrow.astype("<i2").tobytes())


if __name__ == "__main__":
    main()
