/* Pages that are neither anonymous memory nor of a file as usual, as far as they can be had here.
 *
 * odd. Prints their addresses: `protected` (write-protected by userfaultfd, and never touched),
 * `poisoned` (UFFDIO_POISON), `guarded` (MADV_GUARD_INSTALL), `btf` (/sys/kernel/btf/vmlinux),
 * `ring` (of perf_event_open), `zero` (/dev/zero, shared), each a page with another one behind it.
 */
#include "target.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define SIZE (2 * PAGE)

/* linux/userfaultfd.h of 6.6; older headers have none. */
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
struct uffdio_poison {
    struct uffdio_range range;
    __u64 mode;
    __s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

static uint8_t *memory(void) {
    uint8_t *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    (void)madvise(at, SIZE, MADV_NOHUGEPAGE);
    return at;
}

static int handler(uint64_t features) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 ? fd : -1;
}

static int register_for(int fd, uint8_t *at, uint64_t mode) {
    struct uffdio_register wanted = {.range = {.start = (uintptr_t)at, .len = SIZE}, .mode = mode};
    return ioctl(fd, UFFDIO_REGISTER, &wanted) == 0;
}

static void by_userfaultfd(void) {
    uint8_t *at = memory();
    int fd = handler(UFFD_FEATURE_WP_UNPOPULATED);
    struct uffdio_writeprotect protect = {
        .range = {.start = (uintptr_t)at, .len = SIZE}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    if (fd >= 0 && register_for(fd, at, UFFDIO_REGISTER_MODE_WP)
        && ioctl(fd, UFFDIO_WRITEPROTECT, &protect) == 0)
        say("protected", at);
    at = memory();
    fd = handler(UFFD_FEATURE_POISON);
    struct uffdio_poison poison = {.range = {.start = (uintptr_t)at, .len = SIZE}};
    if (fd >= 0 && register_for(fd, at, UFFDIO_REGISTER_MODE_MISSING)
        && ioctl(fd, UFFDIO_POISON, &poison) == 0)
        say("poisoned", at);
}

static void of_device(const char *name, int fd, int protection, int flags) {
    if (fd < 0) return;
    uint8_t *at = mmap(NULL, SIZE, protection, flags, fd, 0);
    if (at != MAP_FAILED) say(name, at);
}

int main(void) {
    die_with_parent();
    by_userfaultfd();
    uint8_t *at = memory();
    if (madvise(at, SIZE, MADV_GUARD_INSTALL) == 0) say("guarded", at);
    of_device("btf", open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC), PROT_READ, MAP_PRIVATE);
    of_device("zero", open("/dev/zero", O_RDWR | O_CLOEXEC), PROT_READ | PROT_WRITE, MAP_SHARED);
    struct perf_event_attr clock = {.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
                                    .size = sizeof clock, .disabled = 1};
    of_device("ring", (int)syscall(SYS_perf_event_open, &clock, 0, -1, -1, 0),
              PROT_READ | PROT_WRITE, MAP_SHARED);
    ready();
    while (next_command() != NULL) answer("ok");
}
