/* A process that has taken its memory back from its own user: PR_SET_DUMPABLE 0. */
#include "target.h"

int main(void) {
    die_with_parent();
    CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
    say("marker", map_marker(1));
    ready();
    for (;;) other_command(next_command());
}
