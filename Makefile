# afctl: see README.md. `make` builds, `make test` tests, `make demo` trains the embedded planner.

GO    ?= go
# oneDNN (Debian: libdnnl-dev) is linked where the headers of its 2.x or 3.x are found; without it everything builds and passes all the same.
DNNL  := $(shell all=$$($(or $(CC),cc) -E -dM -x c -include dnnl.h -include omp.h /dev/null 2>/dev/null) && echo "$$all" | grep -q 'DNNL_VERSION_MAJOR [23]$$' && echo dnnl)
TAGS  ?= $(DNNL)
BIN   := bin/afctl
NOW   := $(shell date +%Y%m%d-%H%M%S)
RUN   ?= runs/demo-$(NOW)
# The steps of the demo; .ci/run takes fewer.
STEPS ?=
# More flags for go test, such as -v.
TESTFLAGS ?=

.PHONY: all build tags test race demo bench peer planner ablations lint crashtest fuzz cuda clean

all: build

build:
	$(GO) build -tags '$(TAGS)' -o $(BIN) ./cmd/afctl

cuda:
	@echo 'cuda: this version has no GPU engine yet; make builds $(BIN), which runs on the CPU' >&2; exit 1

tags:
	@echo 'build tags: $(or $(TAGS),none)'

test:
	$(GO) vet -tags '$(TAGS)' ./...
	$(GO) test $(TESTFLAGS) -tags '$(TAGS)' ./...

# Without the tests that count one goroutine's steps by the million.
race:
	$(GO) test -race -skip '^TestChatTemplate(Bounded|Refused)$$' ./flow/... ./rollout/... ./ckpt/... ./bench/... ./cmd/...
	$(GO) test -race -run 'Sampl|Publish|Prompt|Prefix|Lost' ./engine

# Held-out accuracy before and after, watched live; the report is $(RUN)/report.html.
demo: build
	$(BIN) train --config bench/configs/demo.yaml --run '$(RUN)' $(if $(STEPS),--steps $(STEPS))
	$(BIN) report --run '$(RUN)'

# Speed, with its share of what this machine is measured to reach in the same run: products in a step's shapes, whole steps, sampling.
bench:
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchtime 200ms ./kernels/cpu
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench 'Step|Sampler/(toy|q05)/base' -benchtime 2x -timeout 30m ./engine
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchmem ./flow ./ckpt/... ./rollout/...

# The same work by PyTorch, side by side (bench/peer/README.md says what it needs).
peer: build
	bench/peer/run.sh

# Makes the embedded planner anew from nothing but this repository (about half an hour on two cores).
planner: build
	bench/gym/planner/make.sh $(BIN)

# What each part of the method is worth in the gym: tables (bench/ablations). SEEDS=1,2,3 repeats, ONLY=kl,group chooses.
ablations: build
	$(GO) run -tags '$(TAGS)' ./bench/ablations --afctl $(BIN) --out build/ablations --seeds $(or $(SEEDS),1) $(if $(ONLY),--only $(ONLY)) $(if $(STEPS),--steps $(STEPS))

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags '$(TAGS)' ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# Kills a training run 300 times.
crashtest:
	AFCTL_KILLS=300 $(GO) test -count=1 -timeout 2h -run TestKillAndResume ./cmd/afctl

# Every fuzz target for a while each.
fuzz:
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(FUZZTIME),30s) $$p || exit 1; done; done

clean:
	rm -rf bin build
