// fates: keeps allocating objects that it never deletes, and keeps the pointers of some.
//
// Truth: lose_one loses every object; vector_one keeps each in a vector that grows, tree_one in a std::map.
// Prints at `stop` how many of each it made. Commands: stop.
#include "../c/target.h"

#include <map>
#include <memory>
#include <vector>

struct Order {
    virtual ~Order() {}
    char text[40] = "an order";
};

static std::vector<std::unique_ptr<Order>> orders;
static std::map<unsigned, long> sums;
static unsigned made;

static FRAME void lose_one() {
    Order *order = new Order;
    USED(order);
}

static FRAME void vector_one() { orders.push_back(std::make_unique<Order>()); }

static FRAME void tree_one() { sums[made] = made; }

// Overwrites what the calls before have left on the stack.
static FRAME void forget() {
    volatile char bytes[4096];
    for (auto &one : bytes) one = 0;
}

int main() {
    ready();
    for (;;) {
        const char *command = command_within(10);
        if (command && strcmp(command, "stop") == 0) break;
        lose_one();
        vector_one();
        tree_one();
        made++;
        forget();
    }
    printf("made %u of each\n", made);
    _exit(0);
}
