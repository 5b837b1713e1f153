#!/usr/bin/env bash
# One command for the day a GPU is there: it checks the kernels and the machine, and measures what docs call "not yet measured".
#
#   benchmarks/gpu_day.sh wheels FOLDER                        where packages can be had: fetch what the GPU's image lacks
#   benchmarks/gpu_day.sh [--wheels FOLDER] [--out FOLDER]     on the GPU; ten minutes
#
# Each part writes FOLDER/gpu-PART.md (benchmarks/results without --out), with its command, the versions and the GPU. A part
# whose file is there is not done again, so that the command goes on where it stopped. A part that fails or takes too long
# leaves gpu-PART.failed.md, and the next ones follow; the exit code is then 1. Parts that do not fit into --minutes are left
# for the next call (exit code 3).
#
# The image needs Python ≥ 3.11 with torch, triton, numba, pyarrow, scikit-learn and pytest. FOLDER brings pydantic and the
# libraries to compare with. ray, optuna and tonic are not needed. --device cpu --smoke tries the script in two minutes.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

PYTHON="${PYTHON:-python3}"
PACKAGES=(pydantic pydantic-core annotated-types typing-inspection typing-extensions)
IMAGE=(--python-version 3.12 --implementation cp --only-binary=:all: --platform manylinux_2_28_x86_64
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)

fetch_wheels() {
    mkdir -p "$1"
    # Their versions belong together; of the libraries to compare with, Norse has no such wheel.
    "$PYTHON" -m pip download --quiet --no-deps "${IMAGE[@]}" --constraint constraints.txt --dest "$1" "${PACKAGES[@]}" &&
        "$PYTHON" -m pip download --quiet --no-deps "${IMAGE[@]}" --dest "$1" --requirement <(grep -v norse benchmarks/requirements.txt) &&
        du --summarize --human-readable "$1"
}

say() { echo "gpu_day: $*" >&2; }

stop() {
    say "$*"
    exit 2
}

device=cuda out=benchmarks/results wheels="" minutes=10 smoke=""
if [ "${1:-}" = wheels ]; then
    [ -n "${2:-}" ] || stop "wheels needs the folder to fetch them to"
    fetch_wheels "$2"
    exit
fi
while [ $# -gt 0 ]; do
    case "$1" in
        --smoke) smoke=--smoke && shift && continue ;;
        --device | --out | --wheels | --minutes) [ $# -gt 1 ] || stop "$1 needs a value" ;;
        *) stop "unknown argument $1; the head of this file says how it is called" ;;
    esac
    declare "${1#--}=$2"
    shift 2
done
[[ "$device" =~ ^(cuda|cpu)$ ]] || stop "--device is cuda or cpu, not $device"
[[ "$minutes" =~ ^[1-9][0-9]*$ ]] || stop "--minutes must be a whole number, not $minutes"
[ -z "$wheels" ] || [ -d "$wheels" ] || stop "there is no folder $wheels; \"benchmarks/gpu_day.sh wheels $wheels\" fills it"
mkdir -p "$out" || exit 2

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if [ -n "$wheels" ]; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" "$wheels"/*.whl || exit 2
    PYTHONPATH="$PYTHONPATH:$scratch/site"
fi
if [ "$device" = cuda ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || stop "torch sees no GPU; --device cpu tries the script"
fi

began=$SECONDS failed=0 left=0

# part NAME SECONDS COMMAND...: keep what a command prints as gpu-NAME.md, unless it was kept before.
part() {
    local name=$1 limit=$2 remaining=$((60 * minutes - (SECONDS - began)))
    shift 2
    local file="$out/gpu-$name.md"
    if [ -e "$file" ] || [ -e "benchmarks/results/gpu-$name.md" ]; then
        say "$name: already there"
        return
    fi
    if [ "$remaining" -lt $((limit / 3)) ]; then
        say "$name: left for the next call; $remaining s are too few"
        left=1
        return
    fi
    say "$name: $*"
    local since=$SECONDS
    if timeout --kill-after 10 $((limit < remaining ? limit : remaining)) "$@" >"$scratch/$name" 2>"$scratch/$name.err"; then
        rm -f "$out/gpu-$name.failed.md"
        # Of no interest elsewhere is where this tree lies.
        sed "s#$PWD#.#g" "$scratch/$name" >"$file.new" && mv "$file.new" "$file" || exit 2
    else
        local code=$?
        failed=1
        {
            echo "\`$*\`: exit code $code (124: more than the time it had)"
            cat "$scratch/$name"
            tail --lines 40 "$scratch/$name.err"
        } >"$out/gpu-$name.failed.md" || exit 2
        say "$name: FAILED with exit code $code; see $out/gpu-$name.failed.md"
    fi
    say "$name: $((SECONDS - since)) s"
}

# The signers of the full set, made once for all parts.
data="${TMPDIR:-/tmp}/sltune-gpu-day${smoke:+-smoke}"
make_data() {
    [ -e "$data/data/manifest.json" ] && return
    rm -rf "$data"
    PYTHONPATH="benchmarks:$PYTHONPATH" "$PYTHON" -c "
import sys
from pathlib import Path
from datasets import synthetic_data, trivial_data
folder = Path(sys.argv[1])
trivial_data(folder, 128) if sys.argv[2] else synthetic_data(folder, 59)
" "$data" "$smoke"
}

# Processes of libraries take some seconds to start, so that one round has to do.
peers=(--against spikingjelly --shapes "8x17,4x50,2x145" --rounds 1 --steps 10 --warm-up 3 --limit-s 40)
packed=(--epochs 4 --together "1,2,4,8") whole=(--epochs 40 --together 4) best=(--epochs 12 --together 4)
timed=(--steps 10)
if [ -n "$smoke" ]; then
    peers=() timed=() packed=() whole=() best=()
fi
packing=("$PYTHON" benchmarks/packing.py --device "$device" --data "$data/data" ${smoke:+"$smoke"})

part correctness 150 "$PYTHON" benchmarks/correctness.py --device "$device" ${smoke:+"$smoke"}
# It finds that ray is missing (exit code 8), which nothing here needs.
part doctor 60 bash -c '"$@" || [ $? = 8 ]' doctor "$PYTHON" -m sltune doctor search_spaces/best.toml
make_data || stop "the synthetic recordings could not be made"
part best 120 "${packing[@]}" --space search_spaces/best.toml "${best[@]}"
part optimized 120 "${packing[@]}" "${whole[@]}"
part packing 150 "${packing[@]}" "${packed[@]}"
part kernels 60 "$PYTHON" benchmarks/kernels.py --device "$device" ${smoke:+"$smoke"} "${timed[@]}"
part stbp 180 "$PYTHON" benchmarks/stbp.py --device "$device" ${smoke:+"$smoke"} "${peers[@]}"
part deep 150 "$PYTHON" benchmarks/deep.py --device "$device" ${smoke:+"$smoke"} "${peers[@]}"

say "$((SECONDS - began)) s in total; results are in $out"
[ "$failed" = 0 ] || exit 1
[ "$left" = 0 ] || exit 3
