#include "fuzz-input.h"

#include <string.h>

#define HEADER_SIZE 5
#define MOST_BENDS 4
#define LONGEST_PIECE 64
/* Out of this many inputs one is pure noise, and one is the base untouched. */
#define RARE 64

dice dice_for(uint64_t seed, uint64_t number)
{
    dice made = { (seed + 1) * 0x9e3779b97f4a7c15u ^ (number + 1) * 0xd1b54a32d192ed03u };
    return made;
}

static uint64_t roll(dice *from)
{
    uint64_t value = from->state += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

size_t dice_below(dice *from, size_t bound)
{
    return bound == 0 ? 0 : (size_t) (roll(from) % bound);
}

/* The start of some record of the stream, and its whole length as far as it is there. */
static size_t some_record(dice *from, const transcript *stream, size_t *length)
{
    size_t starts[64], ends[64], count = 0;
    for (size_t at = 0; at + HEADER_SIZE <= stream->size && count < 64;) {
        starts[count] = at;
        at += HEADER_SIZE + (size_t) (stream->bytes[at + 3] << 8 | stream->bytes[at + 4]);
        ends[count++] = at < stream->size ? at : stream->size;
    }
    size_t which = dice_below(from, count);
    *length = count == 0 ? stream->size : ends[which] - starts[which];
    return count == 0 ? 0 : starts[which];
}

static void remove_piece(transcript *out, size_t at, size_t size)
{
    memmove(out->bytes + at, out->bytes + at + size, out->size - at - size);
    out->size -= size;
}

static void insert_piece(transcript *out, size_t at, const uint8_t *piece, size_t size)
{
    if (out->size + size > TRANSCRIPT_MAX) {
        return;
    }
    memmove(out->bytes + at + size, out->bytes + at, out->size - at);
    memcpy(out->bytes + at, piece, size);
    out->size += size;
}

/* Numbers in the wire's length fields are what parsers get wrong: set two bytes to a value at an edge. */
static void set_edge(dice *from, transcript *out, size_t at)
{
    static const uint16_t edges[] = { 0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0x3fff, 0x4000, 0x4001, 0x7fff, 0x8000, 0xffff };
    uint16_t edge = edges[dice_below(from, sizeof edges / sizeof *edges)];
    if (at + 1 < out->size) {
        out->bytes[at] = (uint8_t) (edge >> 8);
        out->bytes[at + 1] = (uint8_t) edge;
    }
}

static void bend_bytes(dice *from, transcript *out, size_t at)
{
    uint8_t piece[LONGEST_PIECE];
    size_t size = 1 + dice_below(from, LONGEST_PIECE);
    switch (dice_below(from, 5)) {
        case 0:
            out->bytes[at] ^= (uint8_t) (1u << dice_below(from, 8));
            break;
        case 1:
            out->bytes[at] = (uint8_t) roll(from);
            break;
        case 2:
            set_edge(from, out, at);
            break;
        case 3:
            remove_piece(out, at, size < out->size - at ? size : out->size - at);
            break;
        default:
            for (size_t i = 0; i < size; i++) {
                piece[i] = (uint8_t) roll(from);
            }
            insert_piece(out, at, piece, size);
    }
}

static void bend_records(dice *from, const transcript *other, transcript *out)
{
    size_t length, start = some_record(from, out, &length);
    uint8_t piece[TRANSCRIPT_MAX];
    switch (dice_below(from, 5)) {
        case 0:
            memcpy(piece, out->bytes + start, length);
            insert_piece(out, start, piece, length);
            break;
        case 1:
            remove_piece(out, start, length);
            break;
        case 2: {
            size_t lent, from_there = some_record(from, other, &lent);
            insert_piece(out, start, other->bytes + from_there, lent);
            break;
        }
        case 3:
            // A record's header: type, version, length.
            if (length >= HEADER_SIZE) {
                out->bytes[start + dice_below(from, HEADER_SIZE)] = (uint8_t) roll(from);
            }
            break;
        default:
            out->size = start + dice_below(from, length + 1);
    }
}

void fuzz_bend(dice *from, const transcript *base, const transcript *other, transcript *out)
{
    out->size = base->size;
    memcpy(out->bytes, base->bytes, base->size);
    size_t kind = dice_below(from, RARE);
    if (kind == 0) {
        return;
    }
    if (kind == 1) {
        out->size = dice_below(from, 2048);
        for (size_t i = 0; i < out->size; i++) {
            out->bytes[i] = (uint8_t) roll(from);
        }
        return;
    }
    for (size_t bends = 1 + dice_below(from, MOST_BENDS); bends > 0 && out->size > 0; bends--) {
        if (dice_below(from, 3) == 0) {
            bend_records(from, other, out);
        } else {
            bend_bytes(from, out, dice_below(from, out->size));
        }
    }
}
