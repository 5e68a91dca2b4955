/* The first process of a User Mode Linux kernel that has the host's files as its root, read-only.
 *
 * Runs `bash OUT/command`, writes its exit status to OUT/status, and turns the kernel off. OUT and
 * TREE, a folder that must stay visible even below /tmp, come from the kernel's command line.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *place, *type, *options;
} mounts[] = {
    {"/proc", "proc", NULL},        {"/sys", "sysfs", NULL},          {"/dev", "devtmpfs", NULL},
    {"/dev/pts", "devpts", NULL},   {"/dev/shm", "tmpfs", NULL},      {"/tmp", "tmpfs", "mode=1777"},
    {"/run", "tmpfs", "mode=755"},  {"/mnt", "tmpfs", "mode=755"},
};

static void put_on(const char *place, const char *type, unsigned long flags, const char *options) {
    char path[4096];
    snprintf(path, sizeof path, "%s", place);
    for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0755);
    }
    mkdir(path, 0755);
    if (mount(type, place, type, flags, options) != 0) perror(place);
}

static int is_below(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* The kernel starts with loopback down. */
static void bring_up_loopback(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP | IFF_RUNNING;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

/* libuv would use it, and a User Mode Linux of 7.3 panics when it does. */
static void forbid_io_uring(void) {
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_WRONLY);
    if (fd < 0) return;
    if (write(fd, "2", 1) != 1) perror("io_uring_disabled");
    close(fd);
}

int main(void) {
    const char *out = getenv("OUT"), *tree = getenv("TREE");
    if (out == NULL || tree == NULL) return 64;
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        put_on(mounts[i].place, mounts[i].type, 0, mounts[i].options);
    put_on("/mnt/out", "hostfs", 0, out);
    if (is_below(tree, "/tmp") || is_below(tree, "/run") || is_below(tree, "/mnt"))
        put_on(tree, "hostfs", MS_RDONLY, tree);
    if (symlink("/proc/self/fd", "/dev/fd") != 0) perror("/dev/fd");
    bring_up_loopback();
    forbid_io_uring();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);

    pid_t child = fork();
    if (child == 0) {
        setsid();
        execl("/bin/bash", "bash", "/mnt/out/command", NULL);
        _exit(127);
    }
    int status = 0;
    while (wait(&status) != child) continue; /* orphans come here, too */
    FILE *file = fopen("/mnt/out/status", "w");
    if (file != NULL) {
        fprintf(file, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fclose(file);
    }
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
