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

# What packages are made of must not depend on when or where.
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
IMAGE := bin/image

.PHONY: image-rootfs
image-rootfs: build ## the file trees of the images, without a container engine (the worker's as root, with debootstrap)
	mkdir -p $(IMAGE)
	SOURCE_DATE_EPOCH=$(EPOCH) ./packaging/image/rootfs.sh grid $(IMAGE)/bgrid-node.rootfs.tar
	./packaging/image/debian.sh $(IMAGE)/debian.tar
	SOURCE_DATE_EPOCH=$(EPOCH) ./packaging/image/rootfs.sh worker $(IMAGE)/debian.tar $(IMAGE)/bgrid-worker.rootfs.tar

.PHONY: images
images: image-rootfs ## archives of both images, for docker load, ctr images import and kind load image-archive
	$(GO) run ./packaging/image -stage grid -root $(IMAGE)/bgrid-node.rootfs.tar -tag bgrid-node:dev -epoch $(EPOCH) -o $(IMAGE)/bgrid-node.tar
	$(GO) run ./packaging/image -stage worker -root $(IMAGE)/bgrid-worker.rootfs.tar -tag bgrid-worker:dev -epoch $(EPOCH) -o $(IMAGE)/bgrid-worker.tar

.PHONY: deb
deb: build ## bin/bgrid-node.deb, a Debian package with two systemd services
	VERSION='$(VERSION)' SOURCE_DATE_EPOCH=$(EPOCH) ./packaging/deb/build.sh bin/bgrid-node.deb

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
