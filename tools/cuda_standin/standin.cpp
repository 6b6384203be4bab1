// A stand-in for the NVIDIA driver, NVRTC and cuBLASLt that runs everything on the processor, so
// that vitscope's CUDA path can be tested where there is no card. It proves what the kernels
// compute and that the host asks for the right things in the right order; it proves nothing about
// speed, about real concurrency, or about what NVIDIA's compiler and libraries do.
//
// What is queued is done when somebody waits for it and not before: a host that uses memory again
// which a copy has yet to read, or reads what nobody waited for, finds out.
//
// Only what vitscope calls is here; a call of anything else ends with the name of what is missing.
// "Device" memory is filled with NaNs when allocated and fenced, so that reading what was never
// written shows and leaving an array ends the process.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what) {
    fprintf(stderr, "CUDA stand-in: %s\n", what.c_str());
    abort();
}

std::mutex lock;

// Where this library lies, and with it shim.h.
std::string folder() {
    Dl_info info;
    if (!dladdr(reinterpret_cast<void*>(&folder), &info)) fail("cannot find its own folder");
    std::string path = info.dli_fname;
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

// ---- memory ----

constexpr unsigned char FENCE = 0xa5;

struct Block {
    char* pages;
    size_t mapped, room, size;
};
std::map<uint64_t, Block> memory;
// Of these, what the host and the device share.
std::set<uint64_t> shared;

// The array ends less than 256 bytes before a page that cannot be touched; these bytes are a fence.
uint64_t allocate(size_t size) {
    const size_t page = sysconf(_SC_PAGESIZE);
    size_t room = (size + 255) / 256 * 256;
    size_t inside = (room + page - 1) / page * page;
    char* pages = static_cast<char*>(mmap(nullptr, inside + page, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (pages == MAP_FAILED) return 0;
    mprotect(pages + inside, page, PROT_NONE);
    char* start = pages + inside - room;
    memset(start, 0xff, size);
    memset(start + size, FENCE, room - size);
    uint64_t address = reinterpret_cast<uint64_t>(start);
    memory[address] = {pages, inside + page, room, size};
    return address;
}

// Bytes that a card has: 8 GB, or fewer where a test asks for it.
size_t card_memory() {
    const char* asked = getenv("VITSCOPE_STANDIN_MEMORY");
    return asked ? size_t(atoll(asked)) : size_t(8) << 30;
}

size_t taken() {
    size_t sum = 0;
    for (const auto& [address, block] : memory) sum += block.size;
    return sum;
}

void check_fence(uint64_t address, const Block& block) {
    const unsigned char* start = reinterpret_cast<unsigned char*>(address);
    for (size_t i = block.size; i < block.room; i++) {
        if (start[i] != FENCE) fail("something was written behind an array");
    }
}

bool is_shared(uint64_t address) {
    auto next = shared.upper_bound(address);
    if (next == shared.begin()) return false;
    const uint64_t start = *--next;
    return address < start + memory[start].size;
}

void let_go(uint64_t address) {
    auto found = memory.find(address);
    if (found == memory.end()) fail("freed what was not allocated");
    check_fence(address, found->second);
    munmap(found->second.pages, found->second.mapped);
    memory.erase(found);
}

// Whether bytes lie inside one array.
void inside(uint64_t address, size_t bytes, const char* who) {
    auto next = memory.upper_bound(address);
    if (next == memory.begin()) fail(std::string(who) + " reaches memory that is not the device's");
    auto& [start, block] = *--next;
    if (address + bytes > start + block.size) fail(std::string(who) + " leaves its array");
}

// ---- queue ----

// Work that nobody has waited for, with the addresses that it was given.
struct Work {
    std::function<void()> run;
    std::vector<uint64_t> given;
};
std::deque<Work> queue;
// What has been done, ever.
uint64_t done = 0;

void finish(uint64_t until) {
    for (; done < until && !queue.empty(); done++) {
        queue.front().run();
        queue.pop_front();
    }
}
void finish_all() { finish(UINT64_MAX); }

// ---- compiler ----

struct Program {
    std::string source, image, log;
};

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

int compile(Program* program, const std::vector<std::string>& options) {
    std::string defines;
    for (const std::string& option : options) {
        if (option.rfind("-D", 0) == 0) defines += " " + option;
        else if (option.rfind("--gpu-architecture=compute_", 0) != 0 && option.rfind("--std=", 0) != 0)
            fail("NVRTC was given an unknown option " + option);
    }
    const std::string& source = program->source;
    std::string whole = source + "\n";
    std::regex kernel("__global__\\s+(?:__launch_bounds__\\([^)]*\\)\\s+)?void\\s+(\\w+)");
    for (std::sregex_iterator found(source.begin(), source.end(), kernel), none; found != none; ++found) {
        whole += "STANDIN_KERNEL(" + (*found)[1].str() + ")\n";
    }
    const std::string home = folder();
    const size_t hash = std::hash<std::string>{}(whole + defines + read_file(home + "/shim.h"));
    const std::string base = home + "/kernels-" + std::to_string(hash);
    const std::string library = base + ".so";
    if (access(library.c_str(), R_OK) != 0) {
        // Written beside and renamed: several processes may compile at once.
        const std::string own = base + "-" + std::to_string(getpid());
        std::ofstream(own + ".cpp") << whole;
        const std::string command =
            "g++ -std=c++17 -O2 -fPIC -shared -ffp-contract=off -fno-strict-aliasing "
            "-U_FORTIFY_SOURCE -DVITSCOPE_STANDIN" + defines + " -include '" + home + "/shim.h' -o '" +
            own + ".so' '" + own + ".cpp' > '" + own + ".log' 2>&1";
        const int outcome = system(command.c_str());
        program->log = read_file(own + ".log");
        unlink((own + ".cpp").c_str());
        unlink((own + ".log").c_str());
        if (outcome != 0) return 6;
        rename((own + ".so").c_str(), library.c_str());
    }
    program->image = "STANDIN " + library;
    return 0;
}

// ---- products ----

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
    int batch = 1;
    int64_t apart = 0;
};

struct Description {
    int transposed_a = 0, transposed_b = 0;
    unsigned epilogue = 1;
    uint64_t bias = 0;
};

struct Preference {
    uint32_t alignment[4] = {256, 256, 256, 256};
};

constexpr int FLOAT = 0, HALF = 2, BFLOAT = 14;

size_t size_of(int type) { return type == FLOAT ? 4 : 2; }

uint16_t to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return 0x7fff;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits < 0x38800000) {  // Below the smallest normal number: a multiple of 2^-24.
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        return sign | uint16_t(__builtin_nearbyintf(magnitude * 16777216.0f));
    }
    bits += 0xfff + ((bits >> 13) & 1);
    return sign | uint16_t((bits - 0x38000000) >> 13);
}

uint16_t to_bfloat(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16) | 0x40;
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float from_half(uint16_t half) {
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    const float sign = half & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? __builtin_nanf("") : sign * __builtin_inff();
    if (exponent == 0) return sign * __builtin_ldexpf(fraction, -24);
    return sign * __builtin_ldexpf(1024 + fraction, exponent - 25);
}

float number(uint64_t address, int type, uint64_t at) {
    if (type == FLOAT) return reinterpret_cast<const float*>(address)[at];
    const uint16_t bits = reinterpret_cast<const uint16_t*>(address)[at];
    if (type == HALF) return from_half(bits);
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

void put(uint64_t address, int type, uint64_t at, float value) {
    if (type == FLOAT) reinterpret_cast<float*>(address)[at] = value;
    else reinterpret_cast<uint16_t*>(address)[at] = type == HALF ? to_half(value) : to_bfloat(value);
}

// A column-major matrix as rows x columns floats, transposed if asked.
std::vector<float> load(uint64_t address, const Layout& layout, bool transposed, const char* who) {
    if (uint64_t(layout.stride) < layout.rows) fail(std::string(who) + " has overlapping columns");
    inside(address, ((layout.columns - 1) * layout.stride + layout.rows) * size_of(layout.type), who);
    std::vector<float> out(layout.rows * layout.columns);
    for (uint64_t column = 0; column < layout.columns; column++) {
        for (uint64_t row = 0; row < layout.rows; row++) {
            const uint64_t at = column * layout.stride + row;
            const float value = number(address, layout.type, at);
            out[transposed ? row * layout.columns + column : column * layout.rows + row] = value;
        }
    }
    return out;
}

template <typename T>
int take(T* to, const void* from, size_t size) {
    if (size != sizeof(T)) return 7;
    memcpy(to, from, size);
    return 0;
}

void check_products(const Description& d, const Layout& a, const Layout& b, const Layout& c) {
    for (int type : {a.type, b.type}) {
        if (type != FLOAT && type != HALF && type != BFLOAT) fail("a product has factors of an unknown type");
    }
    if (a.type != b.type || (c.type != FLOAT && c.type != a.type)) fail("a product's types do not go together");
    const uint64_t m = d.transposed_a ? a.columns : a.rows, k = d.transposed_a ? a.rows : a.columns;
    const uint64_t inner = d.transposed_b ? b.columns : b.rows, n = d.transposed_b ? b.rows : b.columns;
    if (k != inner || c.rows != m || c.columns != n) fail("a product's shapes do not go together");
    if (a.batch != b.batch || a.batch != c.batch) fail("a product's batches do not go together");
    if (d.epilogue != 1 && d.epilogue != 4) fail("a product has an unknown epilogue");
}

}  // namespace

extern "C" {

// ---- driver ----

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) {
    const char* asked = getenv("VITSCOPE_STANDIN_DRIVER");
    *version = asked ? atoi(asked) : 12080;
    return 0;
}
int cuDeviceGet(int* device, int ordinal) {
    *device = 0;
    return ordinal == 0 ? 0 : 101;
}
int cuDeviceGetName(char* name, int length, int) {
    snprintf(name, length, "stand-in on the processor");
    return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 75: *value = 8; return 0;   // compute capability, major
        case 76: *value = 0; return 0;   // minor
        case 115: *value = 1; return 0;  // memory pools
    }
    fail("asked for device attribute " + std::to_string(attribute));
}
static int context;
static thread_local void* current = nullptr;
int cuDevicePrimaryCtxRetain(void** out, int) {
    *out = &context;
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxGetCurrent(void** out) {
    *out = current;
    return 0;
}
int cuCtxSetCurrent(void* wanted) {
    current = wanted;
    return 0;
}
static void bound() {
    if (current != &context) fail("called without a context on this thread");
}
int cuGetErrorName(int, const char** text) {
    *text = "an error of the stand-in";
    return 0;
}
int cuGetErrorString(int, const char** text) { return cuGetErrorName(0, text); }

int cuMemAlloc_v2(uint64_t* out, size_t size) {
    bound();
    if (size == 0) return 1;
    std::lock_guard<std::mutex> guard(lock);
    if (taken() + size > card_memory()) return 2;
    *out = allocate(size);
    return *out ? 0 : 2;
}
int cuMemFree_v2(uint64_t address) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    finish_all();
    let_go(address);
    return 0;
}
// In the order of what is queued; memory that queued work will let go is there when nothing else is.
int cuMemAllocAsync(uint64_t* out, size_t size, void*) {
    bound();
    if (size == 0) return 1;
    std::lock_guard<std::mutex> guard(lock);
    if (taken() + size > card_memory()) finish_all();
    if (taken() + size > card_memory()) return 2;
    *out = allocate(size);
    return *out ? 0 : 2;
}
int cuMemFreeAsync(uint64_t address, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    queue.push_back({[=] { let_go(address); }, {address}});
    return 0;
}
int cuMemGetInfo_v2(size_t* free, size_t* total) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    *total = card_memory();
    *free = *total - std::min(*total, taken());
    return 0;
}
int cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    queue.push_back({[=] {
        inside(address, bytes, "a memset");
        memset(reinterpret_cast<void*>(address), value, bytes);
    }, {address}});
    return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    const uint64_t source = reinterpret_cast<uint64_t>(from);
    if (is_shared(source)) {
        queue.push_back({[=] {
            inside(to, bytes, "a copy to the device");
            inside(source, bytes, "a copy from the host");
            memcpy(reinterpret_cast<void*>(to), from, bytes);
        }, {to, source}});
        return 0;
    }
    // Other memory of the host is read at once.
    const std::string staged(static_cast<const char*>(from), bytes);
    queue.push_back({[=] {
        inside(to, bytes, "a copy to the device");
        memcpy(reinterpret_cast<void*>(to), staged.data(), bytes);
    }, {to}});
    return 0;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    if (is_shared(reinterpret_cast<uint64_t>(to))) fail("copies from the device go to memory that is not shared");
    finish_all();
    inside(from, bytes, "a copy from the device");
    memcpy(to, reinterpret_cast<void*>(from), bytes);
    return 0;
}
struct Copy2D {
    size_t from_x, from_y;
    int from_kind;
    const void* from_host;
    uint64_t from_device;
    void* from_array;
    size_t from_pitch, to_x, to_y;
    int to_kind;
    void* to_host;
    uint64_t to_device;
    void* to_array;
    size_t to_pitch, bytes, rows;
};
int cuMemcpy2DAsync_v2(const Copy2D* copy, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    if (copy->from_kind != 2 || copy->to_kind != 1 || copy->from_x || copy->from_y || copy->to_x || copy->to_y)
        fail("copies of rows go from the device to the host");
    if (copy->from_pitch < copy->bytes || copy->to_pitch < copy->bytes) return 1;
    finish_all();
    for (size_t row = 0; row < copy->rows; row++) {
        const uint64_t from = copy->from_device + row * copy->from_pitch;
        inside(from, copy->bytes, "a copy of rows");
        memcpy(static_cast<char*>(copy->to_host) + row * copy->to_pitch, reinterpret_cast<void*>(from), copy->bytes);
    }
    return 0;
}
// Memory that the host and the device share.
int cuMemHostAlloc(void** out, size_t size, unsigned) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    const uint64_t address = allocate(size);
    *out = reinterpret_cast<void*>(address);
    if (address) shared.insert(address);
    return address ? 0 : 2;
}
// Nobody promises that this waits.
int cuMemFreeHost(void* memory_of_host) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    const uint64_t address = reinterpret_cast<uint64_t>(memory_of_host);
    const auto found = memory.find(address);
    if (found == memory.end()) fail("freed what was not allocated");
    for (const Work& work : queue) {
        for (uint64_t given : work.given) {
            if (given >= address && given < address + found->second.size)
                fail("freed memory of the host that queued work was given");
        }
    }
    shared.erase(address);
    let_go(address);
    return 0;
}
// An event is how much has to be done; one that was never recorded is over.
int cuEventCreate(void** out, unsigned) {
    bound();
    *out = new uint64_t(0);
    return 0;
}
int cuEventDestroy_v2(void* event) {
    delete static_cast<uint64_t*>(event);
    return 0;
}
int cuEventRecord(void* event, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    *static_cast<uint64_t*>(event) = done + queue.size();
    return 0;
}
int cuEventSynchronize(void* event) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    finish(*static_cast<uint64_t*>(event));
    return 0;
}
// There is one stream.
int cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
int cuStreamSynchronize(void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    finish_all();
    return 0;
}

struct Function {
    void (*call)(void**);
    void (*run)(void (*)(void**), void**, const unsigned*, const unsigned*);
    const size_t* sizes;
};
int cuModuleLoadData(void** module, const void* image) {
    bound();
    const std::string text = static_cast<const char*>(image);
    if (text.rfind("STANDIN ", 0) != 0) fail("was given a program of another compiler");
    *module = dlopen(text.substr(8).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!*module) fail(dlerror());
    return 0;
}
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(void** out, void* module, const char* name) {
    auto call = reinterpret_cast<void (*)(void**)>(dlsym(module, (std::string(name) + "__call").c_str()));
    if (!call) return 500;
    auto run = reinterpret_cast<decltype(Function::run)>(dlsym(module, "standin_run"));
    auto sizes = reinterpret_cast<const size_t* (*)()>(dlsym(module, (std::string(name) + "__sizes").c_str()));
    *out = new Function{call, run, sizes()};
    return 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void*, void** arguments, void** extra) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    if (shared != 0 || extra) fail("kernels with dynamic shared memory or packed arguments");
    if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || gx > 2147483647u) return 1;
    const Function kernel = *static_cast<Function*>(function);
    std::vector<uint64_t> words;
    for (size_t i = 0; kernel.sizes[i]; i++) {
        if (kernel.sizes[i] > sizeof(uint64_t)) fail("an argument is larger than a word");
        words.push_back(0);
        memcpy(&words.back(), arguments[i], kernel.sizes[i]);
    }
    queue.push_back({[=]() mutable {
        const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        std::vector<void*> places;
        for (uint64_t& word : words) places.push_back(&word);
        kernel.run(kernel.call, places.data(), grid, block);
    }, words});
    return 0;
}

// ---- NVRTC ----

int nvrtcCreateProgram(void** out, const char* source, const char*, int headers, const char* const*, const char* const*) {
    if (headers != 0) fail("programs with headers");
    *out = new Program{source, "", ""};
    return 0;
}
int nvrtcCompileProgram(void* program, int count, const char* const* options) {
    std::lock_guard<std::mutex> guard(lock);
    return compile(static_cast<Program*>(program), {options, options + count});
}
int nvrtcDestroyProgram(void** program) {
    delete static_cast<Program*>(*program);
    *program = nullptr;
    return 0;
}
static int text_size(const std::string& text, size_t* size) {
    *size = text.size() + 1;
    return 0;
}
static int text_copy(const std::string& text, char* out) {
    memcpy(out, text.c_str(), text.size() + 1);
    return 0;
}
int nvrtcGetPTXSize(void* program, size_t* size) { return text_size(static_cast<Program*>(program)->image, size); }
int nvrtcGetPTX(void* program, char* out) { return text_copy(static_cast<Program*>(program)->image, out); }
int nvrtcGetProgramLogSize(void* program, size_t* size) { return text_size(static_cast<Program*>(program)->log, size); }
int nvrtcGetProgramLog(void* program, char* out) { return text_copy(static_cast<Program*>(program)->log, out); }

// ---- cuBLASLt ----

int cublasLtCreate(void** handle) {
    *handle = new int(0);
    return 0;
}
int cublasLtDestroy(void* handle) {
    delete static_cast<int*>(handle);
    return 0;
}
int cublasLtMatrixLayoutCreate(void** out, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    *out = new Layout{type, rows, columns, stride};
    return 0;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
    delete static_cast<Layout*>(layout);
    return 0;
}
int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t size) {
    auto* l = static_cast<Layout*>(layout);
    switch (attribute) {
        case 5: return take(&l->batch, value, size);
        case 6: return take(&l->apart, value, size);
    }
    fail("matrix layout attribute " + std::to_string(attribute));
}
int cublasLtMatmulDescCreate(void** out, int compute, int scale) {
    if (compute != 68) fail("products are summed in CUBLAS_COMPUTE_32F and nothing else");
    if (scale != FLOAT) fail("products are scaled in f32");
    *out = new Description;
    return 0;
}
int cublasLtMatmulDescDestroy(void* description) {
    delete static_cast<Description*>(description);
    return 0;
}
int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value, size_t size) {
    auto* d = static_cast<Description*>(description);
    switch (attribute) {
        case 3: return take(&d->transposed_a, value, size);
        case 4: return take(&d->transposed_b, value, size);
        case 7: return take(&d->epilogue, value, size);
        case 8: return take(&d->bias, value, size);
    }
    fail("product attribute " + std::to_string(attribute));
}
int cublasLtMatmulPreferenceCreate(void** out) {
    *out = new Preference;
    return 0;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
    delete static_cast<Preference*>(preference);
    return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t size) {
    auto* p = static_cast<Preference*>(preference);
    uint64_t workspace;
    if (attribute == 1) return take(&workspace, value, size);
    if (attribute >= 5 && attribute <= 8) return take(&p->alignment[attribute - 5], value, size);
    fail("preference attribute " + std::to_string(attribute));
}
struct Heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
// Ways to compute a product, the first choice first. It is the slowest; the fastest add in another order, one of them
// only where there is something to add to, and what they give is not the same.
enum Algorithm : uint64_t { FIRST, BACKWARD, REFUSED, QUICK, ON_TOP, UNSUPPORTED, LARGE, ALGORITHMS };
int cublasLtMatmulAlgoGetHeuristic(void*, void* description, void* a, void* b, void* c, void* d,
                                   void* preference, int wanted, Heuristic* result, int* found) {
    if (wanted < 1) return 7;
    if (c != d) fail("products go where their sum comes from");
    check_products(*static_cast<Description*>(description), *static_cast<Layout*>(a),
                   *static_cast<Layout*>(b), *static_cast<Layout*>(c));
    *found = std::min(wanted, int(ALGORITHMS));
    for (int id = 0; id < *found; id++) {
        memset(&result[id], 0, sizeof *result);
        // The algorithm remembers what it was promised.
        for (int i = 0; i < 4; i++) result[id].algorithm[i] = static_cast<Preference*>(preference)->alignment[i];
        result[id].algorithm[4] = id;
        if (id == UNSUPPORTED) result[id].state = 15;
        if (id == LARGE) result[id].workspace = size_t(1) << 40;
    }
    return 0;
}
int cublasLtMatmul(void*, void* description, const float* alpha, const void* a, void* a_layout,
                   const void* b, void* b_layout, const float* beta, const void* c, void* c_layout,
                   void* d, void* d_layout, const uint64_t* algorithm, void*, size_t, void*) {
    bound();
    std::lock_guard<std::mutex> guard(lock);
    const Description desc = *static_cast<Description*>(description);
    const Layout la = *static_cast<Layout*>(a_layout), lb = *static_cast<Layout*>(b_layout),
                 lc = *static_cast<Layout*>(c_layout);
    if (*alpha != 1.0f || (*beta != 0.0f && *beta != 1.0f) || c != d || c_layout != d_layout) fail("plain products only");
    const bool added = *beta == 1.0f;
    check_products(desc, la, lb, lc);
    const uint64_t way = algorithm[4];
    if (way == REFUSED) return 15;
    if (way != FIRST && way != BACKWARD && way != QUICK && way != ON_TOP) fail("an algorithm that cannot be used");
    const void* pointers[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        if (algorithm[i] == 0 || reinterpret_cast<uint64_t>(pointers[i]) % algorithm[i] != 0)
            fail("a matrix is not aligned as was promised");
    }
    queue.push_back({[=] {
        const int delay = way == FIRST ? 150 : way == QUICK ? 30 : way == ON_TOP && !added ? 60 : 0;
        if (delay) std::this_thread::sleep_for(std::chrono::microseconds(delay));
        const uint64_t m = lc.rows, n = lc.columns;
        const uint64_t k = desc.transposed_a ? la.rows : la.columns;
        // A bias is of the type of what is written.
        if (desc.epilogue == 4) inside(desc.bias, m * size_of(lc.type), "a bias");
        std::vector<float> column(m);
        for (int batch = 0; batch < lc.batch; batch++) {
            auto at = [&](const void* start, const Layout& layout) {
                return reinterpret_cast<uint64_t>(start) + batch * layout.apart * size_of(layout.type);
            };
            const std::vector<float> left = load(at(a, la), la, desc.transposed_a, "a left factor");
            const std::vector<float> right = load(at(b, lb), lb, desc.transposed_b, "a right factor");
            const uint64_t target = at(d, lc);
            inside(target, ((n - 1) * lc.stride + m) * size_of(lc.type), "a product");
            for (uint64_t j = 0; j < n; j++) {
                const bool on_top = way == ON_TOP && added;
                for (uint64_t i = 0; i < m; i++)
                    column[i] = on_top ? number(target, lc.type, j * lc.stride + i) : 0.0f;
                for (uint64_t term = 0; term < k; term++) {
                    const uint64_t l = way == BACKWARD ? k - 1 - term : term;
                    const float factor = right[j * k + l];
                    for (uint64_t i = 0; i < m; i++) column[i] += left[l * m + i] * factor;
                }
                for (uint64_t i = 0; i < m; i++) {
                    float value = column[i];
                    if (added && !on_top) value += number(target, lc.type, j * lc.stride + i);
                    if (desc.epilogue == 4) value += number(desc.bias, lc.type, i);
                    put(target, lc.type, j * lc.stride + i, value);
                }
            }
        }
    }, {}});
    return 0;
}

}  // extern "C"
