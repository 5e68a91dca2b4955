/* One process number with ever new processes: kill, reap, and clone3 with set_tid.
 *
 * respawn NUMBER SOCKET, in a pid namespace of its own, where NUMBER is free. Each process holds
 * its generation as the marker; those of odd generations can read a second page behind it, the
 * others cannot, so that an impostor's gaps are false, too. They are named `gN`.
 *
 * SOCKET takes `swap` (answers the new generation, with its pidfd by SCM_RIGHTS) and `churn COUNT`
 * (that many generations, each of which lives for up to a millisecond; answers the last).
 */
#include "target.h"

#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static pid_t number;
static uint64_t generation;
static pid_t living;

/* The child is born with everything in place: it never has to run to be told from the others. */
static int spawn(void) {
    generation++;
    for (size_t at = 0; at < 2 * PAGE; at += sizeof generation) {
        if (at == PAGE && generation % 2 == 0) break;
        if (at == PAGE) CHECK(mprotect(MARKER_ADDRESS + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
        memcpy(MARKER_ADDRESS + at, &generation, sizeof generation);
    }
    if (generation % 2 == 0) CHECK(mprotect(MARKER_ADDRESS + PAGE, PAGE, PROT_NONE) == 0);
    char name[16];
    snprintf(name, sizeof name, "g%" PRIu64, generation);
    CHECK(prctl(PR_SET_NAME, name) == 0);
    int pidfd = -1;
    struct clone_args arguments = {
        .flags = CLONE_PIDFD,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .set_tid = (uintptr_t)&number,
        .set_tid_size = 1,
    };
    living = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    CHECK(living >= 0);
    if (living == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    CHECK(living == number);
    return pidfd;
}

static void end(void) {
    if (living == 0) return;
    CHECK(kill(living, SIGKILL) == 0);
    CHECK(waitpid(living, NULL, 0) == living);
    living = 0;
}

static void reply(int socket, int pidfd) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = &generation, .iov_len = sizeof generation};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (pidfd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof pidfd);
        memcpy(CMSG_DATA(&control.header), &pidfd, sizeof pidfd);
    }
    CHECK(sendmsg(socket, &message, 0) == sizeof generation);
    if (pidfd >= 0) close(pidfd);
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    die_with_parent();
    number = atoi(argv[1]);
    int socket = atoi(argv[2]);
    map_pages(MARKER_ADDRESS, 2, PROT_READ | PROT_WRITE);
    for (;;) {
        char line[64] = {0};
        const char *value;
        if (recv(socket, line, sizeof line - 1, 0) <= 0) break;
        if (argument(line, "swap") != NULL) {
            end();
            reply(socket, spawn());
        } else if ((value = argument(line, "churn")) != NULL) {
            for (long left = atol(value); left > 0; left--) {
                end();
                close(spawn());
                /* Lives of every length, so that the end falls on every step of whoever looks. */
                usleep((useconds_t)(random() % 1000));
            }
            reply(socket, -1);
        }
    }
    end();
    return 0;
}
