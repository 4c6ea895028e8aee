/* The floor: what WebSocket echo and fan-out cost when nothing but the socket API is paid for.
 *
 *     cc -O3 -o floor floor.c
 *     floor echo --port 9001       every message comes back
 *     floor fanout --port 9001     a message on a connection to /publish goes to every other connection
 *
 * One thread, one epoll.  A read is followed by at most one send: all echoes of one read leave together, and so
 * do all messages published in one wake-up, framed once.  What a real server needs beyond that (fragments,
 * extensions, UTF-8, limits, time-outs, slow consumers) is missing on purpose.  The port is printed once it listens;
 * port 0 takes a free one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, MAX_FRAME_BYTES = 1 << 24, EVENTS = 512, HEAD_BYTES = 4096 };
enum { CLOSE = 8, PING = 9, PONG = 10 };

struct bytes {
    char *data;
    size_t n, room;
};

struct connection {
    int fd;
    int upgraded, publisher;
    int blocked;           /* waits for writability: `rest` is not empty */
    size_t index;          /* in `subscribers`, when it is one */
    struct bytes partial;  /* a frame or request of which a part is still to come */
    struct bytes rest;     /* what the kernel did not take */
};

static int poller, fanout;
static struct connection **subscribers;
static size_t subscriber_count, subscriber_room;
static struct bytes out; /* of this read (echo) or of this wake-up (fan-out) */

static void *must(void *p)
{
    if (!p) {
        perror("floor");
        exit(1);
    }
    return p;
}

static char *grow(struct bytes *b, size_t n)
{
    if (b->n + n > b->room) {
        b->room = (b->n + n) * 2;
        b->data = must(realloc(b->data, b->room));
    }
    return b->data + b->n;
}

static void append(struct bytes *b, const char *data, size_t n)
{
    memcpy(grow(b, n), data, n);
    b->n += n;
}

static void forget(struct bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

/* --- the handshake ---------------------------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *p)
{
    static const uint32_t k[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, t;

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        t = rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* Sec-WebSocket-Accept of a key of 24 characters: with the GUID 60 bytes, so two blocks of SHA-1. */
static void accept_key(const char *key, char to[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, three;
    unsigned char text[128] = {0}, hash[21] = {0};

    memcpy(text, key, 24);
    memcpy(text + 24, guid, 36);
    text[60] = 0x80;
    text[126] = 480 >> 8, text[127] = 480 & 255;
    sha1_block(h, text);
    sha1_block(h, text + 64);
    for (int i = 0; i < 20; i++)
        hash[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
    for (int i = 0; i < 7; i++) {
        three = (uint32_t)hash[3 * i] << 16 | hash[3 * i + 1] << 8 | hash[3 * i + 2];
        for (int j = 0; j < 4; j++)
            to[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    to[27] = '=', to[28] = 0;
}

static int deliver(struct connection *c, const char *data, size_t n);

/* Answer a request; how many bytes it took is returned, 0 when it is not whole, -1 when it is refused. */
static long upgrade(struct connection *c, const char *data, size_t n)
{
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    const char *end = memmem(data, n, "\r\n\r\n", 4), *key;
    char accept[29], answer[256];
    int answer_bytes;

    if (!end)
        return n < HEAD_BYTES ? 0 : -1;
    key = memmem(data, end - data, name, sizeof name - 1);
    if (!key || end - (key += sizeof name - 1) < 24)
        return -1;
    accept_key(key, accept);
    answer_bytes = snprintf(answer, sizeof answer,
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    c->upgraded = 1;
    c->publisher = !strncmp(data, "GET /publish ", 13);
    if (fanout && !c->publisher) {
        if (subscriber_count == subscriber_room) {
            subscriber_room = subscriber_room * 2 + 64;
            subscribers = must(realloc(subscribers, subscriber_room * sizeof *subscribers));
        }
        c->index = subscriber_count;
        subscribers[subscriber_count++] = c;
    }
    return deliver(c, answer, answer_bytes) < 0 ? -1 : end + 4 - data;
}

/* --- frames ----------------------------------------------------------------------------------------------- */

static void write_frame(int opcode, const char *payload, size_t n, const unsigned char mask[4])
{
    unsigned char *to = (unsigned char *)grow(&out, n + 10);
    uint64_t key, word;
    size_t head = n < 126 ? 2 : n < 65536 ? 4 : 10, i;

    to[0] = 0x80 | opcode;
    to[1] = n < 126 ? n : n < 65536 ? 126 : 127;
    for (i = 2; i < head; i++)
        to[i] = n >> 8 * (head - 1 - i);
    to += head;
    memcpy(&key, mask, 4);
    key |= key << 32;
    for (i = 0; i + 8 <= n; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = payload[i] ^ mask[i & 3];
    out.n += head + n;
}

/* Take a whole frame; how many bytes it took is returned, 0 when it is not whole, -1 to hang up. */
static long take_frame(struct connection *c, const char *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t payload = 0;
    size_t head = 2;
    int opcode;

    if (n < 2)
        return 0;
    opcode = p[0] & 15;
    if ((p[0] & 0xF0) != 0x80 || !opcode || !(p[1] & 0x80) || opcode == CLOSE)
        return -1;
    payload = p[1] & 127;
    if (payload > 125) {
        head = payload == 126 ? 4 : 10;
        if (n < head)
            return 0;
        payload = 0;
        for (size_t i = 2; i < head; i++)
            payload = payload << 8 | p[i];
    }
    if (payload > MAX_FRAME_BYTES)
        return -1;
    if (n < head + 4 + payload)
        return 0;
    if (fanout ? c->publisher && opcode < CLOSE : opcode != PONG)
        write_frame(opcode == PING ? PONG : opcode, data + head + 4, payload, p + head);
    return head + 4 + payload;
}

/* --- connections ------------------------------------------------------------------------------------------ */

static void watch(struct connection *c, int operation, int blocked)
{
    struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c};

    c->blocked = blocked;
    epoll_ctl(poller, operation, c->fd, &event);
}

static void hang_up(struct connection *c)
{
    if (fanout && c->upgraded && !c->publisher) {
        subscribers[c->index] = subscribers[--subscriber_count];
        subscribers[c->index]->index = c->index;
    }
    close(c->fd);
    forget(&c->partial);
    forget(&c->rest);
    free(c);
}

/* Send, and keep what the kernel does not take; -1 when the connection is lost. */
static int deliver(struct connection *c, const char *data, size_t n)
{
    ssize_t sent = 0;

    if (!c->blocked) {
        sent = send(c->fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return -1;
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent < n) {
        append(&c->rest, data + sent, n - sent);
        if (!c->blocked)
            watch(c, EPOLL_CTL_MOD, 1);
    }
    return 0;
}

static int on_writable(struct connection *c)
{
    ssize_t sent = send(c->fd, c->rest.data, c->rest.n, MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN ? 0 : -1;
    memmove(c->rest.data, c->rest.data + sent, c->rest.n -= sent);
    if (!c->rest.n) {
        forget(&c->rest);
        watch(c, EPOLL_CTL_MOD, 0);
    }
    return 0;
}

/* Take all whole frames of `n` bytes; how many bytes they took is returned, -1 to hang up. */
static long take(struct connection *c, const char *data, size_t n)
{
    size_t at = 0;
    long taken;

    do {
        taken = c->upgraded ? take_frame(c, data + at, n - at) : upgrade(c, data + at, n - at);
        if (taken < 0)
            return -1;
        at += taken;
    } while (taken && at < n);
    return at;
}

static int on_readable(struct connection *c)
{
    static char buffer[READ_BYTES];
    struct bytes *kept = &c->partial;
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    const char *data = buffer;
    long taken;

    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    if (kept->n) {
        append(kept, buffer, n);
        data = kept->data, n = kept->n;
    }
    taken = take(c, data, n);
    if (taken < 0)
        return -1;
    if (taken == n) {
        if (kept->room)
            forget(kept);
    } else if (kept->n)
        memmove(kept->data, kept->data + taken, kept->n -= taken);
    else
        append(kept, data + taken, n - taken);
    if (!fanout && out.n) {
        taken = deliver(c, out.data, out.n);
        out.n = 0;
    }
    return taken < 0 ? -1 : 0;
}

/* Send what was published in this wake-up: the loop whose cost is the floor of fan-out. */
static void broadcast(void)
{
    for (size_t i = subscriber_count; i-- > 0;)
        if (deliver(subscribers[i], out.data, out.n) < 0)
            hang_up(subscribers[i]);
    out.n = 0;
}

static void accept_all(int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = must(calloc(1, sizeof *c));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, 0);
    }
}

static int listen_at(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&at, &size) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) {
        perror("floor");
        exit(1);
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int listener, count;

    if (argc != 4 || strcmp(argv[2], "--port") || (strcmp(argv[1], "echo") && strcmp(argv[1], "fanout"))) {
        fputs("usage: floor echo|fanout --port PORT\n", stderr);
        return 2;
    }
    fanout = !strcmp(argv[1], "fanout");
    listener = listen_at(atoi(argv[3]));
    for (;;) {
        count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_all(listener);
            else if (((events[i].events & EPOLLOUT) && on_writable(c) < 0) ||
                     ((events[i].events & ~EPOLLOUT) && on_readable(c) < 0))
                hang_up(c);
        }
        if (fanout && out.n)
            broadcast();
    }
}
