/* Mappings of files on FUSE, and of filesystems that lie over it.
 *
 * swaps SERVER FUSE-FILE LOCAL-FILE          `swapped` is in turns a mapping of the one and the other
 * swaps SERVER --overlay FUSE-FOLDER FOLDER  `swapped` is file0 of an overlay over FUSE-FOLDER
 *
 * It joins the mount namespace of SERVER, the process of a FUSE server, and makes what it mounts in
 * one of its own. Command: `turns` (answers how often it has changed over).
 */
#include "target.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SIZE (64 * PAGE)
#define PLACE ((uint8_t *)0x200000000000)

static int files[2];
static atomic_ulong turns;

static int open_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void map(int fd) {
    CHECK(mmap(PLACE, SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == PLACE);
}

static void *swap(void *unused) {
    for (;;) {
        map(files[atomic_fetch_add(&turns, 1) & 1]);
        for (volatile int i = 0; i < 30000; i++) {}
    }
    return unused;
}

static void make_overlay(const char *lower, const char *folder) {
    char options[4096], path[4096];
    CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("upper", folder, "tmpfs", 0, NULL) == 0);
    for (const char **name = (const char *[]){"u", "w", "m", NULL}; *name; name++) {
        snprintf(path, sizeof path, "%s/%s", folder, *name);
        CHECK(mkdir(path, 0755) == 0);
    }
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/u,workdir=%s/w", lower, folder, folder);
    if (mount("over", path, "overlay", 0, options) != 0) exit(NOT_PERMITTED);
    strcat(path, "/file0");
    map(open_file(path));
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 4) return 64;
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", argv[1]);
    int fd = open_file(path);
    CHECK(setns(fd, CLONE_NEWNS) == 0);
    if (strcmp(argv[2], "--overlay") == 0) {
        make_overlay(argv[3], argv[4]);
    } else {
        files[0] = open_file(argv[2]);
        files[1] = open_file(argv[3]);
        map(files[1]);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, swap, NULL) == 0);
    }
    say("swapped", PLACE);
    ready();
    for (;;) {
        if (argument(next_command(), "turns") != NULL) {
            char text[32];
            snprintf(text, sizeof text, "%lu", atomic_load(&turns));
            answer(text);
        }
    }
}
