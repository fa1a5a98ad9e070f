/* Names and addresses: who the server must prove to be. The same rules as `sim/node` holds Node to. */
#include "tls-engine-internal.h"

#include <string.h>

#define IPV6_SIZE 16

static size_t parse_ipv4(const char *text, uint8_t *address)
{
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        int digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++) {
            value = value * 10 + (unsigned) (*text++ - '0');
        }
        if (digits == 0 || value > 255 || *text != (i < 3 ? '.' : '\0')) {
            return 0;
        }
        address[i] = (uint8_t) value;
        text++;
    }
    return 4;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    char lower = (char) (digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* RFC 4291 section 2.2: groups of hex, "::" for the longest run of zeros, an IPv4 address for the last two groups. */
static size_t parse_ipv6(const char *text, uint8_t address[IPV6_SIZE])
{
    uint8_t parsed[IPV6_SIZE] = { 0 };
    size_t size = 0;
    size_t gap = IPV6_SIZE + 1;
    if (text[0] == ':' && text[1] == ':') {
        gap = 0;
        text += 2;
    }
    while (*text != '\0') {
        if (size <= IPV6_SIZE - 4 && strchr(text, '.') != NULL && strchr(text, ':') == NULL) {
            if (parse_ipv4(text, parsed + size) == 0) {
                return 0;
            }
            size += 4;
            break;
        }
        unsigned group = 0;
        int digits = 0;
        for (; hex_value(*text) >= 0 && digits < 4; digits++) {
            group = group << 4 | (unsigned) hex_value(*text++);
        }
        if (digits == 0 || size == IPV6_SIZE) {
            return 0;
        }
        parsed[size++] = (uint8_t) (group >> 8);
        parsed[size++] = (uint8_t) group;
        if (*text == '\0') {
            break;
        }
        if (*text++ != ':' || *text == '\0') {
            return 0;
        }
        if (*text == ':') {
            if (gap <= IPV6_SIZE) {
                return 0;
            }
            gap = size;
            text++;
        }
    }
    if (gap > IPV6_SIZE ? size != IPV6_SIZE : size > IPV6_SIZE - 2) {
        return 0;
    }
    memset(address, 0, IPV6_SIZE);
    size_t head = gap > IPV6_SIZE ? size : gap;
    memcpy(address, parsed, head);
    memcpy(address + IPV6_SIZE - (size - head), parsed + head, size - head);
    return IPV6_SIZE;
}

size_t tls_address_parse(const char *text, uint8_t address[16])
{
    return strchr(text, ':') != NULL ? parse_ipv6(text, address) : parse_ipv4(text, address);
}

static char lower_case(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char) (letter + ('a' - 'A')) : letter;
}

static bool equals(const uint8_t *pattern, size_t size, const char *name)
{
    if (strlen(name) != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (lower_case((char) pattern[i]) != lower_case(name[i])) {
            return false;
        }
    }
    return true;
}

bool tls_name_matches(const uint8_t *pattern, size_t pattern_size, const char *name)
{
    if (pattern_size < 2 || pattern[0] != '*' || pattern[1] != '.') {
        return equals(pattern, pattern_size, name);
    }
    // The star is one whole label, and two stand behind it: none takes in a top-level domain.
    const char *rest = strchr(name, '.');
    return rest != NULL && rest != name && memchr(pattern + 2, '.', pattern_size - 2) != NULL && equals(pattern + 1, pattern_size - 1, rest);
}
