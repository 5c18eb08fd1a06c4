# What people and CI run. `make check` is the gate; everything in it works
# offline once the modules are there. Tools come by `go run tool@version`, so that
# go.mod holds what the program needs and nothing else.

GOLANGCI  = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULNCHECK = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Fuzzing beyond the seeds: make fuzz FUZZTIME=1m.
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: help run check fmt lint generated vet test race fuzz-seeds fuzz cover bench docs vuln example example-mod torture build image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve with everything built in; data in ./data
	go run ./cmd/switchboard

check: vet lint generated race fuzz-seeds example ## what CI runs

vet: ## go vet, with the tests
	go vet ./...

lint: ## format and lint, without changing anything
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...

fmt: ## format in place
	$(GOLANGCI) fmt ./...

# Generated files are compared with what they were before, not with a commit, so
# that this works in a dirty checkout too.
generated: ## fail if go generate would change a file
	@before=$$(mktemp) && after=$$(mktemp) && \
	sums() { find schemas docs/reference -type f \( -name '*.json' -o -name '*.yaml' -o -name '*.md' \) -exec cksum {} + | sort -k3; } && \
	sums > $$before && go generate ./... && sums > $$after && \
	{ diff $$before $$after > /dev/null || { diff $$before $$after; echo "generated files were stale; commit what go generate wrote"; rm -f $$before $$after; exit 1; }; } && \
	rm -f $$before $$after

test: ## the tests, once, quickly
	go test ./...

race: ## the tests under the race detector, in random order
	go test -race -shuffle=on -timeout=10m ./...

# Seeds run with the tests of `race` already; here alone, and named, so that a
# crasher that fuzzing put into testdata is seen for what it is.
fuzz-seeds: ## every fuzz target over its seeds
	go test -race -run='^Fuzz' ./...

fuzz: ## every fuzz target for FUZZTIME
	@go list ./... | while read -r pkg; do \
		go test -list '^Fuzz' $$pkg | grep '^Fuzz' | while read -r target; do \
			echo "$$pkg $$target" && go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) $$pkg || exit 1; \
		done || exit 1; \
	done

cover: ## coverage per package, counting what other packages' tests reach; fails under 80 %
	go test -coverpkg=./internal/...,./channels/...,./sinks/...,./adapter/...,./router/...,./classify/... -coverprofile=coverage.out ./... > coverage.log || { cat coverage.log; exit 1; }
	go run ./internal/tools/covergate -min 80 coverage.out

bench: ## the goals of BENCHMARKS.md, each with its baseline from the same run
	go run ./internal/tools/bench

torture: ## kill -9 fifty times under load, the desk as the judge; about two minutes
	go test ./internal/torture -run=TestExactlyOnce -torture.run -count=1 -timeout=10m -v

docs: ## write docs/reference and the schemas anew
	go generate ./...

vuln: ## known vulnerabilities; needs the vulnerability database
	$(VULNCHECK) ./...

example: ## the module that builds its own binary with its own channel
	cd docs/examples/own-channel && go vet ./... && go test ./...

# The example needs what the module needs: its go.mod repeats the list.
example-mod: ## bring the example's go.mod up to the module's
	@cd docs/examples/own-channel && { \
		printf 'module kiosk.example/switchboard\n\n' && grep '^go ' ../../../go.mod && \
		printf '\nrequire switchboard v0.0.0\n\nreplace switchboard => ../../..\n\n' && \
		sed -n '/^require (/,/^)/p' ../../../go.mod | sed -E '/^\t/ { s# // indirect$$##; s#$$# // indirect#; }'; \
	} > go.mod && cp ../../../go.sum go.sum

build: ## a static, stripped binary in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/switchboard ./cmd/switchboard

image: ## the container image
	docker build -f deploy/Dockerfile -t switchboard .

clean: ## remove what the targets above leave
	rm -rf bin coverage.out coverage.log
