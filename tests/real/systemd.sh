#!/bin/bash
# Installs the service under a real systemd, which runs as the first process of its own namespaces: nothing of this machine is
# changed but a control group, which goes away again. Not part of the suite: it needs root, systemd and the hierarchy `name=systemd`
# of version 1 (or version 2), and takes a minute. Prints one line a step and ends with 1 where one fails.
#
# Usage: tests/real/systemd.sh; LEAKLINE comes from the environment.
set -u
LEAKLINE=${LEAKLINE:-target/release/leakline}
# The service does not see /tmp, where the work tree may be.
PLACE=$(mktemp -d /opt/leakline-test.XXXXXX)
chmod 755 "$PLACE"
cp "$LEAKLINE" "$PLACE/leakline" && LEAKLINE="$PLACE/leakline"

groups() { find /sys/fs/cgroup -mindepth 1 -type d | sort; }
GROUPS_BEFORE=$(groups)

finish() {
    kill -KILL "$OUTER" 2>/dev/null
    wait 2>/dev/null
    sleep 1
    comm -13 <(echo "$GROUPS_BEFORE") <(groups) | sort -r | xargs -r rmdir 2>/dev/null
    rm -rf "$PLACE"
}
trap finish EXIT

cat >"$PLACE/first" <<'END'
mount --make-rprivate /
for folder in /run /var/lib /etc/systemd/system; do mount -t tmpfs tmpfs "$folder"; done
printf '[Unit]\nRequires=sysinit.target\nDefaultDependencies=no\n' >/etc/systemd/system/only.target
# Services of the machine that must not run a second time.
for path in /lib/systemd/system/*.service; do
    case $path in *@.service) ;; *) ln -s /dev/null "/etc/systemd/system/${path##*/}" ;; esac
done
export container=private
exec /lib/systemd/systemd --system --unit=only.target --log-target=null --show-status=false
END
unshare --pid --fork --mount --mount-proc --cgroup --kill-child=KILL bash "$PLACE/first" &
OUTER=$!

inside() { nsenter -t "$FIRST" -m -p "$@"; }

# Says how a step went; waits up to a minute for it.
step() {
    local name=$1
    shift
    for _ in $(seq 60); do
        FIRST=$(pgrep -P "$OUTER" | head -1)
        if [ -n "$FIRST" ] && "$@" >"$PLACE/said" 2>&1; then
            echo "ok      $name"
            return
        fi
        sleep 1
    done
    echo "FAILED  $name: $(tail -3 "$PLACE/said")"
    exit 1
}

main_pid() { inside systemctl show -p MainPID --value leakline-boot.service; }
restarted() { [ "$(main_pid)" != "$BEFORE" ] && [ "$(main_pid)" != 0 ] && inside "$LEAKLINE" status; }
samples() { inside "$LEAKLINE" status --json | grep -q '"samples":[1-9]'; }
sees_others() { inside "$LEAKLINE" export --json | tail -1 | grep -qE '"user":"nobody".{0,800}"descriptors":[0-9]'; }

step "systemd is at work" inside systemctl is-active sysinit.target
step "boot install" inside "$LEAKLINE" boot install
step "the service is active" inside systemctl is-active leakline-boot.service
step "it records" samples
inside setpriv --reuid=nobody --clear-groups sleep 300 &
step "it sees the descriptors of other users" sees_others
BEFORE=$(main_pid)
inside kill -KILL "$BEFORE"
step "it is started again after a kill" restarted
step "boot uninstall" inside "$LEAKLINE" boot uninstall
step "the recording is sealed" inside sh -c 'ls /var/lib/leakline/*/*.segment && ! ls /var/lib/leakline/*/*.log'
step "and can be read" inside "$LEAKLINE" export --json
