/* The wall clock of one process, shifted by as many seconds as a mapped file says; the monotonic clock stays.

   LD_PRELOAD this, with CHAOS_CLOCK naming the file (one 64-bit number). What waits until a time of day is told that time
   as the kernel has it, as a real jump would have moved the kernel's clock too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *mapped;

__attribute__((constructor)) static void open_file(void) {
    const char *name = getenv("CHAOS_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) mapped = found;
}

static int64_t shift(void) { return mapped ? *mapped : 0; }

int clock_gettime(clockid_t id, struct timespec *at) {
    int code = (int)syscall(SYS_clock_gettime, id, at);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
    return code;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return code;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}

/* Deadlines this large are of the wall clock: a monotonic one counts from the machine's start. */
static const struct timespec *kernels(const struct timespec *until, struct timespec *room) {
    if (!until || until->tv_sec < 1000000000) return until;
    *room = *until;
    room->tv_sec -= shift();
    return room;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static typeof(&pthread_cond_timedwait) real;
    struct timespec room;
    if (!real) real = (typeof(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = REAL(pthread_cond_timedwait);
    return real(cond, mutex, kernels(until, &room));
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    struct timespec room;
    return REAL(sem_timedwait)(sem, kernels(until, &room));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec room;
    return REAL(pthread_mutex_timedlock)(mutex, kernels(until, &room));
}
