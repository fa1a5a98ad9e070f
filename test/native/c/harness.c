/*
 * The native TLS engine and key store as a command, for tests: one JSON object a line on standard output.
 *
 *   harness DIR keys COMMAND...           generate SLOT | csr SLOT NAME | sign SLOT HEX | public SLOT | psk SLOT HEX | mac SLOT HEX |
 *                                         destroy SLOT | has SLOT
 *   harness DIR connect NAME=VALUE...     connections, see settings.h; after a word "--" others that share the session
 *   harness DIR starve NAME=VALUE...      the same connection again and again, each time failing one allocation later, until none fails
 *   harness DIR squeeze NAME=VALUE...     the same connection in a heap that grows by `stride` bytes from attempt to attempt, until it fits
 *   harness DIR starve-keys NAME=VALUE... likewise for the key store's operations
 *
 * DIR holds the keys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "heap.h"
#include "its-directory.h"
#include "key-store.h"
#include "psa/crypto.h"
#include "settings.h"

#define STARVE_LIMIT 20000
#define SQUEEZE_LIMIT 200000

static void print_hex(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
}

static void print_bytes(key_store_status status, const uint8_t *bytes, size_t size)
{
    printf("{\"status\":%d,\"bytes\":\"", status);
    print_hex(bytes, status == KEY_STORE_OK ? size : 0);
    printf("\"}\n");
}

static size_t parse_hex(const char *text, uint8_t *bytes, size_t capacity)
{
    size_t size = 0;
    for (unsigned value; size < capacity && sscanf(text + 2 * size, "%2x", &value) == 1 && text[2 * size] != '\0'; size++) {
        bytes[size] = (uint8_t) value;
    }
    return size;
}

static int run_keys(int count, char **words)
{
    uint8_t bytes[2048];
    size_t size = 0;
    bool has = false;
    const char *command = words[0], *slot = words[1];
    if (strcmp(command, "generate") == 0) {
        printf("{\"status\":%d}\n", key_store_generate(slot));
    } else if (strcmp(command, "csr") == 0 && count > 2) {
        key_store_status status = key_store_csr(slot, words[2], bytes, sizeof bytes, &size);
        print_bytes(status, bytes, size);
    } else if (strcmp(command, "sign") == 0 && count > 2) {
        uint8_t signature[KEY_STORE_SIGNATURE_SIZE];
        size = parse_hex(words[2], bytes, sizeof bytes);
        print_bytes(key_store_sign(slot, bytes, size, signature), signature, sizeof signature);
    } else if (strcmp(command, "public") == 0) {
        print_bytes(key_store_public_key(slot, bytes), bytes, KEY_STORE_PUBLIC_KEY_SIZE);
    } else if (strcmp(command, "psk") == 0 && count > 2) {
        size = parse_hex(words[2], bytes, sizeof bytes);
        printf("{\"status\":%d}\n", key_store_import_psk(slot, bytes, size));
    } else if (strcmp(command, "mac") == 0 && count > 2) {
        uint8_t mac[KEY_STORE_MAC_SIZE];
        size = parse_hex(words[2], bytes, sizeof bytes);
        print_bytes(key_store_mac(slot, bytes, size, mac), mac, sizeof mac);
    } else if (strcmp(command, "destroy") == 0) {
        printf("{\"status\":%d}\n", key_store_destroy(slot));
    } else if (strcmp(command, "has") == 0) {
        key_store_status status = key_store_has(slot, &has);
        printf("{\"status\":%d,\"has\":%s}\n", status, has ? "true" : "false");
    } else {
        return 2;
    }
    return 0;
}

static void print_connection(const connection_result *result)
{
    printf("{\"state\":%d,\"opened\":%s,\"kind\":%d,\"alert\":%d,\"serverProved\":%s,\"verifyFlags\":%u,\"detail\":%d,", result->state,
           result->opened ? "true" : "false", result->failure.kind, result->failure.alert,
           result->failure.server_proved ? "true" : "false", (unsigned) result->failure.verify_flags,
           result->failure.detail);
    printf("\"version\":%u,\"cipherSuite\":%u,\"resumed\":%s,\"alpnAccepted\":%s,\"flights\":%d,\"received\":%zu,\"head\":\"", result->info.version,
           result->info.cipher_suite, result->info.resumed ? "true" : "false", result->info.alpn_accepted ? "true" : "false", result->flights,
           result->received);
    print_hex(result->head, result->received < sizeof result->head ? result->received : sizeof result->head);
    printf("\",\"peakInHandshake\":%zu,\"liveAfterHandshake\":%zu,\"peakAfterHandshake\":%zu,\"liveBytes\":%zu,\"liveBlocks\":%zu}\n",
           result->peak_in_handshake, result->live_after_handshake, result->peak_after_handshake, heap_live_bytes(), heap_live_blocks());
}

/* Groups of words, one for each connection. */
static int run_connections(int count, char **words)
{
    tls_session *session = tls_session_create();
    for (int start = 0; start < count;) {
        int end = start;
        while (end < count && strcmp(words[end], "--") != 0) {
            end++;
        }
        settings wanted = settings_read(end - start, words + start);
        connection_result result = connection_run(&wanted, wanted.shares_session ? session : NULL);
        print_connection(&result);
        start = end + 1;
    }
    tls_session_destroy(session);
    return 0;
}

/* Whether the certificates, the first of which is a device's own, lead to an anchor. */
static int run_chain(const settings *wanted)
{
    uint8_t der[4096];
    tls_engine *engine = tls_engine_create();
    bool taken = engine != NULL;
    for (size_t i = 0; taken && i < wanted->anchor_count; i++) {
        taken = tls_engine_add_anchor(engine, der, read_file(wanted->anchors[i], der, sizeof der));
    }
    for (size_t i = 0; taken && i < wanted->certificate_count; i++) {
        taken = tls_engine_add_certificate(engine, der, read_file(wanted->certificates[i], der, sizeof der));
    }
    printf("{\"leads\":%s}\n", taken && tls_engine_verify_chain(engine) ? "true" : "false");
    tls_engine_destroy(engine);
    return 0;
}

/* How the engines of starved connections ended, by tls_failure_kind; the last place counts engines that could not even be created. */
static size_t kinds[TLS_FAILURE_INTERNAL + 2];
/* And the alerts that servers sent them. */
static size_t alerts[256];

static void print_starvation(bool good, size_t steps, size_t survived, size_t leaks, size_t stranded)
{
    printf("{\"good\":%s,\"allocations\":%zu,\"survived\":%zu,\"leaks\":%zu,\"strandedKeys\":%zu,\"kinds\":[", good ? "true" : "false", steps,
           survived, leaks, stranded);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        printf("%s%zu", i == 0 ? "" : ",", kinds[i]);
    }
    printf("],\"alerts\":[");
    for (size_t i = 0, printed = 0; i < sizeof alerts / sizeof *alerts; i++) {
        if (alerts[i] > 0) {
            printf("%s%zu", printed++ == 0 ? "" : ",", i);
        }
    }
    printf("]}\n");
}

/* Forgets what PSA holds in memory: cached device keys, and volatile keys that nobody destroyed. @returns the blocks that stay */
static size_t blocks_without_psa(void)
{
    mbedtls_psa_crypto_free();
    size_t blocks = heap_live_blocks();
    if (key_store_open() != KEY_STORE_OK) {
        fprintf(stderr, "the key store does not open again\n");
        exit(3);
    }
    return blocks;
}

/* Runs a thing with the n-th allocation failing, for each n, until all succeed; what is live must come back to what it was. */
static int starve(bool (*attempt)(const settings *), const settings *wanted)
{
    size_t n = 0, survived = 0, leaks = 0, stranded = 0;
    size_t least = blocks_without_psa();
    // An attempt after PSA started fills what PSA keeps.
    bool good = attempt(wanted) && attempt(wanted);
    memset(kinds, 0, sizeof kinds);
    for (bool failed = good; failed && n < STARVE_LIMIT; n += wanted->stride) {
        size_t before = heap_live_blocks();
        heap_fail_after(n);
        bool succeeded = attempt(wanted);
        failed = heap_fail_never();
        survived += failed && succeeded;
        if (heap_live_blocks() > before) {
            // A key left in PSA is Mbed TLS's doing, see starvation.test.ts; anything else would be a leak.
            bool leaked = blocks_without_psa() > least;
            fprintf(stderr, "failing allocation %zu leaves %s\n", n, leaked ? "a leak" : "a key in PSA");
            leaks += leaked;
            stranded += !leaked;
            good = attempt(wanted) && good;
        }
    }
    // Whatever failed must have left everything usable.
    print_starvation(good && attempt(wanted), n, survived, leaks, stranded);
    return 0;
}

/* Runs a thing in heaps of growing size until it succeeds. */
static int squeeze(bool (*attempt)(const settings *), const settings *wanted)
{
    size_t leaks = 0, room = 0;
    bool good = attempt(wanted) && attempt(wanted);
    memset(kinds, 0, sizeof kinds);
    size_t before = heap_live_blocks(), base = heap_live_bytes();
    for (bool fits = !good; !fits && room < SQUEEZE_LIMIT; room += wanted->stride) {
        heap_limit(base + room);
        fits = attempt(wanted);
        heap_limit(SIZE_MAX);
        leaks += heap_live_blocks() > before;
    }
    print_starvation(good && attempt(wanted), room, 0, leaks, 0);
    return 0;
}

/* A full handshake and one that resumes it, where a session is wanted. */
static bool attempt_connection(const settings *wanted)
{
    bool good = true;
    tls_session *session = wanted->shares_session ? tls_session_create() : NULL;
    for (int i = 0; i <= wanted->shares_session; i++) {
        connection_result result = connection_run(wanted, session);
        kinds[result.created ? (size_t) result.failure.kind : TLS_FAILURE_INTERNAL + 1]++;
        if (result.failure.kind == TLS_FAILURE_ALERT) {
            alerts[result.failure.alert & 0xff]++;
        }
        good = good && result.opened && result.received >= wanted->want && (session == NULL || result.info.resumed == (i > 0));
    }
    tls_session_destroy(session);
    return good;
}

static bool attempt_keys(const settings *wanted)
{
    uint8_t bytes[KEY_STORE_CSR_MAX];
    size_t size;
    (void) wanted;
    memset(bytes, 7, sizeof bytes);
    return key_store_generate("key-b") == KEY_STORE_OK && key_store_csr("key-b", "starved", bytes, sizeof bytes, &size) == KEY_STORE_OK &&
           key_store_public_key("key-b", bytes) == KEY_STORE_OK && key_store_sign("key-b", bytes, 5, bytes + 128) == KEY_STORE_OK &&
           key_store_import_psk("psk", bytes, 32) == KEY_STORE_OK &&
           key_store_mac("psk", bytes, 5, bytes + 128) == KEY_STORE_OK && key_store_destroy("psk") == KEY_STORE_OK;
}

int main(int count, char **words)
{
    heap_install();
    if (count < 3 || !its_directory_set(words[1]) || key_store_open() != KEY_STORE_OK) {
        fprintf(stderr, "usage: see harness.c; or the key directory cannot be used\n");
        return 2;
    }
    int status = 2;
    if (strcmp(words[2], "keys") == 0 && count > 4) {
        status = run_keys(count - 3, words + 3);
    } else if (strcmp(words[2], "connect") == 0) {
        status = run_connections(count - 3, words + 3);
    } else if (strcmp(words[2], "chain") == 0) {
        settings wanted = settings_read(count - 3, words + 3);
        status = run_chain(&wanted);
    } else if (strcmp(words[2], "squeeze") == 0) {
        settings wanted = settings_read(count - 3, words + 3);
        status = squeeze(attempt_connection, &wanted);
    } else if (strcmp(words[2], "starve") == 0 || strcmp(words[2], "starve-keys") == 0) {
        settings wanted = settings_read(count - 3, words + 3);
        status = starve(strcmp(words[2], "starve") == 0 ? attempt_connection : attempt_keys, &wanted);
    }
    mbedtls_psa_crypto_free();
    if (heap_live_blocks() != 0) {
        fprintf(stderr, "%zu blocks (%zu bytes) were never freed\n", heap_live_blocks(), heap_live_bytes());
        return 3;
    }
    return status;
}
