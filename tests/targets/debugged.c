/* What debuggers look at: 15 frames below main, a list, a text, threads that wait, a counter.
 *
 * Prints where the counter is. Arguments: how many threads wait, how many mappings there are more.
 */
#include "target.h"

#include <pthread.h>

struct node {
    struct node *next;
    int value;
    char name[16];
};

struct node last = {NULL, 22, "last"}, first = {&last, 11, "first"}, *head = &first;
const char *greeting = "hello from the target";
volatile long counter;
volatile int sunk;

__attribute__((noinline)) int frame0(int depth, int seed) {
    for (;;) {
        usleep(5000);
        counter++;
    }
    return depth + seed;
}

#define FRAME(number, below)                                                \
    __attribute__((noinline)) int frame##number(int depth, int seed) {      \
        sunk += depth;                                                      \
        int result = frame##below(depth + 1, seed);                         \
        sunk += result;                                                     \
        return result + depth;                                              \
    }

FRAME(1, 0)
FRAME(2, 1)
FRAME(3, 2)
FRAME(4, 3)
FRAME(5, 4)
FRAME(6, 5)
FRAME(7, 6)
FRAME(8, 7)
FRAME(9, 8)
FRAME(10, 9)
FRAME(11, 10)
FRAME(12, 11)
FRAME(13, 12)
FRAME(14, 13)

static void *waiting(void *unused) {
    for (;;) pause();
    return unused;
}

static void *commands(void *unused) {
    for (;;) other_command(next_command());
    return unused;
}

static void start(void *(*begin)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, begin, NULL) == 0);
}

int main(int count, char **words) {
    die_with_parent();
    start(commands);
    for (int left = count > 1 ? atoi(words[1]) : 2; left; left--) start(waiting);
    for (int left = count > 2 ? atoi(words[2]) : 0; left; left--) {
        int perms = left % 2 ? PROT_READ : PROT_READ | PROT_WRITE; /* or they would be one */
        CHECK(mmap(NULL, PAGE, perms, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    }
    say("counter", (const void *)&counter);
    ready();
    return frame14(1, 2);
}
