/* A record behind a sequence lock, rewritten all the time.
 *
 * seqlock. Prints `sequence` (one word: odd while the record is being written) and `record`, WORDS
 * words that are all equal whenever it is not; they are in pages of their own.
 */
#include "target.h"

#define WORDS 64

int main(void) {
    die_with_parent();
    uint8_t *block = map_pages(NULL, 2, PROT_READ | PROT_WRITE);
    volatile uint64_t *sequence = (uint64_t *)block, *record = (uint64_t *)(block + PAGE);
    say("sequence", block);
    say("record", block + PAGE);
    say_number("words", WORDS);
    ready();
    for (uint64_t value = 1;; value++) {
        __atomic_store_n(sequence, *sequence + 1, __ATOMIC_SEQ_CST);
        for (int i = 0; i < WORDS; i++) record[i] = value;
        __atomic_store_n(sequence, *sequence + 1, __ATOMIC_SEQ_CST);
        for (volatile int pause = 0; pause < 3000; pause++) {
        }
    }
}
