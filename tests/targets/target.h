/* What every target shares: its line protocol, its end, and the bytes that it holds.
 *
 * A target prints `name=0xaddress` lines, then `ready`. After that each line on stdin is a command
 * and gets one line in answer. It dies with the thread that started it, and when stdin closes.
 */
#ifndef FARPEEK_TEST_TARGET_H
#define FARPEEK_TEST_TARGET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))
#define LARGEST_PAGE 65536 /* of any architecture */

/* Exit status of a target that this kernel, or these privileges, do not allow. */
#define NOT_PERMITTED 77

/* The marker page: the same address in every target that has one, so that an impostor or a new
 * program answers at the very address where its predecessor did. */
#define MARKER_ADDRESS ((uint8_t *)0x5ec000000000)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* Ends the process where `expression` is false: a target that is not what it says is no use. */
#define CHECK(expression) ((expression) ? (void)0 : failed(__FILE__, __LINE__, #expression))

static inline void failed(const char *file, int line, const char *expression) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, expression, strerror(errno));
    exit(70);
}

static inline void die_with_parent(void) {
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

static inline void say(const char *name, const void *address) {
    printf("%s=0x%" PRIxPTR "\n", name, (uintptr_t)address);
}

static inline void say_number(const char *name, uint64_t number) {
    printf("%s=0x%" PRIx64 "\n", name, number);
}

static inline void answer(const char *text) {
    puts(text);
    fflush(stdout);
}

static inline void ready(void) {
    answer("ready");
}

/* The next command without its newline; ends the process when stdin closes. */
static inline const char *next_command(void) {
    static char line[4096];
    if (fgets(line, sizeof line, stdin) == NULL) _exit(0);
    line[strcspn(line, "\n")] = 0;
    return line;
}

/* The argument of `line` if it begins with the word `name`, else NULL. */
static inline const char *argument(const char *line, const char *name) {
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0) return NULL;
    if (line[length] == 0) return line + length;
    return line[length] == ' ' ? line + length + 1 : NULL;
}

/* The word that `fill` puts at an address: every page, and every word in it, is different. */
static inline uint64_t pattern_word(uintptr_t address) {
    uint64_t word = (uint64_t)address * UINT64_C(0x9E3779B97F4A7C15);
    return word ^ (word >> 32);
}

static inline void fill_as(void *to, const void *address, size_t length) {
    for (size_t at = 0; at < length; at += 8) {
        uint64_t word = pattern_word((uintptr_t)address + at);
        memcpy((uint8_t *)to + at, &word, length - at < 8 ? length - at : 8);
    }
}

static inline void fill(void *address, size_t length) {
    fill_as(address, address, length);
}

/* Anonymous pages; `at` NULL lets the kernel choose. */
static inline uint8_t *map_pages(void *at, size_t pages, int protection) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at == NULL ? 0 : MAP_FIXED);
    uint8_t *address = mmap(at, pages * PAGE, protection, flags, -1, 0);
    CHECK(address != MAP_FAILED);
    return address;
}

/* A page of `value` words at MARKER_ADDRESS. */
static inline uint8_t *map_marker(uint64_t value) {
    uint8_t *address = map_pages(MARKER_ADDRESS, 1, PROT_READ | PROT_WRITE);
    for (size_t at = 0; at < PAGE; at += sizeof value) memcpy(address + at, &value, sizeof value);
    return address;
}

/* Commands that every target knows: the ways to end. False if it is none of them. */
static inline int common_command(const char *line) {
    const char *value = argument(line, "exit");
    if (value != NULL) exit((int)strtol(value, NULL, 10));
    if (argument(line, "abort") != NULL) abort();
    return 0;
}

/* Answers `unknown` to what `common_command` does not know either. */
static inline void other_command(const char *line) {
    if (!common_command(line)) answer("unknown");
}

#endif
