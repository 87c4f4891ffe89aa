#!/usr/bin/env bash
# usage: run.sh      what `make dist-test` runs
#
# It makes a release twice, in two fresh clones, and checks that they are equal, that the archive of this
# machine runs, that the package's template passes the linters, and that `go install` takes the module. It
# needs Go, make, git and Python 3.10. Of the command line it makes the archive for this machine only,
# unless PLATFORMS_CLI says more: each platform compiles for a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
# shellcheck source=test/engine.sh
. test/engine.sh

readonly version=v0.0.0-dist
export PLATFORMS_CLI=${PLATFORMS_CLI:-$(go env GOHOSTOS)/$(go env GOHOSTARCH)}

# The last commit, and all changes since, as a commit.
fresh_clones() {
    git clone --quiet --no-hardlinks "$root" "$work/clone"
    git diff --binary HEAD | git -C "$work/clone" apply --index --allow-empty
    git -C "$work/clone" -c user.name=test -c user.email=test@example.com commit --quiet --allow-empty --no-verify --message changes
    git clone --quiet --no-hardlinks "$work/clone" "$work/another place"
}

dist() { make --silent -C "$1" dist VERSION=$version; }

checksums() {
    if command -v sha256sum >/dev/null; then
        (cd "$work/clone/dist" && sha256sum --quiet --check SHA256SUMS)
    else
        (cd "$work/clone/dist" && shasum --algorithm 256 --quiet --check SHA256SUMS)
    fi
}

# One of them: they differ in the name of an architecture only.
lint_package() {
    test/sam/run.sh tools
    tar -C "$work" -xzf "$work/clone/dist/sluice_${version}_sam_arm64.tar.gz"
    cd "$work/sluice_${version}_sam_arm64"
    AWS_DEFAULT_REGION=eu-central-1 SAM_CLI_TELEMETRY=0 "$root/.local/sam/bin/sam" validate --lint
    "$root/.local/sam/bin/cfn-lint" template.yaml
}

look() {
    TEST_DIST=$work/clone/dist TEST_DIST_AGAIN="$work/another place/dist" TEST_DIST_VERSION=$version TEST_DIST_CLONE=$work/clone \
        go test -count=1 -v ./test/dist
}

# ----------------------------------------------------------------

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step "fresh clones" fresh_clones
step "make dist" dist "$work/clone"
step "make dist, elsewhere" dist "$work/another place"
step "sha256sum --check" checksums
step "what the files hold, and go install" look
step "sam validate --lint, cfn-lint of a package" lint_package
