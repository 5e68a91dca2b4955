/* Lists, arrays and texts to be followed, well-formed and hostile.
 *
 * `nodes` is a list of COUNT nodes in no order. `owners` is a list of lists. `ring` comes back to its second node,
 * `self` to itself; `broken` leads to where nothing is. `table` has a count that lies. Commands:
 *   swap     keep moving nodes between two lists, until `rest`
 *   rest     stop that
 */
#include "target.h"

#include <pthread.h>
#include <time.h>

struct node {
    uint64_t value;   /* number of the node */
    uint64_t check;   /* ~value, so that a mixed node shows */
    struct node *next;
    const char *name;
    uint32_t flags;   /* number << 4 | 5 */
    float half;
    double third;
    int16_t minus;
    uint8_t small;
};

struct owner {
    struct owner *next;
    struct node *first;
    uint64_t count;
    uintptr_t tagged;  /* `first` with 3 in its lowest bits */
    uint32_t length;
    int32_t kind;
};

struct table {
    uint64_t count;
    uint64_t *numbers;
    uint64_t lies;
};

static volatile int swapping;
static struct node *volatile left;
static struct node *volatile right;

static void *swap(void *unused) {
    for (;;) {
        if (!swapping) {
            struct timespec pause = {.tv_nsec = 1000000};
            nanosleep(&pause, NULL);
            continue;
        }
        struct node *moved = left;
        if (moved != NULL) {
            left = moved->next;
            moved->next = right;
            right = moved;
            moved->value += 2;
            moved->check = ~moved->value;
        } else {
            left = right;
            right = NULL;
        }
    }
    return unused;
}

static struct node *put(struct node *node, uint64_t number, struct node *next, char *name) {
    sprintf(name, "node %llu", (unsigned long long)number);
    *node = (struct node){number, ~number, next, name, (uint32_t)(number << 4 | 5), (float)number / 2,
                          (double)number / 3, (int16_t)-(int)(number % 1000), (uint8_t)number};
    return node;
}

static struct node *list(unsigned count, unsigned seed) {
    struct node *nodes = calloc(count, sizeof *nodes);
    char *names = calloc(count, 32);
    unsigned *order = calloc(count, sizeof *order);
    for (unsigned i = 0; i < count; i++) order[i] = i;
    srand(seed);
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)rand() % i, kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    struct node *next = NULL;
    for (unsigned i = count; i-- > 0;) next = put(&nodes[order[i]], i, next, names + 32 * i);
    free(order);
    return next;
}

int main(int argc, char **argv) {
    die_with_parent();
    unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 100;
    static struct owner owners[5];
    static struct node broken, self, ring[3];
    static uint64_t numbers[100];
    static struct table table;
    static char names[6][32];
    for (unsigned i = 0; i < 5; i++) {
        owners[i].next = i < 4 ? &owners[i + 1] : NULL;
        owners[i].first = i == 2 ? NULL : list(i + 1, i);
        owners[i].count = i == 2 ? 0 : i + 1;
        owners[i].tagged = (uintptr_t)owners[i].first | 3;
        owners[i].length = 3 * i;
        owners[i].kind = (int32_t)i - 2;
    }
    for (unsigned i = 0; i < 3; i++) put(&ring[i], i, &ring[i == 2 ? 1 : i + 1], names[i]);
    put(&self, 7, &self, names[3]);
    put(&broken, 8, (struct node *)0x10, names[4]);
    for (unsigned i = 0; i < 100; i++) numbers[i] = i * i;
    table = (struct table){100, numbers, UINT64_MAX};
    /* A text that ends where its page does, with nothing behind it. */
    char *edge = (char *)map_pages(NULL, 2, PROT_READ | PROT_WRITE) + PAGE;
    CHECK(munmap(edge, PAGE) == 0);
    memset(edge - PAGE, 'e', PAGE);
    strcpy(edge - 6, "right");
    left = list(64, 99);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, swap, NULL) == 0);
    say("nodes", list(count, 1));
    say("owners", owners);
    say("ring", ring);
    say("self", &self);
    say("broken", &broken);
    say("table", &table);
    say("edge", edge - 6);
    say("left", (void *)&left);
    ready();
    for (;;) {
        swapping = strcmp(next_command(), "swap") == 0;
        answer("done");
    }
}
