#!/usr/bin/env bash
# usage: run.sh [content]      what `make container-test` runs
#
# Builds the image with `make build`, checks its content, and runs it with a real Postgres and a fake SQS.
# It needs Go and make, and a Docker engine: as root on Debian it starts its own if no engine has or can
# pull the builder's image, and installs it if CI=true or TEST_INSTALL=1. If no registry can be reached,
# the builder is a stand-in with this machine's Go. Without an engine, with NO_DOCKER=1 or with the
# argument content, it builds and checks what the image would hold. A line with three stars at the end
# says which it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=test/engine.sh
. test/engine.sh

go_version=$(sed -n 's/^ARG GO_VERSION=//p' Dockerfile)
builder=golang:$go_version-trixie
mode='' engine='' stand_in=''
readonly image=sluice-container-test-$$ version=v0.0.0-test

content() {
    TEST_CONTAINER_CONTENT=1 go test -count=1 -v -run '^TestContent$' ./test/container
}

# What the Dockerfile needs of the builder: a shell, make, Go and the CA certificates. The modules come
# from this machine's cache or proxy. It exists in our own engine only, under the name of the real one.
stand_in_builder() {
    local files=$work/builder part
    mkdir -p "$files"/{bin,tmp,etc/ssl/certs,usr/local/go}
    chmod 1777 "$files/tmp"
    cp /bin/busybox "$files/bin/"
    ln -s busybox "$files/bin/sh"
    for part in $(command -v make) $(ldd "$(command -v make)" | grep -o '/[^ ]*'); do
        mkdir -p "$files$(dirname "$part")"
        cp -L "$part" "$files$part"
    done
    cp -L /etc/ssl/certs/ca-certificates.crt "$files/etc/ssl/certs/"
    for part in bin pkg src go.env VERSION; do cp -r "$(go env GOROOT)/$part" "$files/usr/local/go/"; done
    GOMODCACHE=$work/modules GOFLAGS=-modcacherw GOPROXY=file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY) \
        go list -deps ./cmd/sluice >/dev/null
    mv "$work/modules/cache/download" "$files/modules"
    tar -C "$files" -c . | docker_command import -c 'ENV PATH=/usr/local/go/bin:/usr/bin:/bin' -c 'ENV GOPATH=/go' -c 'ENV GOTOOLCHAIN=local' \
        -c 'ENV GOPROXY=file:///modules' -c 'ENV GOSUMDB=off' - "$builder" >/dev/null # go.sum has the sums
    rm -rf "$files" "$work/modules"
    mode="a Docker engine of its own, with a STAND-IN for $builder (no registry could be reached): this machine's $(go env GOVERSION)"
}

has_builder() { # DOCKER
    "$1" image inspect "$builder" >/dev/null 2>&1 || timeout 300 "$1" pull --quiet "$builder" >/dev/null 2>&1
}

# An existing engine never gets the stand-in, which later builds would take for the real image.
find_engine() {
    [ -z "${NO_DOCKER:-}" ] || { echo "NO_DOCKER is set"; return; }
    if docker info >/dev/null 2>&1 && has_builder docker; then
        engine=docker mode="the engine of this machine, with $builder"
    elif start_engine; then
        engine=$(docker_path) mode="a Docker engine of its own, with $builder"
        has_builder "$engine" || stand_in=yes
    fi
}

build_image() {
    make build ENGINE="$engine" IMAGE="$image" VERSION="$version" REVISION=0123456789abcdef SOURCE=https://example.com/sluice
}

test_image() {
    TEST_CONTAINER_ENGINE=$engine TEST_CONTAINER_IMAGE=$image TEST_CONTAINER_VERSION=$version \
        go test -count=1 -v -timeout 10m -run '^TestImage$' ./test/container
}

# ----------------------------------------------------------------

work=$(mktemp -d)
clean_up() {
    [ -z "$engine" ] || "$engine" image rm --force "$image:$version" "$image:latest" >/dev/null 2>&1 || true
    stop_engine
    rm -rf "$work"
}
trap clean_up EXIT

step "Dockerfile, .dockerignore, compose.yaml" go test -count=1 ./test/container
step "what the image holds, without an engine" content
if [ "${1:-}" = content ]; then
    echo "*** THE IMAGE WAS NOT BUILT: what it would hold was built from the files that the build would get, and checked"
    exit 0
fi
step "a Docker engine" find_engine
if [ -z "$engine" ]; then
    echo "*** THE IMAGE WAS NOT BUILT AND NOT RUN: there is no Docker engine. What it would hold was built and checked."
    exit 0
fi
[ -z "$stand_in" ] || step "a stand-in for $builder" stand_in_builder
step "make build" build_image
step "the image, and containers of it" test_image
echo "*** THE IMAGE WAS BUILT AND RUN by $mode"
