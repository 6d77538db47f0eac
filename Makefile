# CoreNAT: `make help` lists what there is.
#
# Sources are found by folder: a new .c file needs no line here. Variants build beside each other:
# build/release, build/address,undefined, build/thread.

SAN       ?=
VARIANT   := $(if $(findstring fuzzer,$(SAN)),fuzz,$(if $(SAN),$(SAN),release))
B         := build/$(VARIANT)
VERSION   := $(shell cat VERSION)
DESTDIR   ?=
PREFIX    ?= /usr
V         ?=
Q         := $(if $(V),,@)

CC        ?= gcc
CLANG     ?= clang
BPFTOOL   ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

PKGS      := libxdp libbpf libmnl libmicrohttpd libcurl json-c sqlite3 libsystemd libpcap libxxhash
# CFLAGS, CPPFLAGS and LDFLAGS are for who builds, and come last; what CoreNAT cannot do without is in these.
CFLAGS    ?= $(if $(SAN),-O1,-O2) -g
OWN_CPPFLAGS := -I. -I$(B)/gen -D_GNU_SOURCE -DCORENAT_VERSION='"$(VERSION)"' -DXXH_INLINE_ALL
OWN_CFLAGS   := -std=c11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wpointer-arith -Wvla -Wno-unused-parameter -fno-strict-aliasing -march=x86-64-v2
OWN_LDFLAGS  := -pthread
ifneq ($(SAN),)
# gcc's thread sanitizer does not know fences and says so; the sequence locks keep theirs.
OWN_CFLAGS   += $(if $(findstring thread,$(SAN)),-Wno-tsan)
OWN_CPPFLAGS += $(if $(findstring fuzzer,$(SAN)),-DCORENAT_FUZZING)
OWN_CFLAGS   += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
OWN_LDFLAGS  += -fsanitize=$(SAN)
endif
LDLIBS_common     := -ljson-c
LDLIBS_pe         := -lxdp -lbpf -lpcap -lsystemd -ljson-c
LDLIBS_aggregator := -lsystemd -ljson-c
LDLIBS_mgmtd      := -lmicrohttpd -lmnl -lsqlite3 -lsystemd -ljson-c -lm
LDLIBS_ctl        := -lxdp -lbpf -ljson-c -lcurl -lm

src        = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c))
obj        = $(patsubst %.c,$(B)/%.o,$(1))

COMMON     := $(B)/lib/common.a
SHM        := $(B)/lib/shm.a
PE         := $(B)/lib/pe.a
AGGREGATOR := $(B)/lib/aggregator.a
MGMTD      := $(B)/lib/mgmtd.a
PROGRAMS   := $(addprefix $(B)/bin/,corenat-pe corenat-aggregator corenat-mgmtd corenatctl)
UNIT       := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
UNIT_HELP  := $(call obj,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))
FUZZ       := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH      := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
BENCH_HELP := $(call obj,$(filter-out $(wildcard tests/bench/bench_*.c),$(filter-out %.bpf.c,$(wildcard tests/bench/*.c))))
BENCH_BPF  := $(patsubst %.bpf.c,$(B)/%.bpf.o,$(wildcard tests/bench/*.bpf.c))
CRASH      := $(patsubst tests/crash/%.c,$(B)/tests/crash/%,$(wildcard tests/crash/crash_*.c))
CRASH_HELP := $(call obj,$(filter-out $(wildcard tests/crash/crash_*.c),$(wildcard tests/crash/*.c)))
LAB_BPF    := $(patsubst tests/lab/%.bpf.c,$(B)/tests/lab/%.bpf.o,$(wildcard tests/lab/*.bpf.c))
SKELETON   := $(B)/gen/corenat_xdp.skel.h
WEB        := build/web/index.html

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help deps all run test unit replay system crash soak soak-ports soak-lab bench lint format fuzz install clean web ci

help: ## this list
	@echo 'CoreNAT $(VERSION). The two commands: sudo make run, sudo make test'
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  variants: SAN=address,undefined or SAN=thread; V=1 shows the commands'

deps: ## install what building, running and testing need (Debian packages; npm packages for web/)
	$(Q)sh packaging/deps

all: $(PROGRAMS) web ## build everything

web: $(WEB) ## build the dashboard

$(WEB): $(shell find web -type f -not -path 'web/node_modules/*' 2>/dev/null)
	$(Q)sh web/build build/web

run: deps ## bring the lab up, drive traffic through it, show the dashboard's address (DURATION= seconds)
	$(Q)$(MAKE) all lab-bpf
	$(Q)tests/lab/run --build $(B) --duration '$(DURATION)'

test: deps ## everything: lint, unit, replay and system tests, sanitizers
	$(Q)tests/run-all

unit: $(UNIT) $(FUZZ) ## unit tests and what fuzzers found, of this variant
	$(Q)tests/run-unit $(UNIT) $(FUZZ)

replay: $(PROGRAMS) ## golden files through the replay backend
	$(Q)tests/replay/run $(B)/bin/corenat-pe

system: all lab-bpf ## system tests in the network-namespace lab
	$(Q)tests/system/run --build $(B) $(ONLY)

crash: $(CRASH) ## engines killed at every instruction, and 1,000 times under traffic
	$(Q)$(B)/tests/crash/crash_step
	$(Q)$(B)/tests/crash/crash_churn

soak: $(CRASH) soak-ports ## the same at length: recoveries killed as well, 10,000 kills, and soak-ports
	$(Q)for seed in 0 1 2 3; do $(B)/tests/crash/crash_step --deep 1 --seed $$seed || exit 1; done
	$(Q)$(B)/tests/crash/crash_churn --kills 10000

soak-ports: $(addprefix $(B)/tests/unit/,test_port_churn test_port_switch) ## one owner for each port: 100 million by threads, by processes; 20,000 orders
	$(Q)$(B)/tests/unit/test_port_churn 100000000
	$(Q)$(B)/tests/unit/test_port_switch 20000

bench: deps ## figures: one line each (ONLY=G1,G2 for some)
	$(Q)$(MAKE) all lab-bpf bench-programs
	$(Q)tests/bench/run --build $(B) --only '$(ONLY)'

soak-lab: deps ## a long lab run at full rate with churn (DURATION= seconds, 600)
	$(Q)$(MAKE) all lab-bpf bench-programs
	$(Q)tests/bench/soak --build $(B) --duration '$(or $(DURATION),600)'

lint: ## clang-format, clang-tidy, cppcheck
	$(Q)tests/lint

format: ## rewrite the sources the way lint wants them
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

fuzz: ## run the fuzzers (SECONDS= each, 60)
	$(Q)tests/fuzz/run

install: all ## install below DESTDIR
	$(Q)sh packaging/install '$(B)' '$(DESTDIR)' '$(PREFIX)'

clean: ## remove everything built
	$(Q)rm -rf build

.PHONY: lab-bpf bench-programs unit-programs programs
programs: $(PROGRAMS)
lab-bpf: $(LAB_BPF)
bench-programs: $(BENCH) $(BENCH_BPF)
unit-programs: $(UNIT) $(FUZZ)

# ---- rules ----

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(OWN_CPPFLAGS) $(CPPFLAGS) $(OWN_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(COMMON):     $(call obj,$(call src,common))
$(SHM):        $(call obj,$(call src,shm))
$(PE):         $(call obj,$(call src,pe))
$(AGGREGATOR): $(call obj,$(call src,aggregator))
$(MGMTD):      $(call obj,$(call src,mgmtd))
$(B)/lib/%.a:
	@mkdir -p $(@D)
	@echo '  AR    $@'
	$(Q)rm -f $@ && $(AR) rcs $@ $^

LINK = @mkdir -p $(@D); echo '  LINK  $@'; $(if $(V),set -x;) $(CC) $(OWN_CFLAGS) $(CFLAGS) $(OWN_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

$(B)/bin/corenat-pe: $(B)/pe/main.o $(PE) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_pe)
$(B)/bin/corenat-aggregator: $(B)/aggregator/main.o $(AGGREGATOR) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_aggregator)
$(B)/bin/corenat-mgmtd: $(B)/mgmtd/main.o $(MGMTD) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_mgmtd)
$(B)/bin/corenatctl: $(call obj,$(wildcard mgmtd/ctl/*.c) pe/xdp.c pe/xdp_dir.c) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_ctl)
$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(UNIT_HELP) $(PE) $(AGGREGATOR) $(MGMTD) $(SHM) $(COMMON)
	$(LINK) -lcmocka $(LDLIBS_pe) $(LDLIBS_mgmtd)
# Bound at once: the stepper returns from functions by their return address.
$(B)/tests/crash/crash_%: $(B)/tests/crash/crash_%.o $(CRASH_HELP) $(PE) $(SHM) $(COMMON)
	$(LINK) -Wl,-z,now $(LDLIBS_pe)
# With SAN=fuzzer,... main is libFuzzer's; else the committed inputs are replayed.
$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(if $(findstring fuzzer,$(SAN)),,$(B)/tests/fuzz/corpus_main.o) \
		$(PE) $(AGGREGATOR) $(MGMTD) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_pe) $(LDLIBS_mgmtd)
$(B)/tests/bench/bench_%: $(B)/tests/bench/bench_%.o $(BENCH_HELP) $(PE) $(SHM) $(COMMON)
	$(LINK) $(LDLIBS_pe)

# The XDP program is compiled for the kernel and embedded as a skeleton.
$(B)/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	@echo '  BPF   $<'
	$(Q)$(CLANG) -O2 -g -target bpf -Wall -Werror -I. -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP -c -o $@ $<
$(SKELETON): $(B)/pe/bpf/corenat_xdp.bpf.o
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name corenat_xdp > $@
$(call obj,$(wildcard pe/*.c)): | $(SKELETON)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
