/* Pointers that lead to pointers, and names to find them by: exported ones, and ones that only the
 * file's own table has.
 *
 * pointers; prints `chains` (an array: to a text, to itself, to what leads to the text, to code, to
 * nothing, to a closed page, to a text with an escape), `tagged` (those to the text and to code, with
 * 0x5a in their highest bytes, and one to itself with another there), `text`, `shown` (exported), `closed` and, of
 * its own table alone, `counter` and `obstack_exit_failure`.
 */
#include "target.h"

char text[] = "a text that is long enough to be cut somewhere behind its sixty-fourth byte";
char *to_text = text;
char hostile[] = "\x1b[31mred";
static volatile uint64_t counter = 0x1122334455667788;
uint64_t shown = 7;
static volatile uint64_t obstack_exit_failure = 1; /* the C library has one of that name, too */
uint64_t chains[7];
uint64_t tagged[3];

int main(void) {
    die_with_parent();
    void *closed = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(closed != MAP_FAILED);
    chains[0] = (uint64_t)text;
    chains[1] = (uint64_t)&chains[1];
    chains[2] = (uint64_t)&to_text;
    chains[3] = (uint64_t)main;
    chains[4] = 0x10;
    chains[5] = (uint64_t)closed;
    chains[6] = (uint64_t)hostile;
    tagged[0] = chains[2] | 0x5aull << 56;
    tagged[1] = chains[3] | 0x5aull << 56;
    tagged[2] = (uint64_t)&tagged[2] | 0x80ull << 56;
    say("chains", chains);
    say("tagged", tagged);
    say("text", text);
    say("counter", (void *)&counter);
    say("shown", &shown);
    say("obstack_exit_failure", (void *)&obstack_exit_failure);
    say("closed", closed);
    ready();
    next_command();
    return 0;
}
