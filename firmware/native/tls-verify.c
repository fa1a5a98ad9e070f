/* How a server's certificate is judged: Mbed TLS checks chain, usage and signatures; dates, by trusted time, and names are ours. */
#include "tls-engine-internal.h"

#include <string.h>

#include "mbedtls/version.h"
#if MBEDTLS_VERSION_NUMBER < 0x04000000
#include "mbedtls/oid.h"
#endif

#define SECONDS_PER_DAY 86400
#define SUBJECT_ALT_NAME_ADDRESS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_IP_ADDRESS)
#define SUBJECT_ALT_NAME_DNS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME)

/* 2.5.4.3, 1.3.6.1.5.5.7.3.1, 2.5.29.30 */
static const uint8_t COMMON_NAME[] = { 0x55, 0x04, 0x03 };
static const uint8_t SERVER_AUTH[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01 };
static const uint8_t NAME_CONSTRAINTS[] = { 0x55, 0x1d, 0x1e };

/* Seconds since the epoch of a UTC calendar time: days are counted from 1 March, so that leap days come last in a year. */
static int64_t seconds_of(const mbedtls_x509_time *time)
{
    int64_t year = time->mon > 2 ? time->year : (int64_t) time->year - 1;
    int64_t month = (time->mon + 9) % 12;
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + time->day - 1 - 719468;
    return days * SECONDS_PER_DAY + time->hour * 3600 + time->min * 60 + time->sec;
}

int64_t tls_verify_end_s(const mbedtls_x509_crt *certificate)
{
    return seconds_of(&certificate->valid_to);
}

bool tls_verify_is_current(const mbedtls_x509_crt *certificate, int64_t trusted_time_s)
{
    return seconds_of(&certificate->valid_from) <= trusted_time_s && trusted_time_s <= seconds_of(&certificate->valid_to);
}

static bool holds(const mbedtls_x509_buf *value, const void *bytes, size_t size)
{
    return value->len == size && memcmp(value->p, bytes, size) == 0;
}

/* Whether the certificate is for the server meant. A common name counts only where there are no alternative names at all (RFC 9525 appendix). */
static bool is_for_server(const tls_engine *engine, const mbedtls_x509_crt *certificate)
{
    if (mbedtls_x509_crt_has_ext_type(certificate, MBEDTLS_X509_EXT_SUBJECT_ALT_NAME)) {
        for (const mbedtls_x509_sequence *name = &certificate->subject_alt_names; name != NULL; name = name->next) {
            bool matches = engine->address_size > 0 ? name->buf.tag == SUBJECT_ALT_NAME_ADDRESS && holds(&name->buf, engine->address, engine->address_size)
                                                    : name->buf.tag == SUBJECT_ALT_NAME_DNS && tls_name_matches(name->buf.p, name->buf.len, engine->server_name);
            if (matches) {
                return true;
            }
        }
        return false;
    }
    for (const mbedtls_x509_name *name = &certificate->subject; engine->address_size == 0 && name != NULL; name = name->next) {
        if (holds(&name->oid, COMMON_NAME, sizeof COMMON_NAME) && tls_name_matches(name->val.p, name->val.len, engine->server_name)) {
            return true;
        }
    }
    return false;
}

/* Whether a certificate says that it is one for servers; one that says nothing of its use does not. */
static bool is_for_servers(const mbedtls_x509_crt *certificate)
{
    for (const mbedtls_x509_sequence *usage = &certificate->ext_key_usage; usage != NULL; usage = usage->next) {
        if (holds(&usage->buf, SERVER_AUTH, sizeof SERVER_AUTH)) {
            return true;
        }
    }
    return false;
}

/* Every certificate that says what it is for must say that it is for servers: Mbed TLS asks that of the leaf alone, and takes "any" for it. */
static bool may_serve(const mbedtls_x509_crt *certificate)
{
    return !mbedtls_x509_crt_has_ext_type(certificate, MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE) || is_for_servers(certificate);
}

/* Whether there are name constraints: critical ones Mbed TLS refuses by itself, others it would pass over. */
static bool has_name_constraints(const mbedtls_x509_crt *certificate)
{
    unsigned char *at = certificate->v3_ext.p;
    unsigned char *end = at + certificate->v3_ext.len;
    size_t size;
    if (at == NULL || mbedtls_asn1_get_tag(&at, end, &size, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0) {
        return false;
    }
    while (at < end && mbedtls_asn1_get_tag(&at, end, &size, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) == 0) {
        unsigned char *next = at + size;
        if (mbedtls_asn1_get_tag(&at, next, &size, MBEDTLS_ASN1_OID) == 0 && size == sizeof NAME_CONSTRAINTS && memcmp(at, NAME_CONSTRAINTS, size) == 0) {
            return true;
        }
        at = next;
    }
    return false;
}

/* Signed in a way that Mbed TLS does not know (it then reads no further), or with a key larger than any that it verifies with. */
static bool is_unreadable(const mbedtls_x509_crt *certificate)
{
    return certificate->MBEDTLS_PRIVATE(sig_md) == MBEDTLS_MD_NONE || (mbedtls_pk_get_type(&certificate->pk) == MBEDTLS_PK_RSA && mbedtls_pk_get_bitlen(&certificate->pk) > RSA_BITS_MAX);
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
    if (depth == 0) {
        *flags &= ~(uint32_t) MBEDTLS_X509_BADCERT_CN_MISMATCH;
        *flags |= is_for_server(engine, certificate) ? 0 : MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    if (!may_serve(certificate)) {
        *flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
    }
    if (has_name_constraints(certificate) || is_unreadable(certificate)) {
        *flags |= MBEDTLS_X509_BADCERT_BAD_KEY;
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
        { MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY, TLS_VERIFY_UNUSABLE },
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
