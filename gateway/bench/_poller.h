/* Readiness of many sockets, and one timer: epoll and timerfd, behind five functions.
 *
 * On systems without epoll they fail with ENOSYS, so that the package can be built and the load tool say so.
 */
#ifndef RINGGATE_POLLER_H
#define RINGGATE_POLLER_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { RG_READ = 1, RG_WRITE = 2, RG_POLL_EVENTS = 512 };

struct rg_event {
    uint32_t index; /* as given to rg_watch */
    int ready;      /* RG_READ, RG_WRITE; an error or a hang-up counts as RG_READ */
};

static inline uint64_t rg_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/timerfd.h>

static inline int rg_poller(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int rg_timer(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

/* Let the timer's descriptor become readable at a time of rg_clock_ns(); what it told before is forgotten. */
static inline int rg_set_timer(int timer, uint64_t at_ns)
{
    struct itimerspec at = {{0, 0}, {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static inline int rg_watch(int poller, int fd, uint32_t index, int wanted, int is_new)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = (wanted & RG_READ ? EPOLLIN : 0) | (wanted & RG_WRITE ? EPOLLOUT : 0);
    event.data.u32 = index;
    return epoll_ctl(poller, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
}

static inline int rg_wait(int poller, struct rg_event *to, int timeout_ms)
{
    struct epoll_event events[RG_POLL_EVENTS];
    int i, n = epoll_wait(poller, events, RG_POLL_EVENTS, timeout_ms);
    for (i = 0; i < n; i++) {
        to[i].index = events[i].data.u32;
        to[i].ready = (events[i].events & EPOLLOUT ? RG_WRITE : 0) | (events[i].events & ~EPOLLOUT ? RG_READ : 0);
    }
    return n;
}
#else
static inline int rg_missing(void)
{
    errno = ENOSYS;
    return -1;
}
static inline int rg_poller(void) { return rg_missing(); }
static inline int rg_timer(void) { return rg_missing(); }
static inline int rg_set_timer(int timer, uint64_t at_ns) { (void)timer, (void)at_ns; return rg_missing(); }
static inline int rg_watch(int poller, int fd, uint32_t index, int wanted, int is_new)
{
    (void)poller, (void)fd, (void)index, (void)wanted, (void)is_new;
    return rg_missing();
}
static inline int rg_wait(int poller, struct rg_event *to, int timeout_ms)
{
    (void)poller, (void)to, (void)timeout_ms;
    return rg_missing();
}
#endif

/* Write the address of a host in numbers, or of the Unix socket at `path`; its size is returned, 0 on failure. */
static inline socklen_t rg_address(struct sockaddr_storage *to, const char *host, const char *port, const char *path)
{
    struct addrinfo hints, *found = NULL;
    socklen_t size = 0;

    memset(to, 0, sizeof *to);
    if (path[0]) {
        struct sockaddr_un *un = (struct sockaddr_un *)to;
        if (strlen(path) >= sizeof un->sun_path)
            return 0;
        un->sun_family = AF_UNIX;
        strcpy(un->sun_path, path);
        return sizeof *un;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(host, port, &hints, &found) == 0) {
        size = found->ai_addrlen;
        memcpy(to, found->ai_addr, size);
        freeaddrinfo(found);
    }
    return size;
}

/* Begin to connect: a non-blocking socket is returned, or -1. */
static inline int rg_connect(const struct sockaddr_storage *to, socklen_t size)
{
    int on = 1, fd = socket(to->ss_family, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (to->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)to, size) && errno != EINPROGRESS) {
        int problem = errno;
        close(fd);
        errno = problem;
        return -1;
    }
    return fd;
}

/* Close at once, with RST: no TIME_WAIT that would use up the ports of the machine. */
static inline void rg_abort(int fd)
{
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static inline int rg_socket_error(int fd)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    return problem;
}
#endif
