# sluice: `make help` lists the targets. Variables in capitals may be set on the command line: make fuzz FUZZTIME=5m

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARCH      ?= $(shell go env GOARCH)# of the Lambda function: arm64 or amd64
FUZZTIME  ?= 20s# per target
BENCH     ?= .# which benchmarks, a regular expression
BENCHTIME ?= 1s
BENCHRUNS ?= 1# 10 for a comparison by `make benchstat`
PACKAGES  ?= ./...

# Packages tested at once, and tests of each: two for each processor, since many wait for a server.
PARALLEL ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1))))

# How often `make drill` kills the function between COMMIT and answer. Below 1000 the other drills are
# shorter too.
KILLS ?= 1000

# -race runs the tests with the race detector, as .ci/run does: it takes almost twice the time, and
# needs cgo and a C compiler.
RACE ?=

# Tests read a sample of real bodies from this JSON-lines file, if it is set. They run in the folders of
# their packages, so the path becomes absolute.
ifdef SLUICE_SAMPLE # its former name
TEST_SAMPLE ?= $(SLUICE_SAMPLE)
unexport SLUICE_SAMPLE
endif
ifdef TEST_SAMPLE
override TEST_SAMPLE := $(abspath $(TEST_SAMPLE))
export TEST_SAMPLE
endif

# The tools have their own module, so that they never change a version of the product.
TOOL    = go tool -modfile=tools/go.mod
BUILD   = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
LAMBDA  = GOOS=linux $(BUILD) -tags lambda.norpc

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.PHONY: all help lint fmt unit test drill versions-test pgbouncer-test netns-test xidlimit-test demo build-bin function cases scenarios fuzz bench benchstat vuln tidy-check cover clean

all: lint unit ## lint and run the unit tests: what `make` alone does

help: ## print this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lint: ## run the linters of .golangci.yml (the first run builds them, for a minute or two)
	$(TOOL) golangci-lint run $(PACKAGES)

fmt: ## format the code as lint expects it
	$(TOOL) golangci-lint fmt

unit: ## run the tests that need no server and little time
	go test -short $(PACKAGES)

test: ## run all tests except the drills, with a real Postgres and in a random order (RACE=-race: as CI does)
	@# The slowest package first: at the end it would run alone. With the race detector a process sleeps
	@# for a second when it ends, and tests of the command line start hundreds. Without tables for a
	@# debugger (-w), the packages are linked in half the time. `make lint` vets them.
	GORACE=atexit_sleep_ms=10 go test $(RACE) -vet=off -ldflags=-w -shuffle=on -timeout 25m -p $(PARALLEL) -parallel $(PARALLEL) $$(go list $(PACKAGES) | \
		awk '/\/internal\/testing\/drill$$/ { next } /\/internal\/postgres$$/ { print; next } { rest = rest $$0 "\n" } END { printf "%s", rest }')

drill: ## run the drills: days of faults, cut networks, kill -9, a fail-over (KILLS below 1000 shortens all)
	TEST_KILLS=$(KILLS) go test $(RACE) -shuffle=on -count=1 -timeout 60m -v ./internal/testing/drill

versions-test: ## test the store and check on the oldest and, thoroughly, on the newest supported Postgres
	TEST_POSTGRES_VERSION=14 go test -count=1 -parallel $(PARALLEL) ./internal/postgres ./internal/handler ./internal/check
	TEST_THOROUGH=1 TEST_POSTGRES_VERSION=18 go test -count=1 -parallel $(PARALLEL) ./internal/postgres ./internal/handler ./internal/check

pgbouncer-test: ## test behind PgBouncer in transaction mode (needs pgbouncer)
	go test -count=1 -tags pgbouncer -run PgBouncer ./internal/testing/drill

netns-test: ## test a network that goes silent while rows are isolated (needs Linux, root and iproute2)
	go test -count=1 -tags netns -run ANetworkThatGoesSilent ./internal/testing/drill

xidlimit-test: ## test a Postgres without transaction ids (needs pg_resetwal, which packaged servers have)
	go test -count=1 -tags xidlimit -run TransactionIDLimit ./internal/postgres

demo: build-bin ## show the whole job on an example batch, with nothing to set up
	bin/sluice demo

build-bin: ## build the command line, as bin/sluice
	$(BUILD) -o bin/sluice ./cmd/sluice

function: ## build the Lambda function for provided.al2023, as bin/bootstrap (ARCH=arm64 or amd64)
	GOARCH=$(ARCH) $(LAMBDA) -o bin/bootstrap ./functions/ingest

cases: build-bin ## run the events of test/cases through the command line (needs psql and python3)
	go run ./test/withpg python3 test/cases/run.py bin/sluice

scenarios: build-bin ## run test/scenarios: tables as people have them (needs psql and Python 3.11; FILES='one.toml …')
	go run ./test/withpg python3 test/scenarios/run.py bin/sluice $(FILES)

fuzz: ## run every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: ## run the benchmarks (BENCH=regexp BENCHTIME=1s BENCHRUNS=1)
	@listed=$$(.ci/list-tests '^Benchmark') || exit 1; \
	[ -n "$$listed" ] || { echo "no benchmark found" >&2; exit 1; }; \
	packages=$$(echo "$$listed" | cut -d ' ' -f 1 | sort -u); \
	set -x; go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(BENCHRUNS) -timeout 30m $$packages

benchstat: ## compare two outputs of `make bench BENCHRUNS=10`: OLD=file NEW=file
	$(TOOL) benchstat $(OLD) $(NEW)

vuln: ## look for known vulnerabilities in what the code calls (asks vuln.go.dev)
	$(TOOL) govulncheck $(PACKAGES)

tidy-check: ## check that go.mod and go.sum of both modules are tidy
	go mod tidy -diff
	go -C tools mod tidy -diff

cover: ## write the coverage of all tests, as coverage/index.html
	@mkdir -p coverage
	go test -timeout 10m -coverpkg=./... -coverprofile=coverage/cover.out $(PACKAGES)
	go tool cover -html=coverage/cover.out -o coverage/index.html
	@go tool cover -func=coverage/cover.out | tail -n 1

clean: ## remove what these targets made, except .local (services and tools: make stop, rm -rf .local)
	rm -rf bin coverage dist .aws-sam

# ---------------------------------------------------------------- the container, and what a release has: docs/container.md

IMAGE     ?= sluice
ENGINE    ?= $(shell for e in docker podman; do $$e info >/dev/null 2>&1 && echo $$e && break; done)# the first that answers
PLATFORMS ?= linux/amd64,linux/arm64# of publish
REVISION  ?= $(shell git rev-parse HEAD 2>/dev/null)
SOURCE    ?=# the repository's URL, for a label of the image

IMAGE_LABELS = --build-arg VERSION="$(VERSION)" --build-arg REVISION="$(REVISION)" --build-arg SOURCE="$(SOURCE)"

.PHONY: build container-test publish dist

build: ## build the container image, as IMAGE:VERSION and IMAGE:latest, with docker or podman
	@# Podman's own image format has no health check.
	@set -e; engine='$(ENGINE)'; format=; \
	[ -n "$$engine" ] || { test/container/run.sh content; echo "*** NO IMAGE WAS BUILT: neither docker nor podman answers: install or start one of them" >&2; exit 1; }; \
	case $$engine in *podman) format='--format docker' ;; esac; \
	set -x; DOCKER_BUILDKIT=1 $$engine build $$format $(IMAGE_LABELS) --tag "$(IMAGE):$(VERSION)" --tag "$(IMAGE):latest" .

container-test: ## build the image, check it and run it against a real Postgres (without an engine: only its content)
	test/container/run.sh

publish: ## build for PLATFORMS and push IMAGE:VERSION, and :latest unless VERSION has a dash (needs docker buildx and a login)
	docker buildx build --platform $(PLATFORMS) --provenance=mode=max --sbom=true --push $(IMAGE_LABELS) \
		--tag "$(IMAGE):$(VERSION)" $(if $(findstring -,$(VERSION)),,--tag "$(IMAGE):latest") .

dist: ## build a release in dist/: the command line for Linux and macOS, the functions' zips, checksums (needs zip)
	rm -rf dist && mkdir -p dist
	@set -e; for os in linux darwin; do for arch in amd64 arm64; do \
		echo "sluice for $$os/$$arch"; GOOS=$$os GOARCH=$$arch $(BUILD) -o "dist/sluice_$(VERSION)_$${os}_$$arch" ./cmd/sluice; \
	done; done
	@set -e; for function in ingest migrate; do for arch in arm64 x86_64; do \
		echo "$$function for $$arch"; GOARCH=$$(echo $$arch | sed s/x86_64/amd64/) $(LAMBDA) -o dist/bootstrap "./functions/$$function"; \
		zip -qjXm "dist/sluice_$(VERSION)_lambda_$${function}_$$arch.zip" dist/bootstrap; \
	done; done
	cd dist && sha256sum sluice_* >SHA256SUMS

# ---------------------------------------------------------------- AWS without AWS

.PHONY: start stop run awslocal_test localstack-test

start: ## start an SQS queue and a Postgres for local work; prints what to export (SERVICES=docker or packages)
	@go run ./test/services start

stop: ## stop what start started, and delete its data
	@go run ./test/services stop

run: build-bin ## create the table if it is missing, and consume SQS_URL into PG_URL until it is empty
	@[ -n "$$SLUICE_MASK$$SLUICE_MASK_KEYS$$SLUICE_MASK_KEYS_FILE$$SLUICE_MASK_SECRET_ARN" ] || { export SLUICE_MASK=sha256; echo "no mask is configured: SLUICE_MASK=sha256, which anyone can brute-force (docs/configuration.md)" >&2; }; \
	bin/sluice migrate >&2 && bin/sluice consume --until-empty

awslocal_test: ## test the command line on queues of LocalStack, with a real Postgres
	go test -tags awslocal -count=1 -timeout 20m -v ./test/awslocal

localstack-test: ## deploy template.yaml to LocalStack and send messages while things fail (the first run installs it)
	go test -tags localstack -count=1 -parallel 6 -timeout 15m -v ./test/localstack/stack

# ---------------------------------------------------------------- AWS: docs/deploy.md

STAGE      ?= default# section of samconfig.toml: default, dev, staging, prod
STACK      ?= sluice# name of the stack that migrate and logs look at
EVENT      ?= events/batch.json
SAM        ?= sam# make sam-test installs its own under .local
SAM_ARCH   ?=# of the functions: arm64 or x86_64. Default: this machine's for sam build, arm64 for make deploy
MODEL_FILES ?=# model files to deploy with the function, for SLUICE_MODEL=/var/task/NAME.yaml
PARAMETERS ?=# more parameters of the template, for deploy: PARAMETERS='MaximumConcurrency=20'

# sam build runs these two targets and does not tell them the architecture. They write it to a file of
# parameters that samconfig.toml names, so the template always has the architecture of the binaries.
MACHINE         = $(shell uname -m)
FUNCTION_ARCH   = $(patsubst aarch64,arm64,$(patsubst amd64,x86_64,$(or $(SAM_ARCH),$(MACHINE))))
PARAMETERS_FILE = .aws-sam/build/parameters.yaml

.PHONY: build-IngestFunction build-MigrateFunction sam-test deploy migrate logs invoke coldstart

build-IngestFunction: MAIN = ./functions/ingest
build-MigrateFunction: MAIN = ./functions/migrate
build-IngestFunction build-MigrateFunction:
	GOARCH=$(subst x86_64,amd64,$(FUNCTION_ARCH)) $(LAMBDA) -o "$(ARTIFACTS_DIR)/bootstrap" $(MAIN)
	$(if $(MODEL_FILES),cp $(MODEL_FILES) "$(ARTIFACTS_DIR)/")
	@echo "- Architecture=$(FUNCTION_ARCH)" >"$(ARTIFACTS_DIR)/../$(notdir $(PARAMETERS_FILE))"

sam-test: build-bin ## test the template: its rules, the linters, sam build, sam local invoke with a real Postgres
	test/sam/run.sh

deploy: SAM_ARCH := $(or $(SAM_ARCH),arm64)
deploy: ## run sam build and sam deploy (STAGE=section of samconfig.toml SAM_ARCH=… PARAMETERS='Name=value …')
	@awk -v section='[$(STAGE).deploy.parameters]' -v file='file://$(PARAMETERS_FILE)' \
		'/^\[/ { on = $$0 == section } on && index($$0, file) { found = 1 } END { exit !found }' samconfig.toml || \
		{ echo 'samconfig.toml: parameter_overrides of $(STAGE).deploy must end with "file://$(PARAMETERS_FILE)"' >&2; exit 1; }
	SAM_ARCH=$(SAM_ARCH) $(SAM) build --config-env $(STAGE)
	@# On the command line of sam deploy they would replace those of samconfig.toml.
	@printf '%s\n' Revision=$(VERSION)-$$(date -u +%Y%m%dT%H%M%SZ) $(PARAMETERS) Architecture=$(FUNCTION_ARCH) | \
		sed "s/'/''/g; s/.*/- '&'/" >>$(PARAMETERS_FILE)
	$(SAM) deploy --config-env $(STAGE)

migrate: ## create missing tables by the stack's migrate function (STACK=name)
	$(SAM) remote invoke MigrateFunction --stack-name $(STACK)

logs: ## follow the function's logs (STACK=name)
	$(SAM) logs --stack-name $(STACK) --name IngestFunction --tail

invoke: ## run sam build and sam local invoke (EVENT=file; set DATABASE_URL, and SLUICE_MASK_KEYS or SLUICE_MASK)
	SAM_ARCH=$(SAM_ARCH) $(SAM) build --config-env $(STAGE) >&2
	$(SAM) local invoke --config-env $(STAGE) --event $(EVENT)

coldstart: ## measure cold starts beside those of a hello-world function, and warm batches by size
	go test -count=1 -v -run '^TestColdStart$$' ./test/coldstart -args -runs 41 -warm 41
