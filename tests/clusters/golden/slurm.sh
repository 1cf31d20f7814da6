#!/usr/bin/env bash
# promptfront on Slurm: one job whose nodes form a Ray cluster for one study.
#
#     sbatch slurm.sh STUDY.yaml [options of `promptfront launch`]
#
# The study's output_dir must be on a file system that all nodes share. Two minutes before its time limit the job stops the
# study cleanly; submit it again to continue. Written by `promptfront cluster slurm`.
#SBATCH --job-name=promptfront
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=2
#SBATCH --partition=gpu
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=promptfront-%j.log
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: sbatch slurm.sh STUDY.yaml" >&2; exit 2; }

source /shared/venv/bin/activate

# Ray answers only with this token, which the nodes get in the job's environment.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

# Each job has its own port, since two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname -I | awk '{print $1}'):$port
steps=()

# Starts a Ray node on a Slurm node, in its own folder, since two jobs may share a machine.
start_node() {
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" ray start --block --disable-usage-stats \
    --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID" "$@" >"promptfront-$SLURM_JOB_ID-$node.log" 2>&1 &
  steps+=($!)
}

start_node "$head" --head --node-ip-address="${address%:*}" --port="$port" --include-dashboard=false
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n +2); do
  start_node "$node" --address="$address"
done

# Waits until every node is up.
for _ in $(seq 120); do
  alive=$(python - "$address" 2>/dev/null <<'PYTHON' || true
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
  )
  [ "$alive" = "$SLURM_JOB_NUM_NODES" ] && break
  sleep 1
done
[ "$alive" = "$SLURM_JOB_NUM_NODES" ] || { echo "Ray came up on ${alive:-no} of $SLURM_JOB_NUM_NODES nodes" >&2; exit 5; }

# The driver runs here. Passes Slurm's signal on to it and waits.
promptfront launch "$@" --address "$address" &
driver=$!
trap 'kill -TERM "$driver"' TERM
code=0
wait "$driver" || code=$?
if kill -0 "$driver" 2>/dev/null; then # the signal has ended the first wait
  code=0
  wait "$driver" || code=$?
fi
kill "${steps[@]}" 2>/dev/null || true
wait "${steps[@]}" 2>/dev/null || true
exit "$code"
