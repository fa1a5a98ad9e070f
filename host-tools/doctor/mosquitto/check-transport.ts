/** What crosses the network on each listener: plain ports, TLS versions and suites (HW040..HW044, HW053, HW055, HW010, HW011). */
import { insertAfter, removeLine, replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import { capital } from "./check-access.js";
import type { Directive } from "./conf-reader.js";
import { ignoresAddress, isLocal, isLoopbackAddress, isWebSocket, nameOf, securityOf, transportOf } from "./model.js";
import type { Listener } from "./model.js";

export function checkTransport(ctx: AuditContext): void {
  for (const listener of ctx.model.listeners) {
    checkAddress(ctx, listener);
    const { settings } = listener;
    if (settings.get("protocol")?.words[0] === "http_api") {
      if (!isLocal(ctx.model, listener))
        ctx.find("HW011", `The HTTP API of the broker is open on ${nameOf(listener)}, to everybody.`, {
          place: settings.get("protocol")?.place,
        });
      continue;
    }
    const isStray =
      listener.isDefault && listener.wokenBy.length > 0 && listener.wokenBy.every(({ name }) => name !== "port" && name !== "bind_address");
    if (isStray && !isLocal(ctx.model, listener)) checkStray(ctx, listener);
    else if (transportOf(listener) === "plain" && !isLocal(ctx.model, listener)) checkPlain(ctx, listener);
    if (transportOf(listener) !== "plain") checkSuites(ctx, listener);
    checkNewOptions(ctx, listener);
  }
}

function checkAddress(ctx: AuditContext, listener: Listener): void {
  const { address } = listener;
  if (address === undefined || !ignoresAddress(ctx.model, listener)) return;
  const what = `${capital(nameOf(listener))} is a WebSocket listener: mosquitto ${ctx.model.version.text} ignores its address, and it listens on every interface.`;
  ctx.find("HW055", what, {
    place: listener.place,
    severity: isLoopbackAddress(address) ? "high" : "medium",
    ...(isLoopbackAddress(address) ? { edits: [replaceLine(listener.place, `listener ${listener.port} lo`)] } : {}),
  });
}

function checkStray(ctx: AuditContext, listener: Listener): void {
  const { model } = ctx;
  const first = listener.wokenBy[0];
  if (first === undefined) return;
  const names = [...new Set(listener.wokenBy.map(({ name }) => name))].join(", ");
  const target = model.listeners.find((other) => !other.isDefault);
  const isEncrypted = transportOf(listener) !== "plain";
  const where =
    target !== undefined && target.place.file !== first.place.file
      ? `in ${first.place.file}, without a listener line above it in that file,`
      : "before the first listener";
  const effect = isEncrypted
    ? `port ${listener.port} is opened on every interface with these TLS settings, and the listener they were meant for has none`
    : `port ${listener.port} is opened on every interface without TLS, and passwords may be sent to it`;
  const moves =
    target === undefined ? [] : listener.wokenBy.flatMap(({ place }) => [removeLine(place), insertAfter(target.place, place.text)]);
  const fix = target === undefined ? ["listener 1883 127.0.0.1"] : [target.place.text, ...listener.wokenBy.map(({ place }) => place.text)];
  ctx.find("HW042", `${names} ${where} wakes the default listener: ${effect}.`, {
    place: first.place,
    fix,
    edits: moves,
    severity: isEncrypted ? "medium" : "high",
  });
  for (const { name, place } of listener.wokenBy) {
    if (target !== undefined && name === "max_connections")
      ctx.find("HW003", `max_connections does not apply to ${nameOf(target)}, which has no limit.`, { place, edits: moves });
  }
}

const TLS_SIGNS = [
  "cafile",
  "capath",
  "certfile",
  "keyfile",
  "psk_hint",
  "crlfile",
  "require_certificate",
  "use_identity_as_username",
  "use_subject_as_username",
  "tls_version",
  "ciphers",
];

function checkPlain(ctx: AuditContext, listener: Listener): void {
  const { model } = ctx;
  const { settings, port, place } = listener;
  const where =
    listener.address === undefined || /^(0\.0\.0\.0|::|\*)$/.test(listener.address) || ignoresAddress(model, listener)
      ? "on every interface"
      : `on ${listener.address}`;
  const bind = [
    replaceLine(place, isWebSocket(listener) && !model.version.atLeast(2, 1) ? `listener ${port} lo` : `listener ${port} 127.0.0.1`),
  ];
  const noPskElsewhere = model.listeners.every((other) => transportOf(other) !== "psk");
  const pskFile = noPskElsewhere && (model.perListener || port !== 1883) ? securityOf(model, listener).settings.get("psk_file") : undefined;
  const sign: Directive | undefined = settings.get(...TLS_SIGNS) ?? pskFile;
  if (sign !== undefined) {
    const missing =
      settings.get("certfile") !== undefined
        ? "keyfile is missing"
        : settings.get("psk_hint") !== undefined
          ? "a WebSocket listener takes no pre-shared keys"
          : sign.name === "psk_file"
            ? "psk_hint is missing"
            : "certfile and keyfile are missing";
    const edits = sign.name === "psk_file" ? [insertAfter(place, "psk_hint hawser", "use_identity_as_username true")] : [];
    return ctx.find(
      "HW041",
      `${capital(nameOf(listener))} looks encrypted (${sign.name}), but ${missing}: it speaks plain TCP ${where}. Credentials and messages can be read and changed on the way.`,
      { place: sign.place, edits, fix: ["certfile /path/to/server.crt", "keyfile /path/to/server.key"] },
    );
  }
  const kind = isWebSocket(listener) ? "MQTT over WebSocket" : "MQTT";
  ctx.find("HW040", `Port ${port} speaks ${kind} without TLS ${where}: credentials and messages can be read and changed on the way.`, {
    place,
    edits: bind,
  });
}

const WEAK_SUITE =
  /^\+?(eNULL|NULL|aNULL|ADH|AECDH|EXP|EXPORT\d*|RC4|3DES|DES|LOW|MD5|COMPLEMENTOFALL|COMPLEMENTOFDEFAULT|SEED|IDEA|RC2)([-+].*)?$/;

function checkSuites(ctx: AuditContext, listener: Listener): void {
  const { version } = ctx.model;
  const { settings } = listener;
  if (isWebSocket(listener) && !version.atLeast(2, 1)) return;
  const ciphers = settings.get("ciphers");
  const line = settings.get("tls_version");
  const parts = (ciphers?.value ?? "").split(/[:, ]+/);
  const isLevelZero = parts.includes("@SECLEVEL=0");
  const isOldAllowed = line === undefined ? !version.atLeast(2, 0, 16) : line.value === "tlsv1.1";
  const mend = [
    line === undefined ? insertAfter(listener.place, "tls_version tlsv1.2") : replaceLine(line.place, "tls_version tlsv1.2"),
    ...(isLevelZero && ciphers !== undefined ? [removeLine(ciphers.place)] : []),
  ];
  if (isOldAllowed && isLevelZero) {
    return ctx.find("HW043", `${capital(nameOf(listener))} accepts TLS 1.1, with old digests and short keys.`, {
      place: (line ?? ciphers)?.place,
      edits: mend,
    });
  }
  if (line?.value === "tlsv1.1") {
    ctx.find(
      "HW043",
      `${capital(nameOf(listener))} is set to accept TLS 1.1. OpenSSL 3 refuses it at its default security level, older ones do not.`,
      { place: line.place, severity: "low", edits: mend },
    );
  }
  const weak = parts.filter((part) => WEAK_SUITE.test(part) && !parts.includes(`!${part}`));
  if (ciphers === undefined || (weak.length === 0 && !isLevelZero)) return;
  const what =
    weak.length > 0
      ? `${capital(nameOf(listener))} admits weak suites: ${weak.join(", ")}.`
      : `${capital(nameOf(listener))} has OpenSSL's security level 0: SHA-1 signatures and short keys are accepted.`;
  ctx.find("HW044", what, { place: ciphers.place, edits: [removeLine(ciphers.place)] });
}

function checkNewOptions(ctx: AuditContext, listener: Listener): void {
  const { settings } = listener;
  const dates = settings.get("disable_client_cert_date_checks");
  if (dates !== undefined && settings.flag("disable_client_cert_date_checks") === true) {
    ctx.find("HW053", `${capital(nameOf(listener))} accepts client certificates that have expired.`, {
      place: dates.place,
      edits: [removeLine(dates.place)],
    });
  }
  const proxy = settings.get("enable_proxy_protocol");
  if (proxy !== undefined && settings.number("enable_proxy_protocol") !== 0 && !isLocal(ctx.model, listener)) {
    const names = settings.flag("use_identity_as_username") === true ? ", and any certificate name" : "";
    ctx.find(
      "HW010",
      `${capital(nameOf(listener))} believes the PROXY header of whoever connects: any source address${names} can be claimed.`,
      {
        place: proxy.place,
        severity: names === "" ? "high" : "critical",
        edits: [replaceLine(listener.place, `listener ${listener.port} 127.0.0.1`)],
      },
    );
  }
}
