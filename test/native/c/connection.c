#define _POSIX_C_SOURCE 200809L

#include "connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heap.h"
#include "key-store.h"

/* Nothing on this machine takes so long: a bound for a test that would hang, not a measure. */
#define PATIENCE_MS 20000
/* As much as the ESP32's TCP gives at once. */
#define SEGMENT_SIZE 1436

void (*connection_heard)(const uint8_t *bytes, size_t size);

size_t read_file(const char *path, uint8_t *bytes, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    size_t size = file != NULL ? fread(bytes, 1, capacity, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (size == 0 || size == capacity) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    return size;
}

static int open_socket(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1, file = socket(AF_INET, SOCK_STREAM, 0);
    if (file < 0 || connect(file, (struct sockaddr *) &address, sizeof address) != 0) {
        perror("connect");
        exit(2);
    }
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return file;
}

static uint32_t key_of(const char *slot, key_store_kind kind)
{
    uint32_t key_id;
    return key_store_find(slot, kind, &key_id) == KEY_STORE_OK ? key_id : 0;
}

bool connection_configure(tls_engine *engine, const settings *wanted, tls_session *session)
{
    uint8_t der[4096];
    for (size_t i = 0; i < wanted->anchor_count; i++) {
        if (!tls_engine_add_anchor(engine, der, read_file(wanted->anchors[i], der, sizeof der))) {
            return false;
        }
    }
    for (size_t i = 0; i < wanted->certificate_count; i++) {
        if (!tls_engine_add_certificate(engine, der, read_file(wanted->certificates[i], der, sizeof der))) {
            return false;
        }
    }
    if (wanted->key_slot != NULL && !tls_engine_use_key(engine, key_of(wanted->key_slot, KEY_STORE_SIGNING_KEY))) {
        return false;
    }
    if (wanted->psk_slot != NULL && !tls_engine_use_psk(engine, key_of(wanted->psk_slot, KEY_STORE_PSK), (const uint8_t *) wanted->identity,
                                                        strlen(wanted->identity))) {
        return false;
    }
    tls_options options = {
        .server_name = wanted->name,
        .trusted_time_ms = wanted->time_ms,
        .minimum_version = wanted->minimum,
        .maximum_version = wanted->maximum,
        .cipher_suites = wanted->suite_count > 0 ? wanted->suites : NULL,
        .maximum_fragment = wanted->fragment,
        .alpn = wanted->alpn,
        .session = session,
    };
    return tls_engine_start(engine, &options);
}

/* Sends all that waits in one go. A socket that takes no more is no end: an alert may still be on its way to us. */
static void send_pending(tls_engine *engine, int socket_file)
{
    uint8_t *flight;
    size_t size = tls_engine_pending(engine);
    if (size == 0 || (flight = malloc(size)) == NULL) {
        return;
    }
    tls_engine_pull(engine, flight, size);
    ssize_t sent = send(socket_file, flight, size, MSG_NOSIGNAL);
    (void) sent;
    free(flight);
}

static void read_all(tls_engine *engine, connection_result *result)
{
    uint8_t plain[512];
    size_t size;
    while ((size = tls_engine_read(engine, plain, sizeof plain)) > 0) {
        for (size_t i = 0; i < size && result->received + i < sizeof result->head; i++) {
            result->head[result->received + i] = plain[i];
        }
        result->received += size;
    }
}

/* Goes as far as the bytes fed allow. */
static void advance(tls_engine *engine, connection_result *result)
{
    if (tls_engine_state(engine) == TLS_HANDSHAKING && tls_engine_handshake(engine) == TLS_OPEN) {
        result->opened = true;
        result->peak_in_handshake = heap_peak_bytes();
    }
    if (tls_engine_state(engine) == TLS_OPEN) {
        read_all(engine, result);
    }
}

/* @returns false at the end of the stream, or of patience */
static bool receive(tls_engine *engine, int socket_file, connection_result *result)
{
    uint8_t segment[SEGMENT_SIZE];
    struct pollfd waiting = { .fd = socket_file, .events = POLLIN };
    if (poll(&waiting, 1, PATIENCE_MS) <= 0) {
        return false;
    }
    ssize_t size = recv(socket_file, segment, sizeof segment, 0);
    if (connection_heard != NULL && size > 0) {
        connection_heard(segment, (size_t) size);
    }
    for (ssize_t offset = 0; offset < size;) {
        size_t taken = tls_engine_feed(engine, segment + offset, (size_t) (size - offset));
        offset += (ssize_t) taken;
        size_t before = result->received;
        tls_state state = tls_engine_state(engine);
        advance(engine, result);
        if (taken == 0 && result->received == before && tls_engine_state(engine) == state) {
            fprintf(stderr, "the engine takes no more bytes and does not move\n");
            exit(3);
        }
    }
    return size > 0;
}

static void write_all(tls_engine *engine, int socket_file, const uint8_t *bytes, size_t size)
{
    for (size_t offset = 0; offset < size && tls_engine_state(engine) == TLS_OPEN;) {
        offset += tls_engine_write(engine, bytes + offset, size - offset);
        send_pending(engine, socket_file);
    }
}

static void send_wanted(tls_engine *engine, int socket_file, const settings *wanted)
{
    uint8_t filler[1000];
    memset(filler, 'x', sizeof filler);
    write_all(engine, socket_file, wanted->send, wanted->send_size);
    for (size_t left = wanted->bulk; left > 0;) {
        size_t size = left < sizeof filler ? left : sizeof filler;
        write_all(engine, socket_file, filler, size);
        left -= size;
    }
}

static void converse(tls_engine *engine, const settings *wanted, connection_result *result)
{
    int socket_file = open_socket(wanted->port);
    send_pending(engine, socket_file);
    result->flights++;
    while (tls_engine_state(engine) == TLS_HANDSHAKING && receive(engine, socket_file, result)) {
        result->flights += tls_engine_pending(engine) > 0;
        send_pending(engine, socket_file);
    }
    result->live_after_handshake = heap_live_bytes();
    heap_forget_peak();
    if (tls_engine_state(engine) == TLS_OPEN) {
        send_wanted(engine, socket_file, wanted);
    }
    while (tls_engine_state(engine) == TLS_OPEN && result->received < wanted->want && receive(engine, socket_file, result)) {
        send_pending(engine, socket_file);
    }
    result->peak_after_handshake = heap_peak_bytes();
    tls_engine_close_notify(engine);
    send_pending(engine, socket_file);
    close(socket_file);
}

connection_result connection_run(const settings *wanted, tls_session *session)
{
    connection_result result = { .failure.alert = -1 };
    heap_forget_peak();
    tls_engine *engine = tls_engine_create();
    if (engine == NULL) {
        return result;
    }
    result.created = true;
    if (connection_configure(engine, wanted, session)) {
        converse(engine, wanted, &result);
    }
    result.state = tls_engine_state(engine);
    result.failure = tls_engine_failure(engine);
    result.info = tls_engine_info(engine);
    tls_engine_destroy(engine);
    return result;
}
