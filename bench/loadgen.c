/* A closed-loop load generator for chat completions: each client sends its next request when it has its answer.
 *
 *   loadgen -p PORT [options] < BODY.json
 *
 *   -p PORT       on 127.0.0.1; no other address can be asked for
 *   -U SOCKET     a UNIX socket instead
 *   -u PATH       default /v1/chat/completions
 *   -H 'N: v'     one more request header; may be repeated
 *   -K FILE       one more request header for each client, a line each
 *   -f NUMBER     eight '#' in the body become the number of the request, counted from this one: no two are the same
 *                 and two '@' become 32 to 64, another length for each number: the same for the same
 *   -c CLIENTS    default 1
 *   -n REQUESTS   start no more than these (default 20000)
 *   -t SECONDS    start none after these (default 10)
 *   -w SECONDS    give an answer up after these (default 15)
 *   -k EVENTS     hang up once this many events of a stream have come
 *   -s BYTES      read at most this many bytes a second on each connection
 *   -r MS         each client rests up to so long before it asks again, for a time of its own each time
 *   -i FILE       write there the x-request-id of every answer that a reader would call complete, one a line: a plain
 *                 one that came whole, a stream from its finish reason on, also when it broke off after that
 *
 * Prints one JSON object. `ok` is a 200 that came whole; a stream is whole when [DONE] came and no error event did.
 * `rps` and the times (ms; to the first token is to the first byte of the body) are of ok answers only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 1024
#define MAX_REQUESTS 2000000L
#define MAX_BODY (1 << 20)
#define NS_PER_SECOND 1000000000LL
#define NUMBER "########" /* where the body has it, there goes the number of the request */
#define LENGTH "@@"
#define SLOW_TURNS 20 /* a slow reader reads this often a second */

enum part { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };
enum outcome { ANSWERED, HUNG_UP, NO_CONNECTION, CLOSED, TIMED_OUT, UNREADABLE, INCOMPLETE, OUTCOMES };
static const char *const OUTCOME_NAMES[OUTCOMES] = {"answered",   "hung_up",    "no_connection", "closed",
                                                    "timed_out", "unreadable", "incomplete"};

struct client {
    int fd; /* -1: not connected */
    bool connected, kept, busy, close_after, is_stream, done_seen, finish_seen, error_seen, extension;
    enum part part;
    int status;
    size_t sent, head_length, line_length;
    long long left; /* body or chunk bytes to come; -1: until the connection closes */
    long events;
    long long start_ns, first_ns, resume_ns;
    char head[8192], line[1024]; /* `line` keeps the beginning of the current event line */
    char id[64];
    char *request, *number, *tokens; /* the last two: where in the request they stand, if they do */
    size_t request_length;
};

static struct {
    int port, clients;
    const char *path, *socket;
    char headers[4096], *own_headers[MAX_CLIENTS];
    long first, requests, hang_up_after, slow_bytes, rest_ms;
    double seconds, patience;
    size_t line_kept; /* of an event line; all that is looked at, so that nothing is copied in vain */
    FILE *ids;
} options = {.line_kept = 15, .clients = 1, .path = "/v1/chat/completions", .requests = 20000, .seconds = 10, .patience = 15};

static struct {
    long issued, finished, ok, events, connects, outcomes[OUTCOMES], statuses[600];
    long long bytes, last_ns;
    double *latency_ms, *ttft_ms;
    char first_error[240];
} tally;

static struct client clients[MAX_CLIENTS];
static int poll_fd;
static long long begin_ns, stop_ns;

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static long long seconds_ns(double seconds)
{
    return (long long)(seconds * (double)NS_PER_SECOND);
}

static void watch(struct client *c, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void disconnect(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->connected = c->kept = false;
}

static void connect_client(struct client *c)
{
    int on = 1, small = 4096;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    struct sockaddr_un near = {.sun_family = AF_UNIX};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(options.socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return;
    if (options.socket)
        snprintf(near.sun_path, sizeof near.sun_path, "%s", options.socket);
    else
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options.slow_bytes) /* a slow reader must not hide behind the kernel's buffer */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
    if (options.socket)
        connect(c->fd, (struct sockaddr *)&near, sizeof near);
    else
        connect(c->fd, (struct sockaddr *)&address, sizeof address); /* epoll says how it went */
    tally.connects++;
}

/* ---- one request ---- */

static void note_error(const char *text, size_t length)
{
    if (!tally.first_error[0])
        snprintf(tally.first_error, sizeof tally.first_error, "%.*s", (int)(length < 200 ? length : 200), text);
}

static void note_id(const struct client *c, enum outcome outcome)
{
    bool complete = c->is_stream ? c->finish_seen || c->done_seen : outcome == ANSWERED;
    if (options.ids && c->status == 200 && complete)
        fprintf(options.ids, "%s\n", c->id);
}

static void record(struct client *c, enum outcome outcome, long long now)
{
    note_id(c, outcome);
    bool whole = !c->is_stream || (c->done_seen && !c->error_seen);
    if (outcome == ANSWERED && c->status == 200 && !whole)
        outcome = INCOMPLETE;
    tally.finished++;
    tally.outcomes[outcome]++;
    tally.events += c->events;
    tally.last_ns = now;
    if (c->status > 0 && c->status < 600)
        tally.statuses[c->status]++;
    if (outcome == ANSWERED && c->status == 200) {
        tally.latency_ms[tally.ok] = (double)(now - c->start_ns) / 1e6;
        tally.ttft_ms[tally.ok] = c->first_ns ? (double)(c->first_ns - c->start_ns) / 1e6 : 0;
        tally.ok++;
    } else if (outcome > HUNG_UP) {
        note_error(OUTCOME_NAMES[outcome], 200);
    }
}

static bool may_start(long long now)
{
    return tally.issued < options.requests && now < stop_ns;
}

static void push(struct client *c);

/* Starts the client's next request, connecting first where needed; lets it go when there is none left. */
static void next(struct client *c)
{
    long long now = now_ns();
    if (!may_start(now)) {
        disconnect(c);
        return;
    }
    if (c->fd < 0)
        connect_client(c);
    if (!c->connected)
        return;
    if (c->number) {
        char digits[24];
        snprintf(digits, sizeof digits, "%08ld", (options.first + tally.issued) % 100000000L);
        memcpy(c->number, digits, strlen(NUMBER));
    }
    if (c->tokens) {
        char digits[24];
        snprintf(digits, sizeof digits, "%02ld", 32 + (options.first + tally.issued) * 10 % 33);
        memcpy(c->tokens, digits, strlen(LENGTH));
    }
    tally.issued++;
    c->busy = true;
    c->close_after = c->is_stream = c->done_seen = c->finish_seen = c->error_seen = c->extension = false;
    c->id[0] = '\0';
    c->part = HEAD;
    c->status = 0;
    c->sent = c->head_length = c->line_length = 0;
    c->left = -1;
    c->events = 0;
    c->start_ns = now;
    c->first_ns = c->resume_ns = 0;
    push(c);
}

static void finish(struct client *c, enum outcome outcome)
{
    record(c, outcome, now_ns());
    c->busy = false;
    c->kept = true;
    if (outcome != ANSWERED || c->close_after)
        disconnect(c);
    if (options.rest_ms)
        c->resume_ns = now_ns() + random() % (options.rest_ms * 1000000L);
    else
        next(c);
}

/* A server may close a connection that it kept, just as the next request comes: that is sent again on a new one. */
static bool again(struct client *c)
{
    if (!c->kept || c->part != HEAD || c->head_length)
        return false;
    disconnect(c);
    connect_client(c);
    return c->fd >= 0;
}

static void push(struct client *c)
{
    while (c->sent < c->request_length) {
        ssize_t n = send(c->fd, c->request + c->sent, c->request_length - c->sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->sent += (size_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            watch(c, EPOLLIN | EPOLLOUT);
            return;
        } else {
            if (!again(c))
                finish(c, CLOSED);
            return;
        }
    }
    watch(c, EPOLLIN);
}

/* ---- reading an answer ---- */

static void end_of_line(struct client *c)
{
    c->line[c->line_length] = '\0';
    c->line_length = 0;
    if (strncmp(c->line, "data:", 5))
        return;
    const char *data = c->line + 5 + strspn(c->line + 5, " ");
    c->events++;
    c->finish_seen |= options.ids && strstr(data, "\"finish_reason\":\"") != NULL;
    c->done_seen |= !strncmp(data, "[DONE]", 6);
    c->error_seen |= !strncmp(data, "{\"error\"", 8);
}

/* Takes body bytes: counts the events of a stream, wherever the reads happen to cut them. */
static void take_body(struct client *c, const char *p, size_t length)
{
    const char *end = p + length;
    tally.bytes += (long long)length;
    if (length && !c->first_ns)
        c->first_ns = now_ns();
    if (c->status != 200)
        note_error(p, length);
    while (c->is_stream && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t seen = (size_t)((newline ? newline : end) - p), room = options.line_kept - c->line_length;
        size_t kept = seen < room ? seen : room;
        memcpy(c->line + c->line_length, p, kept);
        c->line_length += kept;
        if (newline)
            end_of_line(c);
        p += seen + (newline ? 1 : 0);
    }
}

static void parse_head(struct client *c)
{
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    const char *id = options.ids ? strcasestr(c->head, "\r\nx-request-id:") : NULL;
    if (id)
        sscanf(id + strlen("\r\nx-request-id:"), " %63s", c->id);
    c->status = c->head_length > 12 ? atoi(c->head + strlen("HTTP/1.1 ")) : 0;
    c->is_stream = strcasestr(c->head, "text/event-stream") != NULL;
    c->close_after = strcasestr(c->head, "\r\nconnection: close") != NULL;
    c->left = length ? atoll(length + strlen("\r\ncontent-length:")) : -1;
    c->part = strcasestr(c->head, "\r\ntransfer-encoding: chunked") ? CHUNK_SIZE : BODY;
    if (c->part == CHUNK_SIZE)
        c->left = 0;
}

/* Takes head bytes; where the body begins, `end` while the head goes on, NULL when it is too long. */
static const char *take_head(struct client *c, const char *p, const char *end)
{
    size_t room = sizeof c->head - 1 - c->head_length, length = (size_t)(end - p), before = c->head_length;
    size_t taken = length < room ? length : room;
    memcpy(c->head + before, p, taken);
    c->head_length += taken;
    c->head[c->head_length] = '\0';
    char *blank = strstr(c->head, "\r\n\r\n");
    if (!blank)
        return taken == length ? end : NULL;
    blank[2] = '\0';
    parse_head(c);
    return p + ((size_t)(blank + 4 - c->head) - before);
}

static void take_size(struct client *c, char ch)
{
    if (ch == '\n') {
        c->part = c->left ? CHUNK_DATA : TRAILER;
        c->extension = false;
    } else if (ch == ';') {
        c->extension = true;
    } else if (isxdigit((unsigned char)ch) && !c->extension) {
        c->left = c->left * 16 + (isdigit((unsigned char)ch) ? ch - '0' : tolower(ch) - 'a' + 10);
    }
}

/* True when the last chunk and its trailer have come. */
static bool take_chunks(struct client *c, const char *p, const char *end)
{
    while (p < end) {
        if (c->part == CHUNK_DATA) {
            size_t here = (size_t)(end - p), taken = (long long)here < c->left ? here : (size_t)c->left;
            take_body(c, p, taken);
            p += taken;
            c->left -= (long long)taken;
            if (c->left == 0)
                c->part = CHUNK_END;
            continue;
        }
        char ch = *p++;
        if (c->part == CHUNK_SIZE)
            take_size(c, ch);
        else if (c->part == CHUNK_END && ch == '\n')
            c->part = CHUNK_SIZE;
        else if (c->part == TRAILER && ch == '\n' && c->head_length == 0)
            return true;
        else if (c->part == TRAILER && ch != '\r')
            c->head_length = ch == '\n' ? 0 : 1; /* the head is done with: its length now marks a trailer line */
    }
    return false;
}

/* Takes what one read gave. True: the answer is whole. */
static bool take(struct client *c, const char *p, const char *end)
{
    if (c->part == HEAD) {
        p = take_head(c, p, end);
        if (!p || c->part == HEAD)
            return false;
        c->head_length = 0;
    }
    if (c->part != BODY)
        return take_chunks(c, p, end);
    take_body(c, p, (size_t)(end - p));
    if (c->left >= 0)
        c->left = c->left > end - p ? c->left - (end - p) : 0;
    return c->left == 0;
}

static void on_readable(struct client *c)
{
    static char bytes[1 << 18];
    size_t most = options.slow_bytes ? (size_t)(options.slow_bytes / SLOW_TURNS + 1) : sizeof bytes;
    ssize_t n = recv(c->fd, bytes, most < sizeof bytes ? most : sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && again(c))
        return;
    if (n <= 0) {
        bool until_close = c->part == BODY && c->left < 0;
        c->close_after = true;
        finish(c, until_close ? ANSWERED : CLOSED);
    } else if (take(c, bytes, bytes + n)) {
        finish(c, ANSWERED);
    } else if (c->part == HEAD && c->head_length == sizeof c->head - 1) {
        finish(c, UNREADABLE);
    } else if (options.hang_up_after && c->events >= options.hang_up_after) {
        finish(c, HUNG_UP);
    } else if (options.slow_bytes) {
        c->resume_ns = now_ns() + NS_PER_SECOND / SLOW_TURNS;
        watch(c, 0);
    }
}

/* ---- the loop ---- */

static void on_connected(struct client *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    c->connected = !error;
    if (!error && c->busy) {
        c->sent = 0;
        push(c);
        return;
    }
    if (!error || !may_start(now_ns())) {
        next(c);
        return;
    }
    tally.issued++; /* a request that could not even be sent is a failed request */
    c->status = 0;
    c->events = 0;
    usleep(1000); /* else a dead port eats all requests in a moment */
    finish(c, NO_CONNECTION);
}

static void on_event(struct client *c, unsigned events)
{
    if (c->fd < 0)
        return;
    if (c->kept && !c->busy)
        disconnect(c); /* while it rests the server has nothing to say but that it closes */
    else if (!c->connected)
        on_connected(c);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
    else if (events & EPOLLOUT)
        push(c);
}

/* Wakes slow readers and gives up on answers that never come. */
static void check_clocks(long long now)
{
    for (int i = 0; i < options.clients; i++) {
        struct client *c = &clients[i];
        if (c->busy && now - c->start_ns > seconds_ns(options.patience)) {
            finish(c, TIMED_OUT);
        } else if (!c->busy && c->resume_ns && now >= c->resume_ns) {
            c->resume_ns = 0;
            next(c);
        } else if (c->busy && c->resume_ns && now >= c->resume_ns) {
            c->resume_ns = 0;
            watch(c, EPOLLIN);
        }
    }
}

static bool anyone_left(void)
{
    for (int i = 0; i < options.clients; i++)
        if (clients[i].fd >= 0 || clients[i].resume_ns)
            return true;
    return false;
}

static void run(void)
{
    struct epoll_event ready[256];
    long long check_every = options.slow_bytes || options.rest_ms ? NS_PER_SECOND / 500 : NS_PER_SECOND / 5, check = 0;
    long long end_ns = stop_ns + seconds_ns(options.patience + 1);
    for (int i = 0; i < options.clients; i++) {
        clients[i].fd = -1;
        next(&clients[i]);
    }
    for (long long now = now_ns(); now < end_ns && anyone_left(); now = now_ns()) {
        int n = epoll_wait(poll_fd, ready, 256, (int)(check_every / 1000000));
        for (int i = 0; i < n; i++)
            on_event(ready[i].data.ptr, ready[i].events);
        if (now >= check) {
            check = now + check_every;
            check_clocks(now_ns());
        }
    }
}

/* ---- options and report ---- */

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The nearest-rank percentile of sorted values. */
static double percentile(const double *values, long count, double share)
{
    long rank = (long)ceil(share * (double)count);
    return count ? values[rank > 0 ? rank - 1 : 0] : 0;
}

static void print_counts(const char *name, long total, const long *counts)
{
    const char *comma = "";
    printf(",\"%s\":{", name);
    for (long i = 0; i < total; i++) {
        if (!counts[i])
            continue;
        if (total == OUTCOMES)
            printf("%s\"%s\":%ld", comma, OUTCOME_NAMES[i], counts[i]);
        else
            printf("%s\"%ld\":%ld", comma, i, counts[i]);
        comma = ",";
    }
    printf("}");
}

static void report(void)
{
    double seconds = (double)(tally.last_ns - begin_ns) / 1e9;
    long failed = tally.finished - tally.ok - tally.outcomes[HUNG_UP];
    const double *ms = tally.latency_ms, *ttft = tally.ttft_ms;
    qsort(tally.latency_ms, (size_t)tally.ok, sizeof *ms, by_value);
    qsort(tally.ttft_ms, (size_t)tally.ok, sizeof *ttft, by_value);
    printf("{\"clients\":%d,\"finished\":%ld,\"ok\":%ld,\"failed\":%ld,\"hung_up\":%ld,\"seconds\":%.4f,\"rps\":%.2f,",
           options.clients, tally.finished, tally.ok, failed, tally.outcomes[HUNG_UP], seconds > 0 ? seconds : 0,
           seconds > 0 ? (double)tally.ok / seconds : 0);
    printf("\"latency_ms\":{\"p50\":%.4f,\"p95\":%.4f,\"p99\":%.4f},\"ttft_ms\":{\"p50\":%.4f,\"p99\":%.4f},",
           percentile(ms, tally.ok, .5), percentile(ms, tally.ok, .95), percentile(ms, tally.ok, .99),
           percentile(ttft, tally.ok, .5), percentile(ttft, tally.ok, .99));
    printf("\"events\":%ld,\"bytes\":%lld,\"connects\":%ld", tally.events, tally.bytes, tally.connects);
    print_counts("outcomes", OUTCOMES, tally.outcomes);
    print_counts("statuses", 600, tally.statuses);
    printf(",\"first_error\":\"");
    for (const char *p = tally.first_error; *p; p++) {
        if (*p == '"' || *p == '\\')
            putchar('\\');
        putchar(isprint((unsigned char)*p) ? *p : ' ');
    }
    printf("\"}\n");
}

static void add_header(const char *header)
{
    size_t used = strlen(options.headers);
    int n = snprintf(options.headers + used, sizeof options.headers - used, "%s\r\n", header);
    if (n < 0 || (size_t)n >= sizeof options.headers - used) {
        fprintf(stderr, "loadgen: the headers are too long\n");
        exit(2);
    }
}

/* The lines of a file, one header for each client. */
static void read_own_headers(const char *path)
{
    FILE *file = fopen(path, "r");
    for (int i = 0; file && i < MAX_CLIENTS; i++) {
        size_t room = 0;
        ssize_t length = getline(&options.own_headers[i], &room, file);
        if (length < 0)
            options.own_headers[i] = NULL;
        else
            options.own_headers[i][strcspn(options.own_headers[i], "\n")] = '\0';
    }
    if (!file || fclose(file)) {
        perror("loadgen: cannot read the headers");
        exit(2);
    }
}

/* With ids the lines are searched for a finish reason, so they are kept. */
static void open_ids(const char *path)
{
    options.ids = fopen(path, "w");
    options.line_kept = sizeof clients[0].line - 1;
    if (!options.ids) {
        perror("loadgen: cannot write the ids");
        exit(2);
    }
}

static void read_options(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "p:U:u:H:K:f:c:n:t:w:k:s:r:i:")) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'U': options.socket = optarg; break;
        case 'K': read_own_headers(optarg); break;
        case 'f': options.first = atol(optarg); break;
        case 'u': options.path = optarg; break;
        case 'H': add_header(optarg); break;
        case 'c': options.clients = atoi(optarg); break;
        case 'n': options.requests = atol(optarg); break;
        case 't': options.seconds = atof(optarg); break;
        case 'w': options.patience = atof(optarg); break;
        case 'k': options.hang_up_after = atol(optarg); break;
        case 's': options.slow_bytes = atol(optarg); break;
        case 'r': options.rest_ms = atol(optarg); break;
        case 'i': open_ids(optarg); break;
        default: exit(2);
        }
    }
    if ((options.port < 1 && !options.socket) || options.clients < 1 || options.clients > MAX_CLIENTS || options.requests < 1 ||
        options.requests > MAX_REQUESTS || options.seconds <= 0 || options.patience <= 0) {
        fprintf(stderr, "loadgen: -p PORT or -U SOCKET is needed, at most %d clients, at most %ld requests\n", MAX_CLIENTS,
                MAX_REQUESTS);
        exit(2);
    }
}

/* A client's request: all the same but for its own header and, later, the number. */
static void prepare_client(struct client *c, const char *own, const char *body, size_t length)
{
    char *head;
    int head_length = asprintf(&head,
                               "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
                               "accept: */*\r\n%s%s%scontent-length: %zu\r\n\r\n",
                               options.path, options.port, options.headers, own ? own : "", own ? "\r\n" : "", length);
    if (head_length < 0)
        abort();
    c->request_length = (size_t)head_length + length;
    c->request = malloc(c->request_length);
    if (!c->request)
        abort();
    memcpy(c->request, head, (size_t)head_length);
    memcpy(c->request + head_length, body, length);
    c->number = memmem(c->request + head_length, length, NUMBER, strlen(NUMBER));
    c->tokens = memmem(c->request + head_length, length, LENGTH, strlen(LENGTH));
    free(head);
}

static void prepare(void)
{
    static char body[MAX_BODY];
    size_t length = fread(body, 1, sizeof body, stdin);
    for (int i = 0; i < options.clients; i++)
        prepare_client(&clients[i], options.own_headers[i], body, length);
    tally.latency_ms = calloc((size_t)options.requests, sizeof(double));
    tally.ttft_ms = calloc((size_t)options.requests, sizeof(double));
    if (!tally.latency_ms || !tally.ttft_ms)
        abort();
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prepare();
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    begin_ns = tally.last_ns = now_ns();
    stop_ns = begin_ns + seconds_ns(options.seconds);
    run();
    report();
    if (options.ids && fclose(options.ids))
        return 2;
    return 0;
}
