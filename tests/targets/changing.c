/* A process that becomes another one, and has its marker at one address all the time.
 *
 * changing [MARKER]
 *
 * Commands: become PATH MARKER (executes that program, which is to be a copy of this one), share (another
 * process keeps this program's memory in use, whatever becomes of it), setuid N, rename COMM, exit N,
 * abort.
 */
#define _GNU_SOURCE
#include "target.h"

#include <grp.h>
#include <sched.h>

static _Atomic int is_kept;

static int keep(void *unused) {
    (void)unused;
    die_with_parent();
    is_kept = 1; /* seen by both: they share all memory */
    for (;;) pause();
    return 0;
}

int main(int argc, char **argv) {
    die_with_parent();
    say("marker", map_marker(argc > 1 ? strtoull(argv[1], NULL, 0) : 1));
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "become")) != NULL) {
            char path[256], marker[64];
            CHECK(sscanf(value, "%255s %63s", path, marker) == 2);
            execl(path, path, marker, (char *)NULL);
            CHECK(0);
        } else if (argument(line, "share") != NULL) {
            static char stack[1 << 16] __attribute__((aligned(16)));
            CHECK(clone(keep, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL) > 0);
            while (!is_kept) usleep(100);
            answer("ok");
        } else if ((value = argument(line, "setuid")) != NULL) {
            uid_t uid = (uid_t)strtoul(value, NULL, 0);
            CHECK(setgroups(0, NULL) == 0 && setresuid(uid, uid, uid) == 0);
            die_with_parent(); /* which a change of credentials takes back */
            answer("ok");
        } else if ((value = argument(line, "rename")) != NULL) {
            CHECK(prctl(PR_SET_NAME, value) == 0);
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
