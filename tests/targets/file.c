/* A file of the pattern that is mapped as a whole, and not all in memory.
 *
 * file PATH PAGES MAPPING STATE. MAPPING is `private`, `writable` (private too), `shared` or `random`
 * (private, MADV_RANDOM). STATE is `cached` (in the page cache, in no page table), `cold` (evicted),
 * `half` (every other 16 pages evicted) or `touched` (evicted, then every 32nd page read). Prints
 * `file`, where it is mapped; its words tell the addresses there.
 */
#include "target.h"

#include <fcntl.h>

#define PLACE ((uint8_t *)0x300000000000)

static void evict(int fd, off_t offset, off_t length) {
    CHECK(posix_fadvise(fd, offset, length, POSIX_FADV_DONTNEED) == 0);
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc != 5) return 64;
    const char *mapping = argv[3], *state = argv[4];
    size_t pages = strtoul(argv[2], NULL, 10), size = pages * PAGE;
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    uint8_t *content = malloc(size);
    CHECK(content != NULL);
    fill_as(content, PLACE, size);
    CHECK(write(fd, content, size) == (ssize_t)size);
    CHECK(fsync(fd) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0); /* no readahead brings others back */
    int shared = strcmp(mapping, "shared") == 0, writable = shared || strcmp(mapping, "writable") == 0;
    int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE);
    CHECK(mmap(PLACE, size, PROT_READ | (writable ? PROT_WRITE : 0), flags, fd, 0) == PLACE);
    if (strcmp(mapping, "random") == 0) CHECK(madvise(PLACE, size, MADV_RANDOM) == 0);
    if (strcmp(state, "cold") == 0 || strcmp(state, "touched") == 0) evict(fd, 0, 0);
    if (strcmp(state, "half") == 0)
        for (size_t page = 0; page < pages; page += 32)
            evict(fd, (off_t)(page * PAGE), (off_t)(16 * PAGE));
    if (strcmp(state, "touched") == 0)
        for (size_t page = 0; page < pages; page += 32)
            (void)*(volatile uint8_t *)(PLACE + page * PAGE);
    say("file", PLACE);
    ready();
    for (;;) next_command();
}
