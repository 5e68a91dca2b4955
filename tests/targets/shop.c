/* A small program with names, a list and a counter, for pictures and pages.
 *
 * No commands.
 */
#include "target.h"

struct order { struct order *next; uint32_t number; float price; char item[32]; };

struct order *orders;
volatile uint64_t served;

int main(void) {
    static const char *items[] = {"a lamp", "two chairs", "a kettle"};
    for (uint32_t number = 3; number > 0; number--) {
        struct order *order = malloc(sizeof *order);
        CHECK(order);
        *order = (struct order){orders, number, number * 9.5f, ""};
        snprintf(order->item, sizeof order->item, "%s", items[number - 1]);
        orders = order;
    }
    die_with_parent();
    ready();
    for (;;) {
        served++;
        usleep(1000);
    }
}
