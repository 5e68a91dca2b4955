/* Memory to be searched: 16 MiB of the pattern from `area` on, in a row of what can be met.
 *
 * At 5 MiB a page is closed; from 8 MiB on nobody may write, which is another mapping that touches;
 * from 12 to 14 MiB nobody has touched anything; at 15 MiB a page is unmapped.
 * Commands: put OFFSET TEXT (there, with what is `~` as a 0 byte), fill OFFSET LENGTH BYTE, pageout
 * OFFSET LENGTH (answers the pages that are left in memory), faults (answers all faults so far).
 */
#include "target.h"

#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static uint8_t *area;

static void put(const char *arguments) {
    char *text;
    size_t at = strtoull(arguments, &text, 0), length = strlen(++text);
    int closed = at + length > 8 * MIB;
    if (closed) CHECK(mprotect(area + 8 * MIB, 7 * MIB, PROT_READ | PROT_WRITE) == 0);
    for (size_t i = 0; i < length; i++) area[at + i] = text[i] == '~' ? 0 : (uint8_t)text[i];
    if (closed) CHECK(mprotect(area + 8 * MIB, 7 * MIB, PROT_READ) == 0);
    answer("ok");
}

static void fill_with(const char *arguments) {
    char *rest;
    size_t at = strtoull(arguments, &rest, 0), length = strtoull(rest, &rest, 0);
    memset(area + at, (int)strtoul(rest, NULL, 0), length);
    answer("ok");
}

static void pageout(const char *arguments) {
    char *rest;
    size_t at = strtoull(arguments, &rest, 0), length = strtoull(rest, NULL, 0), left = 0;
    unsigned char resident[256];
    CHECK(length <= sizeof resident * PAGE);
    for (int tries = 0; tries < 2000; tries++) {
        if (madvise(area + at, length, MADV_PAGEOUT) != 0) break;
        CHECK(mincore(area + at, length, resident) == 0);
        left = 0;
        for (size_t i = 0; i < length / PAGE; i++) left += resident[i] & 1;
        if (left == 0) break;
        /* A page that was just written out stays in the swap cache; read back in it goes at once. */
        for (size_t i = 0; i < length; i += PAGE) (void)*(volatile uint8_t *)(area + at + i);
        usleep(1000);
    }
    printf("%zu\n", left);
    fflush(stdout);
}

static void faults(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    printf("%ld %ld\n", usage.ru_majflt, usage.ru_minflt);
    fflush(stdout);
}

int main(void) {
    die_with_parent();
    area = map_pages((void *)0x5ed000000000, 16 * MIB / PAGE, PROT_READ | PROT_WRITE);
    CHECK(madvise(area, 16 * MIB, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
    fill(area, 12 * MIB);
    fill(area + 14 * MIB, 2 * MIB);
    CHECK(mprotect(area + 5 * MIB, PAGE, PROT_NONE) == 0);
    CHECK(mprotect(area + 8 * MIB, 7 * MIB, PROT_READ) == 0);
    CHECK(munmap(area + 15 * MIB, PAGE) == 0);
    say("area", area);
    ready();
    for (;;) {
        const char *line = next_command(), *rest;
        if ((rest = argument(line, "put")) != NULL) put(rest);
        else if ((rest = argument(line, "fill")) != NULL) fill_with(rest);
        else if ((rest = argument(line, "pageout")) != NULL) pageout(rest);
        else if (argument(line, "faults") != NULL) faults();
        else other_command(line);
    }
}
