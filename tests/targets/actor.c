/* A process that becomes other programs, and whose pages come and go.
 *
 * actor WORD
 *
 * At MARKER_ADDRESS are BLOCK pages, whose words count up from WORD. GAP pages behind them are two
 * pages that are missing while they hang (userfaultfd keeps them so), and hold the words that follow
 * once they are resolved; behind those is `scratch`, a page full of WORD for others to write to.
 * Whatever is there is there at once, with all that it holds.
 *
 * Commands: become PATH WORD (executes that program, which is to be a copy of this one), close PAGE,
 * drop PAGE (unmaps it), restore PAGE, hang, resolve, exit N, abort.
 */
#include "target.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define BLOCK 256
#define GAP 4
#define MISSING 2

static uint64_t word;
static int uffd = -1;

static uint8_t *place(size_t page) {
    return MARKER_ADDRESS + page * PAGE;
}

/* Pages that are filled elsewhere, and then put where they belong. */
static void put(size_t page, size_t pages, uint64_t first, uint64_t step) {
    uint64_t *made = (uint64_t *)map_pages(NULL, pages, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < pages * PAGE / sizeof *made; i++) made[i] = first + i * step;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    CHECK(mremap(made, pages * PAGE, pages * PAGE, flags, place(page)) == place(page));
}

static uint64_t first_of(size_t page) {
    return word + page * (PAGE / sizeof word);
}

/* Nobody can read them before userfaultfd has them. */
static void hang(void) {
    uint8_t *missing = map_pages(place(BLOCK + GAP), MISSING, PROT_NONE);
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0) _exit(NOT_PERMITTED);
    struct uffdio_api api = {.api = UFFD_API};
    CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
    struct uffdio_register registered = {
        .range = {.start = (uintptr_t)missing, .len = MISSING * PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    CHECK(ioctl(uffd, UFFDIO_REGISTER, &registered) == 0);
    CHECK(mprotect(missing, MISSING * PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void resolve(void) {
    static uint64_t content[LARGEST_PAGE / sizeof(uint64_t)] __attribute__((aligned(LARGEST_PAGE)));
    for (size_t page = 0; page < MISSING; page++) {
        uint8_t *to = place(BLOCK + GAP + page);
        for (size_t i = 0; i < PAGE / sizeof *content; i++)
            content[i] = first_of(BLOCK + GAP + page) + i;
        struct uffdio_copy copy = {.dst = (uintptr_t)to, .src = (uintptr_t)content, .len = PAGE};
        CHECK(ioctl(uffd, UFFDIO_COPY, &copy) == 0);
    }
    close(uffd);
}

static void become(const char *what) {
    char path[256], number[64];
    CHECK(sscanf(what, "%255s %63s", path, number) == 2);
    execl(path, path, number, (char *)NULL);
    CHECK(0);
}

int main(int argc, char **argv) {
    die_with_parent();
    word = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    put(0, BLOCK, word, 1);
    put(BLOCK + GAP + MISSING, 1, word, 0);
    say("block", place(0));
    say("missing", place(BLOCK + GAP));
    say("scratch", place(BLOCK + GAP + MISSING));
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "become")) != NULL) {
            become(value);
        } else if ((value = argument(line, "close")) != NULL) {
            CHECK(mprotect(place(strtoul(value, NULL, 10)), PAGE, PROT_NONE) == 0);
            answer("ok");
        } else if ((value = argument(line, "drop")) != NULL) {
            CHECK(munmap(place(strtoul(value, NULL, 10)), PAGE) == 0);
            answer("ok");
        } else if ((value = argument(line, "restore")) != NULL) {
            size_t page = strtoul(value, NULL, 10);
            put(page, 1, first_of(page), 1);
            answer("ok");
        } else if (argument(line, "hang") != NULL) {
            hang();
            answer("ok");
        } else if (argument(line, "resolve") != NULL) {
            resolve();
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
