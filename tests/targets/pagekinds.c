/* A page of every kind that a read can meet, each between two that hold the pattern.
 *
 * pagekinds DISK [--memory FOLDER] [--fuse PID FOLDER] [--group FOLDER]
 *
 * DISK is a folder of a filesystem on a disk (or a loop device), FOLDER after --memory one on tmpfs;
 * --fuse joins the mount namespace of a `fuse` server and maps its files 0 to 6; --group is an empty
 * memory cgroup, by which one shared page is driven out of memory.
 *
 * For each kind that can be made here prints `KIND=0xaddress` and `content.KIND=0xseed`: the page
 * holds the pattern of `seed`, or zeros if that is 0, or cannot be read at all if it is 1. Kinds of
 * the kernel's own pages have no neighbours.
 *
 * Commands: again KIND (makes it what it was before somebody read it), state KIND (answers
 * `pagemap=0x.. mincore=0x..`, as the process itself sees the page), faults (answers `major=0x..`).
 */
#include "target.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ZEROS ((const void *)0)
#define NOTHING ((const void *)1)
#define FILE_PAGES 64
#define FILE_OFFSET (8 * (off_t)PAGE)
#define MOST_TRIES 5000 /* of a millisecond each: a page that is being written stays */
#define HUGE_SIZE ((size_t)2 << 20)

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

struct kind {
    const char *name;
    uint8_t *page;
    int fd;
    int (*arm)(struct kind *); /* NULL where reading changes nothing */
};

static struct kind kinds[64];
static size_t kind_count;
static uint8_t *next_cell;
static const char *disk;
static const char *memory = "/dev/shm";
static const char *group;

static struct kind *find(const char *name) {
    for (size_t i = 0; i < kind_count; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

static struct kind *add(const char *name, uint8_t *page, const void *seed) {
    CHECK(kind_count < sizeof kinds / sizeof *kinds);
    struct kind *kind = &kinds[kind_count++];
    *kind = (struct kind){.name = name, .page = page, .fd = -1};
    char label[64];
    snprintf(label, sizeof label, "content.%s", name);
    say(name, page);
    say(label, seed);
    return kind;
}

/* Three pages of the pattern; the one in the middle. */
static uint8_t *cell(void) {
    uint8_t *block = map_pages(next_cell, 3, PROT_READ | PROT_WRITE);
    next_cell += 3 * PAGE;
    fill(block, 3 * PAGE);
    return block + PAGE;
}

static uint64_t pagemap_of(const uint8_t *page) {
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    uint64_t entry = 0;
    CHECK(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)page / PAGE * 8)) == sizeof entry);
    close(fd);
    return entry;
}

/* 0 also means: in no page cache, and for a swapped page in no swap cache. */
static unsigned mincore_of(uint8_t *page) {
    unsigned char resident = 0;
    return mincore(page, PAGE, &resident) == 0 ? resident & 1 : 2;
}

static void touch(const uint8_t *page) {
    (void)*(volatile const uint8_t *)page;
}

/* A page waits for the list of those that can be paged out on the processor that brought it in, and
 * only the list of the one we are on is looked through. Who reads our memory brings pages in on theirs. */
static void go_to_processor(int turn) {
    static cpu_set_t allowed;
    if (CPU_COUNT(&allowed) == 0) CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    turn %= CPU_COUNT(&allowed);
    for (int each = 0; each < CPU_SETSIZE; each++) {
        if (!CPU_ISSET(each, &allowed) || turn-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(each, &one);
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        return;
    }
}

/* ---- anonymous memory ---- */

static int arm_untouched(struct kind *kind) {
    return madvise(kind->page, PAGE, MADV_DONTNEED) == 0;
}

/* Out to the swap device, and out of the swap cache too. A page that has just been written out
 * stays in the cache; read back in and paged out again, it is clean and goes at once. */
static int arm_swapped(struct kind *kind) {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        go_to_processor(tries);
        touch(kind->page);
        if (madvise(kind->page, PAGE, MADV_PAGEOUT) != 0) return 0;
        if (mincore_of(kind->page) == 0) return 1;
        usleep(1000);
    }
    return 0;
}

static void anonymous_kinds(void) {
    uint8_t *page = cell();
    add("anon", page, page);
    page = cell();
    CHECK(madvise(page, PAGE, MADV_DONTNEED) == 0);
    touch(page);
    add("zero_page", page, ZEROS);
    page = map_pages(cell(), 1, PROT_READ | PROT_WRITE);
    add("untouched", page, ZEROS)->arm = arm_untouched;
    page = cell();
    CHECK(madvise(page, PAGE, MADV_DONTNEED) == 0);
    add("dontneed", page, ZEROS)->arm = arm_untouched;
    struct kind probe = {.page = cell()};
    if (arm_swapped(&probe)) add("swapped", probe.page, probe.page)->arm = arm_swapped;

    uint8_t *block = map_pages(NULL, 3 * HUGE_SIZE / PAGE, PROT_READ | PROT_WRITE);
    uint8_t *huge = (uint8_t *)(((uintptr_t)block + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
    if (madvise(huge, HUGE_SIZE, MADV_HUGEPAGE) == 0) {
        fill(huge, HUGE_SIZE);
        page = huge + HUGE_SIZE / 2;
        add("huge", page, page);
    }
    huge = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (huge != MAP_FAILED) {
        fill(huge, HUGE_SIZE);
        page = huge + HUGE_SIZE / 2;
        add("hugetlb", page, page);
    }
}

static void unreadable_kinds(void) {
    uint8_t *page = cell();
    CHECK(mprotect(page, PAGE, PROT_NONE) == 0);
    add("prot_none", page, NOTHING);
    page = cell();
    CHECK(mprotect(page, PAGE, PROT_EXEC) == 0);
    add("exec_only", page, NOTHING);
    page = cell();
    CHECK(mprotect(page, PAGE, PROT_WRITE) == 0);
    add("write_only", page, NOTHING);
    page = cell();
    CHECK(munmap(page, PAGE) == 0);
    add("hole", page, NOTHING);
    page = cell();
    if (madvise(page, PAGE, MADV_GUARD_INSTALL) == 0) add("guard", page, NOTHING);
#ifdef SYS_memfd_secret
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, PAGE) == 0) {
        page = cell();
        if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == page) {
            fill(page, PAGE);
            add("secret", page, NOTHING);
        }
    }
#endif
}

/* ---- files ---- */

static int new_file(const char *folder) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

/* A page of a file of FILE_PAGES pages, mapped but not touched. */
static struct kind *file_page_at(uint8_t *page, const char *name, int fd, int flags,
                                 int protection) {
    static uint8_t content[LARGEST_PAGE];
    fill_as(content, page, PAGE);
    CHECK(ftruncate(fd, FILE_PAGES * (off_t)PAGE) == 0);
    CHECK(pwrite(fd, content, PAGE, FILE_OFFSET) == (ssize_t)PAGE);
    CHECK(mmap(page, PAGE, protection, flags | MAP_FIXED, fd, FILE_OFFSET) == page);
    struct kind *kind = add(name, page, page);
    kind->fd = fd;
    return kind;
}

static struct kind *file_page(const char *name, int fd, int flags, int protection) {
    return file_page_at(cell(), name, fd, flags, protection);
}

static int arm_cached(struct kind *kind) {
    static uint8_t content[LARGEST_PAGE];
    return pread(kind->fd, content, PAGE, FILE_OFFSET) == (ssize_t)PAGE
           && madvise(kind->page, PAGE, MADV_DONTNEED) == 0;
}

static int arm_evicted(struct kind *kind) {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        if (madvise(kind->page, PAGE, MADV_DONTNEED) != 0 || fsync(kind->fd) != 0) return 0;
        if (posix_fadvise(kind->fd, 0, 0, POSIX_FADV_DONTNEED) != 0) return 0;
        if (mincore_of(kind->page) == 0) return 1;
        usleep(1000);
    }
    return 0;
}

static void file_kinds(void) {
    touch(file_page("file_mapped", new_file(disk), MAP_PRIVATE, PROT_READ)->page);
    struct kind *kind = file_page("file_cached", new_file(disk), MAP_PRIVATE, PROT_READ);
    kind->arm = arm_cached;
    kind = file_page("file_written", new_file(disk), MAP_PRIVATE, PROT_READ | PROT_WRITE);
    fill(kind->page, PAGE); /* a copy of its own: anonymous, though the mapping has a file */
    kind = file_page("file_evicted", new_file(disk), MAP_PRIVATE, PROT_READ);
    kind->arm = arm_evicted;
    CHECK(arm_evicted(kind));
    kind = file_page("file_evicted_random", new_file(disk), MAP_SHARED, PROT_READ);
    CHECK(madvise(kind->page, PAGE, MADV_RANDOM) == 0);
    kind->arm = arm_evicted;
    CHECK(arm_evicted(kind));

    uint8_t *page = cell();
    int fd = new_file(disk);
    CHECK(ftruncate(fd, PAGE) == 0);
    CHECK(mmap(page, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE) == page);
    add("beyond_file", page, NOTHING);
}

/* ---- memory that is shared ---- */

static void shared_hole(const char *name, int fd) {
    uint8_t *page = cell();
    CHECK(ftruncate(fd, FILE_PAGES * (off_t)PAGE) == 0);
    CHECK(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, FILE_OFFSET) == page);
    add(name, page, ZEROS);
}

static int write_in(const char *folder, const char *name, const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    int written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return written;
}

/* Reading shared memory back from swap makes it dirty, so paging it out twice does not help: only a
 * reclaim of its cgroup, where it is alone, takes it out of the swap cache. Without one it may stay
 * there, where `state` shows it. */
static int arm_shared_swapped(struct kind *kind) {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        go_to_processor(tries);
        touch(kind->page);
        if (madvise(kind->page, PAGE, MADV_PAGEOUT) != 0) return 0;
        if (!(pagemap_of(kind->page) >> 63)) {
            if (group == NULL || mincore_of(kind->page) == 0) return 1;
            if (!write_in(group, "memory.force_empty", "0"))
                write_in(group, "memory.reclaim", "4096");
            if (mincore_of(kind->page) == 0) return 1;
        }
        usleep(1000);
    }
    return 0;
}

static int new_memfd(void) {
    int fd = memfd_create("pages", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void shared_kinds(void) {
    shared_hole("tmpfs_hole", new_file(memory));
    file_page("tmpfs_cached", new_file(memory), MAP_PRIVATE, PROT_READ);
    touch(file_page("tmpfs_mapped", new_file(memory), MAP_SHARED, PROT_READ)->page);
    shared_hole("memfd_untouched", new_memfd());
    file_page("memfd_present", new_memfd(), MAP_SHARED, PROT_READ);
    touch(file_page("memfd_mapped", new_memfd(), MAP_SHARED, PROT_READ)->page);
    uint8_t *page = cell();
    CHECK(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
          == page);
    add("shared_untouched", page, ZEROS);
    if (find("swapped") == NULL) return;
    page = cell();
    /* Only this page is to be the group's: whoever is in it when a page comes, pays for it. */
    char parent[4096];
    if (group != NULL) CHECK(write_in(group, "cgroup.procs", "0"));
    struct kind *kind = file_page_at(page, "memfd_swapped", new_memfd(), MAP_SHARED,
                                     PROT_READ | PROT_WRITE);
    if (group != NULL) {
        snprintf(parent, sizeof parent, "%s/..", group);
        CHECK(write_in(parent, "cgroup.procs", "0"));
    }
    kind->arm = arm_shared_swapped;
    CHECK(arm_shared_swapped(kind));
}

/* ---- FUSE ---- */

static const char *const fuse_names[] = {"fuse_mapped", "fuse_cached",      "fuse_cold",
                                         "fuse_random", "fuse_hung",        "fuse_hung_random",
                                         "fuse_hung_all"};

static int arm_fuse_cold(struct kind *kind) {
    return madvise(kind->page, PAGE, MADV_DONTNEED) == 0
           && posix_fadvise(kind->fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
}

/* Everything here is opened and mapped while the server answers; who hangs is its business. */
static void fuse_kinds(const char *folder) {
    for (size_t i = 0; i < sizeof fuse_names / sizeof *fuse_names; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/file%zu", folder, i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        uint8_t *page = cell();
        CHECK(mmap(page, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, FILE_OFFSET) == page);
        uint64_t seed = (uint64_t)(i + 2) << 32 | (uint64_t)FILE_OFFSET;
        struct kind *kind = add(fuse_names[i], page, (const void *)(uintptr_t)seed);
        kind->fd = fd;
        if (i == 0) touch(page);
        if (i == 1) kind->arm = arm_cached, CHECK(arm_cached(kind));
        if (i >= 2) kind->arm = arm_fuse_cold;
        if (i == 3 || i == 5) CHECK(madvise(page, PAGE, MADV_RANDOM) == 0);
    }
}

/* ---- userfaultfd ---- */

static int uffd = -1;

static int arm_missing(struct kind *kind) {
    return madvise(kind->page, PAGE, MADV_DONTNEED) == 0;
}

static void userfaultfd_kinds(void) {
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0) return;
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    int write_protects = ioctl(uffd, UFFDIO_API, &api) == 0;
    if (!write_protects) {
        /* A refused UFFDIO_API spoils the descriptor. */
        close(uffd);
        uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        api = (struct uffdio_api){.api = UFFD_API};
        CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
    }
    uint8_t *page = map_pages(cell(), 1, PROT_READ | PROT_WRITE);
    struct uffdio_register missing = {
        .range = {.start = (uintptr_t)page, .len = PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    CHECK(ioctl(uffd, UFFDIO_REGISTER, &missing) == 0);
    add("uffd_missing", page, NOTHING)->arm = arm_missing;
    page = cell();
    struct uffdio_register protect = {
        .range = {.start = (uintptr_t)page, .len = PAGE}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect on = {
        .range = protect.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    if (write_protects && ioctl(uffd, UFFDIO_REGISTER, &protect) == 0
        && ioctl(uffd, UFFDIO_WRITEPROTECT, &on) == 0)
        add("uffd_wp", page, page);
}

/* ---- the kernel's own ---- */

static void kernel_kinds(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    char line[8192];
    while (fgets(line, sizeof line, maps) != NULL) {
        uint8_t *start = (uint8_t *)(uintptr_t)strtoull(line, NULL, 16);
        if (strstr(line, "[vdso]")) add("vdso", start, start);
        else if (strstr(line, "[vvar]")) add("vvar", start, NOTHING);
        else if (strstr(line, "[vsyscall]")) add("vsyscall", start, NOTHING);
    }
    fclose(maps);
}

static void join_mounts_of(const char *pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
    close(fd);
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 2) return 64;
    disk = argv[1];
    const char *fuse = NULL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc) memory = argv[++i];
        else if (strcmp(argv[i], "--fuse") == 0 && i + 2 < argc) {
            join_mounts_of(argv[i + 1]);
            fuse = argv[i + 2];
            i += 2;
        } else if (strcmp(argv[i], "--group") == 0 && i + 1 < argc) group = argv[++i];
        else return 64;
    }
    go_to_processor(0);
    next_cell = map_pages(NULL, 512, PROT_NONE) + PAGE;
    anonymous_kinds();
    unreadable_kinds();
    file_kinds();
    shared_kinds();
    if (fuse != NULL) fuse_kinds(fuse);
    userfaultfd_kinds();
    kernel_kinds();
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        struct kind *kind;
        if ((value = argument(line, "again")) != NULL && (kind = find(value)) != NULL) {
            answer(kind->arm == NULL || kind->arm(kind) ? "ok" : "failed");
        } else if ((value = argument(line, "state")) != NULL && (kind = find(value)) != NULL) {
            printf("pagemap=0x%" PRIx64 " mincore=0x%x\n", pagemap_of(kind->page),
                   mincore_of(kind->page));
            fflush(stdout);
        } else if (argument(line, "faults") != NULL) {
            struct rusage usage;
            CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
            printf("major=0x%lx\n", usage.ru_majflt);
            fflush(stdout);
        } else {
            other_command(line);
        }
    }
}
