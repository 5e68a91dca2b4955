/* Memory searched by memmem(3) over a loop of process_vm_readv(2) from C, 1 MiB at a time.
 *
 * seek PID ADDRESS LENGTH LITERAL REST, all but numbers in hex without spaces: LITERAL is looked for, and REST follows it,
 * with `??` for any byte (`-`: nothing follows). Each line on stdin is how often; the answer is the median time of once, in
 * ns, and the matches.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>

#define CHUNK ((size_t)1 << 20)
#define MOST 4096
#define MOST_ROUNDS 1000

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static size_t parse(const char *text, uint8_t *bytes, uint8_t *any) {
    size_t count = 0;
    for (; text[0] != 0 && text[0] != '-' && count < MOST; text += 2, count++) {
        char digits[3] = {text[0], text[1], 0};
        any[count] = text[0] == '?';
        bytes[count] = any[count] ? 0 : (uint8_t)strtoul(digits, NULL, 16);
    }
    return count;
}

int main(int argc, char **argv) {
    if (argc != 6) return 64;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static uint8_t literal[MOST], rest[MOST], any[MOST];
    static uint64_t times[MOST_ROUNDS];
    pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
    uint64_t start = strtoull(argv[2], NULL, 10), end = start + strtoull(argv[3], NULL, 10);
    size_t first = parse(argv[4], literal, any), behind = parse(argv[5], rest, any);
    uint8_t *buffer = malloc(CHUNK);
    if (buffer == NULL) return 70;
    puts("ready");
    fflush(stdout);
    unsigned long rounds;
    while (scanf("%lu", &rounds) == 1 && rounds > 0 && rounds <= MOST_ROUNDS) {
        uint64_t found = 0;
        for (unsigned long i = 0; i < rounds; i++) {
            uint64_t began = now_ns();
            found = 0;
            for (uint64_t at = start; at < end; at += CHUNK - (first + behind - 1)) {
                size_t size = end - at < CHUNK ? end - at : CHUNK;
                struct iovec local = {buffer, size}, remote = {(void *)(uintptr_t)at, size};
                if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)size) return 70;
                uint8_t *from = buffer, *hit, *stop = buffer + size;
                while ((hit = memmem(from, (size_t)(stop - from), literal, first)) != NULL) {
                    size_t same = 0;
                    if (hit + first + behind > stop) break;
                    while (same < behind && (any[same] || hit[first + same] == rest[same])) same++;
                    found += same == behind;
                    from = hit + 1;
                }
                if (size < CHUNK) break;
            }
            times[i] = now_ns() - began;
        }
        qsort(times, rounds, sizeof *times, compare);
        printf("%lu %lu\n", times[rounds / 2], found);
        fflush(stdout);
    }
    return 0;
}
