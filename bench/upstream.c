/* A fake OpenAI-compatible engine: it answers at once, or as slowly as told, and counts what it did.
 *
 *   upstream PORT [LIFETIME_SECONDS]
 *
 * Listens on 127.0.0.1 only; PORT 0 takes a free one. The first line on stdout is {"port":N}.
 * It ends by itself after LIFETIME_SECONDS (3600 unless told), or when the process that started it ends.
 *
 *   POST .../chat/completions   one JSON answer with usage or, for "stream":true, server-sent events:
 *                               a role chunk, N content chunks, a finish chunk, usage when asked, [DONE]
 *   GET  .../models, /health    a list of one model; a 200
 *   GET  /control?chunks=64&delay_ms=10&wait_ms=0&always_usage=0&reset=1
 *                               changes the settings named and answers with settings and counters;
 *                               reset=1 clears the counters afterwards
 *
 * Settings apply to requests that arrive after the change. An answer counts as done once its last
 * byte is with the kernel, and as aborted when the client leaves before that.
 *
 * One thread, one epoll set, HTTP/1.1 keep-alive. Request bodies need a content-length.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 4096
#define MAX_REQUEST_BYTES (4u << 20)
#define EVENTS_PER_TURN 256
#define NS_PER_MS 1000000LL
#define NS_PER_SECOND 1000000000LL

enum phase {
    READING, /* between requests */
    WAITING, /* request read, answer not yet due */
    STREAMING,
    ENDING, /* whole answer queued, last bytes not yet sent */
};

struct buffer {
    char *bytes;
    size_t length, capacity;
};

struct connection {
    int fd;
    enum phase phase;
    bool stream, usage, close_after, write_armed;
    struct buffer in, out;
    size_t sent; /* bytes of `out` already with the kernel */
    long chunks_left;
    long long delay_ns, due_ns;
    char model[96];
};

struct request {
    char path[256];
    const char *body;
    size_t body_length, total_length;
    bool close_after;
};

static struct { long chunks, delay_ms, wait_ms, always_usage; } settings = {64, 0, 0, 0};
static struct {
    long requests, plain_done, plain_aborted, streams_started, streams_done, streams_aborted, chunks, usage_asked;
} counters;
static struct connection *connections[MAX_CONNECTIONS]; /* by file descriptor */
static int highest_fd, in_flight, poll_fd;

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

/* ---- buffers ---- */

static void reserve(struct buffer *b, size_t more)
{
    if (b->length + more <= b->capacity)
        return;
    b->capacity = (b->length + more) * 2;
    b->bytes = realloc(b->bytes, b->capacity);
    if (!b->bytes)
        abort();
}

static void append(struct buffer *b, const char *bytes, size_t length)
{
    reserve(b, length);
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

__attribute__((format(printf, 2, 3))) static void append_text(struct buffer *b, const char *format, ...)
{
    char text[1024];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof text)
        abort(); /* every format here is ours and fits */
    append(b, text, (size_t)length);
}

/* ---- connections ---- */

static void drop(struct connection *c)
{
    if (c->phase != READING) {
        in_flight--;
        *(c->stream ? &counters.streams_aborted : &counters.plain_aborted) += 1;
    }
    connections[c->fd] = NULL;
    close(c->fd);
    free(c->in.bytes);
    free(c->out.bytes);
    free(c);
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = fd < MAX_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        c->fd = fd;
        connections[fd] = c;
        if (fd > highest_fd)
            highest_fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void arm_write(struct connection *c, bool armed)
{
    if (c->write_armed == armed)
        return;
    c->write_armed = armed;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (armed ? EPOLLOUT : 0u), .data.fd = c->fd};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* Sends what is queued. False: the connection is gone. */
static bool flush(struct connection *c)
{
    while (c->sent < c->out.length) {
        ssize_t n = send(c->fd, c->out.bytes + c->sent, c->out.length - c->sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->sent += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            arm_write(c, true);
            return true;
        } else {
            drop(c);
            return false;
        }
    }
    c->sent = c->out.length = 0;
    arm_write(c, false);
    if (c->phase == ENDING) {
        in_flight--;
        *(c->stream ? &counters.streams_done : &counters.plain_done) += 1;
        c->phase = READING;
    }
    if (c->phase == READING && c->close_after) {
        drop(c);
        return false;
    }
    return true;
}

/* ---- answers ---- */

static const char ANSWER[] = "A good neighbour lends the ladder, waters the garden in July and brings the post in "
                             "when nobody is home; the best of them also knows when to leave the door alone.";
static const char USAGE[] = "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":64,\"total_tokens\":84}";

static void queue_json(struct connection *c, const char *status, const char *json)
{
    append_text(&c->out, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", status,
                strlen(json));
    append(&c->out, json, strlen(json));
}

static void queue_plain(struct connection *c)
{
    char json[900];
    snprintf(json, sizeof json,
             "{\"id\":\"chatcmpl-%ld\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"%s\","
             "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
             "\"logprobs\":null,\"finish_reason\":\"stop\"}],%s}",
             counters.requests, c->model, ANSWER, USAGE);
    queue_json(c, "200 OK", json);
}

/* One server-sent event in one HTTP chunk. */
static void queue_event(struct connection *c, const char *data)
{
    append_text(&c->out, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + strlen("data: \n\n"), data);
}

/* `rest` is what follows the model name in a chat.completion.chunk. */
static void queue_chunk(struct connection *c, const char *rest)
{
    char json[512];
    snprintf(json, sizeof json,
             "{\"id\":\"chatcmpl-stream\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,"
             "\"model\":\"%s\",%s}",
             c->model, rest);
    queue_event(c, json);
}

static void queue_stream_start(struct connection *c)
{
    append_text(&c->out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
                         "transfer-encoding: chunked\r\n\r\n");
    queue_chunk(c, "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                   "\"logprobs\":null,\"finish_reason\":null}]");
}

static void queue_stream_end(struct connection *c)
{
    queue_chunk(c, "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]");
    if (c->usage) {
        char rest[160];
        snprintf(rest, sizeof rest, "\"choices\":[],%s", USAGE);
        queue_chunk(c, rest);
    }
    queue_event(c, "[DONE]");
    append_text(&c->out, "0\r\n\r\n");
}

/* Queues and sends all that is due by `now`. False: the connection is gone. */
static bool advance(struct connection *c, long long now)
{
    if (c->phase == WAITING && c->due_ns <= now) {
        if (c->stream)
            queue_stream_start(c);
        else
            queue_plain(c);
        c->phase = c->stream ? STREAMING : ENDING;
    }
    /* Without a delay all chunks go out in one write: the most that a gateway can be given at once. */
    while (c->phase == STREAMING && c->chunks_left > 0 && c->due_ns <= now) {
        queue_chunk(c, "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},"
                       "\"logprobs\":null,\"finish_reason\":null}]");
        counters.chunks++;
        c->chunks_left--;
        c->due_ns += c->delay_ns;
    }
    if (c->phase == STREAMING && c->chunks_left == 0) {
        queue_stream_end(c);
        c->phase = ENDING;
    }
    return flush(c);
}

/* ---- requests ---- */

/* The text after `"name":` in a JSON body, blanks skipped, or NULL. Enough for the bodies of a load test. */
static const char *json_value(const struct request *r, const char *quoted_name)
{
    const char *end = r->body + r->body_length;
    const char *p = memmem(r->body, r->body_length, quoted_name, strlen(quoted_name));
    if (!p)
        return NULL;
    for (p += strlen(quoted_name); p < end && (*p == ':' || isspace((unsigned char)*p)); p++)
        ;
    return p < end ? p : NULL;
}

static bool json_true(const struct request *r, const char *quoted_name)
{
    const char *p = json_value(r, quoted_name);
    return p && r->body + r->body_length - p >= 4 && !memcmp(p, "true", 4);
}

static void copy_model(struct connection *c, const struct request *r)
{
    const char *p = json_value(r, "\"model\""), *end = r->body + r->body_length;
    snprintf(c->model, sizeof c->model, "fake-model");
    if (!p || *p != '"')
        return;
    const char *quote = memchr(p + 1, '"', (size_t)(end - p - 1));
    if (quote && (size_t)(quote - p) < sizeof c->model)
        snprintf(c->model, sizeof c->model, "%.*s", (int)(quote - p - 1), p + 1);
}

static bool start_chat(struct connection *c, const struct request *r)
{
    bool asked = json_true(r, "\"include_usage\"");
    c->stream = json_true(r, "\"stream\"");
    c->usage = asked || settings.always_usage;
    c->chunks_left = settings.chunks;
    c->delay_ns = settings.delay_ms * NS_PER_MS;
    c->due_ns = now_ns() + settings.wait_ms * NS_PER_MS;
    c->phase = WAITING;
    copy_model(c, r);
    in_flight++;
    counters.requests++;
    counters.usage_asked += asked;
    counters.streams_started += c->stream;
    return advance(c, now_ns());
}

static void set_from_query(const char *query, const char *name, long *value)
{
    const char *p = strstr(query, name);
    if (p && p[strlen(name)] == '=')
        *value = labs(atol(p + strlen(name) + 1));
}

static void answer_control(struct connection *c, const char *path)
{
    long reset = 0;
    char json[640];
    set_from_query(path, "chunks", &settings.chunks);
    set_from_query(path, "delay_ms", &settings.delay_ms);
    set_from_query(path, "wait_ms", &settings.wait_ms);
    set_from_query(path, "always_usage", &settings.always_usage);
    set_from_query(path, "reset", &reset);
    snprintf(json, sizeof json,
             "{\"settings\":{\"chunks\":%ld,\"delay_ms\":%ld,\"wait_ms\":%ld,\"always_usage\":%ld},\"counters\":{"
             "\"requests\":%ld,\"plain_done\":%ld,\"plain_aborted\":%ld,\"streams_started\":%ld,\"streams_done\":%ld,"
             "\"streams_aborted\":%ld,\"chunks\":%ld,\"usage_asked\":%ld,\"in_flight\":%d}}",
             settings.chunks, settings.delay_ms, settings.wait_ms, settings.always_usage, counters.requests,
             counters.plain_done, counters.plain_aborted, counters.streams_started, counters.streams_done,
             counters.streams_aborted, counters.chunks, counters.usage_asked, in_flight);
    if (reset)
        memset(&counters, 0, sizeof counters);
    queue_json(c, "200 OK", json);
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && !strcmp(text + n - m, ending);
}

static bool answer(struct connection *c, const struct request *r)
{
    c->close_after = r->close_after;
    if (ends_with(r->path, "/chat/completions"))
        return start_chat(c, r);
    if (!strncmp(r->path, "/control", 8))
        answer_control(c, r->path);
    else if (ends_with(r->path, "/models"))
        queue_json(c, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"fake-model\",\"object\":\"model\","
                                "\"created\":1760000000,\"owned_by\":\"fake\"}]}");
    else if (ends_with(r->path, "/health"))
        queue_json(c, "200 OK", "{\"status\":\"ok\"}");
    else
        queue_json(c, "404 Not Found", "{\"error\":{\"message\":\"no such path\",\"type\":\"not_found\"}}");
    return flush(c);
}

/* 1: one whole request is at the start of the buffer. 0: bytes are missing. -1: not a request we read. */
static int parse(struct connection *c, struct request *r)
{
    reserve(&c->in, 1);
    c->in.bytes[c->in.length] = '\0'; /* so that the str functions stop */
    char *end = memmem(c->in.bytes, c->in.length, "\r\n\r\n", 4);
    if (!end)
        return c->in.length < 65536 ? 0 : -1;
    *end = '\0';
    const char *length = strcasestr(c->in.bytes, "\r\ncontent-length:");
    bool chunked = strcasestr(c->in.bytes, "\r\ntransfer-encoding:") != NULL;
    int named = sscanf(c->in.bytes, "%*15s %255s", r->path);
    r->close_after = strcasestr(c->in.bytes, "\r\nconnection: close") != NULL;
    r->body = end + 4;
    r->body_length = length ? strtoul(length + strlen("\r\ncontent-length:"), NULL, 10) : 0;
    r->total_length = (size_t)(r->body - c->in.bytes) + r->body_length;
    *end = '\r';
    if (named != 1 || chunked || r->body_length > MAX_REQUEST_BYTES)
        return -1;
    return c->in.length >= r->total_length;
}

/* Answers the requests that are waiting in the buffer, one at a time. */
static void serve(struct connection *c)
{
    struct request r;
    while (c->phase == READING && c->in.length > 0) {
        int found = parse(c, &r);
        if (found < 0) {
            c->close_after = true;
            queue_json(c, "400 Bad Request", "{\"error\":{\"message\":\"a content-length is needed\"}}");
            flush(c);
        }
        if (found <= 0 || !answer(c, &r))
            return;
        c->in.length -= r.total_length;
        memmove(c->in.bytes, c->in.bytes + r.total_length, c->in.length);
    }
}

static void read_and_serve(struct connection *c)
{
    for (;;) {
        reserve(&c->in, 16384);
        ssize_t n = recv(c->fd, c->in.bytes + c->in.length, 16384, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0 || c->in.length > 2 * MAX_REQUEST_BYTES) {
            drop(c);
            return;
        }
        c->in.length += (size_t)n;
    }
    serve(c);
}

/* ---- the loop ---- */

static void on_event(struct connection *c, unsigned events)
{
    if (events & (EPOLLHUP | EPOLLERR)) {
        drop(c);
        return;
    }
    if ((events & EPOLLOUT) && !flush(c))
        return;
    if (events & (EPOLLIN | EPOLLRDHUP))
        read_and_serve(c);
    else
        serve(c); /* a request may have come in while the last answer was still going out */
}

static bool on_the_clock(const struct connection *c)
{
    /* With bytes still queued the client is slower than we are: no more for it until they are gone. */
    return c && (c->phase == WAITING || c->phase == STREAMING) && c->out.length == 0;
}

/* Advances what is due; the milliseconds until the next is, at most 1000. */
static int advance_due(void)
{
    long long now = now_ns(), next = now + NS_PER_SECOND;
    for (int fd = 0; in_flight > 0 && fd <= highest_fd; fd++) {
        struct connection *c = connections[fd];
        if (on_the_clock(c) && c->due_ns <= now && advance(c, now))
            serve(c);
        c = connections[fd]; /* gone, or waiting for its next turn */
        if (on_the_clock(c) && c->due_ns < next)
            next = c->due_ns;
    }
    return next <= now ? 0 : (int)((next - now + NS_PER_MS - 1) / NS_PER_MS);
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 1024) ||
        getsockname(fd, (struct sockaddr *)&address, &length)) {
        perror("upstream: cannot listen");
        exit(1);
    }
    printf("{\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: upstream PORT [LIFETIME_SECONDS]\n");
        return 2;
    }
    long long end = now_ns() + (argc > 2 ? atol(argv[2]) : 3600) * NS_PER_SECOND;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(atoi(argv[1]));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[EVENTS_PER_TURN];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    while (now_ns() < end) {
        int n = epoll_wait(poll_fd, ready, EVENTS_PER_TURN, advance_due());
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener)
                accept_all(listener);
            else if (connections[ready[i].data.fd])
                on_event(connections[ready[i].data.fd], ready[i].events);
        }
    }
    return 0;
}
