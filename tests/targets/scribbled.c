/* A thread that waits, and another one that writes to its stack all the time; and one whose stack is large.
 *
 * Prints the addresses of `scribbled`, on the first one's stack, and of `large`, 6 MiB that were
 * written to, on the stack of the other. Commands: rest (nothing is written any more).
 */
#include "target.h"

#include <pthread.h>
#include <stdatomic.h>

#define LARGE (6ul << 20)

static atomic_int resting;
static int ends[2];
static uint8_t *volatile large;

static void *scribbling(void *where) {
    volatile uint64_t *words = where;
    for (uint64_t i = 0;; i++) {
        if (atomic_load(&resting)) pause();
        words[i % 64]++;
    }
    return NULL;
}

static void *waiting(void *unused) {
    uint8_t block[LARGE];
    char byte;
    (void)unused;
    memset(block, 0x5A, LARGE);
    large = block;
    CHECK(read(ends[0], &byte, 1) >= 0);
    return NULL;
}

int main(void) {
    die_with_parent();
    CHECK(pipe(ends) == 0);
    volatile uint64_t words[64] = {0};
    pthread_attr_t roomy;
    CHECK(pthread_attr_init(&roomy) == 0);
    CHECK(pthread_attr_setstacksize(&roomy, LARGE + (1ul << 20)) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, scribbling, (void *)words) == 0);
    CHECK(pthread_create(&thread, &roomy, waiting, NULL) == 0);
    while (large == NULL) usleep(1000);
    say("scribbled", (void *)words);
    say("large", large);
    ready();
    for (;;) {
        const char *command = next_command();
        if (strcmp(command, "rest") == 0) {
            atomic_store(&resting, 1);
            answer("ok");
        } else {
            other_command(command);
        }
    }
}
