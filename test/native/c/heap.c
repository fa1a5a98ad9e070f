#include "heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "mbedtls/build_info.h"
#include "mbedtls/platform.h"

/* Keeps the strictest alignment of what follows. */
typedef union {
    size_t size;
    max_align_t alignment;
} block_header;

static size_t live_bytes, live_blocks, peak_bytes;
static size_t successes_left;
static size_t limit = SIZE_MAX;
static bool failing, failed;

static void *counted_calloc(size_t count, size_t size)
{
    if (failing && successes_left-- == 0) {
        failing = false;
        failed = true;
        return NULL;
    }
    if ((size != 0 && count > (SIZE_MAX - sizeof(block_header)) / size) || count * size > limit || live_bytes > limit - count * size) {
        return NULL;
    }
    block_header *block = calloc(1, sizeof *block + count * size);
    if (block == NULL) {
        return NULL;
    }
    block->size = count * size;
    live_bytes += block->size;
    live_blocks++;
    if (live_bytes > peak_bytes) {
        peak_bytes = live_bytes;
    }
    return block + 1;
}

static void counted_free(void *pointer)
{
    if (pointer != NULL) {
        block_header *block = (block_header *) pointer - 1;
        live_bytes -= block->size;
        live_blocks--;
        free(block);
    }
}

void heap_install(void)
{
    mbedtls_platform_set_calloc_free(counted_calloc, counted_free);
}

size_t heap_live_bytes(void)
{
    return live_bytes;
}

size_t heap_live_blocks(void)
{
    return live_blocks;
}

size_t heap_peak_bytes(void)
{
    return peak_bytes;
}

void heap_forget_peak(void)
{
    peak_bytes = live_bytes;
}

void heap_fail_after(size_t count)
{
    successes_left = count;
    failing = true;
    failed = false;
}

void heap_limit(size_t bytes)
{
    limit = bytes;
}

int heap_fail_never(void)
{
    failing = false;
    return failed;
}
