/* A process with a marker page, and any credentials.
 *
 * plain [--marker N] [--name COMM] [--uid N] [--gid N] [--capability N] [--userns] [--nondumpable]
 *
 * Commands: exec MARKER (the same program again, with another marker and the name `second`), hide (is
 * not dumpable from then on), exit N, abort.
 */
#include "target.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <fcntl.h>

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* A child user namespace, owned by who we are now, in which `uid` and `gid` are mapped to
 * themselves: the same user outside, yet other credentials to the kernel. */
static void enter_user_namespace(unsigned uid, unsigned gid) {
    int to_child[2], to_parent[2];
    CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
    pid_t mapper = fork();
    CHECK(mapper >= 0);
    char byte = 0;
    if (mapper == 0) {
        /* The maps have to be written from outside, by a process with capabilities there. */
        char path[64], text[64];
        if (read(to_child[0], &byte, 1) != 1) _exit(1);
        snprintf(path, sizeof path, "/proc/%d/uid_map", getppid());
        snprintf(text, sizeof text, "%u %u 1", uid, uid);
        write_file(path, text);
        snprintf(path, sizeof path, "/proc/%d/gid_map", getppid());
        snprintf(text, sizeof text, "%u %u 1", gid, gid);
        write_file(path, text);
        _exit(write(to_parent[1], &byte, 1) == 1 ? 0 : 1);
    }
    CHECK(unshare(CLONE_NEWUSER) == 0);
    CHECK(write(to_child[1], &byte, 1) == 1);
    int status = 0;
    CHECK(read(to_parent[0], &byte, 1) == 1);
    CHECK(waitpid(mapper, &status, 0) == mapper && status == 0);
    close(to_child[0]), close(to_child[1]), close(to_parent[0]), close(to_parent[1]);
}

static void keep_one_capability(int capability) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    data[capability / 32].permitted = 1u << (capability % 32);
    CHECK(syscall(SYS_capset, &header, data) == 0);
}

int main(int argc, char **argv) {
    die_with_parent();
    uint64_t marker = 1;
    long uid = -1, gid = -1;
    int capability = -1, user_namespace = 0, dumpable = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--userns") == 0) user_namespace = 1;
        else if (strcmp(argv[i], "--nondumpable") == 0) dumpable = 0;
        else if (strcmp(argv[i], "--marker") == 0) marker = strtoull(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--name") == 0) CHECK(prctl(PR_SET_NAME, value) == 0), i++;
        else if (strcmp(argv[i], "--uid") == 0) uid = strtol(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--gid") == 0) gid = strtol(value, NULL, 0), i++;
        else if (strcmp(argv[i], "--capability") == 0) capability = atoi(value), i++;
        else return 64;
    }
    if (gid >= 0 || uid >= 0) CHECK(setgroups(0, NULL) == 0);
    if (user_namespace) enter_user_namespace((unsigned)uid, (unsigned)gid);
    if (capability >= 0) CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
    if (gid >= 0) CHECK(setresgid((gid_t)gid, (gid_t)gid, (gid_t)gid) == 0);
    if (uid >= 0) CHECK(setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) == 0);
    if (capability >= 0) keep_one_capability(capability);
    /* A change of credentials takes both of these back. */
    die_with_parent();
    CHECK(prctl(PR_SET_DUMPABLE, dumpable) == 0);

    say("marker", map_marker(marker));
    say_number("value", marker);
    ready();
    for (;;) {
        const char *line = next_command(), *value;
        if ((value = argument(line, "exec")) != NULL) {
            char text[32];
            snprintf(text, sizeof text, "%.31s", value);
            execl("/proc/self/exe", "second", "--marker", text, "--name", "second", (char *)NULL);
            CHECK(0);
        } else if (argument(line, "hide") != NULL) {
            CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
            answer("ok");
        } else {
            other_command(line);
        }
    }
}
