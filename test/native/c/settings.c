#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(const char *word)
{
    fprintf(stderr, "not understood: %s\n", word);
    exit(2);
}

static size_t read_hex(const char *text, uint8_t *out, size_t capacity)
{
    size_t size = strlen(text) / 2;
    if (size > capacity) {
        refuse(text);
    }
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1) {
            refuse(text);
        }
        out[i] = (uint8_t) value;
    }
    return size;
}

static const char **next_of(const char **list, size_t *count, const char *word)
{
    if (*count == CHAIN_MAX) {
        refuse(word);
    }
    return &list[(*count)++];
}

static int set_text(settings *read, const char *name, const char *value)
{
    const struct { const char *name; const char **at; } texts[] = {
        { "name", &read->name }, { "key", &read->key_slot }, { "psk", &read->psk_slot }, { "identity", &read->identity }, { "alpn", &read->alpn },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].at = value;
            return 1;
        }
    }
    return 0;
}

static int set_number(settings *read, const char *name, const char *value)
{
    long long number = strtoll(value, NULL, 0);
    if (strcmp(name, "port") == 0) {
        read->port = (int) number;
    } else if (strcmp(name, "time") == 0) {
        read->time_ms = number;
    } else if (strcmp(name, "minimum") == 0) {
        read->minimum = (uint16_t) number;
    } else if (strcmp(name, "maximum") == 0) {
        read->maximum = (uint16_t) number;
    } else if (strcmp(name, "fragment") == 0) {
        read->fragment = (uint16_t) number;
    } else if (strcmp(name, "bulk") == 0) {
        read->bulk = (size_t) number;
    } else if (strcmp(name, "stride") == 0) {
        read->stride = (size_t) number;
    } else if (strcmp(name, "want") == 0) {
        read->want = (size_t) number;
    } else if (strcmp(name, "session") == 0) {
        read->shares_session = (int) number;
    } else if (strcmp(name, "suite") == 0 && read->suite_count < SUITE_MAX) {
        read->suites[read->suite_count++] = (uint16_t) number;
    } else {
        return 0;
    }
    return 1;
}

settings settings_read(int count, char **words)
{
    settings read = { .name = "localhost", .stride = 1 };
    for (int i = 0; i < count; i++) {
        char *equals = strchr(words[i], '=');
        if (equals == NULL) {
            refuse(words[i]);
        }
        *equals = '\0';
        const char *name = words[i], *value = equals + 1;
        if (strcmp(name, "anchor") == 0) {
            *next_of(read.anchors, &read.anchor_count, name) = value;
        } else if (strcmp(name, "certificate") == 0) {
            *next_of(read.certificates, &read.certificate_count, name) = value;
        } else if (strcmp(name, "send") == 0) {
            read.send_size = read_hex(value, read.send, sizeof read.send);
        } else if (!set_text(&read, name, value) && !set_number(&read, name, value)) {
            refuse(name);
        }
    }
    return read;
}
