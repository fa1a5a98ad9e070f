/*
 * Hostile servers for the TLS engine.
 *
 *   fuzz DIR record FILE NAME=VALUE...                         one real connection (settings.h); what the server said goes to FILE, decrypted
 *   fuzz DIR run SEED FIRST COUNT [-- FILE NAME=VALUE...]...   COUNT inputs from number FIRST on, bent from the recordings; each must end without
 *                                                              a crash, a leak or a stuck engine
 *
 * DIR holds the keys. An input that hurts is found again with its recordings, seed and number, which are printed with the report.
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "fuzz-crypto.h"
#include "fuzz-input.h"
#include "heap.h"
#include "its-directory.h"
#include "key-store.h"
#include "psa/crypto.h"

#define RECORDINGS_MAX 8
/* No input keeps an engine busy for so long: a bound for one that would never end. */
#define PATIENCE_S 60

typedef struct {
    settings wanted;
    transcript said;
} recording;

static recording recordings[RECORDINGS_MAX];
static size_t recording_count;
static transcript heard;
static unsigned long long seed, number;

static void stop(const char *why)
{
    fprintf(stderr, "%s: seed %llu, number %llu\n", why, seed, number);
    exit(3);
}

/* There only in a build with sanitizers. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void tell_input(void)
{
    fprintf(stderr, "seed %llu, number %llu\n", seed, number);
}

/* The ciphertext, its tag included, is found again in what was heard, and the plaintext takes its place. */
static void keep_plaintext(const uint8_t *ciphertext, size_t ciphertext_size, const uint8_t *plaintext, size_t size)
{
    uint8_t *at = memmem(heard.bytes, heard.size, ciphertext, ciphertext_size);
    if (at != NULL) {
        memcpy(at, plaintext, size);
    }
}

static void hear(const uint8_t *bytes, size_t size)
{
    if (heard.size + size <= TRANSCRIPT_MAX) {
        memcpy(heard.bytes + heard.size, bytes, size);
        heard.size += size;
    }
}

static int record(const char *path, const settings *wanted)
{
    fuzz_crypto_decrypted = keep_plaintext;
    connection_heard = hear;
    fuzz_crypto_reset();
    tls_session *session = tls_session_create();
    connection_result result = connection_run(wanted, session);
    bool keeps = !tls_session_is_empty(session);
    tls_session_destroy(session);
    FILE *file = fopen(path, "wb");
    if (!result.opened || file == NULL || fwrite(heard.bytes, 1, heard.size, file) != heard.size || fclose(file) != 0) {
        fprintf(stderr, "could not record\n");
        return 2;
    }
    printf("{\"size\":%zu,\"received\":%zu,\"ticket\":%s}\n", heard.size, result.received, keeps ? "true" : "false");
    return 0;
}

/* One input against a fresh engine, in pieces of any size. */
static tls_state attack(dice *from, const recording *base, const transcript *input, size_t *received)
{
    uint8_t out[2048], request[] = "hello";
    fuzz_crypto_reset();
    fuzz_crypto_scope = (unsigned) (base - recordings);
    tls_session *session = tls_session_create();
    tls_engine *engine = tls_engine_create();
    if (engine == NULL || session == NULL || !connection_configure(engine, &base->wanted, session)) {
        stop("the engine did not start");
    }
    for (size_t offset = 0; offset < input->size;) {
        size_t piece = 1 + dice_below(from, 1500);
        piece = piece < input->size - offset ? piece : input->size - offset;
        size_t taken = tls_engine_feed(engine, input->bytes + offset, piece);
        offset += taken;
        tls_state before = tls_engine_state(engine);
        size_t size, plain = 0;
        tls_engine_handshake(engine);
        while ((size = tls_engine_read(engine, out, sizeof out)) > 0) {
            plain += size;
        }
        *received += plain;
        if (taken == 0 && plain == 0 && tls_engine_state(engine) == before) {
            stop("stuck");
        }
        if (dice_below(from, 4) == 0) {
            tls_engine_write(engine, request, sizeof request);
        }
        while (tls_engine_pull(engine, out, sizeof out) > 0) {
        }
    }
    tls_engine_close_notify(engine);
    tls_state state = tls_engine_state(engine);
    if ((state == TLS_FAILED) != (tls_engine_failure(engine).kind != TLS_FAILURE_NONE)) {
        stop("a failure without a reason");
    }
    tls_engine_destroy(engine);
    tls_session_destroy(session);
    return state;
}

static int run(unsigned long long count)
{
    static transcript input;
    size_t ends[TLS_FAILED + 1] = { 0 }, received = 0;
    fuzz_crypto_replay();
    // The recordings must still fit, or all that follows would only scratch the surface.
    for (size_t i = 0; i < recording_count; i++) {
        dice none = dice_for(0, 0);
        size_t plain = 0;
        tls_state state = attack(&none, &recordings[i], &recordings[i].said, &plain);
        if (state != TLS_OPEN || plain < recordings[i].wanted.want) {
            fprintf(stderr, "recording %zu: state %d, %zu bytes\n", i, state, plain);
            stop("a recording does not replay");
        }
    }
    fuzz_memo_learned();
    size_t blocks = heap_live_blocks();
    for (unsigned long long done = 0; done < count; done++, number++) {
        dice from = dice_for(seed, number);
        const recording *base = &recordings[dice_below(&from, recording_count)];
        const recording *other = &recordings[dice_below(&from, recording_count)];
        alarm(PATIENCE_S);
        fuzz_bend(&from, &base->said, &other->said, &input);
        ends[attack(&from, base, &input, &received)]++;
        if (heap_live_blocks() != blocks) {
            stop("a leak");
        }
    }
    printf("{\"inputs\":%llu,\"handshaking\":%zu,\"open\":%zu,\"closed\":%zu,\"failed\":%zu,\"received\":%zu}\n", count, ends[TLS_HANDSHAKING],
           ends[TLS_OPEN], ends[TLS_CLOSED], ends[TLS_FAILED], received);
    return 0;
}

/* Groups of words, each after a "--": a recording and the settings it was made with. */
static void read_recordings(int count, char **words)
{
    for (int at = 0; at < count && recording_count < RECORDINGS_MAX;) {
        int end = at + 1;
        while (end < count && strcmp(words[end], "--") != 0) {
            end++;
        }
        recording *next = &recordings[recording_count++];
        next->said.size = read_file(words[at + 1], next->said.bytes, TRANSCRIPT_MAX);
        next->wanted = settings_read(end - at - 2, words + at + 2);
        at = end;
    }
}

int main(int count, char **words)
{
    heap_install();
    fuzz_crypto_reset();
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_input);
    }
    if (count < 4 || !its_directory_set(words[1]) || key_store_open() != KEY_STORE_OK) {
        fprintf(stderr, "usage: see fuzz.c; or the key directory cannot be used\n");
        return 2;
    }
    int status = 2;
    if (strcmp(words[2], "record") == 0) {
        settings wanted = settings_read(count - 4, words + 4);
        status = record(words[3], &wanted);
    } else if (strcmp(words[2], "run") == 0 && count > 7) {
        seed = strtoull(words[3], NULL, 10);
        number = strtoull(words[4], NULL, 10);
        read_recordings(count - 6, words + 6);
        status = run(strtoull(words[5], NULL, 10));
    }
    mbedtls_psa_crypto_free();
    return status;
}
