/* Pages that are moved between two places without a pause (mremap), and never hold anything but 0xab.
 *
 * moving KIND PAGES FILE. Prints `first` and `second`, the two places, and `size`. KIND says what is
 * at the place that the pages are not at: `hole` (nothing), `closed` (PROT_NONE), or `file` (FILE,
 * PROT_NONE, of which the pages are private copies). Each place begins with a page table, so that
 * whole page tables are moved if PAGES are a multiple of 512.
 */
#include "target.h"

#include <fcntl.h>

#define FIRST ((uint8_t *)0x100000000000)
#define SECOND ((uint8_t *)0x200000000000)

static size_t size;
static int file = -1;
static enum { HOLE, CLOSED, OF_FILE } kind;

static void close_off(uint8_t *place) {
    int flags = MAP_PRIVATE | MAP_FIXED | (kind == OF_FILE ? 0 : MAP_ANONYMOUS);
    if (kind != HOLE)
        CHECK(mmap(place, size, PROT_NONE, flags, file, 0) == place);
}

static void move(uint8_t *from, uint8_t *to) {
    CHECK(mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    close_off(from);
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc != 4) return 64;
    kind = strcmp(argv[1], "hole") == 0 ? HOLE : strcmp(argv[1], "closed") == 0 ? CLOSED : OF_FILE;
    size = strtoul(argv[2], NULL, 10) * PAGE;
    if (kind == OF_FILE) {
        file = open(argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(file >= 0);
        uint8_t *content = malloc(size);
        CHECK(content != NULL);
        memset(content, 'F', size);
        CHECK(write(file, content, size) == (ssize_t)size);
    }
    int flags = MAP_PRIVATE | MAP_FIXED | (kind == OF_FILE ? 0 : MAP_ANONYMOUS);
    CHECK(mmap(FIRST, size, PROT_READ | PROT_WRITE, flags, file, 0) == FIRST);
    memset(FIRST, 0xab, size);
    close_off(SECOND);
    say("first", FIRST);
    say("second", SECOND);
    say_number("size", size);
    ready();
    for (;;) {
        move(FIRST, SECOND);
        move(SECOND, FIRST);
    }
}
