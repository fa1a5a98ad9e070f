/* Hostile inputs: what a server once said, bent in a few places; each follows from a seed and a number alone. */
#ifndef HAWSER_FUZZ_INPUT_H
#define HAWSER_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

#define TRANSCRIPT_MAX 16384

typedef struct {
    uint8_t bytes[TRANSCRIPT_MAX];
    size_t size;
} transcript;

/** A small generator of its own: what it draws must not depend on what the engine draws. */
typedef struct {
    uint64_t state;
} dice;

dice dice_for(uint64_t seed, uint64_t number);
/** 0..bound-1 */
size_t dice_below(dice *from, size_t bound);

/** Copies `base` to `out` and bends it; `other` lends pieces. */
void fuzz_bend(dice *from, const transcript *base, const transcript *other, transcript *out);

#endif
