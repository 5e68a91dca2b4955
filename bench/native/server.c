/* The least server that answers farpeek's own requests: what is left is the kernel's work.
 *
 * server PID unix PATH | server PID tcp: says `port` there. Takes every request on trust. A GET with a
 * Range is read and sent in turns, a CHUNK each; a POST has pairs of u64, as many as fit into a call.
 */
#define _GNU_SOURCE
#include "../../tests/targets/target.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#define CHUNK ((size_t)1 << 20)
#define MOST_REGIONS 1024 /* IOV_MAX */
#define LONGEST_HEAD 4096

static pid_t target;
static char input[LONGEST_HEAD + MOST_REGIONS * sizeof(struct iovec)];
static uint8_t content[CHUNK];

static int listen_on_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    return listener;
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    say_number("port", ntohs(address.sin_port));
    return listener;
}

static void send_all(int client, const void *from, size_t length, int flags) {
    for (size_t sent = 0; sent < length;) {
        ssize_t more = send(client, (const uint8_t *)from + sent, length - sent, flags);
        if (more <= 0) _exit(0); /* the client has gone */
        sent += (size_t)more;
    }
}

static void send_head(int client, const char *status, size_t length) {
    char head[128];
    int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, length);
    send_all(client, head, (size_t)size, MSG_MORE);
}

static void send_range(int client, const char *head) {
    uint64_t first, last;
    const char *range = strstr(head, "Range: bytes=");
    CHECK(range && sscanf(range, "Range: bytes=%" SCNu64 "-%" SCNu64, &first, &last) == 2);
    send_head(client, "206 Partial Content", last - first + 1);
    while (first <= last) {
        size_t length = last - first + 1 < CHUNK ? last - first + 1 : CHUNK;
        struct iovec local = {content, length}, remote = {(void *)(uintptr_t)first, length};
        CHECK(process_vm_readv(target, &local, 1, &remote, 1, 0) == (ssize_t)length);
        send_all(client, content, length, 0);
        first += length;
    }
}

static void send_regions(int client, const struct iovec *regions, size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; i++) length += regions[i].iov_len;
    struct iovec local = {content, length};
    CHECK(length <= sizeof content);
    CHECK(process_vm_readv(target, &local, 1, regions, count, 0) == (ssize_t)length);
    send_head(client, "200 OK", length);
    send_all(client, content, length, 0);
}

/* Receives until `input` holds `end` bytes; gives how many it holds. */
static size_t receive(int client, size_t filled, size_t end) {
    while (filled < end) {
        ssize_t more = recv(client, input + filled, sizeof input - filled, 0);
        if (more <= 0) _exit(0);
        filled += (size_t)more;
    }
    return filled;
}

static void serve(int client) {
    static struct iovec regions[MOST_REGIONS];
    for (;;) {
        size_t filled = 0;
        const char *end;
        do {
            filled = receive(client, filled, filled + 1);
        } while ((end = memmem(input, filled, "\r\n\r\n", 4)) == NULL);
        size_t head = (size_t)(end - input) + 4, length = 0;
        if (input[0] == 'G') {
            send_range(client, input);
            continue;
        }
        const char *named = memmem(input, head, "Content-Length: ", 16);
        CHECK(named && sscanf(named, "Content-Length: %zu", &length) == 1);
        CHECK(length <= sizeof regions && head + length <= sizeof input);
        receive(client, filled, head + length);
        memcpy(regions, input + head, length); /* for they lie at any place in there */
        send_regions(client, regions, length / sizeof *regions);
    }
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 3) return 64;
    target = (pid_t)strtol(argv[1], NULL, 10);
    int listener = argc == 4 ? listen_on_path(argv[3]) : listen_on_loopback();
    CHECK(listen(listener, 8) == 0 && signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    ready();
    for (;;) {
        int client = accept(listener, NULL, NULL), on = 1;
        CHECK(client >= 0);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* none on unix sockets */
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            die_with_parent();
            serve(client);
        }
        close(client);
    }
}
