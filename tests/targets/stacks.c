/* A process of several threads, deep in calls, that wait; built with -g and -O2 where debuggers look at it.
 *
 * stacks [THREADS [MAPPINGS]]
 *
 * Prints the addresses of `text`, of `counter`, which goes on, and of pages that are not to be in a
 * core (`left_out`), were never touched (`untouched`), or are a reservation (`reserved`, 128 GiB).
 * Commands: exit N, abort.
 */
#define _GNU_SOURCE
#include "target.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct node {
    int value;
    struct node *next;
};

struct node *head;
char text[] = "hello from the target";
volatile uint64_t counter;
static int ends[2];

__attribute__((noinline, noclone)) static int deep(int left) {
    char buffer[64];
    if (left == 0) return (int)read(ends[0], buffer, 1);
    return deep(left - 1) + 1;
}

static pid_t *numbers; /* of the threads that wait */
static long begun;

static void *waiting(void *depth) {
    numbers[__atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST)] = (pid_t)syscall(SYS_gettid);
    return (void *)(long)deep((int)(long)depth);
}

static void *counting(void *unused) {
    (void)unused;
    for (;;) {
        counter++;
        usleep(1000);
    }
    return NULL;
}

/* Return once a thread is in its read(2): until then it is not as deep as it will be. */
static void await_waiting(const volatile pid_t *number) {
    char path[64], wanted[32], line[256];
    snprintf(wanted, sizeof wanted, "%d 0x%x ", SYS_read, ends[0]);
    do {
        usleep(1000);
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", *number);
        FILE *file = fopen(path, "re");
        if (file == NULL || fgets(line, sizeof line, file) == NULL) line[0] = '\0';
        if (file != NULL) fclose(file);
    } while (strncmp(line, wanted, strlen(wanted)) != 0);
}

int main(int argc, char **argv) {
    die_with_parent();
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < 3; i++) {
        struct node *made = malloc(sizeof *made);
        CHECK(made != NULL);
        *made = (struct node){i, head};
        head = made;
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, counting, NULL) == 0);
    long threads = argc > 1 ? atol(argv[1]) : 3;
    numbers = calloc((size_t)threads + 1, sizeof *numbers);
    CHECK(numbers != NULL);
    for (long i = 0; i < threads; i++) {
        CHECK(pthread_create(&thread, NULL, waiting, (void *)(10 + i % 5)) == 0);
    }
    for (long i = 0; i < (argc > 2 ? atol(argv[2]) : 0); i++) {
        int how = i % 2 ? PROT_READ : PROT_READ | PROT_WRITE; /* neighbours that do not become one */
        map_pages(NULL, 1, how);
    }
    uint8_t *left_out = map_pages(NULL, 1, PROT_READ | PROT_WRITE);
    memset(left_out, 0xEE, PAGE);
    CHECK(madvise(left_out, PAGE, MADV_DONTDUMP) == 0);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *reserved = mmap(NULL, 128ul << 30, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(reserved != MAP_FAILED);
    reserved[100ul << 30] = 1; /* so that it would be 100 GiB of zeros */
    uint8_t *untouched = mmap(NULL, (4ul << 30) + PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(untouched != MAP_FAILED);
    CHECK(mprotect(untouched + (4ul << 30), PAGE, PROT_NONE) == 0); /* or they would be one */
    memset(untouched + PAGE, 0x77, 10);
    for (long i = 0; i < threads; i++) await_waiting(&numbers[i]);
    say("text", text);
    say("counter", (void *)&counter);
    say("left_out", left_out);
    say("reserved", reserved);
    say("untouched", untouched);
    ready();
    for (;;) other_command(next_command());
}
