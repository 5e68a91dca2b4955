/* A thread that hangs in a page fault of the vdso: it is asked for the time, and nobody resolves where that goes.
 *
 * Prints `missing`, the page. Commands: exit N.
 */
#include "target.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

__attribute__((noinline, noclone)) static int asks_for_the_time(void *where) {
    return clock_gettime(CLOCK_MONOTONIC, where) + 1;
}

static void *hanging(void *where) {
    return (void *)(long)asks_for_the_time(where);
}

int main(void) {
    die_with_parent();
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0) return NOT_PERMITTED;
    struct uffdio_api api = {.api = UFFD_API};
    CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
    uint8_t *missing = map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    struct uffdio_register registered = {
        .range = {.start = (uintptr_t)missing, .len = PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    CHECK(ioctl(uffd, UFFDIO_REGISTER, &registered) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, hanging, missing) == 0);
    struct uffd_msg message;
    while (read(uffd, &message, sizeof message) <= 0) usleep(1000);
    say("missing", missing);
    ready();
    for (;;) other_command(next_command());
}
