/*
 * Text between XS and the world. XS keeps strings as CESU-8: a character beyond U+FFFF is a pair of surrogates of three bytes each, and
 * NUL is C0 80. Outside there is UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "xsmc.h"

#include "host.h"

static bool is_surrogate(const unsigned char* bytes, unsigned char from, unsigned char to)
{
	return bytes[0] == 0xED && bytes[1] >= from && bytes[1] <= to;
}

/* Each reads past its sequence, which the terminating zero cuts short; a lone surrogate becomes U+FFFD. */
void host_write_text(FILE* file, const char* text)
{
	const unsigned char* p = (const unsigned char*)text;
	while (*p) {
		if (is_surrogate(p, 0xA0, 0xAF) && is_surrogate(p + 3, 0xB0, 0xBF)) {
			unsigned high = ((p[1] & 0x0Fu) << 6) | (p[2] & 0x3Fu);
			unsigned low = ((p[4] & 0x0Fu) << 6) | (p[5] & 0x3Fu);
			unsigned point = 0x10000 + (high << 10) + low;
			fputc((int)(0xF0 | point >> 18), file);
			fputc((int)(0x80 | (point >> 12 & 0x3F)), file);
			fputc((int)(0x80 | (point >> 6 & 0x3F)), file);
			fputc((int)(0x80 | (point & 0x3F)), file);
			p += 6;
		}
		else if (is_surrogate(p, 0xA0, 0xBF)) {
			fputs("\xEF\xBF\xBD", file);
			p += 3;
		}
		else if (p[0] == 0xC0 && p[1] == 0x80) {
			fputc(0, file);
			p += 2;
		}
		else
			fputc(*p++, file);
	}
}

/* UTF-8 to a fresh CESU-8 string; what is no UTF-8 is passed on as it is. */
char* host_read_text(const char* text, size_t size)
{
	char* copy = malloc(2 * size + 1);
	char* out = copy;
	const unsigned char* p = (const unsigned char*)text;
	const unsigned char* limit = p + size;
	while (p < limit) {
		if (*p >= 0xF0 && limit - p >= 4) {
			unsigned point = ((p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu)) - 0x10000;
			unsigned high = 0xD800 + (point >> 10 & 0x3FF);
			unsigned low = 0xDC00 + (point & 0x3FF);
			*out++ = (char)(0xE0 | high >> 12);
			*out++ = (char)(0x80 | (high >> 6 & 0x3F));
			*out++ = (char)(0x80 | (high & 0x3F));
			*out++ = (char)(0xE0 | low >> 12);
			*out++ = (char)(0x80 | (low >> 6 & 0x3F));
			*out++ = (char)(0x80 | (low & 0x3F));
			p += 4;
		}
		else if (*p == 0) {
			*out++ = (char)0xC0;
			*out++ = (char)0x80;
			p++;
		}
		else
			*out++ = (char)*p++;
	}
	*out = 0;
	return copy;
}
