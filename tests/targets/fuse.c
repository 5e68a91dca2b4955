/* A filesystem that answers when it is told to, and counts what it is asked.
 *
 * fuse FOLDER [--no-async] [--readahead BYTES]
 *
 * Mounts itself on FOLDER in a mount namespace of its own, which others join by setns(2): when all
 * of them have ended, however they end, no mount is left. When the server ends, its connection is
 * aborted, and whoever hangs in a request goes on with an error.
 *
 * Files `file0` to `file15`, each FILE_PAGES pages long. Byte `offset` of file N is the pattern's at
 * address (N + 2) << 32 | offset; N + 2 is its inode.
 *
 * Commands: delay FILE MS (every read takes so long), hang FILE (reads are not answered),
 * hang-all FILE (nothing is), serve FILE (answers all that waits, and goes on), counts FILE (answers
 * `lookup=.. getattr=.. open=.. read=.. other=.. waiting=..`), forget (sets all counts to 0).
 */
#include "target.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#define FILES 16
#define FILE_PAGES 64
#define FIRST_INODE 2
#define FILE_SIZE ((uint64_t)FILE_PAGES * PAGE)
#define BUFFER (1 << 20)
#define MOST_WAITING 4096

enum mode { SERVE, HANG_READS, HANG_ALL };

struct file {
    enum mode mode;
    unsigned delay_ms;
    unsigned lookup, getattr, open, read, other;
};

/* A request that is not answered yet; `header` and what follows are as they came. */
struct waiting {
    uint64_t due_ms; /* UINT64_MAX: when it is told */
    struct fuse_in_header *request;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES];
static struct waiting waiting[MOST_WAITING];
static size_t waiting_count;
static int device, wake;
static int async_reads = 1;
static uint32_t most_readahead = 128 << 10;

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct file *file_of(uint64_t inode) {
    return inode >= FIRST_INODE && inode < FIRST_INODE + FILES ? &files[inode - FIRST_INODE] : NULL;
}

/* ENOENT: the request was interrupted or the connection is being aborted; nobody waits then. */
static void send_reply(uint64_t unique, int error, const void *data, size_t length) {
    static uint8_t buffer[BUFFER];
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + length), .error = -error, .unique = unique};
    memcpy(buffer, &header, sizeof header);
    if (length) memcpy(buffer + sizeof header, data, length);
    ssize_t written = write(device, buffer, header.len);
    CHECK(written == (ssize_t)header.len || errno == ENOENT || errno == ENODEV);
}

static struct fuse_attr attributes(uint64_t inode) {
    int folder = inode == FUSE_ROOT_ID;
    return (struct fuse_attr){
        .ino = inode,
        .size = folder ? 0 : FILE_SIZE,
        .blocks = folder ? 0 : FILE_SIZE / 512,
        .mode = folder ? S_IFDIR | 0755 : S_IFREG | 0644,
        .nlink = folder ? 2 : 1,
        .blksize = PAGE,
    };
}

static void reply_init(const struct fuse_in_header *request) {
    const struct fuse_init_in *asked = (const void *)(request + 1);
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = asked->minor < 31 ? asked->minor : 31,
        .max_readahead = 
            most_readahead < asked->max_readahead ? most_readahead : asked->max_readahead,
        .flags = async_reads ? asked->flags & FUSE_ASYNC_READ : 0,
        .max_background = 64,
        .congestion_threshold = 48,
        .max_write = 64 << 10,
        .time_gran = 1,
    };
    send_reply(request->unique, 0, &out, sizeof out);
}

static void reply_lookup(const struct fuse_in_header *request) {
    const char *name = (const void *)(request + 1);
    char *end = NULL;
    unsigned long number = strncmp(name, "file", 4) == 0 ? strtoul(name + 4, &end, 10) : FILES;
    if (end == NULL || *end != 0 || number >= FILES) {
        send_reply(request->unique, ENOENT, NULL, 0);
        return;
    }
    struct fuse_entry_out out = {
        .nodeid = number + FIRST_INODE,
        .attr_valid = 3600,
        .entry_valid = 3600,
        .attr = attributes(number + FIRST_INODE),
    };
    files[number].lookup++;
    send_reply(request->unique, 0, &out, sizeof out);
}

static void reply_read(const struct fuse_in_header *request) {
    const struct fuse_read_in *asked = (const void *)(request + 1);
    static uint8_t content[FILE_PAGES * LARGEST_PAGE];
    uint64_t left = asked->offset < FILE_SIZE ? FILE_SIZE - asked->offset : 0;
    size_t length = asked->size < left ? asked->size : (size_t)left;
    fill_as(content, (const void *)(uintptr_t)(request->nodeid << 32 | asked->offset), length);
    send_reply(request->unique, 0, content, length);
}

static void reply(const struct fuse_in_header *request) {
    struct fuse_attr_out attr = {.attr_valid = 3600, .attr = attributes(request->nodeid)};
    struct fuse_open_out open = {.open_flags = FOPEN_KEEP_CACHE};
    struct fuse_statfs_out statfs = {.st = {.bsize = PAGE, .namelen = 255, .frsize = PAGE}};
    switch (request->opcode) {
    case FUSE_INIT: reply_init(request); break;
    case FUSE_LOOKUP: reply_lookup(request); break;
    case FUSE_GETATTR: send_reply(request->unique, 0, &attr, sizeof attr); break;
    case FUSE_OPEN:
    case FUSE_OPENDIR: send_reply(request->unique, 0, &open, sizeof open); break;
    case FUSE_READ: reply_read(request); break;
    case FUSE_STATFS: send_reply(request->unique, 0, &statfs, sizeof statfs); break;
    case FUSE_READDIR:
    case FUSE_ACCESS:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_DESTROY: send_reply(request->unique, 0, NULL, 0); break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: break; /* have no answer */
    default: send_reply(request->unique, ENOSYS, NULL, 0);
    }
}

static void count(struct file *file, uint32_t opcode) {
    if (opcode == FUSE_GETATTR) file->getattr++;
    else if (opcode == FUSE_OPEN) file->open++;
    else if (opcode == FUSE_READ) file->read++;
    else if (opcode != FUSE_FORGET && opcode != FUSE_INTERRUPT) file->other++;
}

/* Keep a request for later, if its file says so. */
static int keep_waiting(const struct fuse_in_header *request, const struct file *file) {
    int read = request->opcode == FUSE_READ;
    int hangs = file->mode == HANG_ALL || (file->mode == HANG_READS && read);
    if (request->opcode == FUSE_FORGET || request->opcode == FUSE_INTERRUPT) return 0;
    if (!hangs && !(read && file->delay_ms)) return 0;
    CHECK(waiting_count < MOST_WAITING);
    struct waiting *kept = &waiting[waiting_count++];
    kept->due_ms = hangs ? UINT64_MAX : now_ms() + file->delay_ms;
    kept->request = malloc(request->len);
    CHECK(kept->request != NULL);
    memcpy(kept->request, request, request->len);
    return 1;
}

/* Answer what is due; the time in ms until the next is, -1 for never. */
static int answer_due(void) {
    int next = -1;
    for (size_t i = 0; i < waiting_count;) {
        uint64_t now = now_ms();
        if (waiting[i].due_ms <= now) {
            reply(waiting[i].request);
            free(waiting[i].request);
            waiting[i] = waiting[--waiting_count];
            continue;
        }
        if (waiting[i].due_ms != UINT64_MAX) {
            int left = (int)(waiting[i].due_ms - now);
            if (next < 0 || left < next) next = left;
        }
        i++;
    }
    return next;
}

static void *serve(void *unused) {
    (void)unused;
    static uint8_t buffer[BUFFER] __attribute__((aligned(8)));
    int timeout = -1;
    for (;;) {
        struct pollfd polled[2] = {{.fd = device, .events = POLLIN}, {.fd = wake, .events = POLLIN}};
        poll(polled, 2, timeout);
        uint64_t told;
        if (polled[1].revents & POLLIN) CHECK(read(wake, &told, sizeof told) == sizeof told);
        ssize_t length = polled[0].revents ? read(device, buffer, sizeof buffer) : 0;
        if (length < 0 && errno == ENODEV) _exit(0); /* unmounted */
        CHECK(length >= 0 || errno == EAGAIN || errno == EINTR || errno == ENOENT);
        pthread_mutex_lock(&lock);
        if (length > 0) {
            const struct fuse_in_header *request = (const void *)buffer;
            struct file *file = file_of(request->nodeid);
            if (file != NULL) count(file, request->opcode);
            if (file == NULL || !keep_waiting(request, file)) reply(request);
        }
        timeout = answer_due();
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void mount_here(const char *folder) {
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (device < 0) exit(NOT_PERMITTED);
    if (unshare(CLONE_NEWNS) != 0) exit(NOT_PERMITTED);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
             device);
    CHECK(mount("farpeek-test", folder, "fuse", MS_NOSUID | MS_NODEV, options) == 0);
}

static void set_mode(struct file *file, enum mode mode) {
    file->mode = mode;
    if (mode != SERVE) return;
    file->delay_ms = 0;
    for (size_t i = 0; i < waiting_count; i++)
        if (file_of(waiting[i].request->nodeid) == file) waiting[i].due_ms = 0;
}

static void command(const char *line) {
    char word[16] = {0};
    unsigned number = FILES, value = 0;
    int words = sscanf(line, "%15s %u %u", word, &number, &value);
    if (words == 1 && strcmp(word, "forget") == 0) {
        for (size_t i = 0; i < FILES; i++) {
            files[i].lookup = files[i].getattr = files[i].open = 0;
            files[i].read = files[i].other = 0;
        }
        answer("ok");
        return;
    }
    if (words < 2 || number >= FILES) {
        other_command(line);
        return;
    }
    struct file *file = &files[number];
    if (strcmp(word, "counts") == 0) {
        unsigned kept = 0;
        for (size_t i = 0; i < waiting_count; i++)
            kept += file_of(waiting[i].request->nodeid) == file;
        printf("lookup=%u getattr=%u open=%u read=%u other=%u waiting=%u\n", file->lookup,
               file->getattr, file->open, file->read, file->other, kept);
        fflush(stdout);
        return;
    }
    if (strcmp(word, "delay") == 0) file->delay_ms = value;
    else if (strcmp(word, "hang") == 0) set_mode(file, HANG_READS);
    else if (strcmp(word, "hang-all") == 0) set_mode(file, HANG_ALL);
    else if (strcmp(word, "serve") == 0) set_mode(file, SERVE);
    else {
        answer("unknown");
        return;
    }
    uint64_t one = 1;
    CHECK(write(wake, &one, sizeof one) == sizeof one);
    answer("ok");
}

int main(int argc, char **argv) {
    die_with_parent();
    if (argc < 2) return 64;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--no-async") == 0) async_reads = 0;
        else if (strcmp(argv[i], "--readahead") == 0 && i + 1 < argc)
            most_readahead = (uint32_t)strtoul(argv[++i], NULL, 10);
        else return 64;
    }
    wake = eventfd(0, EFD_CLOEXEC);
    CHECK(wake >= 0);
    mount_here(argv[1]);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    say_number("pages", FILE_PAGES);
    ready();
    for (;;) {
        const char *line = next_command();
        pthread_mutex_lock(&lock);
        command(line);
        pthread_mutex_unlock(&lock);
    }
}
