/* A swap file for as long as this runs: swap FILE MEGABYTES.
 *
 * It ends when stdin closes, and then takes the swap file back. It does not die with its parent by a
 * signal, like other targets: the swap file would stay in use.
 */
#include "target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/swap.h>

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
    size_t pages = (strtoul(argv[2], NULL, 10) << 20) / PAGE;
    int fd = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    /* linux/swap.h, union swap_header: version, last page, and the magic at the page's end. */
    static uint8_t page[LARGEST_PAGE];
    for (size_t i = 0; i < pages; i++) CHECK(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) > 0);
    uint32_t head[3] = {1, (uint32_t)pages - 1, 0};
    memcpy(page + 1024, head, sizeof head);
    memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
    CHECK(pwrite(fd, page, PAGE, 0) == (ssize_t)PAGE);
    CHECK(fsync(fd) == 0);
    close(fd);
    if (swapon(argv[1], 0) != 0) {
        int refused = errno == EPERM || errno == EINVAL || errno == ENOSYS;
        perror("swapon");
        unlink(argv[1]);
        return refused ? NOT_PERMITTED : 70;
    }
    ready();
    char byte;
    while (read(0, &byte, 1) > 0) continue;
    int status = swapoff(argv[1]) == 0 ? 0 : 70;
    unlink(argv[1]);
    return status;
}
