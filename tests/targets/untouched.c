/* Memory that nobody has touched.
 *
 * untouched GIB. Prints `sparse` (GIB of private memory, at a page table's beginning), `zeros` (64
 * pages of /dev/zero, mapped privately), and where there are huge pages of 2 MiB to be had without
 * reserving them `huge` (private), `huge_shared` and `huge_file` (a memfd), two each, and `huge_size`.
 * Commands: touch OFFSET writes a byte of `sparse`; read STEP [SIZE] reads one at each STEP bytes
 * of it, or of its first SIZE.
 */
#include "target.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/syscall.h>

#define TABLE (PAGE * (PAGE / 8)) /* what a page of page table spans */
#define HUGE_SIZE ((size_t)2 << 20)
#define OF_HUGE_SIZE (21 << 26) /* MAP_HUGE_2MB, MFD_HUGE_2MB */

static void huge(const char *name, int flags, int fd) {
    uint8_t *at = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
    if (at != MAP_FAILED) say(name, at);
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc != 2) return 64;
    size_t size = strtoul(argv[1], NULL, 10) << 30;
    uint8_t *sparse = mmap(NULL, size + TABLE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(sparse != MAP_FAILED);
    /* EINVAL: this kernel has no transparent huge pages to begin with. */
    CHECK(madvise(sparse, size + TABLE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
    sparse = (uint8_t *)(((uintptr_t)sparse + TABLE - 1) & ~(TABLE - 1));
    say("sparse", sparse);
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    CHECK(zero >= 0);
    uint8_t *zeros = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    CHECK(zeros != MAP_FAILED);
    say("zeros", zeros);
    huge("huge", MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | OF_HUGE_SIZE, -1);
    huge("huge_shared", MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | OF_HUGE_SIZE, -1);
    int fd = (int)syscall(SYS_memfd_create, "huge", MFD_CLOEXEC | MFD_HUGETLB | OF_HUGE_SIZE);
    if (fd >= 0 && ftruncate(fd, 2 * HUGE_SIZE) == 0) {
        huge("huge_file", MAP_SHARED, fd);
    }
    say_number("huge_size", HUGE_SIZE);
    ready();
    for (;;) {
        const char *line = next_command(), *offset = argument(line, "touch");
        const char *steps = argument(line, "read");
        if (steps != NULL) {
            char *behind;
            size_t step = strtoull(steps, &behind, 10), upto = strtoull(behind, NULL, 10);
            for (size_t at = 0; at < (upto ? upto : size); at += step)
                (void)*(volatile uint8_t *)(sparse + at);
            answer("ok");
            continue;
        }
        CHECK(offset != NULL);
        sparse[strtoull(offset, NULL, 10)] = 0xab;
        answer("ok");
    }
}
