# sluice: `make help` lists the targets. Variables in capitals may be set on the command line: make fuzz FUZZTIME=5m

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARCH      ?= $(shell go env GOARCH)# of the Lambda function: arm64 or amd64
FUZZTIME  ?= 20s# per target
BENCH     ?= .# which benchmarks, a regular expression
BENCHTIME ?= 1s
BENCHRUNS ?= 1# 10 for a comparison by `make benchstat`
PACKAGES  ?= ./...

# The race detector needs cgo and a C compiler. Without one `make test` says so and runs without it.
RACE ?= $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v $$(go env CC) >/dev/null && echo -race)

# Tests read a sample of real bodies from this JSON-lines file, if it is set. They run in their package's folder.
ifdef SLUICE_SAMPLE
override SLUICE_SAMPLE := $(abspath $(SLUICE_SAMPLE))
export SLUICE_SAMPLE
endif

# The tools have a module of their own, so that they never move a version of the product.
TOOL    = go tool -modfile=tools/go.mod
BUILD   = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.PHONY: all help lint fmt unit test demo build-bin function cases fuzz bench benchstat vuln tidy-check cover clean

all: lint unit ## lint and the unit tests: what `make` alone does

help: ## print this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lint: ## the linters of .golangci.yml (the first run builds them: a minute or two)
	$(TOOL) golangci-lint run $(PACKAGES)

fmt: ## format the code as lint wants it
	$(TOOL) golangci-lint fmt

unit: ## the tests that need no server and no time
	go test -short $(PACKAGES)

test: ## all tests, with a real Postgres, the race detector and a random order
	@[ -n "$(RACE)" ] || echo "*** WITHOUT THE RACE DETECTOR: it needs cgo and a C compiler (CGO_ENABLED=1, gcc or clang)" >&2
	go test $(RACE) -shuffle=on -timeout 10m $(PACKAGES)

demo: build-bin ## the whole job on an example batch, with nothing set up
	bin/sluice demo

build-bin: ## the command line, as bin/sluice
	$(BUILD) -o bin/sluice ./cmd/sluice

function: ## the Lambda function for provided.al2023, as bin/bootstrap (ARCH=arm64 or amd64)
	GOOS=linux GOARCH=$(ARCH) $(BUILD) -tags lambda.norpc -o bin/bootstrap ./functions/ingest

cases: build-bin ## black-box cases against a Postgres of their own (CASES=path of their runner; needs psql and python3)
	go run ./test/withpg python3 $(CASES) bin/sluice

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: ## the benchmarks (BENCH=regexp BENCHTIME=1s BENCHRUNS=1)
	@listed=$$(.ci/list-tests '^Benchmark') || exit 1; \
	[ -n "$$listed" ] || { echo "no benchmark found" >&2; exit 1; }; \
	packages=$$(echo "$$listed" | cut -d ' ' -f 1 | sort -u); \
	set -x; go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(BENCHRUNS) -timeout 30m $$packages

benchstat: ## compare two outputs of `make bench BENCHRUNS=10`: OLD=file NEW=file
	$(TOOL) benchstat $(OLD) $(NEW)

vuln: ## known vulnerabilities in what the code calls (asks vuln.go.dev)
	$(TOOL) govulncheck $(PACKAGES)

tidy-check: ## both modules' go.mod and go.sum are what `go mod tidy` would write
	go mod tidy -diff
	go -C tools mod tidy -diff

cover: ## coverage of all tests, as coverage/index.html
	@mkdir -p coverage
	go test -timeout 10m -coverpkg=./... -coverprofile=coverage/cover.out $(PACKAGES)
	go tool cover -html=coverage/cover.out -o coverage/index.html
	@go tool cover -func=coverage/cover.out | tail -n 1

clean: ## remove what these targets made
	rm -rf bin coverage dist .aws-sam
