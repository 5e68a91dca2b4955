/* Memory to be read in long ranges, and changed meanwhile.
 *
 * bulk PAGES [GIB]. Prints `block` (PAGES of the pattern, then a page that is not mapped), `sparse`
 * and `shared` (GIB of private and of shared memory that nobody has touched), and `file` (one page
 * of a file that is one page long, mapped with two), and `patchwork` (16 mappings of eight pages each
 * that nobody has touched).
 * Commands: unmap PAGE COUNT, map PAGE COUNT (with the pattern, all at once), guard PAGE COUNT,
 * close PAGE COUNT (PROT_NONE), all of the block; touch GIB (a page of the pattern in `sparse`);
 * churn PAGE COUNT (unmaps and maps without end), calm; exit N.
 */
#include "target.h"

#include <pthread.h>

static uint8_t *block, *sparse, *staging;
static size_t first, count;
static volatile int churning;
static pthread_t churner;

/* Pages arrive filled: nobody can ever see them as zeros. */
static void map(size_t page, size_t pages) {
    uint8_t *at = block + page * PAGE;
    map_pages(staging, pages, PROT_READ | PROT_WRITE);
    fill_as(staging, at, pages * PAGE);
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    CHECK(mremap(staging, pages * PAGE, pages * PAGE, flags, at) == at);
    map_pages(staging, pages, PROT_NONE); /* or the kernel gives its place away */
}

static void *churn(void *unused) {
    (void)unused;
    while (churning) {
        CHECK(munmap(block + first * PAGE, count * PAGE) == 0);
        map(first, count);
    }
    return NULL;
}

static void parse(const char *value) {
    CHECK(sscanf(value, "%zu %zu", &first, &count) == 2);
}

static uint8_t *untouched(size_t gib, int kind) {
    int flags = MAP_ANONYMOUS | MAP_NORESERVE | kind;
    uint8_t *at = mmap(NULL, gib << 30, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 2) return 64;
    size_t pages = strtoul(argv[1], NULL, 10), gib = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    block = map_pages(NULL, pages + 1, PROT_READ | PROT_WRITE);
    CHECK(munmap(block + pages * PAGE, PAGE) == 0);
    fill(block, pages * PAGE);
    say("block", block);
    staging = map_pages(NULL, pages, PROT_NONE);
    if (gib > 0) {
        sparse = untouched(gib, MAP_PRIVATE);
        say("sparse", sparse);
        say("shared", untouched(gib, MAP_SHARED));
    }
    uint8_t *patchwork = map_pages(NULL, 128, PROT_READ | PROT_WRITE);
    for (size_t page = 0; page < 128; page += 16)
        CHECK(mprotect(patchwork + page * PAGE, 8 * PAGE, PROT_READ) == 0);
    say("patchwork", patchwork);
    int fd = memfd_create("short", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0);
    uint8_t *file = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(file != MAP_FAILED);
    fill(file, PAGE);
    say("file", file);
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "unmap")) != NULL) {
            parse(value);
            CHECK(munmap(block + first * PAGE, count * PAGE) == 0);
        } else if ((value = argument(line, "map")) != NULL) {
            parse(value);
            map(first, count);
        } else if ((value = argument(line, "guard")) != NULL) {
            parse(value);
            if (madvise(block + first * PAGE, count * PAGE, MADV_GUARD_INSTALL) != 0) {
                answer("unknown");
                continue;
            }
        } else if ((value = argument(line, "close")) != NULL) {
            parse(value);
            CHECK(mprotect(block + first * PAGE, count * PAGE, PROT_NONE) == 0);
        } else if ((value = argument(line, "touch")) != NULL) {
            fill(sparse + (strtoul(value, NULL, 10) << 30), PAGE);
        } else if ((value = argument(line, "churn")) != NULL) {
            parse(value);
            churning = 1;
            CHECK(pthread_create(&churner, NULL, churn, NULL) == 0);
        } else if (argument(line, "calm") != NULL) {
            churning = 0;
            CHECK(pthread_join(churner, NULL) == 0);
        } else {
            other_command(line);
            continue;
        }
        answer("ok");
    }
}
