/* Memory of every kind that a write meets, in a process that is watched for disturbance.
 *
 * written FILE [UID], as user and group UID once all is made. Prints, each a page or more of the pattern:
 *   block     rw, read-only, rw, PROT_NONE, rw, rw, nothing at all (a hole), rw
 *   big       1024 pages, rw
 *   untouched a page that nothing is in yet
 *   shared    of anonymous shared memory; file_private and file_shared of FILE
 *   turns     a number that `spin` counts up
 *   missing   a page that userfaultfd keeps missing; wp one that it write-protects (if it can)
 *
 * Commands: threads N (N more threads, which count); alive (answers once every thread has counted
 * on); handled (the signals SIGRTMIN that were handled); interrupted (how often the thread that
 * waits in epoll_wait was); resolve (both pages of userfaultfd); spin (the first
 * thread counts from then on, for ever); exit N.
 */
#include "target.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define MOST_THREADS 256

static _Atomic unsigned long handled, interrupted, counts[MOST_THREADS];
static unsigned threads;
static int uffd = -1;
static uint8_t *missing, *protected;
static volatile uint64_t *turns;

static void on_signal(int number) {
    (void)number;
    handled++;
}

static void *wait_in_epoll(void *unused) {
    (void)unused;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;
    sigset_t all;
    sigfillset(&all);
    /* No signal is for this thread: what interrupts it is somebody's doing. */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno == EINTR) interrupted++;
    }
    return NULL;
}

static void *count(void *number) {
    for (;;) {
        counts[(uintptr_t)number]++;
        usleep(3000);
    }
    return NULL;
}

static void start_threads(unsigned more) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (; more > 0 && threads < MOST_THREADS; more--, threads++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &small, count, (void *)(uintptr_t)threads) == 0);
    }
}

static void wait_for_all(void) {
    unsigned long before[MOST_THREADS];
    for (unsigned i = 0; i < threads; i++) before[i] = counts[i];
    for (unsigned i = 0; i < threads; i++) {
        while (counts[i] == before[i]) usleep(200);
    }
}

static uint8_t *make_block(void) {
    uint8_t *block = map_pages(NULL, 8, PROT_READ | PROT_WRITE);
    fill(block, 8 * PAGE);
    CHECK(mprotect(block + PAGE, PAGE, PROT_READ) == 0);
    CHECK(mprotect(block + 3 * PAGE, PAGE, PROT_NONE) == 0);
    say("block", block);
    return block;
}

static void make_more(void) {
    uint8_t *big = map_pages(NULL, 1024, PROT_READ | PROT_WRITE);
    fill(big, 1024 * PAGE);
    say("big", big);
    turns = (void *)map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    say("turns", (const void *)turns);
    say("untouched", map_pages(NULL, 1, PROT_READ | PROT_WRITE));
}

static void map_file(const char *path) {
    uint8_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    fill(shared, PAGE);
    say("shared", shared);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0);
    uint8_t *file_shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(file_shared != MAP_FAILED);
    fill(file_shared, PAGE);
    CHECK(msync(file_shared, PAGE, MS_SYNC) == 0);
    say("file_shared", file_shared);
    uint8_t *file_private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(file_private != MAP_FAILED);
    say("file_private", file_private);
    close(fd);
}

static int register_pages(uint8_t *pages, uint64_t mode) {
    struct uffdio_register registered = {
        .range = {.start = (uintptr_t)pages, .len = PAGE},
        .mode = mode,
    };
    return ioctl(uffd, UFFDIO_REGISTER, &registered);
}

static void make_faults(void) {
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0) return;
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    if (ioctl(uffd, UFFDIO_API, &api) != 0) {
        close(uffd);
        uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        api = (struct uffdio_api){.api = UFFD_API};
        CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
    }
    missing = map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    CHECK(register_pages(missing, UFFDIO_REGISTER_MODE_MISSING) == 0);
    say("missing", missing);
    uint8_t *page = map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    fill(page, PAGE);
    if (register_pages(page, UFFDIO_REGISTER_MODE_WP) != 0) return;
    struct uffdio_writeprotect protect = {
        .range = {.start = (uintptr_t)page, .len = PAGE},
        .mode = UFFDIO_WRITEPROTECT_MODE_WP,
    };
    CHECK(ioctl(uffd, UFFDIO_WRITEPROTECT, &protect) == 0);
    protected = page;
    say("wp", protected);
}

static void resolve(void) {
    static uint8_t content[LARGEST_PAGE] __attribute__((aligned(LARGEST_PAGE)));
    fill_as(content, missing, PAGE);
    struct uffdio_copy copy = {.dst = (uintptr_t)missing, .src = (uintptr_t)content, .len = PAGE};
    CHECK(ioctl(uffd, UFFDIO_COPY, &copy) == 0 || errno == EEXIST);
    if (protected == NULL) return;
    struct uffdio_writeprotect release = {.range = {.start = (uintptr_t)protected, .len = PAGE}};
    CHECK(ioctl(uffd, UFFDIO_WRITEPROTECT, &release) == 0);
}

static void become(unsigned id) {
    CHECK(setgroups(0, NULL) == 0);
    CHECK(setresgid(id, id, id) == 0 && setresuid(id, id, id) == 0);
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
    die_with_parent();
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) return 64;
    die_with_parent();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_in_epoll, NULL) == 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
    uint8_t *block = make_block();
    make_more();
    map_file(argv[1]);
    make_faults();
    /* Last of all, so that no other mapping gets that place. */
    CHECK(munmap(block + 6 * PAGE, PAGE) == 0);
    if (argc == 3) become((unsigned)atoi(argv[2]));
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "threads")) != NULL) {
            start_threads((unsigned)strtoul(value, NULL, 10));
            wait_for_all();
            answer("ok");
        } else if (argument(line, "alive") != NULL) {
            wait_for_all();
            answer("ok");
        } else if (argument(line, "handled") != NULL) {
            printf("%lu\n", handled);
            fflush(stdout);
        } else if (argument(line, "interrupted") != NULL) {
            printf("%lu\n", interrupted);
            fflush(stdout);
        } else if (argument(line, "spin") != NULL) {
            answer("ok");
            for (;;) ++*turns;
        } else if (argument(line, "resolve") != NULL) {
            resolve();
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
