# DreamLens backend. `make help` lists the targets.
#
# MODE picks the kind of build; each has its own output folder, so switching rebuilds nothing:
#   release  optimised and hardened (default)
#   asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     ThreadSanitizer
#   fuzz     libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, by clang

MODE ?= release
# V=1 shows the commands.
Q = $(if $(V),,@)
CC = gcc
OUT := build/$(MODE)

PACKAGES = libpq json-c libssl libcrypto libcurl libidn2
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lfcgi

WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wundef -Wvla -Wwrite-strings
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif

CFLAGS_release = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE \
	-fno-plt -ffunction-sections -fdata-sections
LDFLAGS_release = -pie -Wl,-z,relro,-z,now -Wl,--as-needed
CFLAGS_asan = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined
LDFLAGS_asan = -fsanitize=address,undefined -Wl,--as-needed
CFLAGS_tsan = -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan = -fsanitize=thread -Wl,--as-needed
CFLAGS_fuzz = -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined
LDFLAGS_fuzz = -fsanitize=fuzzer,address,undefined -Wl,--as-needed
ifeq ($(MODE),fuzz)
CC = clang
endif
ifeq ($(CFLAGS_$(MODE)),)
$(error MODE=$(MODE) is not known: expected release, asan, tsan or fuzz)
endif

CPPFLAGS += -D_GNU_SOURCE -Icommon -I. -I$(OUT)/gen -MMD -MP
CFLAGS += -std=gnu11 -pthread $(CFLAGS_$(MODE)) $(WARNINGS) $(PACKAGE_CFLAGS)
LDFLAGS += -pthread $(LDFLAGS_$(MODE))

COMMON_SOURCES := $(wildcard common/*/*.c)
HANDLER_SOURCES := $(wildcard handlers/*.c)
WORKER_SOURCES := $(wildcard workers/*.c)
TOOL_SOURCES := $(wildcard tools/*.c)
SUPERVISOR_SOURCES := $(wildcard supervisor/*.c)
UNIT_SOURCES := $(wildcard tests/unit/*.c tests/unit/*/*.c)
QUERY_FILES := $(wildcard sql/queries/*.sql)
MIGRATION_FILES := $(sort $(wildcard sql/migrations/*.sql))
FUNCTION_FILES := $(sort $(wildcard sql/functions/*.sql))

LIBRARY := $(OUT)/libdreamlens.a
GENERATED := $(OUT)/gen/queries.h $(addprefix $(OUT)/gen/,queries.c migrations.c functions.c)
COMMON_OBJECTS := $(COMMON_SOURCES:%.c=$(OUT)/obj/%.o) \
	$(patsubst %,$(OUT)/obj/gen/%.o,queries migrations functions)
HANDLERS := $(HANDLER_SOURCES:handlers/%.c=$(OUT)/bin/%)
WORKERS := $(WORKER_SOURCES:workers/%.c=$(OUT)/bin/%)
TOOLS := $(TOOL_SOURCES:tools/%.c=$(OUT)/bin/%)
SUPERVISOR := $(OUT)/bin/supervisor
# All but its main function: what its unit tests link.
SUPERVISOR_OBJECTS := $(filter-out %/main.o,$(SUPERVISOR_SOURCES:%.c=$(OUT)/obj/%.o))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(OUT)/tests/unit/%)
# What the Python tests and the benchmark drive: no tests by themselves.
DRIVERS := $(OUT)/tests/clerk/verify $(OUT)/tests/bench/bare
# Sanitizers have an allocator of their own.
FAILING_MALLOC := $(if $(filter release,$(MODE)),$(OUT)/tests/fault/failing_malloc.so)

.PHONY: all help handlers unit check clean
all: $(HANDLERS) $(WORKERS) $(TOOLS) $(SUPERVISOR)

help:
	@echo 'make [MODE=release|asan|tsan|fuzz] [WERROR=1] [all|unit|fuzz|clean]'
	@echo '  all    every handler, worker and tool, and the supervisor, in build/MODE/bin'
	@echo '  unit   the unit tests, in build/MODE/tests/unit'
	@echo '  fuzz   the fuzzing drivers, in build/MODE/tests/fuzz'
	@echo '  clean  removes build/'

handlers: $(HANDLERS)
unit: $(UNIT_TESTS) $(DRIVERS) $(FAILING_MALLOC)

# Statements, migrations and functions are files; the build turns each into a constant
# (scripts/embed-sql).
$(OUT)/gen/queries.h $(OUT)/gen/queries.c &: $(QUERY_FILES) sql/queries scripts/embed-sql
	@mkdir -p $(@D)
	scripts/embed-sql queries $(OUT)/gen $(QUERY_FILES)
$(OUT)/gen/migrations.c: $(MIGRATION_FILES) sql/migrations scripts/embed-sql
	@mkdir -p $(@D)
	scripts/embed-sql migrations $(OUT)/gen $(MIGRATION_FILES)
$(OUT)/gen/functions.c: $(FUNCTION_FILES) sql/functions scripts/embed-sql
	@mkdir -p $(@D)
	scripts/embed-sql functions $(OUT)/gen $(FUNCTION_FILES)

$(OUT)/obj/gen/%.o: $(OUT)/gen/%.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(OUT)/obj/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# The folder prerequisites notice a source file that was added or removed.
$(LIBRARY): $(COMMON_OBJECTS) $(sort $(dir $(COMMON_SOURCES)))
	@echo '  AR    $@'
	$(Q)rm -f $@.new && ar rcs $@.new $(COMMON_OBJECTS) && mv $@.new $@

$(OUT)/bin/supervisor: $(SUPERVISOR_SOURCES:%.c=$(OUT)/obj/%.o) $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)
$(WORKERS): $(OUT)/bin/%: $(OUT)/obj/workers/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBRARY) $(PACKAGE_LIBS)
$(TOOLS): $(OUT)/bin/%: $(OUT)/obj/tools/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBRARY) $(PACKAGE_LIBS)
$(OUT)/bin/%: $(OUT)/obj/handlers/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBRARY) $(PACKAGE_LIBS)

$(OUT)/tests/unit/supervisor/%: $(OUT)/obj/tests/unit/supervisor/%.o $(SUPERVISOR_OBJECTS) \
		$(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(PACKAGE_LIBS)
# Whole archive: the unit tests see every statement of the library, linked by name or not.
$(OUT)/tests/unit/%: $(OUT)/obj/tests/unit/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--whole-archive $(LIBRARY) -Wl,--no-whole-archive \
		-lcmocka $(PACKAGE_LIBS)

$(DRIVERS): $(OUT)/%: $(OUT)/obj/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LIBRARY) $(PACKAGE_LIBS)

$(OUT)/tests/fault/%.so: tests/fault/%.c
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $<

# tests/fuzz/fuzz_NAME.c is the fuzzing driver NAME (scripts/fuzz). MODE=fuzz links it with
# libFuzzer; other modes with a main that replays files, so that findings stay found without clang.
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_SUPPORT := $(wildcard tests/fuzz/support/*.c)
FUZZ_OBJECTS := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out \
	$(if $(filter fuzz,$(MODE)),%/replay.c),$(FUZZ_SUPPORT)))
FUZZ_LIBRARY := $(OUT)/tests/fuzz/support.a
.PHONY: fuzz
fuzz: $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=$(OUT)/tests/fuzz/%)
$(OUT)/obj/tests/fuzz/%.o: CPPFLAGS += -Itests/fuzz
# An archive, so that a driver that replaces a function of the library gets no second one of it.
$(FUZZ_LIBRARY): $(FUZZ_OBJECTS)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/tests/fuzz/%: $(OUT)/obj/tests/fuzz/fuzz_%.o $(FUZZ_LIBRARY) $(LIBRARY)
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)
-include $(FUZZ_SOURCES:%.c=$(OUT)/obj/%.d) $(FUZZ_SUPPORT:%.c=$(OUT)/obj/%.d)

clean:
	rm -rf build

.SECONDARY:
-include $(COMMON_OBJECTS:.o=.d) $(HANDLER_SOURCES:%.c=$(OUT)/obj/%.d) \
	$(WORKER_SOURCES:%.c=$(OUT)/obj/%.d) $(TOOL_SOURCES:%.c=$(OUT)/obj/%.d) \
	$(UNIT_SOURCES:%.c=$(OUT)/obj/%.d) $(DRIVERS:$(OUT)/%=$(OUT)/obj/%.d) \
	$(FAILING_MALLOC:.so=.d) $(SUPERVISOR_SOURCES:%.c=$(OUT)/obj/%.d)
