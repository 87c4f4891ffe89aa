#!/usr/bin/env bash
# usage: invoke.sh EVENT      what `make invoke` runs: `sam local invoke` of the ingest function in a container, with the configuration
#                             of the environment
#
# Needs the SAM CLI, a Docker engine that can pull the image of the runtime, and DATABASE_URL. A database on loopback is reached as
# host.docker.internal: it must listen on the bridge's address too. Without an engine, `make sam-test` runs the same function under
# SAM's emulator, and `bin/sluice invoke -e EVENT` runs its code without any of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
event=$1
sam=${SAM:-sam}
arch=${SAM_ARCH:-arm64}
case $(uname -m) in x86_64 | amd64) arch=x86_64 ;; esac # a container runs this machine's

: "${DATABASE_URL:?says where the rows go, as in postgres://user:password@localhost:5432/database}"
if [ -z "${SLUICE_MASK_KEYS:-}${SLUICE_MASK:-}" ]; then
    echo 'nothing says how to mask: SLUICE_MASK_KEYS=k1:$(openssl rand -hex 32), or SLUICE_MASK=sha256' >&2
    exit 2
fi
docker info >/dev/null 2>&1 || { echo "no Docker engine: bin/sluice invoke -e $event runs the same code without one" >&2; exit 1; }

url=$(sed -E 's#(@|//)(localhost|127\.0\.0\.1|\[::1\])([:/])#\1host.docker.internal\3#' <<<"$DATABASE_URL")
case $url in
*host.docker.internal*sslmode=* | *"?"*sslmode=*) ;;
*host.docker.internal*"?"*) url="$url&sslmode=disable" ;;
*host.docker.internal*) url="$url?sslmode=disable" ;;
esac

quoted() { # a JSON string
    local s=${1//\\/\\\\}
    printf '"%s"' "${s//\"/\\\"}"
}

umask 077
variables=$(mktemp)
trap 'rm -f "$variables"' EXIT
{
    printf '{"IngestFunction":{"DATABASE_URL":%s,' "$(quoted "$url")"
    for name in PG_URL DATABASE_SECRET_ARN SLUICE_MASK_SECRET_ARN DEAD_LETTER_QUEUE_URL; do printf '"%s":"",' "$name"; done
    printf '"SLUICE_BACKOFF":"false","SLUICE_MODEL":%s,"SLUICE_MASK_KEYS":%s,"SLUICE_MASK":%s}}' \
        "$(quoted "${SLUICE_MODEL:-user_logins}")" "$(quoted "${SLUICE_MASK_KEYS:-}")" "$(quoted "${SLUICE_MASK:-}")"
} >"$variables"
unset DATABASE_URL PG_URL SLUICE_MODEL SLUICE_MASK_KEYS SLUICE_MASK # a shell's variables would win over the file's
export SAM_CLI_TELEMETRY=0

SAM_ARCH=$arch "$sam" build --parameter-overrides "Architecture=$arch" --build-dir ".local/sam-build/$arch" IngestFunction >&2
"$sam" local invoke IngestFunction --template ".local/sam-build/$arch/template.yaml" --event "$event" --env-vars "$variables" \
    --parameter-overrides "Architecture=$arch" --add-host host.docker.internal:host-gateway
