// leak.cpp: leaks through operator new inside a template that is inlined, while exceptions unwind the same stacks.
//
// Truth: while leaking is on, each turn loses one Node<long> of 48 bytes, allocated at LEAK-LINE in the inlined
// make_node<long>, called from keep_one; each turn also allocates strings and vectors and throws through frames that
// own them, all of which is freed. Prints at `stop` `leaked N blocks B bytes at LEAK-LINE since mark`, and
// `caught N thrown N`. Commands: mark, leak on, leak off, stop.
#include "../c/target.h"
#include <stdexcept>
#include <string>
#include <vector>

namespace {

template <typename T> struct Node {
    T values[5];
    Node *next;
};

unsigned long blocks, thrown, caught;

template <typename T> inline __attribute__((always_inline)) Node<T> *make_node(T value)
{
    auto *node = new Node<T>{{value, 0, 0, 0, 0}, nullptr}; // LEAK-LINE
    return node;
}

FRAME void keep_one(long value)
{
    auto *node = make_node<long>(value);
    USED(node);
    blocks++;
}

FRAME void throw_from(int depth, const std::string &text)
{
    std::vector<std::string> owned(4, text + std::string(40, 'x'));
    if (depth > 0)
        throw_from(depth - 1, owned[0]);
    thrown++;
    throw std::runtime_error(text);
}

} // namespace

int main()
{
    bool leaking = false;
    unsigned long marked = 0;
    ready();
    for (;;) {
        const char *command = command_within(1);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "mark") == 0) {
            marked = blocks;
            puts("marked");
        } else if (command && strncmp(command, "leak o", 6) == 0) {
            leaking = command[6] == 'n';
            puts(command);
        }
        for (int i = 0; i < 10; i++) {
            if (leaking)
                keep_one(i);
            try {
                throw_from(i % 5, "thrown on purpose");
            } catch (const std::runtime_error &error) {
                caught += error.what()[0] == 't';
            }
        }
    }
    printf("leaked %lu blocks %lu bytes at LEAK-LINE since mark\n", blocks - marked, (blocks - marked) * sizeof(Node<long>));
    printf("caught %lu thrown %lu\n", caught, thrown);
    return caught == thrown ? 0 : 1;
}
