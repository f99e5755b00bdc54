# `make` builds and tests; `make help` lists what else there is.
export CGO_ENABLED := 0
SHELL := /bin/bash

GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.buildVersion=$(VERSION) -X main.buildRevision=$(REVISION)
FUZZTIME ?= 10s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all
all: build test ## build and test (the default)

.PHONY: build
build: ## build bin/bgrid-node
	$(GO) build -buildvcs=false -trimpath -ldflags "$(LDFLAGS)" -o bin/bgrid-node ./cmd/bgrid-node

.PHONY: test
test: setup check unit fuzz ## all tests, as CI runs them; sets up what is missing

.PHONY: setup
setup: ## install what the tests need (Bazel, a C++ compiler, remotetool, BuildStream), or say what is missing
	./test/setup.sh

.PHONY: check
check: ## gofmt and go vet
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...

.PHONY: unit
unit: ## unit, command-line and real-client tests
	$(GO) run ./test/ciskips -timeout 10m ./...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	./test/fuzz.sh $(FUZZTIME)

.PHONY: race
race: ## unit tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./cmd/... ./node/... ./raftfsm/... ./runners/... ./store/...

.PHONY: lint
lint: check ## gofmt, go vet and staticcheck
	$(GO) run $(STATICCHECK) ./...

.PHONY: demo
demo: build ## compile a small C project remotely, then again from the cache
	./demo/run.sh

.PHONY: run
run: build ## leave a node serving on 127.0.0.1:50051, pages on http://127.0.0.1:8080
	./bin/bgrid-node serve $(ARGS)

.PHONY: bench
bench: ## measure a running node beside the floors of this machine (ARGS="-only regexp -duration 5s")
	$(GO) run ./test/bench $(ARGS)

.PHONY: soak
soak: ## the long loops: kills, power cuts, a full store
	./test/soak/run.sh $(ARGS)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
