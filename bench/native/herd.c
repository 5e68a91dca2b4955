/* Many processes that do nothing.
 *
 * herd COUNT APART: the first APART of them are in a process group with us, the others in one of their
 * own, which is what `group` names. Prints `0`, `1`, ...: their numbers. They are reaped as they end.
 */
#define _GNU_SOURCE
#include "../../tests/targets/target.h"

static pid_t start(pid_t group) {
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        die_with_parent();
        if (getppid() != parent) _exit(0);
        for (;;) pause();
    }
    CHECK(group < 0 || setpgid(child, group) == 0);
    return child;
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc != 3) return 64;
    long count = strtol(argv[1], NULL, 10), apart = strtol(argv[2], NULL, 10);
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    pid_t group = -1;
    for (long number = 0; number < count; number++) {
        pid_t child = number == apart ? start(0) : start(group);
        if (number == apart) group = child;
        printf("%ld=0x%x\n", number, (unsigned)child);
    }
    say_number("group", (uint64_t)group);
    ready();
    for (;;) other_command(next_command());
}
