#!/usr/bin/env bash
# A Ray cluster of 2 nodes on this machine, each with 1 CPU, with its own ports and folder.
# It listens only on 127.0.0.1 and answers only with the token. Written by `promptfront cluster local`.
#
#     bash local.sh up      starts it and says how to use it
#     bash local.sh down    stops it
#
# It uses the first `ray` and `python` on PATH: activate promptfront's environment first.
set -euo pipefail

folder='~/.promptfront'
folder=${folder/#\~/$HOME}
nodes=2
cpus=1
port=6400
dashboard=8265
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token"
export RAY_USAGE_STATS_ENABLED=0

# Starts a node in the background and stores its process id. Each node uses ten ports and a range for its workers.
start_node() {
  local number=$1
  shift
  local base=$((port + 100 * number))
  setsid ray start --block --disable-usage-stats --node-ip-address=127.0.0.1 --num-cpus="$cpus" \
    --temp-dir="$folder/node$number" --node-manager-port=$((base + 1)) --object-manager-port=$((base + 2)) \
    --dashboard-agent-listen-port=$((base + 3)) --dashboard-agent-grpc-port=$((base + 4)) \
    --runtime-env-agent-port=$((base + 5)) --metrics-export-port=$((base + 6)) \
    --min-worker-port=$((base + 10)) --max-worker-port=$((base + 99)) \
    "$@" >"$folder/node$number.log" 2>&1 &
  echo $! >"$folder/node$number.pid"
}

nodes_alive() {
  python - "$port" <<'PYTHON'
import sys
import ray
ray.init(address=f"127.0.0.1:{sys.argv[1]}", logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
}

# Stops the nodes that this script started, the head last, and no other Ray on this machine.
down() {
  local number pid
  for ((number = nodes - 1; number >= 0; number--)); do
    pid=$(cat "$folder/node$number.pid" 2>/dev/null) || continue
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 -- "-$pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -f "$folder/node$number.pid"
  done
}

up() {
  (umask 077 && mkdir -p "$folder")
  [ -O "$folder" ] || { echo "$folder belongs to another user: choose another with --set folder=..." >&2; exit 1; }
  if [ -e "$folder/node0.pid" ] && kill -0 "$(cat "$folder/node0.pid")" 2>/dev/null; then
    echo "The cluster is already running; stop it first: bash $0 down" >&2
    exit 1
  fi
  (umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$folder/token")
  # Jobs run the `python` that is on PATH here.
  start_node 0 --head --port="$port" --dashboard-host=127.0.0.1 --dashboard-port="$dashboard" --include-dashboard=true
  for _ in $(seq 60); do
    ray health-check --address "127.0.0.1:$port" >/dev/null 2>&1 && break
    sleep 1
  done
  local number
  for ((number = 1; number < nodes; number++)); do
    start_node "$number" --address="127.0.0.1:$port"
  done
  for _ in $(seq 60); do
    if [ "$(nodes_alive 2>/dev/null)" = "$nodes" ] && python -c "
import socket
socket.create_connection(('127.0.0.1', $dashboard), 1).close()" 2>/dev/null; then
      echo "$nodes nodes are running. To use them, in every shell:"
      echo
      echo "    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token"
      echo "    promptfront launch STUDY.yaml --address http://127.0.0.1:$dashboard --set output_dir=/an/absolute/path"
      return
    fi
    sleep 1
  done
  echo "The nodes did not start. The last lines of their logs:" >&2
  tail -n 5 "$folder"/node*.log >&2
  down
  exit 1
}

case "${1:-}" in
  up | down) "$1" ;;
  *) echo "usage: bash $0 up | down" >&2 && exit 2 ;;
esac
