/* What a command of the harness was told: words `name=value` of its command line. */
#ifndef HAWSER_TEST_SETTINGS_H
#define HAWSER_TEST_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#define CHAIN_MAX 8
#define SUITE_MAX 16

typedef struct {
    int port;
    const char *name;
    int64_t time_ms;
    const char *anchors[CHAIN_MAX];
    size_t anchor_count;
    const char *certificates[CHAIN_MAX];
    size_t certificate_count;
    const char *key_slot;
    const char *psk_slot;
    const char *identity;
    uint16_t minimum, maximum, fragment;
    uint16_t suites[SUITE_MAX + 1];
    size_t suite_count;
    const char *alpn;
    /** Sent when the handshake is over: `size` bytes. */
    uint8_t send[1024];
    size_t send_size;
    /** More bytes to send after the first, and how many must come back in all before the connection is closed. */
    size_t bulk;
    size_t want;
    /** Whether the connection uses the process's one session. */
    int shares_session;
    /** Starving: how many allocations further the next attempt fails; 1 for every one. */
    size_t stride;
} settings;

/** Exits with a message when it does not understand. */
settings settings_read(int count, char **words);

#endif
