/* How a server's certificate is judged: Mbed TLS checks chain, name and signatures; dates are ours, by trusted time. */
#include "tls-engine-internal.h"

#include <string.h>

#define SECONDS_PER_DAY 86400
#define SUBJECT_ALT_NAME_ADDRESS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_IP_ADDRESS)

/* Seconds since the epoch of a UTC calendar time: days are counted from 1 March, so that leap days come last in a year. */
static int64_t seconds_of(const mbedtls_x509_time *time)
{
    int64_t year = time->mon > 2 ? time->year : (int64_t) time->year - 1;
    int64_t month = (time->mon + 9) % 12;
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + time->day - 1 - 719468;
    return days * SECONDS_PER_DAY + time->hour * 3600 + time->min * 60 + time->sec;
}

bool tls_verify_is_current(const mbedtls_x509_crt *certificate, int64_t trusted_time_s)
{
    return seconds_of(&certificate->valid_from) <= trusted_time_s && trusted_time_s <= seconds_of(&certificate->valid_to);
}

bool tls_verify_parse_address(const char *text, uint8_t address[4])
{
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        int digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++) {
            value = value * 10 + (unsigned) (*text++ - '0');
        }
        if (digits == 0 || value > 255 || *text != (i < 3 ? '.' : '\0')) {
            return false;
        }
        address[i] = (uint8_t) value;
        text++;
    }
    return true;
}

static bool carries_address(const mbedtls_x509_crt *certificate, const uint8_t address[4])
{
    for (const mbedtls_x509_sequence *name = &certificate->subject_alt_names; name != NULL; name = name->next) {
        if (name->buf.tag == SUBJECT_ALT_NAME_ADDRESS && name->buf.len == 4 && memcmp(name->buf.p, address, 4) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a certificate says that it is one for servers; one that says nothing of its use does not. */
static bool is_for_servers(const mbedtls_x509_crt *certificate)
{
    // id-kp-serverAuth, 1.3.6.1.5.5.7.3.1 (RFC 5280 section 4.2.1.12).
    static const char server_auth[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01 };
    for (const mbedtls_x509_sequence *usage = &certificate->ext_key_usage; usage != NULL; usage = usage->next) {
        if (usage->buf.len == sizeof server_auth && memcmp(usage->buf.p, server_auth, sizeof server_auth) == 0) {
            return true;
        }
    }
    return false;
}

int tls_verify_certificate(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    tls_engine *engine = context;
    int64_t valid_until_s = seconds_of(&certificate->valid_to);
    // Mbed TLS judged by the system's clock, or, built without MBEDTLS_HAVE_TIME_DATE, not at all.
    *flags &= ~(uint32_t) (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (engine->trusted_time_s > valid_until_s) {
        *flags |= MBEDTLS_X509_BADCERT_EXPIRED;
    }
    if (engine->trusted_time_s < seconds_of(&certificate->valid_from)) {
        *flags |= MBEDTLS_X509_BADCERT_FUTURE;
    }
    if (depth == 0 && engine->named_by_address && !carries_address(certificate, engine->address)) {
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    if (!engine->saw_certificate || valid_until_s < engine->valid_until_s) {
        engine->valid_until_s = valid_until_s;
    }
    if (depth == 0) {
        engine->is_for_servers = is_for_servers(certificate);
    }
    engine->saw_certificate = true;
    return 0;
}

uint32_t tls_verify_flags(uint32_t flags)
{
    static const struct { uint32_t theirs, ours; } known[] = {
        { MBEDTLS_X509_BADCERT_EXPIRED, TLS_VERIFY_EXPIRED },
        { MBEDTLS_X509_BADCERT_FUTURE, TLS_VERIFY_NOT_YET_VALID },
        { MBEDTLS_X509_BADCERT_CN_MISMATCH, TLS_VERIFY_NAME_MISMATCH },
        { MBEDTLS_X509_BADCERT_NOT_TRUSTED, TLS_VERIFY_CA_UNKNOWN },
    };
    uint32_t result = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if ((flags & known[i].theirs) != 0) {
            result |= known[i].ours;
            flags &= ~known[i].theirs;
        }
    }
    return flags != 0 || result == 0 ? result | TLS_VERIFY_INVALID : result;
}
