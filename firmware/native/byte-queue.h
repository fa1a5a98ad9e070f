/* A growing queue of bytes with a bound, for TLS records on their way to the socket: holds no memory while empty. */
#ifndef HAWSER_BYTE_QUEUE_H
#define HAWSER_BYTE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes;
    size_t start;
    size_t size;
    size_t capacity;
} byte_queue;

/** Takes all the bytes, or none: false when memory is short or `limit` would be passed. */
bool byte_queue_push(byte_queue *queue, const uint8_t *bytes, size_t size, size_t limit);
/** Moves bytes out. @returns how many */
size_t byte_queue_pull(byte_queue *queue, uint8_t *bytes, size_t capacity);
void byte_queue_free(byte_queue *queue);

#endif
