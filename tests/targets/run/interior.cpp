// Truth: 4 blocks (319 bytes) are kept only by pointers into them, one in each form that memcheck knows by a heuristic; 4 blocks (231 bytes)
// of the same forms are definitely lost, and one of 200 bytes, to whose middle a pointer leads, is possibly lost.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define FRAME __attribute__((noinline, noclone))
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

struct Named {
    char name[24];
    ~Named() { name[0] = 0; }
};

struct First {
    virtual ~First() {}
    virtual int first() { return 1; }
    int more = 1;
};

struct Second {
    virtual ~Second() {}
    virtual int second() { return 2; }
    int more = 2;
};

struct Both : First, Second {
    int second() override { return more_still; }
    int more_still = 3;
};

static FRAME Named *make_array(int elements) {
    Named *array = new Named[elements];
    USED(array);
    return array;
}

static FRAME Second *make_object() {
    Second *object = new Both;
    USED(object);
    return object;
}

// What `std::string` was before GCC 5: length, capacity and users stand before the characters.
static FRAME char *make_text(const char *from) {
    size_t length = strlen(from), capacity = length + 7;
    size_t *head = static_cast<size_t *>(malloc(3 * sizeof(size_t) + capacity + 1));
    head[0] = length;
    head[1] = capacity;
    head[2] = 0;
    char *at = reinterpret_cast<char *>(head + 3);
    memcpy(at, from, length + 1);
    return at;
}

static FRAME char *make_contents(size_t bytes) {
    uint64_t *head = static_cast<uint64_t *>(malloc(sizeof(uint64_t) + bytes));
    *head = bytes;
    return reinterpret_cast<char *>(memset(head + 1, 0, bytes));
}

Named *array;
Second *object;
char *text, *contents, *middle;

static FRAME void keep_all() {
    array = make_array(5);
    object = make_object();
    text = make_text("a text that is kept");
    contents = make_contents(100);
    middle = static_cast<char *>(calloc(1, 200)) + 104;
}

static FRAME void lose_all() {
    USED(make_array(3));
    USED(make_object());
    USED(make_text("a text that is lost"));
    USED(make_contents(60));
}

// Overwrites what the calls before have left on the stack and in registers.
static FRAME void forget() {
    volatile char bytes[16384];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = 0;
    __asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi"
                     : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}

int main() {
    lose_all();
    forget();
    keep_all();
    forget();
    std::printf("kept %d\n", object->second());
    return 0;
}
