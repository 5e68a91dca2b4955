/* Counters to be watched: 64 words of 64 bits in a page of their own.
 *
 * Prints `counters`. Commands: set INDEX VALUE; run (from then on each counter I goes up by I + 1, a
 * thousand times a second); close (nobody may read them any more); open; exit N.
 */
#include "target.h"

#include <pthread.h>
#include <time.h>

#define COUNTERS 64

static volatile uint64_t *counters;

static void *run(void *unused) {
    (void)unused;
    struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        for (int i = 0; i < COUNTERS; i++) counters[i] += (uint64_t)i + 1;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void protect(int protection) {
    CHECK(mprotect((void *)counters, PAGE, protection) == 0);
}

int main(void) {
    die_with_parent();
    counters = (uint64_t *)map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    memset((void *)counters, 0, PAGE);
    say("counters", (void *)counters);
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        size_t index;
        uint64_t number;
        pthread_t thread;
        if ((value = argument(line, "set")) != NULL) {
            CHECK(sscanf(value, "%zu %" SCNu64, &index, &number) == 2 && index < COUNTERS);
            counters[index] = number;
            answer("set");
        } else if (strcmp(line, "run") == 0) {
            CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
            answer("runs");
        } else if (strcmp(line, "close") == 0) {
            protect(PROT_NONE);
            answer("closed");
        } else if (strcmp(line, "open") == 0) {
            protect(PROT_READ | PROT_WRITE);
            answer("open");
        } else if ((value = argument(line, "exit")) != NULL) {
            exit(atoi(value));
        } else {
            return 64;
        }
    }
}
