/* Many processes that do nothing.
 *
 * herd COUNT APART: the first APART of them are in a process group of their own, the others in the one
 * that `group` names. Prints `0`, `1`, ...: their numbers. They are reaped as they end. `end`: ends
 * the first group, and answers once nobody is left; the other one is the caller's to end.
 */
#define _GNU_SOURCE
#include "../../tests/targets/target.h"

static pid_t start(pid_t group, int awake) {
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        die_with_parent();
        if (getppid() != parent || write(awake, "", 1) != 1) _exit(0);
        for (;;) pause();
    }
    CHECK(setpgid(child, group) == 0);
    return child;
}

/* Nobody is measured while thousands of processes still want to run for the first time. */
static void wait_for(long count, int awake) {
    static char bytes[4096];
    while (count > 0) {
        ssize_t more = read(awake, bytes, sizeof bytes);
        CHECK(more > 0);
        count -= more;
    }
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc != 3) return 64;
    long count = strtol(argv[1], NULL, 10), apart = strtol(argv[2], NULL, 10);
    int awake[2];
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR && pipe(awake) == 0);
    pid_t first = 0, others = 0;
    for (long number = 0; number < count; number++) {
        pid_t *group = number < apart ? &first : &others;
        pid_t child = start(*group, awake[1]);
        if (*group == 0) *group = child;
        printf("%ld=0x%x\n", number, (unsigned)child);
    }
    wait_for(count, awake[0]);
    say_number("group", (uint64_t)others);
    ready();
    for (;;) {
        const char *line = next_command();
        if (argument(line, "end") == NULL) {
            other_command(line);
            continue;
        }
        kill(-first, SIGKILL);
        while (wait(NULL) >= 0) {
        }
        answer("ended"); /* where SIGCHLD is ignored, wait(2) returns once all have ended */
    }
}
