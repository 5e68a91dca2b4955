/* A process that forks and executes all the time: children that end at once, and itself.
 *
 * execs. The marker page holds how often it has executed itself; it is there again after each time.
 */
#include "target.h"

int main(int argc, char **argv) {
    die_with_parent();
    uint64_t generation = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
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
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, generation + 1);
    execl("/proc/self/exe", "execs", text, (char *)NULL);
    CHECK(0);
}
