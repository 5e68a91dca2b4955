/* A process to read from.
 *
 * target PAGES: so many pages of the pattern. target --file PID PATH: the file PATH of process PID's
 * mount namespace, mapped and never touched. Prints `block`, the address of the first page.
 */
#include "../../tests/targets/target.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

static uint8_t *map_file(const char *pid, const char *path) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%s/ns/mnt", pid);
    int namespace = open(name, O_RDONLY | O_CLOEXEC);
    CHECK(namespace >= 0 && setns(namespace, CLONE_NEWNS) == 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    uint8_t *block = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(block != MAP_FAILED);
    return block;
}

int main(int argc, char **argv) {
    die_with_parent();
    /* Where Yama lets only parents look: the bench itself is ours, the service is not. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    uint8_t *block;
    if (argc == 4 && strcmp(argv[1], "--file") == 0) {
        block = map_file(argv[2], argv[3]);
    } else if (argc == 2) {
        size_t pages = strtoul(argv[1], NULL, 10);
        block = map_pages(NULL, pages, PROT_READ | PROT_WRITE);
        fill(block, pages * PAGE);
    } else {
        return 64;
    }
    say("block", block);
    ready();
    for (;;) other_command(next_command());
}
