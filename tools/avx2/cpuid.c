/* Answer CPUID as a CPU with AVX2 and nothing newer would, for one process and its children.
 *
 * The libraries of the shadow environment (see shadow.py) hold UD2 (0F 0B) in place of CPUID
 * (0F A2). UD2 raises SIGILL; the handler executes the real CPUID, clears the bits of AVX-512,
 * VNNI, AMX and the other extensions that came after AVX2, and continues after the instruction.
 * Reads of /proc/cpuinfo get the filtered copy that $QUTILS_CPUINFO names.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef int (*sigaction_t)(int, const struct sigaction *, struct sigaction *);

static struct sigaction fallback;

/* Leaf 7: AVX-512 in EBX, ECX and EDX, VAES/VPCLMULQDQ/GFNI stay, AMX in EDX.
 * Leaf 7.1: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA in EAX; AVX-VNNI-INT8/16 in EDX. */
static void mask(unsigned leaf, unsigned sub, greg_t *a, greg_t *b, greg_t *c, greg_t *d)
{
    if (leaf == 7 && sub == 0) {
        *b &= ~(greg_t)((1u << 16) | (1u << 17) | (1u << 21) | (1u << 26) | (1u << 27) | (1u << 28) |
                        (1u << 30) | (1u << 31));
        *c &= ~(greg_t)((1u << 1) | (1u << 6) | (1u << 11) | (1u << 12) | (1u << 14));
        *d &= ~(greg_t)((1u << 2) | (1u << 3) | (1u << 8) | (1u << 22) | (1u << 23) | (1u << 24) |
                        (1u << 25));
    } else if (leaf == 7 && sub == 1) {
        *a &= ~(greg_t)((1u << 4) | (1u << 5) | (1u << 21) | (1u << 23));
        *d &= ~(greg_t)((1u << 4) | (1u << 5) | (1u << 8) | (1u << 10) | (1u << 19));
    } else if (leaf == 0x1d || leaf == 0x1e || leaf == 0x24) { /* AMX tiles, AVX10 */
        *a = *b = *c = *d = 0;
    }
}

static void on_illegal(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)regs[REG_RIP];
    unsigned a, b, c, d;
    if (at[0] != 0x0f || at[1] != 0x0b) { /* a real fault: as if nobody had been here */
        if (fallback.sa_flags & SA_SIGINFO && fallback.sa_sigaction)
            fallback.sa_sigaction(number, info, context);
        signal(SIGILL, SIG_DFL);
        return;
    }
    unsigned leaf = (unsigned)regs[REG_RAX], sub = (unsigned)regs[REG_RCX];
    __cpuid_count(leaf, sub, a, b, c, d);
    regs[REG_RAX] = a, regs[REG_RBX] = b, regs[REG_RCX] = c, regs[REG_RDX] = d;
    mask(leaf, sub, &regs[REG_RAX], &regs[REG_RBX], &regs[REG_RCX], &regs[REG_RDX]);
    regs[REG_RIP] += 2;
}

/* Python's faulthandler and others install handlers for SIGILL: keep them for real faults. */
int sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    sigaction_t next = (sigaction_t)dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGILL)
        return next(number, action, before);
    if (before)
        *before = fallback;
    if (action)
        fallback = *action;
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    sigaction_t next = (sigaction_t)dlsym(RTLD_NEXT, "sigaction");
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    next(SIGILL, &action, NULL);
}

static const char *redirected(const char *path)
{
    const char *copy = getenv("QUTILS_CPUINFO");
    return copy && path && strcmp(path, "/proc/cpuinfo") == 0 ? copy : path;
}

#define OPEN(NAME)                                                                                 \
    int NAME(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                     \
        va_end(rest);                                                                              \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #NAME))(redirected(path), flags, \
                                                                          mode);                   \
    }
OPEN(open)
OPEN(open64)

#define FOPEN(NAME)                                                                                \
    FILE *NAME(const char *path, const char *mode)                                                 \
    {                                                                                              \
        return ((FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, #NAME))(redirected(path), \
                                                                                  mode);           \
    }
FOPEN(fopen)
FOPEN(fopen64)
