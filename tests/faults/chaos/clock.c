/* The wall clock of one process, shifted by as many seconds as a mapped file says; the monotonic clock stays.

   LD_PRELOAD this, with CHAOS_CLOCK naming the file (one 64-bit number). What waits until a time of day gets that time
   as the kernel has it, as a real jump would have moved the kernel's clock too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
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
static int is_of_day(const struct timespec *until) { return until && until->tv_sec >= 1000000000; }

static const struct timespec *kernels(const struct timespec *until, struct timespec *room) {
    if (!is_of_day(until)) return until;
    *room = *until;
    room->tv_sec -= shift();
    return room;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define SLICE_NS 50000000L

/* The kernel's time of day at which to look at the clock again; whether `until` has come. As with a real jump, who waits
   when the clock is set back waits for longer, and who waits when it is set forward may be through at once. */
static int has_come(const struct timespec *until, struct timespec *look) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = (int64_t)(until->tv_sec - now.tv_sec) * 1000000000 + (until->tv_nsec - now.tv_nsec);
    if (left <= 0) return 1;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, look);
    look->tv_nsec += left < SLICE_NS ? left : SLICE_NS;
    look->tv_sec += look->tv_nsec / 1000000000;
    look->tv_nsec %= 1000000000;
    return 0;
}

static int waited(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    static typeof(&pthread_cond_timedwait) real;
    struct timespec look;
    if (!real) real = (typeof(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = REAL(pthread_cond_timedwait);
    if (!is_of_day(until)) return real(cond, mutex, until);
    while (!has_come(until, &look)) {
        int code = real(cond, mutex, &look);
        if (code != ETIMEDOUT) return code;
    }
    return ETIMEDOUT;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    return waited(cond, mutex, until);
}

/* C11's, which librdkafka uses: glibc's own is the same, but calls the other without coming by here. */
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int code = waited((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until);
    return code == 0 ? thrd_success : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    struct timespec room;
    return REAL(sem_timedwait)(sem, kernels(until, &room));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec room;
    return REAL(pthread_mutex_timedlock)(mutex, kernels(until, &room));
}
