#!/bin/sh
# Install a Debian package if this user can; otherwise name it and fail.
# Usage: tools/apt.sh PACKAGE WHY
set -e
if ! command -v apt-get >/dev/null; then
    echo "$2: please install the system package '$1' (or what your system calls it)." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "$2: please run 'sudo apt-get install $1' and try again." >&2
    exit 1
fi
echo "Installing the system package $1 ($2)"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends "$1" >/dev/null
