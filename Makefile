# SPDX-License-Identifier: BSD-3-Clause
#
# The front door. Meson and Ninja do the building (meson.build), tools/check
# the testing; here are only the words that a person types.
#
# build/ is Meson's build directory. Kept in it, too: build/vm, the VM tests'
# kernels and emulators, which `make clean` leaves, and build/variants, the
# other compilers' and sanitizers' builds that `make prepush` makes.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   := build
export DESTDIR

.PHONY: all check prepush demo bench soak install clean distclean help configure
.DEFAULT_GOAL := all

all: configure ## build the program, build/outboard
	@ninja -C $(BUILD)

check: ## run the tests that suit a working day (in CI, all of them)
	@tools/check

prepush: ## run all that CI runs: compilers, sanitizers, fuzzers, VM tests
	@tools/check --full

demo: all ## boot a guest on a served disk and show what happens
	@tools/deps vm
	@test/vm/demo.py

bench: all ## measure
	@tools/deps vm
	@bench/run.py

soak: all ## run for long
	@tools/deps vm
	@tools/soak

install: configure ## install into DESTDIR/PREFIX (PREFIX=/usr/local)
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD)

clean: ## remove what was built, keep what was downloaded
	@[ ! -d $(BUILD) ] || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name vm -exec rm -rf {} +

distclean: ## remove build/ whole
	@rm -rf $(BUILD)

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | \
	    while IFS='|' read -r word text; do printf '  make %-10s %s\n' "$$word" "$$text"; done

# Meson reconfigures by itself from here on, whenever a meson.build changes.
configure:
	@tools/deps build
	@[ -e $(BUILD)/build.ninja ] || meson setup $(BUILD) >/dev/null
