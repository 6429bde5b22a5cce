// The CUDA kernels as C++ for the CPU: what CUDA adds to the language, and a launch that runs one
// thread after the other in an order of the caller's choice. A result that depends on the order
// would not be a result.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>

#define __global__
#define __device__

static struct {
    unsigned x;
} blockIdx, blockDim, threadIdx;

template <class T>
static T atomicAdd(T *place, T value) {
    T old = *place;
    *place += value;
    return old;
}

static unsigned atomicMax(unsigned *place, unsigned value) {
    unsigned old = *place;
    if (value > old) *place = value;
    return old;
}

static unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

static float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

#include KERNELS

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

template <class... A>
static std::function<void(void **)> taken(void (*kernel)(A...)) {
    return [kernel](void **arguments) {
        call(kernel, arguments, std::index_sequence_for<A...>());
    };
}

#define KERNEL(name) {#name, taken(name)}
static const std::map<std::string, std::function<void(void **)>> kernels = {
    KERNEL(clear),       KERNEL(image_add),     KERNEL(image_write), KERNEL(pillar_locate),
    KERNEL(pillar_tally), KERNEL(pillar_number), KERNEL(pillar_list), KERNEL(pillar_keep),
    KERNEL(pillar_mean), KERNEL(pillar_write),  KERNEL(peak_find),   KERNEL(peak_read),
    KERNEL(anchor_find), KERNEL(anchor_read),
};

// order: 0 forward, 1 backward, 2 scattered. Returns whether there is such a kernel.
extern "C" int launch(const char *name, unsigned blocks, unsigned block, void **arguments,
                      int order) {
    auto found = kernels.find(name);
    if (found == kernels.end()) return 0;
    uint64_t count = (uint64_t)blocks * block, step = 2654435761u % count | 1;
    while (std::__gcd(step, count) != 1) step += 2;
    blockDim.x = block;
    for (uint64_t i = 0; i < count; ++i) {
        uint64_t at = order == 0 ? i : order == 1 ? count - 1 - i : (i * step + 7) % count;
        blockIdx.x = at / block;
        threadIdx.x = at % block;
        found->second(arguments);
    }
    return 1;
}
