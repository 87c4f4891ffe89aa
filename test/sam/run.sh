#!/usr/bin/env bash
# usage: run.sh [tools]      what `make sam-test` runs; with the argument tools it installs the SAM CLI and cfn-lint only
#
# It checks the template's rules, the linters and SAM's transform. In a clone it runs `sam build`, `sam
# local invoke` and `sam local start-lambda`, as users type them, with a real Postgres. It needs Go, make,
# git and Python 3.10. As root on Debian it starts its own Docker engine if there is none, and installs it
# if CI=true or TEST_INSTALL=1. Without an engine, the emulator that ships with SAM runs the functions on
# this machine. Lines with three stars at the end say which it was, and what was built and not run.
#
#   NO_DOCKER=1 run.sh      always uses the emulator
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
# shellcheck source=test/engine.sh
. test/engine.sh

venv=$root/.local/sam
checkov=$root/.local/checkov
case $(uname -m) in
x86_64 | amd64) host=x86_64 other=arm64 ;;
aarch64 | arm64) host=arm64 other=x86_64 ;;
*) echo "Lambda has no functions for $(uname -m)" >&2; exit 1 ;;
esac

export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1
# sam local passes these variables of the shell to the function.
unset AWS_PROFILE DATABASE_URL PG_URL DATABASE_SECRET_ARN DATABASE_IAM_AUTH SLUICE_MODEL SLUICE_MASK_KEYS SLUICE_MASK_SECRET_ARN \
    SLUICE_MASK DEAD_LETTER_QUEUE_URL SLUICE_BACKOFF LOG_LEVEL SAM_ARCH

# ---------------------------------------------------------------- tools

python() {
    local p
    for p in python3.13 python3.12 python3.11 python3.10 python3; do
        if "$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$p"
            return
        fi
    done
    echo "the SAM CLI needs Python 3.10 or newer, with venv: https://www.python.org/downloads" >&2
    return 1
}

# The locks have the versions and hashes; requirements.in says how to make them.
environment() { # FOLDER LOCK
    local want with
    want=$(sha256sum <"$2")
    if [ "$(cat "$1/installed" 2>/dev/null)" != "$want" ]; then
        rm -rf "$1"
        with=$(python) || exit 1
        "$with" -m venv "$1"
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2"
        echo "$want" >"$1/installed"
    fi
}

tools() {
    environment "$venv" test/sam/requirements.lock
    "$venv/bin/sam" --version
    "$venv/bin/cfn-lint" --version
}

if [ "${1:-}" = tools ]; then
    tools
    exit
fi

# ---------------------------------------------------------------- without a function

lint() {
    "$venv/bin/sam" validate --lint
    "$venv/bin/cfn-lint" template.yaml
}

# The linter must find something in a broken template.
negative() {
    local broken=$work/broken.yaml
    sed 's/^    Timeout: 30$/    Timeout: never/' template.yaml >"$broken"
    if "$venv/bin/cfn-lint" "$broken" >"$work/negative.log" 2>&1; then
        echo "cfn-lint accepts a time-out that is not a number"
        return 1
    fi
}

# checkov asks nobody (--skip-download). What it finds and we do not fix has its reason in the template's
# Metadata, and it must find that without the reason.
findings() {
    environment "$checkov" test/sam/checkov.lock
    local look=("$checkov/bin/checkov" --framework cloudformation --compact --quiet --skip-download --file)
    "${look[@]}" template.yaml
    sed '/{id: CKV_/d; /^      checkov:$/d; /^        skip:$/d' template.yaml >"$work/unsuppressed.yaml"
    "${look[@]}" "$work/unsuppressed.yaml" >"$work/findings.log" 2>&1 || true
    if [ "$(grep -c '^Check: CKV_' "$work/findings.log")" != "$(grep -c '{id: CKV_' template.yaml)" ]; then
        cat "$work/findings.log"
        echo "template.yaml suppresses other findings than there are"
        return 1
    fi
}

transformed() {
    "$venv/bin/python" test/sam/transform.py template.yaml >"$work/transformed.json"
    "$venv/bin/cfn-lint" "$work/transformed.json"
    TEST_SAM_TRANSFORMED=$work/transformed.json go test -count=1 -v -run '^TestSamAddsNothing$' ./test/sam
}

# The last commit, and all changes since.
fresh_clone() {
    git clone --quiet --no-hardlinks "$root" "$work/clone"
    git diff --binary HEAD | git -C "$work/clone" apply --allow-empty
}

# The command in the clone. The other machine is this one, with another answer of uname.
sam_build() { # ARCHITECTURE [PATH]
    if ! (cd "$work/clone" && PATH=${2:+$2:}$venv/bin:$PATH && sam build) >"$work/build.log" 2>&1; then
        cat "$work/build.log"
        return 1
    fi
    TEST_SAM_BUILD=$work/clone/.aws-sam/build TEST_SAM_ARCH=$1 go test -count=1 -v -run '^TestBuilt$' ./test/sam
}

other_build() {
    mkdir "$work/machine"
    printf '#!/bin/sh\necho %s\n' "${other/arm64/aarch64}" >"$work/machine/uname"
    chmod +x "$work/machine/uname"
    sam_build "$other" "$work/machine"
}

# What make deploy passes to sam deploy, with samconfig.toml, as SAM reads it.
deploy_parameters() {
    make --silent -C "$work/clone" deploy SAM=: STAGE=dev PARAMETERS="BatchSize=500 LogLevel=INFO DatabaseUrl='postgres://u@h/d?a=b&c=d' MaskSecretArn='\"\"'"
    (cd "$work/clone" && "$venv/bin/python" -) <<'PYTHON'
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.config.samconfig import SamConfig

given = SamConfig(".", "samconfig.toml").get_all(["deploy"], "parameters", "dev")["parameter_overrides"]
got = CfnParameterOverridesType().convert(given, None, None)
want = {
    "Stage": "dev", "LogLevel": "INFO", "LogRetentionDays": "7", "MaximumConcurrency": "2", "BatchSize": "500",
    "DatabaseUrl": "postgres://u@h/d?a=b&c=d", "MaskSecretArn": "", "Architecture": "arm64", "Revision": got.get("Revision"),
}
assert got == want and got["Revision"], got
PYTHON
}

# ---------------------------------------------------------------- a Docker engine

mode=''
readonly image=public.ecr.aws/lambda/provided:al2023-$host

# The image of AWS if a registry can be reached, or else a stand-in under its name, in our own engine
# only: SAM brings the emulator, and a static binary needs only a shell in the image to start it.
stand_in_image() {
    if timeout 60 docker --host "$DOCKER_HOST" pull --quiet "$image" >/dev/null 2>&1; then
        mode="a container of its own engine, with the image of AWS"
        return
    fi
    local files=$work/rootfs link
    mkdir -p "$files"/{bin,tmp,opt,etc/ssl/certs,var/task,var/runtime}
    chmod 1777 "$files/tmp"
    cp /bin/busybox "$files/bin/"
    for link in sh mv chmod mkdir cp rm; do ln -s busybox "$files/bin/$link"; done
    cp -L /etc/ssl/certs/ca-certificates.crt "$files/etc/ssl/certs/" 2>/dev/null || true
    tar -C "$files" -c . | docker_command import -c 'ENV PATH=/bin' -c 'ENV LAMBDA_TASK_ROOT=/var/task' -c 'WORKDIR /var/task' - "$image" >/dev/null
    mode="a container of its own engine, with a STAND-IN for the image of AWS (no registry could be reached)"
}

# Uses an existing engine if it has the image of AWS or can pull it. Such an engine never gets our
# stand-in, which later invocations would take for the real image.
engine() {
    [ -z "${NO_DOCKER:-}" ] || { echo "NO_DOCKER is set"; return 1; }
    if docker info >/dev/null 2>&1 && { docker image inspect "$image" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$image" >/dev/null 2>&1; }; then
        bridge_ip=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')
        mode="a container of the engine that is here, with the image of AWS"
        return
    fi
    start_engine && stand_in_image
}

local_invoke() {
    local emulator
    emulator=$("$venv/bin/python" -c 'import os, samcli; print(os.path.dirname(samcli.__file__))')/local/rapid/aws-lambda-rie-$host
    # set -e is off in a condition; start_engine works without it.
    if engine; then
        export TEST_SAM_BRIDGE=$bridge_ip
    else
        mode=''
    fi
    TEST_SAM=$venv/bin/sam TEST_SAM_EMULATOR=$emulator TEST_SAM_CLONE=$work/clone \
        go test -count=1 -v -timeout 10m -run '^TestLocal$' ./test/sam
}

# ----------------------------------------------------------------

work=$(mktemp -d)
clean_up() {
    stop_engine
    rm -rf "$work"
}
trap clean_up EXIT

step "tools" tools
step "rules of the template, and their mutations" go test -count=1 ./test/sam
step "sam validate --lint, cfn-lint" lint
step "cfn-lint rejects a broken template" negative
step "checkov" findings
step "SAM's transform" transformed
step "a fresh clone" fresh_clone
step "sam build" sam_build "$host"
[ -x bin/sluice ] || make build-bin
step "both functions against Postgres" local_invoke
step "sam build, as on $other" other_build
step "parameters of make deploy" deploy_parameters
if [ -n "$mode" ]; then
    echo "*** sam build, sam local invoke and sam local start-lambda RAN as users type them, in $mode"
else
    echo "*** sam local invoke and start-lambda were NOT RUN: there is no Docker engine. SAM's runtime interface emulator ran the built functions on this machine instead."
fi
echo "*** the functions for $other were built and compared with the template, and NOT RUN: this machine is $host"
