# From here on, all jobs of sltune are the same. Slurm sends USR1 to this script alone, before the time limit or before
# another job takes the nodes; scancel sends TERM to every process of the job.
set -uo pipefail

state=$folder/.slurm-$SLURM_JOB_ID
ending=
job=
rm -f "$state".*
# Newer than this file is what this start of the job has done; the server of the files has set the time of both.
touch "$state.begun"
trap 'rm -f "$state".*' EXIT

end_run() {
    [[ $ending == cancel ]] || ending=$1
    # The command may have begun a moment ago, and its process not be noted yet.
    for _ in {1..50}; do
        [[ -s $state.pid || -s $state.code ]] && break
        sleep 0.1
    done
    [[ -s $state.pid ]] && kill -INT "$(<"$state.pid")" 2>/dev/null
    [[ $1 == limit ]] && kill_late &
}

# What hangs must not take the time in which the job can be requeued.
kill_late() {
    sleep "$patience_s"
    [[ -s $state.pid ]] && kill -KILL -- "-$(<"$state.pid")"
    [[ -n $job ]] && kill -KILL -- "-$job"
} 2>/dev/null

trap 'end_run limit' USR1
trap 'end_run cancel' TERM INT

# Runs a command below this script, and notes its process and its exit code, which srun would mix with those of others.
# Job control (set -m) has it hear SIGINT, which commands in the background do not otherwise.
# shellcheck disable=SC2016
noting='set -m; "${@:2}" & set +m; echo $! >"$1.pid"; wait $!; code=$?; echo "$code" >"$1.code"; exit "$code"'

run() {
    rm -f "$state.pid" "$state.code"
    # In a group of its own, which can be killed as a whole.
    set -m
    if ((SLURM_JOB_NUM_NODES > 1)); then
        on_all_nodes "$@" &
    else
        "${container[@]}" bash -c "$noting" sltune "$state" "$@" &
    fi
    job=$!
    set +m
    # A signal interrupts the wait; the run may then take a while to end.
    while kill -0 "$job" 2>/dev/null; do wait "$job"; done
    wait "$job"
    code=$?
    [[ -s $state.code ]] && code=$(<"$state.code")
    job=
}

# Ray on every node, and the command on the first, where this script runs. `ray symmetric-run` ends with `ray stop`,
# which ends all of the user's Ray on a node: the job must have its nodes to itself.
on_all_nodes() {
    local head port
    head=$(scontrol getaddrs "$SLURMD_NODENAME" 2>/dev/null | sed -n '1s/^[^ ]*: \([0-9.]*\):[0-9]*$/\1/p')
    [[ -n $head ]] || head=$(hostname -I | cut -d ' ' -f 1)
    port=$((20000 + SLURM_JOB_ID % 12000))
    RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
    export RAY_TMPDIR=/tmp/sltune-ray-$SLURM_JOB_ID RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
    # The others end when the first has; they would wait a minute for its Ray to come back. A node whose Ray has died, or
    # did not start in time, joins again, unless the command is over.
    # shellcheck disable=SC2016
    exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --wait=20 --kill-on-bad-exit=0 "${container[@]}" bash -c \
        'mkdir -p "$RAY_TMPDIR"; trap '\''rm -rf "$RAY_TMPDIR"'\'' EXIT
         for _ in 1 2 3; do
             ray symmetric-run --num-cpus "$SLURM_CPUS_ON_NODE" --min-worker-port 0 --max-worker-port 0 "$@"
             code=$?
             [[ -e $0.code ]] && break
             sleep 5
         done
         exit "$code"' \
        "$state" --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
        -- bash -c "$noting" sltune "$state" "$@" --address "$head:$port"
}

start_or_resume() {
    if [[ -e $folder/run.json ]]; then run "${resume[@]}"; else run "${start[@]}"; fi
}

progressed() {
    # Where checkpoints lie in a bucket, nobody here can tell.
    [[ $checkpoints == *://* ]] && return
    local newer=(-newer "$state.begun" '(' -name 'record*.json' -o -name '*.pt' ')')
    [[ -n $(find "$folder" ${checkpoints:+"$checkpoints"} "${newer[@]}" -print -quit 2>/dev/null) ]]
}

start_or_resume
# Slurm may have given up a node on which the last start of this job still trains.
while ((code == 7 && ${SLURM_RESTART_COUNT:-0} > 0)) && [[ -z $ending ]]; do
    echo "the last start of this job still works on the run; another look in $look_s s" >&2
    sleep "$look_s" &
    wait $!
    [[ -z $ending ]] && start_or_resume
done

case $code in
0 | 2 | 3 | 4 | 5) exit "$code" ;;
esac
[[ $ending == limit ]] || exit "$code"
if ! progressed; then
    echo "no trial ended and no checkpoint was written before the time limit, and the next start would do no better:" \
        "submit with more --time, or give the verb fewer --checkpoint-minutes" >&2
    exit 1
fi
echo "the time limit is near; the job is requeued and goes on with the run" >&2
scontrol requeue "$SLURM_JOB_ID"
# Slurm ends this script; until it does, the job must not count as over.
sleep 60
exit "$code"
