/* A process of three threads, whose first can end before the others.
 *
 * Prints the numbers of the other two. Commands: leader-exit (answers when the first thread is a
 * zombie), exit N, abort.
 */
#include "target.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int leader_may_end;
static _Atomic long sleeper_tid;

static int leader_has_ended(void) {
    char path[64], text[512] = {0};
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *end = length ? strrchr(text, ')') : NULL;
    return end != NULL && end[2] == 'Z';
}

static void *sleeper(void *unused) {
    (void)unused;
    sleeper_tid = syscall(SYS_gettid);
    for (;;) pause();
    return NULL;
}

static void *commands(void *unused) {
    (void)unused;
    say_number("thread", (uint64_t)syscall(SYS_gettid));
    while (sleeper_tid == 0) usleep(100);
    say_number("sleeper", (uint64_t)sleeper_tid);
    say("marker", map_marker(1));
    ready();
    for (;;) {
        const char *line = next_command();
        if (argument(line, "leader-exit") == NULL) {
            other_command(line);
            continue;
        }
        pthread_mutex_lock(&lock);
        leader_may_end = 1;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
        while (!leader_has_ended()) usleep(100);
        answer("ok");
    }
    return NULL;
}

int main(void) {
    die_with_parent();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, commands, NULL) == 0);
    pthread_mutex_lock(&lock);
    while (!leader_may_end) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    pthread_exit(NULL);
}
