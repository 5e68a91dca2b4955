/* The first process of an emulated machine, out of its initrd.
 *
 * Loads the modules in /modules in the order of their names, goes on to the root on /dev/vda, mounts the
 * checkout from /dev/vdb at /opt/farpeek, runs `bash /opt/farpeek/command` there, says its exit status, and
 * turns the machine off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *place, *type, *options;
} mounts[] = {
    {"/proc", "proc", NULL},          {"/sys", "sysfs", NULL},         {"/sys/fs/cgroup", "cgroup2", NULL},
    {"/dev/pts", "devpts", NULL},     {"/dev/shm", "tmpfs", NULL},     {"/tmp", "tmpfs", "mode=1777"},
    {"/run", "tmpfs", "mode=755"},
};

static void put_on(const char *from, const char *place, const char *type, const char *options) {
    mkdir(place, 0755);
    if (mount(from, place, type, 0, options) != 0) perror(place);
}

static void load(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "/modules/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) perror(path);
    close(fd);
}

static void load_modules(void) {
    struct dirent **found;
    int count = scandir("/modules", &found, NULL, alphasort);
    for (int i = 0; i < count; i++)
        if (found[i]->d_name[0] != '.') load(found[i]->d_name);
}

static void await(const char *device) {
    for (int tries = 0; access(device, F_OK) != 0 && tries < 600; tries++) usleep(50000);
}

static void go_on_to_the_root(void) {
    put_on("devtmpfs", "/dev", "devtmpfs", NULL);
    load_modules();
    await("/dev/vda"), await("/dev/vdb");
    put_on("/dev/vda", "/root", "ext4", NULL);
    if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) != 0) perror("/dev");
    if (chdir("/root") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 ||
        chdir("/") != 0)
        perror("/root");
}

int main(void) {
    go_on_to_the_root();
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        put_on(mounts[i].type, mounts[i].place, mounts[i].type, mounts[i].options);
    put_on("/dev/vdb", "/opt/farpeek", "ext4", NULL);
    if (symlink("/proc/self/fd", "/dev/fd") != 0) perror("/dev/fd");
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);

    pid_t child = fork();
    if (child == 0) {
        setsid();
        execl("/bin/bash", "bash", "/opt/farpeek/command", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (wait(&status) != child) continue; /* orphans come here, too */
    printf("\n== status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
