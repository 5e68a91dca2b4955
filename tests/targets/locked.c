/* A process whose address space is locked for as long as a server does not answer: whoever wants to
 * look into it, or into what /proc tells of it, waits (mmap_lock, Documentation/mm/process_addrs).
 *
 * locked PID FILE: joins the mounts of process PID, and maps FILE. Prints `file`, where that is.
 * Commands: lock, which reads the first page by /proc/self/mem, which keeps the lock meanwhile, and
 * answers when that waits and a writer of the lock behind it.
 */
#include "target.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>

static sem_t begun, begin[2];
static pid_t numbers[2];
static uint8_t *file;

static void *read_it(void *memory) {
    uint8_t byte;
    numbers[0] = (pid_t)syscall(SYS_gettid);
    CHECK(sem_post(&begun) == 0);
    CHECK(sem_wait(&begin[0]) == 0);
    (void)!pread((int)(intptr_t)memory, &byte, 1, (off_t)(uintptr_t)file);
    return NULL;
}

static void *change_it(void *unused) {
    numbers[1] = (pid_t)syscall(SYS_gettid);
    CHECK(sem_post(&begun) == 0);
    CHECK(sem_wait(&begin[1]) == 0);
    map_pages(NULL, 1, PROT_READ);
    return unused;
}

static void await_waiting(int number) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", numbers[number]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    do {
        CHECK(pread(fd, line, sizeof line - 1, 0) > 0);
    } while (strstr(line, ") D ") == NULL);
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", argv[1]);
    int mounts = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(mounts >= 0 && setns(mounts, CLONE_NEWNS) == 0);
    die_with_parent();
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC), memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && memory >= 0);
    file = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(file != MAP_FAILED);
    pthread_t thread;
    CHECK(sem_init(&begun, 0, 0) == 0);
    CHECK(sem_init(&begin[0], 0, 0) == 0 && sem_init(&begin[1], 0, 0) == 0);
    CHECK(pthread_create(&thread, NULL, read_it, (void *)(intptr_t)memory) == 0);
    CHECK(pthread_create(&thread, NULL, change_it, NULL) == 0);
    for (int number = 0; number < 2; number++) CHECK(sem_wait(&begun) == 0);  // both numbers are known
    say("file", file);
    ready();
    for (;;) {
        const char *line = next_command();
        if (argument(line, "lock") != NULL) {
            for (int number = 0; number < 2; number++) {
                CHECK(sem_post(&begin[number]) == 0);
                await_waiting(number);
            }
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
