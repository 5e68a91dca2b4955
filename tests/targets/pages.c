/* A page of every kind that cannot be read, each between two that can.
 *
 * pages FOLDER [RUN]. For each kind prints `kind=0xaddress` of the bad page; the pages on its both
 * sides hold the pattern. For kinds whose name begins with `beyond` the page before is the last of
 * the file: it holds the pattern in its first TAIL bytes and zeros behind. `run` is the first of
 * RUN pages (10,002 if not said), of which every second one is a hole.
 */
#include "target.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>

#define TAIL 1000

static const char *folder;
static uint8_t *next_cell;
static sem_t told; /* zero: the thread's line has not been printed */

/* `pages` pages of the pattern, of which the second last is to be spoiled. */
static uint8_t *cell(size_t pages) {
    uint8_t *block = map_pages(next_cell, pages, PROT_READ | PROT_WRITE);
    next_cell += pages * PAGE;
    fill(block, pages * PAGE);
    return block + (pages - 2) * PAGE;
}

static void protection(const char *name, int value) {
    uint8_t *page = cell(3);
    CHECK(mprotect(page, PAGE, value) == 0);
    say(name, page);
}

static int file_in_folder(const char *name, char *path, size_t size) {
    CHECK((size_t)snprintf(path, size, "%s/%s", folder, name) < size);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

/* Two pages of a file that has TAIL bytes behind `offset`. `length` is the size that it has when
 * it is mapped, if that is another one. */
static void beyond(const char *name, int fd, off_t offset, int flags, int value, off_t length) {
    uint8_t *page = cell(4), *last = page - PAGE;
    uint8_t content[TAIL];
    fill_as(content, last, TAIL);
    CHECK(pwrite(fd, content, TAIL, offset) == TAIL);
    if (length != 0) CHECK(ftruncate(fd, length) == 0);
    CHECK(mmap(last, 2 * PAGE, value, flags | MAP_FIXED, fd, offset) == last);
    if (length != 0) CHECK(ftruncate(fd, offset + TAIL) == 0);
    close(fd);
    say(name, page);
}

static void beyond_files(void) {
    char path[4096], other[4096];
    int fd = file_in_folder("beyond", path, sizeof path);
    beyond("beyond_file", fd, 0, MAP_PRIVATE, PROT_READ, 0);
    fd = file_in_folder("shared", path, sizeof path);
    beyond("beyond_shared", fd, 0, MAP_SHARED, PROT_READ | PROT_WRITE, 0);
    fd = file_in_folder("offset", path, sizeof path);
    beyond("beyond_offset", fd, 3 * (off_t)PAGE, MAP_PRIVATE, PROT_READ | PROT_EXEC, 0);
    fd = file_in_folder("truncated", path, sizeof path);
    beyond("beyond_truncated", fd, 0, MAP_SHARED, PROT_READ, 5 * (off_t)PAGE);
    fd = file_in_folder("deleted", path, sizeof path);
    CHECK(unlink(path) == 0);
    beyond("beyond_deleted", fd, 0, MAP_PRIVATE, PROT_READ, 0);
    /* A name that reads like a deleted file's, and does not fit in a line. */
    fd = file_in_folder("odd \\ name\n (deleted)", path, sizeof path);
    beyond("beyond_odd_name", fd, 0, MAP_PRIVATE, PROT_READ, 0);
    /* Another, longer file has taken the path meanwhile. */
    fd = file_in_folder("replaced", path, sizeof path);
    beyond("beyond_replaced", fd, 0, MAP_PRIVATE, PROT_READ, 0);
    fd = file_in_folder("replacement", other, sizeof other);
    CHECK(ftruncate(fd, 16 * (off_t)PAGE) == 0 && close(fd) == 0 && rename(other, path) == 0);
    fd = memfd_create("memory", MFD_CLOEXEC);
    CHECK(fd >= 0);
    beyond("beyond_memfd", fd, 0, MAP_SHARED, PROT_READ, 0);
    fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    beyond("beyond_tmpfs", fd, PAGE, MAP_PRIVATE, PROT_READ, 0);
    /* Protection comes first: whether the file has the page is never asked. */
    fd = memfd_create("closed", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, TAIL) == 0);
    uint8_t *page = cell(3);
    CHECK(mmap(page, PAGE, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, PAGE) == page);
    close(fd);
    say("closed_beyond", page);
}

static void *thread_stack(void *unused) {
    (void)unused;
    pthread_attr_t attributes;
    void *stack;
    size_t size, guard;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &stack, &size) == 0);
    CHECK(pthread_attr_getguardsize(&attributes, &guard) == 0);
    say("thread_stack_guard", (uint8_t *)stack - guard);
    sem_post(&told);
    for (;;) pause();
    return NULL;
}

/* What the kernel mapped by itself, as our own maps tell. */
static void special_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    char line[8192];
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t start = strtoull(line, NULL, 16);
        char *name = strchr(line, '[');
        if (name == NULL) continue;
        char *end = strchr(name, ']');
        if (end == NULL) continue;
        *end = 0;
        if (strcmp(name + 1, "stack") == 0) say_number("stack_guard", start - PAGE);
        else if (name[1] == 'v') say_number(name + 1, start);
    }
    fclose(maps);
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 2) return 64;
    folder = argv[1];
    size_t run = argc > 2 ? strtoul(argv[2], NULL, 10) : 10002;

    /* One reservation for all cells, so that neighbours are known; its ends stay reserved. */
    next_cell = map_pages(NULL, 256, PROT_NONE) + PAGE;
    say("block", next_cell);
    uint8_t *page = cell(3);
    CHECK(munmap(page, PAGE) == 0);
    say("hole", page);
    protection("prot_none", PROT_NONE);
    protection("exec_only", PROT_EXEC);
    protection("write_only", PROT_WRITE);
    page = cell(3);
    if (madvise(page, PAGE, MADV_GUARD_INSTALL) == 0) say("guard", page);
    beyond_files();
    /* The last one is a hole of three pages, to see gaps that merge. */
    page = cell(6) - 2 * PAGE;
    CHECK(munmap(page, 2 * PAGE) == 0);
    CHECK(mprotect(page + 2 * PAGE, PAGE, PROT_NONE) == 0);
    say("wide", page);
    page = cell(3);
    CHECK(munmap(page, 2 * PAGE) == 0);
    page = map_pages(page, 1, PROT_READ);
    say("untouched", page);
    say("readable", cell(8) - 6 * PAGE);
    say("block_end", next_cell);

    page = map_pages(NULL, run, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < run; i++) {
        if (i % 2 == 0) fill(page + i * PAGE, PAGE);
        else CHECK(munmap(page + i * PAGE, PAGE) == 0);
    }
    say("run", page);
    special_mappings();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_stack, NULL) == 0);
    while (sem_wait(&told) != 0) CHECK(errno == EINTR);
    ready();
    for (;;) other_command(next_command());
}
