/* A process that forks and executes all the time: children that end at once, and itself.
 *
 * execs [0 thread], from a second thread if that is given, which becomes the first one by it. The
 * marker page holds how often it has executed itself; it is there again after each time.
 */
#include "target.h"

#include <pthread.h>

static uint64_t generation;
static const char *by_whom;

static void *execute(void *unused) {
    (void)unused;
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, generation + 1);
    execl("/proc/self/exe", "execs", text, by_whom, (char *)NULL);
    CHECK(0);
    return NULL;
}

int main(int argc, char **argv) {
    die_with_parent();
    generation = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    by_whom = argc > 2 ? argv[2] : NULL;
    uint8_t *marker = map_marker(generation);
    if (generation == 0) {
        say("marker", marker);
        ready();
    }
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        CHECK(waitpid(child, NULL, 0) == child);
    }
    if (by_whom == NULL) execute(NULL);
    pthread_t second;
    CHECK(pthread_create(&second, NULL, execute, NULL) == 0);
    for (;;) pause();
}
