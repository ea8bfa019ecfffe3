#!/bin/sh
# Makes the audio files of this folder anew: a tone of 1 kHz at 0.4 of full scale, 1.25 s long, by the encoders of others
# (Debian: sox flac vorbis-tools opus-tools). They are kept, so that the tests need none of these.
set -eu
cd "$(dirname "$0")"
tone() { # rate bits channels factor of the second channel
    sox -n -r "$1" -b "$2" -c 1 left.wav synth 1.25 sine 1000 vol 0.4
    case $3 in
    1) mv left.wav tone.wav ;;
    2) sox left.wav right.wav vol "$4" && sox -M left.wav right.wav tone.wav && rm left.wav right.wav ;;
    esac
}
tone 44100 16 2 1 && oggenc -Q -q 4 -s 1 -o vorbis-44100-stereo.ogg tone.wav
tone 8000 16 1 && oggenc -Q -q 6 -s 2 -o vorbis-8000-mono.ogg tone.wav
tone 48000 16 1 && opusenc --quiet --bitrate 48 --serial 3 tone.wav opus-48000-mono.opus
tone 44100 16 2 1 && opusenc --quiet --bitrate 96 --serial 4 tone.wav opus-44100-stereo.opus
tone 16000 16 1 && opusenc --quiet --bitrate 24 --framesize 60 --serial 5 tone.wav opus-16000-60ms.opus
tone 44100 16 2 -0.9 && flac -s -f -8 -o flac-44100-opposite.flac tone.wav
tone 96000 24 1 && flac -s -f -8 -o flac-96000-24bit.flac tone.wav
tone 16000 16 1 && flac -s -f -8 --ogg --serial-number=6 -o flac-16000.oga tone.wav
sox -M tone.wav tone.wav tone.wav tone.wav tone.wav tone.wav six.wav trim 0 0.1
opusenc --quiet --serial 7 six.wav opus-surround.opus
rm tone.wav six.wav
