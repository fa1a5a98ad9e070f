/* The heap of Mbed TLS and of the engine, counted and made to fail: what is asked for in bytes, without the allocator's own overhead. */
#ifndef HAWSER_TEST_HEAP_H
#define HAWSER_TEST_HEAP_H

#include <stddef.h>

/** Takes over mbedtls_calloc and mbedtls_free. Call before anything else. */
void heap_install(void);
size_t heap_live_bytes(void);
size_t heap_live_blocks(void);
/** The most bytes that were live since the last `heap_forget_peak`. */
size_t heap_peak_bytes(void);
void heap_forget_peak(void);
/** Lets `count` allocations succeed and fails the one after them, once; 0 fails the next. */
void heap_fail_after(size_t count);
/** A heap of so many bytes and no more; SIZE_MAX for no limit. */
void heap_limit(size_t bytes);
/** No failure is due any more. @returns whether one has happened since heap_fail_after */
int heap_fail_never(void);

#endif
