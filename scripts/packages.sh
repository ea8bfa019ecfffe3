#!/usr/bin/env bash
# Installs the Debian packages that the tests and the demo drive, if any is missing.
set -euo pipefail

packages=(
    gcc cmake               # SQLite and libopus are compiled from their bundled source
    sip-tester              # SIPp: registrar, callees and callers nobody here wrote
    kamailio                # digest SHA-256 from a registrar nobody here wrote
    baresip-core            # phones that register, call and are called
    chromium                # a browser whose user agent registers over WSS
    nodejs npm              # make one script of that user agent
    pocketsphinx-testdata   # natural speech for PESQ
    opus-tools              # the reference encoder and decoder of Opus
    asterisk-core-sounds-{en,es,fr,it,ru}-wav   # two hours of speech in which no key is pressed
    asterisk-prompt-{it-menardi-wav,es-co,fr-armelle} asterisk-moh-opsound-wav   # other recorded voices, and music on hold
    espeak-ng flite festival   # voices of people and machines that answer
    festvox-{kdlpc8k,italp16k,itapc16k,ru,ca-ona-hts}
    festvox-{czech-dita,czech-krb,czech-machac,czech-ph,suopuhe-lj,suopuhe-mv}
    sox multimon-ng         # tones that nobody here made, and a detector of them that nobody here wrote
    bind9                   # DNS zones from a name server nobody here wrote
    valgrind                # counts instructions
    tshark                  # reads our capture files
    python3 python3-venv python3-dev   # the checks of PESQ and of number words run in virtual environments
    g++ pkg-config libicu-dev          # PyICU is compiled: number words from somebody else
)

missing=()
for package in "${packages[@]}"; do
    # Node's own packages have npm in nodejs.
    [ "$package" = npm ] && command -v npm >/dev/null && continue
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing: ${missing[*]}"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
