# shellcheck shell=bash
# Tests source this for step, and for their own Docker engine: its own bridge and socket, no firewall rules,
# nothing left behind. They have a folder $work, which they remove at the end after stop_engine. start_engine may be
# used in a condition: it does not need set -e.

: "${work=}" # for shellcheck

step() { # NAME COMMAND…
    local name=$1 began
    shift
    began=$(date +%s%N)
    printf -- '--- %s\n' "$name"
    "$@"
    printf -- '--- %s: %d ms\n' "$name" $((($(date +%s%N) - began) / 1000000))
}

bridge='' bridge_ip='' engine_pid=''

# The command that comes with the daemon fits it; another may be newer, or lack plugins.
docker_path() {
    if [ -x /usr/bin/docker ]; then echo /usr/bin/docker; else command -v docker; fi
}

docker_command() { "$(docker_path)" "$@"; }

stop_engine() {
    if [ -n "$engine_pid" ]; then
        kill "$engine_pid" 2>/dev/null || true
        wait "$engine_pid" 2>/dev/null || true
        # A daemon that dies during its start leaves these mounted.
        umount "$work/engine/exec/netns/default" "$work/engine/data" 2>/dev/null || true
    fi
    [ -z "$bridge" ] || ip link del "$bridge" 2>/dev/null || true
}

install_engine() {
    [ -x /usr/sbin/dockerd ] && [ -x /bin/busybox ] && return
    if [ "${CI:-}" != true ] && [ "${TEST_INSTALL:-}" != 1 ] || ! command -v apt-get >/dev/null; then
        echo "no dockerd or busybox here; CI=true or TEST_INSTALL=1 installs docker.io and busybox-static by apt-get"
        return 1
    fi
    local packages=(docker.io busybox-static iproute2) package
    apt-get update -qq >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log"; return 1; }
    for package in docker-cli docker-buildx; do # in docker.io itself until Debian 13
        [ -z "$(apt-cache madison "$package" 2>/dev/null)" ] || packages+=("$package")
    done
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$work/apt.log" 2>&1 ||
        { tail -n 5 "$work/apt.log"; return 1; }
}

start_engine() {
    [ "$(id -u) $(uname -s)" = "0 Linux" ] || { echo "not root on Linux: no engine can be started"; return 1; }
    install_engine || return 1
    bridge=sl$$
    bridge_ip=172.$((16 + RANDOM % 16)).$((RANDOM % 256)).1
    ip link add "$bridge" type bridge && ip addr add "$bridge_ip/24" dev "$bridge" && ip link set "$bridge" up || return 1
    mkdir -p "$work/engine"
    export DOCKER_HOST=unix://$work/engine/docker.sock
    /usr/sbin/dockerd --data-root "$work/engine/data" --exec-root "$work/engine/exec" --pidfile "$work/engine/pid" -H "$DOCKER_HOST" \
        -b "$bridge" --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false >"$work/engine/log" 2>&1 &
    engine_pid=$!
    for _ in $(seq 60); do
        docker_command info >/dev/null 2>&1 && return
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 5 "$work/engine/log"
    return 1
}
