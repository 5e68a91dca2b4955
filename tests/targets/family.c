/* A process with a child: for its own parent a grandchild, so nobody there can wait for it.
 *
 * The child holds a marker page. Commands: end STATUS (the child exits so; answers when it is a
 * zombie), kill SIGNAL (the same by a signal), reap (answers `status=0x..`), exit N.
 */
#include "target.h"

#include <sys/resource.h>

static void until_zombie(pid_t child) {
    siginfo_t info;
    while (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) < 0) CHECK(errno == EINTR);
}

int main(void) {
    die_with_parent();
    int go[2];
    CHECK(pipe(go) == 0);
    map_marker(2); /* the child is born with it */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        die_with_parent();
        close(go[1]);
        uint8_t status = 0;
        _exit(read(go[0], &status, 1) == 1 ? status : 70);
    }
    say_number("child", (uint64_t)child);
    say("marker", map_marker(1));
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "end")) != NULL) {
            uint8_t status = (uint8_t)atoi(value);
            CHECK(write(go[1], &status, 1) == 1);
            until_zombie(child);
            answer("ok");
        } else if ((value = argument(line, "kill")) != NULL) {
            CHECK(kill(child, atoi(value)) == 0);
            until_zombie(child);
            answer("ok");
        } else if (argument(line, "reap") != NULL) {
            int status = 0;
            CHECK(waitpid(child, &status, 0) == child);
            printf("status=0x%x\n", status);
            fflush(stdout);
        } else {
            other_command(line);
        }
    }
}
