/* A stand-in for libnvidia-ml.so.1: the symbols that the appliance asks, answered from the text file that the
   environment variable NVML_STUB names. tests/support/nvml.py writes that file and says what may stand in it.

   Return values are those of nvml.h: 0 success, 1 not initialized, 2 wrong argument, 3 not supported,
   6 not found, 7 the caller's array is too small. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE };
enum { CLOCK_SM = 1, CLOCK_MEM = 2 }; /* nvmlClockType_t */
enum { GPUS = 16, PROCESSES = 16, FAILURES = 8, TEXT = 96 };

typedef struct { unsigned long long total, free, used; } memory_t;                   /* nvmlMemory_t */
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process_t; /* nvmlProcessInfo_v2_t */
typedef struct { unsigned gpu, memory; } utilization_t;                               /* nvmlUtilization_t */
typedef struct { char query[TEXT]; int code; } failure_t;
typedef struct { process_t list[PROCESSES]; unsigned count; } processes_t;

typedef struct {
    char name[TEXT], uuid[TEXT];
    memory_t memory;
    unsigned bus, clock, power, sm, sm_now, load, heat, draw;
    unsigned long long reasons, energy, used;
    int major, minor, active, mode;
    processes_t compute, graphics;
    failure_t failures[FAILURES];
    int failure_count;
} gpu_t;

static int up, init_code, cuda, counts_left; /* How often cards may be counted before the driver is gone. */
static char driver[TEXT];
static gpu_t gpus[GPUS];
static unsigned gpu_count;
static struct { unsigned pid; char name[256]; } names[GPUS * PROCESSES];
static unsigned name_count;

static void add_process(processes_t *to, const char *rest) {
    process_t *new = &to->list[to->count++];
    if (sscanf(rest, "%u %llu %255[^\n]", &new->pid, &new->used, names[name_count].name) == 3)
        names[name_count++].pid = new->pid;
}

static void read_line(const char *key, const char *rest) {
    gpu_t *gpu = &gpus[gpu_count ? gpu_count - 1 : 0];
    if (!strcmp(key, "init")) init_code = atoi(rest);
    else if (!strcmp(key, "driver")) snprintf(driver, TEXT, "%s", rest);
    else if (!strcmp(key, "cuda")) cuda = atoi(rest);
    else if (!strcmp(key, "counts")) counts_left = atoi(rest);
    else if (!strcmp(key, "gpu")) snprintf(gpus[gpu_count++].name, TEXT, "%s", rest);
    else if (!strcmp(key, "uuid")) snprintf(gpu->uuid, TEXT, "%s", rest);
    else if (!strcmp(key, "total")) gpu->memory.total = strtoull(rest, 0, 10);
    else if (!strcmp(key, "free")) gpu->memory.free = strtoull(rest, 0, 10);
    else if (!strcmp(key, "bus")) gpu->bus = atoi(rest);
    else if (!strcmp(key, "clock")) gpu->clock = atoi(rest);
    else if (!strcmp(key, "sm")) gpu->sm = atoi(rest);
    else if (!strcmp(key, "sm_now")) gpu->sm_now = atoi(rest);
    else if (!strcmp(key, "reasons")) gpu->reasons = strtoull(rest, 0, 10);
    else if (!strcmp(key, "load")) gpu->load = atoi(rest);
    else if (!strcmp(key, "heat")) gpu->heat = atoi(rest);
    else if (!strcmp(key, "draw")) gpu->draw = atoi(rest);
    else if (!strcmp(key, "energy")) gpu->energy = strtoull(rest, 0, 10);
    else if (!strcmp(key, "power")) gpu->power = atoi(rest);
    else if (!strcmp(key, "capability")) sscanf(rest, "%d.%d", &gpu->major, &gpu->minor);
    else if (!strcmp(key, "active")) gpu->active = atoi(rest);
    else if (!strcmp(key, "mode")) gpu->mode = atoi(rest);
    else if (!strcmp(key, "compute")) add_process(&gpu->compute, rest);
    else if (!strcmp(key, "graphics")) add_process(&gpu->graphics, rest);
    else if (!strcmp(key, "fail")) {
        failure_t *new = &gpu->failures[gpu->failure_count++];
        sscanf(rest, "%95s %d", new->query, &new->code);
    } else abort(); /* A test asked for what the stub cannot do. */
}

int nvmlInitWithFlags(unsigned flags) {
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : 0;
    char line[512], key[TEXT];
    int at;
    (void)flags;
    if (!file) abort();
    memset(gpus, 0, sizeof gpus);
    gpu_count = name_count = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%95s %n", key, &at) == 1) read_line(key, line + at);
    }
    fclose(file);
    up = init_code == SUCCESS;
    return init_code;
}

int nvmlShutdown(void) {
    up = 0;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    static char said[32];
    snprintf(said, sizeof said, "stub error %d", code);
    return said;
}

/* What a query about a GPU returns, unless the file lets it fail. */
static int answer(const gpu_t *gpu, const char *query) {
    int i;
    if (!up) return UNINITIALIZED;
    for (i = 0; i < gpu->failure_count; i++)
        if (!strcmp(gpu->failures[i].query, query) || !strcmp(gpu->failures[i].query, "all"))
            return gpu->failures[i].code;
    return SUCCESS;
}

#define ANSWER(gpu)                        \
    do {                                   \
        int code = answer((gpu), __func__); \
        if (code != SUCCESS) return code;  \
    } while (0)

int nvmlSystemGetDriverVersion(char *to, unsigned size) {
    snprintf(to, size, "%s", driver);
    return up ? SUCCESS : UNINITIALIZED;
}

int nvmlSystemGetCudaDriverVersion(int *to) {
    *to = cuda;
    return up ? SUCCESS : UNINITIALIZED;
}

int nvmlSystemGetProcessName(unsigned pid, char *to, unsigned size) {
    unsigned i;
    for (i = 0; i < name_count; i++)
        if (names[i].pid == pid) {
            snprintf(to, size, "%s", names[i].name);
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetCount_v2(unsigned *to) {
    *to = gpu_count;
    if (counts_left && !--counts_left) up = 0;
    return up ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **to) {
    if (index >= gpu_count) return INVALID_ARGUMENT;
    ANSWER(&gpus[index]);
    *to = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(gpu_t *gpu, char *to, unsigned size) {
    ANSWER(gpu);
    snprintf(to, size, "%s", gpu->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(gpu_t *gpu, char *to, unsigned size) {
    ANSWER(gpu);
    snprintf(to, size, "%s", gpu->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *to) {
    ANSWER(gpu);
    *to = gpu->memory;
    to->used = to->total - to->free;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(gpu_t *gpu, int *major, int *minor) {
    ANSWER(gpu);
    *major = gpu->major;
    *minor = gpu->minor;
    return SUCCESS;
}

int nvmlDeviceGetMemoryBusWidth(gpu_t *gpu, unsigned *to) {
    ANSWER(gpu);
    *to = gpu->bus;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(gpu_t *gpu, unsigned type, unsigned *to) {
    ANSWER(gpu);
    if (type != CLOCK_SM && type != CLOCK_MEM) return INVALID_ARGUMENT;
    *to = type == CLOCK_SM ? gpu->sm : gpu->clock;
    return SUCCESS;
}

#ifndef OLD_DRIVER /* One from before these were there. */
int nvmlDeviceGetClockInfo(gpu_t *gpu, unsigned type, unsigned *to) {
    ANSWER(gpu);
    if (type != CLOCK_SM) return INVALID_ARGUMENT;
    *to = gpu->sm_now;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(gpu_t *gpu, unsigned long long *to) {
    ANSWER(gpu);
    *to = gpu->reasons;
    return SUCCESS;
}
#endif

int nvmlDeviceGetPowerManagementLimit(gpu_t *gpu, unsigned *to) {
    ANSWER(gpu);
    *to = gpu->power;
    return gpu->power ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetUtilizationRates(gpu_t *gpu, utilization_t *to) {
    ANSWER(gpu);
    to->gpu = gpu->load;
    to->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(gpu_t *gpu, unsigned sensor, unsigned *to) {
    ANSWER(gpu);
    *to = gpu->heat;
    return sensor ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetPowerUsage(gpu_t *gpu, unsigned *to) {
    ANSWER(gpu);
    *to = gpu->draw;
    return SUCCESS;
}

#ifndef OLD_DRIVER
/* A counter that runs: each question finds `energy` millijoules more in it. */
int nvmlDeviceGetTotalEnergyConsumption(gpu_t *gpu, unsigned long long *to) {
    ANSWER(gpu);
    *to = gpu->used += gpu->energy;
    return SUCCESS;
}
#endif

int nvmlDeviceGetDisplayActive(gpu_t *gpu, int *to) {
    ANSWER(gpu);
    *to = gpu->active;
    return SUCCESS;
}

int nvmlDeviceGetDisplayMode(gpu_t *gpu, int *to) {
    ANSWER(gpu);
    *to = gpu->mode;
    return SUCCESS;
}

static int hand_out(const processes_t *from, unsigned *count, process_t *to) {
    unsigned room = *count;
    *count = from->count;
    if (from->count > room) return INSUFFICIENT_SIZE;
    if (from->count) memcpy(to, from->list, from->count * sizeof *to);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *to) {
    ANSWER(gpu);
    return hand_out(&gpu->compute, count, to);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *to) {
    ANSWER(gpu);
    return hand_out(&gpu->graphics, count, to);
}
