# Shared by the scripts of this folder; sourced, never run.
#
# Environment:
#   ONECARD_CACHE   where tools are kept (default: $XDG_CACHE_HOME/onecard, else
#                   $HOME/.cache/onecard). Never inside the repository.

# Versions are pinned here and in tests/interop/requirements.txt, nowhere else.
BUF_VERSION=1.75.0
CARGO_DENY_VERSION=0.20.2
CARGO_MACHETE_VERSION=0.9.2

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${ONECARD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/onecard}
BUF=$CACHE/buf-$BUF_VERSION/node_modules/.bin/buf
REQUIREMENTS=$TOP/tests/interop/requirements.txt

# One environment a state of the requirements file, so that two checkouts with
# different requirements do not undo each other.
venv() {
    echo "$CACHE/python-$(cksum <"$REQUIREMENTS" | cut -d' ' -f1)"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Whether `cargo NAME` is there in VERSION: on the path or in the cache.
have_cargo_tool() {
    local name=$1 version=$2 binary
    for binary in "$CACHE/cargo/bin/cargo-$name" "cargo-$name"; do
        if [[ $("$binary" --version 2>/dev/null) == *"$version"* ]]; then
            return 0
        fi
    done
    return 1
}

export PATH=$CACHE/cargo/bin:$PATH
