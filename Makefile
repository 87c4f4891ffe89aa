# sluice: `make help` lists the targets. Variables in capitals may be set on the command line: make fuzz FUZZTIME=5m

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARCH      ?= $(shell go env GOARCH)# of the Lambda function: arm64 or amd64
FUZZTIME  ?= 20s# per target
QUICK     ?=# 1: `make bench` measures so little that it only shows that it works
DOCS      ?=# 1: `make bench` writes docs/performance.md and its chart
ROWS      ?=# 10000000: `make bench` measures inserts into a table of that size instead
UPDATE    ?=# 1: `make bench-check` checks in what it measures
PYTHON    ?=# a Python with psycopg, for `make bench`; by default python3, if it has it
BENCH     ?= .# of `make microbench`: which benchmarks, a regular expression
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
.PHONY: all help lint fmt unit test drill versions-test pgbouncer-test netns-test xidlimit-test demo build-bin function cases scenarios fuzz bench microbench benchstat bench-check vuln tidy-check cover clean

# ---------------------------------------------------------------- what a target needs

# A target that needs a tool has the order-only prerequisite need-TOOL, which says where to get it.
where-bash       = bash: https://www.gnu.org/software/bash
where-cc         = a C compiler, for RACE=-race (Debian: apt-get install gcc; macOS: xcode-select --install)
where-git        = Git: https://git-scm.com/downloads
where-ip         = iproute2 (Debian: apt-get install iproute2)
where-pgbouncer  = PgBouncer: https://www.pgbouncer.org/install.html
where-psql       = the client of PostgreSQL: https://www.postgresql.org/download
where-python3    = Python 3.11 or newer: https://www.python.org/downloads
where-sam        = the SAM CLI: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html

need-go:
	@# Only what the shell has itself: the builder of the image has little else. Go 1.21 and newer may fetch
	@# what go.mod asks for, and say so.
	@while read -r word want; do [ "$$word" != go ] || break; done <go.mod; want=$${want#1.}; want=$${want%%.*}; \
	have='there is none on the PATH'; if command -v go >/dev/null; then have=$$(go version) || have='go version fails'; fi; \
	minor=$${have##*go1.}; minor=$${minor%%[!0-9]*}; [ "$${minor:-0}" -ge "$$want" ] || \
	{ echo "This needs Go 1.$$want or newer ($$have): https://go.dev/dl" >&2; exit 1; }

need-python3:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { echo 'This needs $(where-python3)' >&2; exit 1; }

need-docker: # or what SAM takes for it
	@[ -n "$$DOCKER_HOST" ] || [ -S /var/run/docker.sock ] || command -v docker >/dev/null || command -v finch >/dev/null || \
	{ echo 'This needs Docker: https://docs.docker.com/get-docker. Without it, `bin/sluice invoke` runs the same code' >&2; exit 1; }

need-buildx:
	@docker buildx version >/dev/null 2>&1 || { echo 'This needs Docker with buildx: https://docs.docker.com/get-docker' >&2; exit 1; }

need-sam:
	@command -v '$(SAM)' >/dev/null || { echo 'This needs $(where-sam), or SAM=path' >&2; exit 1; }

need-%:
	@command -v $* >/dev/null || { echo 'This needs $(where-$*)' >&2; exit 1; }

# $(call slow,WHAT) before commands says on standard error what takes long, if they take 5 seconds, and
# then now and then that they go on.
slow = (sleep 5 3>&-; what='$(1)'; while kill -0 $$$$; do echo "$$what" >&3; what='still at it'; sleep 30 3>&-; done) 3>&2 >/dev/null 2>&1 </dev/null & trap "{ set +x; kill $$! || :; } 2>/dev/null" EXIT;

# ----------------------------------------------------------------

all: unit lint ## run the unit tests and the linters: what `make` alone does

help: ## print this list; `sluice help` has the commands
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lint: | need-go ## run the linters of .golangci.yml (the first run builds them, in about 4 minutes)
	@$(call slow,building the linters: about 4 minutes the first time) $(TOOL) -n golangci-lint >/dev/null
	$(TOOL) golangci-lint run $(PACKAGES)
	go -C tools tool golangci-lint run --config ../.golangci.yml ./...

fmt: | need-go ## format the code as lint expects it
	@$(call slow,building the linters: about 4 minutes the first time) $(TOOL) -n golangci-lint >/dev/null
	$(TOOL) golangci-lint fmt

unit: | need-go ## run the tests that need no server and little time
	@$(call slow,compiling and running the tests: minutes the first time) set -x; go test -short $(PACKAGES)

test: | need-go $(if $(RACE),need-cc) ## run all tests except the drills, with a real Postgres and in a random order (RACE=-race: as CI does)
	@# The slowest package first: at the end it would run alone. With the race detector a process sleeps
	@# for a second when it ends, and tests of the command line start hundreds. Without tables for a
	@# debugger (-w), the packages are linked in half the time. `make lint` vets them.
	@$(call slow,compiling and running the tests: minutes) set -x; GORACE=atexit_sleep_ms=10 go test $(RACE) -vet=off -ldflags=-w -shuffle=on -timeout 25m -p $(PARALLEL) -parallel $(PARALLEL) $$(go list $(PACKAGES) | \
		awk '/\/internal\/testing\/drill$$/ { next } /\/internal\/postgres$$/ { print; next } { rest = rest $$0 "\n" } END { printf "%s", rest }')

drill: | need-go $(if $(RACE),need-cc) ## run the drills: days of faults, cut networks, kill -9, a fail-over (KILLS below 1000 shortens all)
	@$(call slow,compiling and running the drills: minutes) set -x; TEST_KILLS=$(KILLS) go test $(RACE) -shuffle=on -count=1 -timeout 60m -v ./internal/testing/drill

versions-test: | need-go $(if $(RACE),need-cc) ## test the store and check on the oldest and, thoroughly, on the newest supported Postgres
	TEST_POSTGRES_VERSION=14 go test -count=1 -parallel $(PARALLEL) ./internal/postgres ./internal/handler ./internal/check
	TEST_THOROUGH=1 TEST_POSTGRES_VERSION=18 go test -count=1 -parallel $(PARALLEL) ./internal/postgres ./internal/handler ./internal/check

pgbouncer-test: | need-go need-pgbouncer ## test behind PgBouncer in transaction mode (needs pgbouncer)
	go test -count=1 -tags pgbouncer -run PgBouncer ./internal/testing/drill

netns-test: | need-go need-ip ## test a function that vanishes from the network in the middle of a round trip (needs Linux, root and iproute2)
	go test -count=1 -tags netns -run AFunctionThatVanishes ./internal/testing/drill

xidlimit-test: | need-go $(if $(RACE),need-cc) ## test a Postgres without transaction ids (needs pg_resetwal, which packaged servers have)
	go test -count=1 -tags xidlimit -run TransactionIDLimit ./internal/postgres

demo: build-bin ## build-bin, and `sluice demo`: the whole job on an example batch, with nothing to set up
	@bin/sluice demo && echo "Here, sluice is bin/sluice."

build-bin: | need-go ## build the command line, as bin/sluice: needs Go only
	@$(call slow,compiling: about 90 s the first time) set -x; $(BUILD) -o bin/sluice ./cmd/sluice

function: | need-go ## build the Lambda function for provided.al2023, as bin/bootstrap (ARCH=arm64 or amd64)
	@$(call slow,compiling: a minute the first time) set -x; GOARCH=$(ARCH) $(LAMBDA) -o bin/bootstrap ./functions/ingest

cases: | need-psql need-python3 build-bin ## run the events of test/cases through the command line (needs psql and python3)
	go run ./test/withpg python3 test/cases/run.py bin/sluice

scenarios: | need-psql need-python3 build-bin ## run test/scenarios: tables as people have them (needs psql and Python 3.11; FILES='one.toml …')
	go run ./test/withpg python3 test/scenarios/run.py bin/sluice $(FILES)

fuzz: | need-go need-bash ## run every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: | need-go ## measure sluice beside COPY and the usual ways, in 4 minutes (DOCS=1 writes docs/performance.md; ROWS=10000000; PYTHON=with psycopg; QUICK=1)
	@mkdir -p bin
	@$(call slow,compiling and measuring: minutes) set -x; go test -count=1 -timeout 60m -v -run '$(if $(ROWS),^TestLargeTable$$,^TestWays$$)' ./internal/testing/benchmark \
		-args $(if $(ROWS),-rows $(ROWS),-measure) -out '$(CURDIR)/bin' $(if $(filter 1,$(QUICK)),-quick) $(if $(filter 1,$(DOCS)),-docs) -python '$(PYTHON)'

microbench: | need-go need-bash ## run the benchmarks of the packages (BENCH=regexp BENCHTIME=1s BENCHRUNS=1)
	@listed=$$(.ci/list-tests '^Benchmark') || exit 1; \
	[ -n "$$listed" ] || { echo "no benchmark found" >&2; exit 1; }; \
	packages=$$(echo "$$listed" | cut -d ' ' -f 1 | sort -u); \
	set -x; go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(BENCHRUNS) -timeout 30m $$packages

benchstat: | need-go ## compare two outputs of `make microbench BENCHRUNS=10`: OLD=file NEW=file
	$(TOOL) benchstat $(OLD) $(NEW)

bench-check: | need-go ## compare round trips, bytes, write-ahead log, allocations and instructions of a batch with checked-in values (UPDATE=1 accepts what is measured)
	@$(call slow,compiling and measuring: about 15 s) set -x; go test -count=1 -v -run '^TestValues$$' ./internal/testing/benchcheck -args -check $(if $(filter 1,$(UPDATE)),-update)

vuln: | need-go ## look for known vulnerabilities in what the code calls (asks vuln.go.dev)
	@$(call slow,building govulncheck: a minute the first time) $(TOOL) -n govulncheck >/dev/null
	$(TOOL) govulncheck $(PACKAGES)

tidy-check: | need-go ## check that go.mod and go.sum of both modules are tidy
	go mod tidy -diff
	go -C tools mod tidy -diff

cover: | need-go ## write the coverage of all tests, as coverage/index.html
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

.PHONY: build container-test publish dist dist-test

build: ## build the container image, as IMAGE:VERSION and IMAGE:latest, with docker or podman
	@# Podman's own image format has no health check.
	@set -e; engine='$(ENGINE)'; format=; \
	[ -n "$$engine" ] || { ! $(MAKE) -s need-go 2>/dev/null || test/container/run.sh content || :; echo "*** NO IMAGE WAS BUILT: neither docker nor podman answers. Install or start one (https://docs.docker.com/get-docker), or make build-bin builds the command line without one: bin/sluice" >&2; exit 1; }; \
	case $$engine in *podman) format='--format docker' ;; esac; \
	set -x; DOCKER_BUILDKIT=1 $$engine build $$format $(IMAGE_LABELS) --tag "$(IMAGE):$(VERSION)" --tag "$(IMAGE):latest" .

container-test: | need-go need-bash ## build the image, check it and run it against a real Postgres (without an engine: only its content)
	test/container/run.sh

publish: | need-buildx ## build for PLATFORMS and push IMAGE:VERSION, and :latest unless VERSION has a dash (needs docker buildx and a login)
	docker buildx build --platform $(PLATFORMS) --provenance=mode=max --sbom=true --push $(IMAGE_LABELS) \
		--tag "$(IMAGE):$(VERSION)" $(if $(findstring -,$(VERSION)),,--tag "$(IMAGE):latest") .

PLATFORMS_CLI    ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64# of dist
PLATFORMS_LAMBDA ?= arm64 x86_64
# The time of all files in archives, so that the same commit makes the same bytes.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)

dist: | need-go ## build a release in dist/: archives, function zips, packages for sam deploy without Go, SBOMs, licences, checksums
	rm -rf dist && mkdir -p dist
	@$(call slow,compiling: a minute or two for each platform the first time) set -e; \
	for platform in $(PLATFORMS_CLI); do os=$${platform%/*} arch=$${platform#*/}; \
		echo "sluice for $$platform"; GOOS=$$os GOARCH=$$arch $(BUILD) -o "dist/built/sluice_$${os}_$$arch/sluice" ./cmd/sluice; \
	done; \
	for arch in $(PLATFORMS_LAMBDA); do for function in ingest migrate; do \
		echo "$$function for $$arch"; GOARCH=$$(echo $$arch | sed s/x86_64/amd64/) $(LAMBDA) -o "dist/built/$${function}_$$arch/bootstrap" "./functions/$$function"; \
	done; done
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) go run ./test/dist "$(VERSION)" dist/built dist
	rm -rf dist/built

dist-test: | need-go need-bash need-git ## make a release twice, compare and check it, and install the module by go install
	test/dist/run.sh

# ---------------------------------------------------------------- AWS without AWS

.PHONY: start stop run awslocal_test localstack-test

start: bin/services ## start an SQS queue and a Postgres for local work; prints what to export (SERVICES=docker or packages)
	@bin/services start

stop: $(if $(wildcard bin/services),,bin/services) ## stop what start started, and delete its data; prints what to unset
	@bin/services stop

.PHONY: bin/services
bin/services: | need-go
	@$(call slow,compiling: about a minute the first time) go build -o $@ ./test/services

run: build-bin ## build-bin, `sluice migrate` and `sluice consume --until-empty`: SQS_URL into PG_URL
	@[ -n "$$SLUICE_MASK$$SLUICE_MASK_KEYS$$SLUICE_MASK_KEYS_FILE$$SLUICE_MASK_SECRET_ARN" ] || { export SLUICE_MASK=sha256; echo "no mask is configured: SLUICE_MASK=sha256, which anyone can brute-force (docs/configuration.md)" >&2; }; \
	bin/sluice migrate >&2 && bin/sluice consume --until-empty

awslocal_test: | need-go $(if $(RACE),need-cc) ## test the command line on queues of LocalStack, with a real Postgres
	go test -tags awslocal -count=1 -timeout 20m -v ./test/awslocal

localstack-test: | need-go $(if $(RACE),need-cc) ## deploy template.yaml to LocalStack and send messages while things fail (the first run installs it)
	go test -tags localstack -count=1 -parallel 6 -timeout 15m -v ./test/localstack/stack

# ---------------------------------------------------------------- AWS: docs/deploy.md

STAGE      ?= default# section of samconfig.toml: default, dev, staging, prod
STACK      ?= $(STAGE_STACK)# name of the stack. Default: stack_name of the section
EVENT      ?= events/batch.json
SAM        ?= sam# make sam-test installs its own under .local
SAM_ARCH   ?=# of the functions: arm64 or x86_64. Default: this machine's for sam build, arm64 for make deploy
MODEL_FILES ?=# model files to deploy with the function, for Model=/var/task/NAME.yaml, or Model=/var/task for all
PARAMETERS ?=# more parameters of the template, for deploy: PARAMETERS='MaximumConcurrency=20'

# The SAM CLI looks at AWS_DEFAULT_REGION only, all else at AWS_REGION first.
ifdef AWS_REGION
export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

# What names the stack, for every command of SAM, so that all of them mean the same one.
STAGES      = $(sort $(shell sed -n 's/^\[\([^].]*\)\..*/\1/p' samconfig.toml))
STAGE_STACK = $(shell awk -F '"' '/^\[/ { on = index($$0, "[$(STAGE).") == 1 } on && /^stack_name *=/ { name = $$2 } END { print name }' samconfig.toml)
SECTION     = --config-env $(if $(filter $(STAGES),$(STAGE)),$(STAGE),$(error STAGE=$(STAGE): samconfig.toml has no such section. It has: $(STAGES)))
TO_STACK    = $(SECTION) --stack-name $(or $(STACK),$(error no STACK=name is given, and samconfig.toml has no stack_name for $(STAGE)))

# sam build runs these two targets and does not tell them the architecture. They write it to a file of
# parameters that samconfig.toml names, so the template always has the architecture of the binaries.
MACHINE         = $(shell uname -m)
GIVEN_ARCH      = $(or $(SAM_ARCH),$(MACHINE))
FUNCTION_ARCH   = $(or $(filter arm64 x86_64,$(patsubst aarch64,arm64,$(patsubst amd64,x86_64,$(GIVEN_ARCH)))),$(error Lambda has no functions for $(GIVEN_ARCH): give SAM_ARCH=arm64 or SAM_ARCH=x86_64))
PARAMETERS_FILE = .aws-sam/build/parameters.yaml

.PHONY: build-IngestFunction build-MigrateFunction sam-test deploy migrate logs invoke coldstart

build-IngestFunction: MAIN = ./functions/ingest
build-MigrateFunction: MAIN = ./functions/migrate
build-IngestFunction build-MigrateFunction: | need-go
	GOARCH=$(subst x86_64,amd64,$(FUNCTION_ARCH)) $(LAMBDA) -o "$(ARTIFACTS_DIR)/bootstrap" $(MAIN)
	$(if $(MODEL_FILES),cp $(MODEL_FILES) "$(ARTIFACTS_DIR)/")
	@echo "- Architecture=$(FUNCTION_ARCH)" >"$(ARTIFACTS_DIR)/../$(notdir $(PARAMETERS_FILE))"

sam-test: | need-bash need-git build-bin ## test the template: its rules, the linters, sam build, sam local invoke with a real Postgres
	test/sam/run.sh

deploy: SAM_ARCH := $(or $(SAM_ARCH),arm64)
deploy: | need-go need-sam ## run sam build and sam deploy (STAGE=, STACK=, SAM_ARCH=, PARAMETERS='Name=value …')
	@awk -v section='[$(STAGE).deploy.parameters]' -v file='file://$(PARAMETERS_FILE)' \
		'/^\[/ { on = $$0 == section } on && index($$0, file) { found = 1 } END { exit !found }' samconfig.toml || \
		{ echo 'samconfig.toml: parameter_overrides of $(STAGE).deploy must end with "file://$(PARAMETERS_FILE)"' >&2; exit 1; }
	@# SAM would leave out one that the template does not have, and deploy without it.
	@printf '%s\n' $(PARAMETERS) | awk 'FNR == NR { if (/^[A-Za-z]/) on = /^Parameters:/; if (on && /^  [A-Za-z]+:$$/) known[substr($$0, 3)]; next } \
		NF { at = index($$0, "="); name = substr($$0, 1, at - 1); if (at < 2) { print "PARAMETERS: write Name=value, without blanks: " $$0; wrong = 1 } \
		else if (!((name ":") in known)) { print "PARAMETERS: template.yaml has no parameter " name ": docs/deploy.md lists them"; wrong = 1 } } END { exit wrong }' template.yaml - >&2
	SAM_ARCH=$(SAM_ARCH) $(SAM) build $(SECTION)
	@# On the command line of sam deploy they would replace those of samconfig.toml.
	@printf '%s\n' Revision=$(VERSION)-$$(date -u +%Y%m%dT%H%M%SZ) $(PARAMETERS) Architecture=$(FUNCTION_ARCH) | \
		sed "s/'/''/g; s/.*/- '&'/" >>$(PARAMETERS_FILE)
	$(SAM) deploy $(TO_STACK) --s3-prefix $(STACK)

migrate: | need-sam ## create missing tables by the stack's migrate function (STAGE=, STACK=); from here: `sluice migrate`
	$(SAM) remote invoke MigrateFunction $(TO_STACK)

logs: | need-sam ## follow the function's logs (STAGE=, STACK=)
	$(SAM) logs $(TO_STACK) --name IngestFunction --tail

invoke: | need-go need-sam need-docker ## run sam build and sam local invoke (EVENT=file; DATABASE_URL, SLUICE_MASK_KEYS); without Docker: `sluice invoke`
	SAM_ARCH=$(SAM_ARCH) $(SAM) build $(SECTION) >&2
	$(SAM) local invoke $(SECTION) --event $(EVENT)

coldstart: | need-go ## measure cold starts beside those of a hello-world function, and warm batches by size
	go test -count=1 -v -run '^TestColdStart$$' ./test/coldstart -args -runs 41 -warm 41
