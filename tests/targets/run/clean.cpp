/* clean: C++ that frees all it allocates, throws, catches and uses the standard library.
 *
 * Truth: nothing is definitely lost; what the C++ library keeps for exceptions is still reachable. Exit status: 0.
 */
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct Node {
    std::string name;
    std::vector<std::unique_ptr<Node>> children;
};

static std::map<std::string, std::unique_ptr<Node>> *kept = new std::map<std::string, std::unique_ptr<Node>>;

int main()
{
    for (int i = 0; i < 100; i++) {
        auto node = std::make_unique<Node>();
        node->name = "a name that is too long to fit into the object itself " + std::to_string(i);
        node->children.push_back(std::make_unique<Node>());
        (*kept)[node->name] = std::move(node);
    }
    try {
        throw std::runtime_error("a text that is too long to fit into the object itself as well");
    } catch (const std::exception &error) {
        std::cout << error.what() << std::endl;
    }
    return kept->size() == 100 ? 0 : 1;
}
