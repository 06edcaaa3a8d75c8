# moonpool: `make demo` and `make check` do all the set-up by themselves; docs/operations.md has the rest.
#
#   make            build/moonpool, build/libmoonpool.a and .so, build/lua/moonpool.so (for a stock lua5.4)
#   make install    to $(DESTDIR)$(PREFIX); install-compat adds the names of zfs_autobackup
#   make deps       what is needed to build; demo and check install what they need themselves
#   make demo       a real backup on real pools
#   make check      all tests; check-quick: those that need no virtual machine; asan, tsan: those in C and Lua with a sanitizer
#   make bench      how fast it is beside what one would otherwise use (docs/performance.md); bench-check: only what can be counted
#   make docs       build/docs: the Lua reference, the option reference, the manual page and what shells complete with, all from the source
#   make format     clang-format over the C files
PREFIX  ?= /usr/local
CC      ?= cc
LUA     ?= lua5.4
O       ?= build

MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
endif

PACKAGES = lua5.4 libssh libedit
WARN  = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla \
        -Wformat=2 -Wundef -Wconversion -Wno-sign-conversion -Wnull-dereference
CPPFLAGS += -D_POSIX_C_SOURCE=200809L -Isrc
CFLAGS   ?= -O2 -g
override CFLAGS += -std=c11 $(WARN) -pthread -fPIC -fvisibility=hidden $(SANITIZE)
LDFLAGS  += -pthread $(SANITIZE)

SRC      = $(filter-out src/main.c,$(wildcard src/*.c))
OBJ      = $(SRC:src/%.c=$(O)/%.o) $(O)/embedded.o
LUA_FILES = $(shell find lua policies -name '*.lua' | sort)
# Lua libraries of the system that the program carries along. inspect.lua has no copy for 5.4 and needs none.
LIBRARIES = $(foreach name,argparse dkjson inspect,$(name).lua=$(firstword $(wildcard /usr/share/lua/5.4/$(name).lua \
            /usr/local/share/lua/5.4/$(name).lua /usr/share/lua/5.3/$(name).lua) missing-$(name).lua))

ifneq ($(filter-out deps demo check check-quick asan tsan bench bench-check clean format,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes),yes)
$(error pkg-config does not find $(PACKAGES): `make deps` installs what is needed)
endif
ifneq ($(findstring missing-,$(LIBRARIES)),)
$(error no $(patsubst missing-%,%,$(filter missing-%,$(subst =, ,$(LIBRARIES)))) for Lua: `make deps` installs what is needed)
endif
endif
CPPFLAGS += $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LUA_LIBS  = $(shell pkg-config --libs lua5.4 2>/dev/null)
LIBS      = $(shell pkg-config --libs libssh libedit 2>/dev/null)

# Says what is made, or with V=1 the whole command.
quiet = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$@';)

.PHONY: all install install-compat deps demo check check-quick asan tsan bench bench-check bench-tools build-tests docs format clean force
all: $(O)/moonpool $(O)/libmoonpool.a $(O)/libmoonpool.so $(O)/lua/moonpool.so

$(O)/%.o: src/%.c | $(O)/lua
	$(call quiet,cc)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The one object that knows where it will be installed.
$(O)/bind.o: CPPFLAGS += -DMP_PREFIX='"$(PREFIX)"'
$(O)/bind.o: $(O)/prefix
$(O)/prefix: force | $(O)/lua
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@

$(O)/embedded.c: $(LUA_FILES) src/embed.lua | $(O)/lua
	$(call quiet,lua)$(LUA) src/embed.lua $(foreach f,$(LUA_FILES),$(f)=$(f)) $(LIBRARIES) >$@.new && mv $@.new $@

$(O)/embedded.o: $(O)/embedded.c src/embedded.h
	$(call quiet,cc)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(O)/libmoonpool.a: $(OBJ)
	$(call quiet,ar)rm -f $@ && ar rcs $@ $^

$(O)/libmoonpool.so: $(OBJ)
	$(call quiet,ld)$(CC) $(LDFLAGS) -shared -Wl,-soname,libmoonpool.so -o $@ $^ $(LIBS) $(LUA_LIBS)

# The host program has Lua: a second copy in the module would not know its values.
$(O)/lua/moonpool.so: $(OBJ)
	$(call quiet,ld)$(CC) $(LDFLAGS) -shared -o $@ $^ $(LIBS)

$(O)/moonpool: $(O)/main.o $(O)/libmoonpool.a
	$(call quiet,ld)$(CC) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(LIBS) $(LUA_LIBS)

$(O)/lua:
	@mkdir -p $@

-include $(OBJ:.o=.d) $(O)/main.d

# ---- tests ---------------------------------------------------------------------------------------------------

C_TESTS = $(wildcard tests/c/*_test.c tests/ssh/*_test.c)
TEST_PROGRAMS = $(patsubst tests/%.c,$(O)/tests/%,$(C_TESTS))
TEST_HELPERS = $(wildcard tests/ssh/sshd.c)

$(O)/tests/%: tests/%.c $(TEST_HELPERS) $(O)/libmoonpool.a $(wildcard tests/c/*.h tests/ssh/*.h)
	$(call quiet,cc)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -Itests/c -Itests/ssh -o $@ $< $(if $(filter tests/ssh/%,$<),$(TEST_HELPERS)) \
	  $(O)/libmoonpool.a $(LDFLAGS) -lcmocka $(LIBS) $(LUA_LIBS)

build-tests: all $(TEST_PROGRAMS)

QUICK = lint floors c lua ssh cli embed
FULL  = $(QUICK) bench portable asan tsan zfs

check-quick:
	@tests/deps build test
	@$(MAKE) build-tests
	@tests/run $(QUICK)

check:
	@tests/deps build test bed count
	@$(MAKE) build-tests bench-tools
	@tests/run $(FULL)

asan tsan:
	@tests/deps build test
	@tests/run $@

# BENCH: which of pipe commands listing retention stream whole; empty: all.
bench:
	@tests/deps build test bed bench
	@$(MAKE) all bench-tools
	@tests/bench/run $(BENCH)

bench-check:
	@tests/deps build test count
	@$(MAKE) all bench-tools
	@tests/run bench

bench-tools: $(O)/bench/tool $(O)/bench/delay $(O)/bench/bin/zfs $(O)/bench/bin/zpool
$(O)/bench/% $(O)/bench/bin/%: tests/bench/%.c
	$(call quiet,cc)mkdir -p $(O)/bench/bin && $(CC) -std=c11 -O2 -Wall -Wextra -o $@ $<
$(O)/bench/bin/zpool: $(O)/bench/bin/zfs
	@ln -sf zfs $@

demo:
	@tests/deps build test bed
	@$(MAKE) all
	@tests/bed/bed run -- tests/demo

# ---- the rest ------------------------------------------------------------------------------------------------

deps:
	@tests/deps build

docs: all
	@mkdir -p $(O)/docs
	@$(O)/moonpool lua docs/references.lua $(O)/docs
	@for shell in bash zsh fish; do $(O)/moonpool completion $$shell >$(O)/docs/completion.$$shell || exit; done

install: all docs
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/lib/lua/5.4 $(DESTDIR)$(PREFIX)/include \
	  $(DESTDIR)$(PREFIX)/share/moonpool/policies $(DESTDIR)$(PREFIX)/share/doc/moonpool $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(O)/moonpool $(DESTDIR)$(PREFIX)/bin/moonpool
	install -m 644 $(O)/libmoonpool.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(O)/libmoonpool.so $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(O)/lua/moonpool.so $(DESTDIR)$(PREFIX)/lib/lua/5.4/moonpool.so
	install -m 644 src/moonpool.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 policies/*.lua $(DESTDIR)$(PREFIX)/share/moonpool/policies/
	install -m 644 README.md LICENSE docs/*.md $(O)/docs/*.md $(DESTDIR)$(PREFIX)/share/doc/moonpool/
	install -m 644 $(O)/docs/moonpool.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(O)/docs/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/moonpool
	install -m 644 $(O)/docs/completion.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_moonpool
	install -m 644 $(O)/docs/completion.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/moonpool.fish
	printf 'prefix=%s\nName: moonpool\nDescription: scripting host for ZFS backup\nVersion: %s\nLibs: -L$${prefix}/lib -lmoonpool\nLibs.private: %s %s\nCflags: -I$${prefix}/include\n' \
	  '$(PREFIX)' "$$(sed -n 's/^#define MP_VERSION "\(.*\)"/\1/p' src/moonpool.h)" '$(LIBS)' '$(LUA_LIBS)' >$(DESTDIR)$(PREFIX)/lib/pkgconfig/moonpool.pc

install-compat: install
	ln -sf moonpool $(DESTDIR)$(PREFIX)/bin/zfs_autobackup
	ln -sf moonpool $(DESTDIR)$(PREFIX)/bin/zfs-autobackup

format:
	clang-format -i $(wildcard src/*.[ch] tests/*/*.[ch])

clean:
	rm -rf build
