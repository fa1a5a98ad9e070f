#include "byte-queue.h"

#include <string.h>

#include "mbedtls/build_info.h"
#include "mbedtls/platform.h"

#define STEP 256u

bool byte_queue_push(byte_queue *queue, const uint8_t *bytes, size_t size, size_t limit)
{
    if (size > limit || queue->size > limit - size) {
        return false;
    }
    if (queue->start + queue->size + size > queue->capacity) {
        size_t capacity = (queue->size + size + STEP - 1) / STEP * STEP;
        uint8_t *grown = capacity <= queue->capacity ? queue->bytes : mbedtls_calloc(1, capacity);
        if (grown == NULL) {
            return false;
        }
        if (queue->size > 0) {
            memmove(grown, queue->bytes + queue->start, queue->size);
        }
        if (grown != queue->bytes) {
            mbedtls_free(queue->bytes);
            queue->bytes = grown;
            queue->capacity = capacity;
        }
        queue->start = 0;
    }
    memcpy(queue->bytes + queue->start + queue->size, bytes, size);
    queue->size += size;
    return true;
}

size_t byte_queue_pull(byte_queue *queue, uint8_t *bytes, size_t capacity)
{
    size_t size = queue->size < capacity ? queue->size : capacity;
    if (size > 0) {
        memcpy(bytes, queue->bytes + queue->start, size);
        queue->start += size;
        queue->size -= size;
    }
    if (queue->size == 0) {
        byte_queue_free(queue);
    }
    return size;
}

void byte_queue_free(byte_queue *queue)
{
    // Nothing secret: what is here has been encrypted, or is a handshake message sent in the clear.
    mbedtls_free(queue->bytes);
    *queue = (byte_queue) { 0 };
}
