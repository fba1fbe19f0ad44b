#!/bin/bash
# Attaches to a busy redis-server for a long time and watches what that costs: neither leakline nor the memory that it shares
# with the target may grow while the target's own live set does not. Not part of the suite: it takes SECONDS_ALL (600).
#
# Usage: tests/real/soak.sh; LEAKLINE and SECONDS_ALL come from the environment. Exit code 0 where nothing grew.
set -u
LEAKLINE=${LEAKLINE:-target/release/leakline}
SECONDS_ALL=${SECONDS_ALL:-600}
PORT=7395
WORK=$(mktemp -d)
PIDS=()

finish() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$WORK"
}
trap finish EXIT

keep() { PIDS+=("$!"); }

# KiB of private memory of a process.
private() { awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"; }

# KiB of the memory that leakline $1 shares with its target.
shared() {
    local descriptor
    for descriptor in "/proc/$1/fd/"*; do
        [[ $(readlink "$descriptor") == /memfd:leakline* ]] && stat -L -c %b "$descriptor" | awk '{ print int($1 / 2) }' && return
    done
}

redis-server --port $PORT --save '' --appendonly no --daemonize no >"$WORK/redis.log" 2>&1 & keep
server=$!
sleep 1
# The same keys again and again, so that the live set is the same after the first rounds.
(while :; do redis-benchmark -p $PORT -q -n 20000 -c 4 -d 100 -r 20000 -t set,get,hset >/dev/null; redis-cli -p $PORT del mylist; sleep 0.3; done) >/dev/null 2>&1 & keep
sleep 30
"$LEAKLINE" attach "$server" --json --expire 5 --for "$SECONDS_ALL" >"$WORK/out.json" 2>"$WORK/err" &
leakline=$!
keep
echo 'seconds  leakline RssAnon KiB  shared KiB  target RssAnon KiB'
began=$SECONDS first=
while sleep $((SECONDS_ALL / 20)); kill -0 $leakline 2>/dev/null; do
    row=($((SECONDS - began)) "$(private $leakline)" "$(shared $leakline)" "$(private $server)")
    [[ -n ${row[1]} && -n ${row[2]} ]] || break
    printf '%7s  %20s  %10s  %18s\n' "${row[@]}"
    # The first tenth fills tables; what comes later has to stay.
    ((${row[0]} * 10 < SECONDS_ALL)) || first=${first:-${row[*]}}
    last=${row[*]}
done
wait $leakline
tail -n 1 "$WORK/out.json" | python3 -c '
import json, sys
first, last = ([int(word) for word in words.split()] for words in sys.argv[1:3])
end = json.loads(sys.stdin.read())
# Frees of blocks that are not in the sample are not counted.
figures = [f"{end['"'"'coverage'"'"'][kind]} {kind}" for kind in ("allocations", "frees") if isinstance(end["coverage"][kind], int)]
print(", ".join(figures), "; losses", {k: v for k, v in end["losses"].items() if v} or "none")
own, shared, target = (last[i] - first[i] for i in (1, 2, 3))
print(f"from {first[0]} s to {last[0]} s: leakline {own:+} KiB, shared memory {shared:+} KiB, target {target:+} KiB")
# An entry takes no more than the block that it stands for.
sys.exit(own > 2048 or shared > max(target, 0) + 2048)
' "$first" "$last"
code=$?
redis-cli -p $PORT ping | grep -q PONG || { echo 'redis-server does not answer'; code=1; }
exit $code
