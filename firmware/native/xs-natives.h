/*
 * The natives that JavaScript on XS calls: xs-tls.c and xs-keys.c, over tls-engine.h and key-store.h. They use `xsmc.h` alone and no
 * generated ids, so they compile for the Moddable SDK and for a host built of the bare engine (XS 13.3 of @agoric/xsnap).
 *
 * None of them throws but for misuse: an argument of the wrong type, or a method of an object already closed.
 * Bytes are any ArrayBuffer or typed array; bytes returned are a fresh ArrayBuffer.
 */
#ifndef HAWSER_FIRMWARE_XS_NATIVES_H
#define HAWSER_FIRMWARE_XS_NATIVES_H

#include "xsmc.h"

/* class TlsEngine: a host object whose destructor is xs_tls_engine_destructor; the methods are called with it as `this`. */
void xs_tls_engine_destructor(void *data);
void xs_tls_engine_create(xsMachine *the);          /* constructor() */
void xs_tls_engine_add_anchor(xsMachine *the);      /* addAnchor(der): boolean */
void xs_tls_engine_add_certificate(xsMachine *the); /* addCertificate(der): boolean */
void xs_tls_engine_verify_chain(xsMachine *the);    /* verifyChain(): boolean, whether the certificates lead to an anchor */
void xs_tls_engine_use_key(xsMachine *the);         /* useKey(slot: string): boolean */
void xs_tls_engine_use_psk(xsMachine *the);         /* usePsk(slot: string, identity: string): boolean */
/* start(serverName: string, trustedTimeMs: number, session?: TlsSession, maximumFragment = 0, minimumVersion = 0, maximumVersion = 0): boolean */
void xs_tls_engine_start(xsMachine *the);
void xs_tls_engine_feed(xsMachine *the);            /* feed(bytes, offset = 0): number of bytes taken */
void xs_tls_engine_handshake(xsMachine *the);       /* handshake(): tls_state */
void xs_tls_engine_pull(xsMachine *the);            /* pull(): ArrayBuffer | undefined, all that waits */
void xs_tls_engine_read(xsMachine *the);            /* read(): ArrayBuffer | undefined, at most one record */
void xs_tls_engine_write(xsMachine *the);           /* write(bytes, offset = 0): number of bytes taken */
void xs_tls_engine_close_notify(xsMachine *the);    /* closeNotify(): void */
void xs_tls_engine_state(xsMachine *the);           /* state(): tls_state */
void xs_tls_engine_failure(xsMachine *the);         /* failure(): tls_failure_kind */
void xs_tls_engine_alert(xsMachine *the);           /* alert(): number, -1 when none */
void xs_tls_engine_server_proved(xsMachine *the);   /* serverProved(): whether the alert's sender had proved to be the server */
void xs_tls_engine_verify_flags(xsMachine *the);    /* verifyFlags(): TLS_VERIFY_ bits */
void xs_tls_engine_detail(xsMachine *the);          /* detail(): number, for diagnostics */
void xs_tls_engine_version(xsMachine *the);         /* version(): 0x0303 | 0x0304 */
void xs_tls_engine_cipher_suite(xsMachine *the);    /* cipherSuite(): IANA number */
void xs_tls_engine_resumed(xsMachine *the);         /* resumed(): boolean */
void xs_tls_engine_close(xsMachine *the);           /* close(): void; frees the engine now, harmless when repeated */

/* class TlsSession: a host object whose destructor is xs_tls_session_destructor. */
void xs_tls_session_destructor(void *data);
void xs_tls_session_create(xsMachine *the);         /* constructor() */
void xs_tls_session_clear(xsMachine *the);          /* clear(): void */
void xs_tls_session_is_empty(xsMachine *the);       /* isEmpty(): boolean */
void xs_tls_session_seal(xsMachine *the);           /* seal(slot: string, binding): ArrayBuffer | undefined, see session-seal.h */
void xs_tls_session_unseal(xsMachine *the);         /* unseal(slot: string, binding, sealed): boolean, whether it opened */

/* Plain functions. A status is a key_store_status; what gives bytes gives an ArrayBuffer, or a status number when it failed. */
void xs_keys_open(xsMachine *the);                  /* open(): status */
void xs_keys_generate(xsMachine *the);              /* generate(slot): status */
void xs_keys_csr(xsMachine *the);                   /* csr(slot, commonName): ArrayBuffer | status */
void xs_keys_sign(xsMachine *the);                  /* sign(slot, bytes): ArrayBuffer | status */
void xs_keys_public_key(xsMachine *the);            /* publicKey(slot): ArrayBuffer | status */
void xs_keys_mac(xsMachine *the);                   /* mac(slot, bytes): ArrayBuffer | status */
void xs_keys_import_psk(xsMachine *the);            /* importPsk(slot, bytes): status */
void xs_keys_destroy(xsMachine *the);               /* destroy(slot): status */
void xs_keys_has(xsMachine *the);                   /* has(slot): boolean | status (other than OK) */
void xs_keys_random(xsMachine *the);                /* random(sizeBytes): ArrayBuffer | status */

#endif
