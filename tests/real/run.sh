#!/bin/bash
# Attaches to real programs under load: for SECONDS at a stretch, then ROUNDS times briefly. Not part of the suite: the
# programs come from packages (redis-server redis-tools nginx-light apache2-utils postgresql python3 nodejs emacs-nox) and the
# load takes minutes. Prints one line a program: what was hooked and counted, how long it was stopped, and whether it lived.
#
# Usage: tests/real/run.sh [PROGRAM…]; LEAKLINE, SECONDS_EACH (60) and ROUNDS (100) come from the environment.
set -u
LEAKLINE=${LEAKLINE:-target/release/leakline}
SECONDS_EACH=${SECONDS_EACH:-60}
ROUNDS=${ROUNDS:-100}
WORK=$(mktemp -d)
chmod 755 "$WORK"
PIDS=()

finish() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$WORK"
}
trap finish EXIT

keep() { PIDS+=("$!"); }

# One figure of the last JSON document.
figure() { tail -n 1 "$1" | python3 -c "import json,sys; d=json.loads(sys.stdin.read()); print($2)"; }

# What an attach must leave as it was: a hash of every mapping with code of a file, and the signal handlers. Given what it was
# before, it looks at the same mappings: a program may load more by itself.
appearance() {
    python3 - "$@" <<'CODE'
import hashlib, sys
pid, known = sys.argv[1], sys.argv[2:]
with open(f"/proc/{pid}/mem", "rb") as memory:
    for line in open(f"/proc/{pid}/maps"):
        words = line.split()
        if words[1] == "r-xp" and words[-1].startswith("/"):
            start, end = (int(word, 16) for word in words[0].split("-"))
            if known and words[0] not in known[0]:
                continue
            memory.seek(start)
            print(words[0], hashlib.sha256(line.encode() + memory.read(end - start)).hexdigest())
handlers = [line for line in open(f"/proc/{pid}/status") if line.startswith(("SigIgn", "SigCgt", "TracerPid"))]
print(*"".join(handlers).split())
CODE
}

# NAME PID PROBE: the program is under load already; PROBE answers while it is well.
judge() {
    local name=$1 pid=$2 probe=$3 out="$WORK/$1.json" failed=0 round before after kept
    before=$(appearance "$pid")
    if ! "$LEAKLINE" attach "$pid" --json --expire 5 --for "$SECONDS_EACH" >"$out" 2>"$WORK/$name.err" && [ ! -s "$out" ]; then
        echo "$name: NOT ATTACHED: $(head -n 1 "$WORK/$name.err")"
        return
    fi
    for ((round = 0; round < ROUNDS; round++)); do
        "$LEAKLINE" attach "$pid" --json --for 0.05 >"$WORK/round.json" 2>"$WORK/round.err"
        [ -s "$WORK/round.json" ] && [ ! -s "$WORK/round.err" ] && continue
        failed=$((failed + 1))
        echo "$name, round $round: $(head -n 1 "$WORK/round.err")"
    done
    after=$(grep -c leakline "/proc/$pid/maps" 2>/dev/null)
    [ "$before" = "$(appearance "$pid" "$before" 2>/dev/null)" ] && kept='as before' || kept=CHANGED
    printf '%s: %s' "$name" "$(figure "$out" '"%s; %d functions, not hooked: %s; %d allocations; frees: %s, of older: %s; losses %s; stopped %.2f and %.2f ms; %d sites" % (
        d["target"]["allocator"], len(d["target"]["functions"]), d["target"].get("unhooked") or "none",
        d["coverage"]["allocations"], d["coverage"]["frees"], d["coverage"]["frees_of_older"],
        {k: v for k, v in d["losses"].items() if v} or "none", 1e3 * d["target"]["attach_stop_seconds"],
        1e3 * d["target"]["detach_stop_seconds"] if isinstance(d["target"]["detach_stop_seconds"], float) else -1,
        d["totals"]["sites_seen"])')"
    if eval "$probe" >"$WORK/probe" 2>&1; then printf '; lives'; else printf '; DOES NOT ANSWER: %s' "$(head -c 200 "$WORK/probe")"; fi
    printf '; %d of %d rounds failed; mappings left: %s; code and handlers: %s\n' "$failed" "$ROUNDS" "${after:-gone}" "$kept"
}

run_redis() {
    redis-server --port 7399 --save '' --appendonly no --daemonize no >"$WORK/redis.log" 2>&1 & keep
    local server=$!
    sleep 1
    redis-benchmark -p 7399 -l -q -n 100000 -c 20 -d 64 -r 100000 -t set,get,lpush,lpop,hset >"$WORK/redis.load" 2>&1 & keep
    judge redis-server "$server" 'redis-cli -p 7399 ping | grep -q PONG'
    kill "$!" "$server" 2>/dev/null
}

run_nginx() {
    mkdir -p "$WORK/html"
    head -c 20000 /dev/zero >"$WORK/html/index.html"
    cat >"$WORK/nginx.conf" <<CONF
daemon off; master_process on; worker_processes 1; pid $WORK/nginx.pid; error_log $WORK/nginx.log;
events { worker_connections 256; }
http { access_log off; gzip on; server { listen 127.0.0.1:7398; root $WORK/html; } }
CONF
    nginx -c "$WORK/nginx.conf" >/dev/null 2>&1 & keep
    local master=$!
    sleep 1
    (while :; do ab -q -n 20000 -c 10 -H 'Accept-Encoding: gzip' http://127.0.0.1:7398/index.html; done) >/dev/null 2>&1 & keep
    local load=$!
    judge nginx-worker "$(pgrep -P "$master" | head -n 1)" 'ab -q -n 10 http://127.0.0.1:7398/index.html'
    kill "$load" "$master" 2>/dev/null
}

run_postgres() {
    local bin as='setpriv --reuid 65534 --regid 65534 --clear-groups'
    bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
    mkdir "$WORK/pg" && chown 65534:65534 "$WORK/pg"
    $as "$bin/initdb" -D "$WORK/pg/data" -A trust -U postgres >"$WORK/initdb.log" 2>&1
    $as "$bin/postgres" -D "$WORK/pg/data" -p 7397 -k "$WORK/pg" -c listen_addresses= >"$WORK/pg.log" 2>&1 & keep
    local server=$!
    sleep 3
    echo "select pg_sleep(0.2); do \$\$ begin for i in 1..100000000 loop perform count(*), max(md5(g::text)) from generate_series(1, 300) g; end loop; end \$\$;" >"$WORK/load.sql"
    "$bin/psql" -h "$WORK/pg" -p 7397 -U postgres -f "$WORK/load.sql" >/dev/null 2>&1 & keep
    local load=$!
    sleep 1
    local backend
    backend=$("$bin/psql" -h "$WORK/pg" -p 7397 -U postgres -Atc "select pid from pg_stat_activity where query like '%perform%' and pid <> pg_backend_pid() limit 1")
    judge postgres-backend "$backend" "$bin/psql -h $WORK/pg -p 7397 -U postgres -Atc 'select 1' && kill -0 $backend"
    # The backend works on without its client; only a fast shutdown ends it.
    kill "$load"
    kill -INT "$server"
}

run_python() {
    cat >"$WORK/load.py" <<'CODE'
import json, threading, time
def work():
    kept = []
    while True:
        data = {str(i): [i] * 20 for i in range(500)}
        kept.append(json.dumps(data))
        if len(kept) > 50:
            kept.clear()
        json.loads(json.dumps(data))
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(100000)
CODE
    $(readlink -f "$(command -v python3.11 || command -v python3)") "$WORK/load.py" & keep
    local server=$!
    sleep 1
    server=$(pgrep -nf "$WORK/load.py")
    judge python3 "$server" "kill -0 $server"
    kill "$server" 2>/dev/null
}

run_node() {
    cat >"$WORK/load.js" <<'CODE'
const http = require('http'), zlib = require('zlib');
http.createServer((q, r) => zlib.gzip(JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ i, s: 'x' + i }))), (e, b) => r.end(b))).listen(7396);
CODE
    node "$WORK/load.js" & keep
    local server=$!
    sleep 1
    (while :; do ab -q -n 5000 -c 8 http://127.0.0.1:7396/; done) >/dev/null 2>&1 & keep
    local load=$!
    judge node "$server" 'ab -q -n 10 http://127.0.0.1:7396/'
    kill "$load" "$server" 2>/dev/null
}

run_emacs() {
    HOME=$WORK emacs --fg-daemon=reach -Q >"$WORK/emacs.log" 2>&1 & keep
    local server=$!
    sleep 3
    (while :; do HOME=$WORK emacsclient -s reach -e '(with-temp-buffer (dotimes (i 20000) (insert (format "%d " i))) (sort-lines nil (point-min) (point-max)) (buffer-size))'; done) >/dev/null 2>&1 & keep
    local load=$!
    judge emacs-daemon "$server" "HOME=$WORK timeout 20 emacsclient -s reach -e '(+ 1 2)' | grep -q 3"
    kill "$load" "$server" 2>/dev/null
}

for program in "${@:-redis nginx postgres python node emacs}"; do
    for one in $program; do "run_$one"; done
done
