/* Pages that userfaultfd keeps missing: whoever touches one waits until it is resolved.
 *
 * uffd [PAGES [UID]], which then runs as that user and group. Prints `missing` (the first of them), with a page of the pattern on each side:
 * `before` and `after`. Commands: faults N (answers when N touches are waiting or have waited),
 * resolve PAGE (with the pattern), resolve-all, exit N.
 */
#include "target.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned long faults;
static int uffd;

/* Each waiting fault is one message, read once: the way to know that a reader really hangs. */
static void *count_faults(void *unused) {
    (void)unused;
    for (;;) {
        struct uffd_msg message[16];
        struct pollfd wait = {.fd = uffd, .events = POLLIN};
        poll(&wait, 1, -1);
        ssize_t length = read(uffd, message, sizeof message);
        if (length <= 0) continue;
        pthread_mutex_lock(&lock);
        for (size_t i = 0; i < (size_t)length / sizeof *message; i++)
            faults += message[i].event == UFFD_EVENT_PAGEFAULT;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void resolve(uint8_t *page) {
    static uint8_t content[LARGEST_PAGE] __attribute__((aligned(LARGEST_PAGE)));
    fill_as(content, page, PAGE);
    struct uffdio_copy copy = {.dst = (uintptr_t)page, .src = (uintptr_t)content, .len = PAGE};
    CHECK(ioctl(uffd, UFFDIO_COPY, &copy) == 0 || errno == EEXIST);
}

int main(int argc, char **argv) {
    die_with_parent();
    size_t pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0) return NOT_PERMITTED;
    struct uffdio_api api = {.api = UFFD_API};
    CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
    uint8_t *block = map_pages(NULL, pages + 2, PROT_READ | PROT_WRITE);
    uint8_t *missing = block + PAGE, *after = missing + pages * PAGE;
    fill(block, PAGE);
    fill(after, PAGE);
    struct uffdio_register registered = {
        .range = {.start = (uintptr_t)missing, .len = pages * PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    CHECK(ioctl(uffd, UFFDIO_REGISTER, &registered) == 0);
    if (argc > 2) {
        uid_t user = (uid_t)strtoul(argv[2], NULL, 10);
        CHECK(setgroups(0, NULL) == 0);
        CHECK(setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
        /* A change of credentials takes both of these back. */
        die_with_parent();
        CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, count_faults, NULL) == 0);
    say("before", block);
    say("missing", missing);
    say("after", after);
    say_number("pages", pages);
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "faults")) != NULL) {
            unsigned long wanted = strtoul(value, NULL, 10);
            pthread_mutex_lock(&lock);
            while (faults < wanted) pthread_cond_wait(&changed, &lock);
            printf("faults=0x%lx\n", faults);
            pthread_mutex_unlock(&lock);
            fflush(stdout);
        } else if ((value = argument(line, "resolve")) != NULL) {
            resolve(missing + strtoul(value, NULL, 10) * PAGE);
            answer("ok");
        } else if (argument(line, "resolve-all") != NULL) {
            for (size_t page = 0; page < pages; page++) resolve(missing + page * PAGE);
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
