/** Who gets in on each listener, and as whom (HW020..HW032, HW060). */
import { rulesOfAnonymous, rulesOfAnybody, grantsWrite, isDeviceName } from "./acl-file.js";
import { insertAfter, replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import type { Directive } from "./conf-reader.js";
import { givesEverything, mayControl } from "./dynsec-file.js";
import type { DynsecFile } from "./dynsec-file.js";
import {
  anonymousLine,
  demandsCertificate,
  hasUnknownPlugin,
  isLocal,
  isWebSocket,
  nameOf,
  securityOf,
  takesAnonymous,
  takesIdentity,
  transportOf,
} from "./model.js";
import type { Listener } from "./model.js";
import { hasWildcard } from "./topic-sets.js";

export function checkAccess(ctx: AuditContext): void {
  for (const listener of ctx.model.listeners) {
    if (listener.settings.get("protocol")?.words[0] === "http_api") continue;
    if (nobodyGetsIn(ctx, listener)) continue;
    checkNames(ctx, listener);
    checkDynsec(ctx, listener);
    checkMissingAcl(ctx, listener);
  }
}

/** Whether something decides about user names: a password file or a plugin. */
function checksNames(ctx: AuditContext, listener: Listener): boolean {
  return ctx.passwordLine(listener) !== undefined || ctx.dynsecLine(listener) !== undefined || hasUnknownPlugin(ctx.plugins(listener));
}

function nobodyGetsIn(ctx: AuditContext, listener: Listener): boolean {
  const { model } = ctx;
  const { settings } = listener;
  const transport = transportOf(listener);
  const hint = settings.get("psk_hint");
  if (transport === "certificate" && hint !== undefined) return pskBesideCertificate(ctx, listener, hint);
  const identity = settings.get("use_identity_as_username", "use_subject_as_username");
  if (transport === "certificate" && takesIdentity(listener) && !demandsCertificate(listener)) {
    const required = settings.get("require_certificate");
    const edit =
      required === undefined
        ? insertAfter(identity?.place ?? listener.place, "require_certificate true")
        : replaceLine(required.place, "require_certificate true");
    const what = `On ${nameOf(listener)} names come from certificates, but no certificate is asked for (require_certificate is not true): every client is refused.`;
    ctx.find("HW025", what, { place: (required ?? identity)?.place, edits: [edit] });
    return true;
  }
  const authorities =
    settings.get("cafile") ?? (isWebSocket(listener) && !model.version.atLeast(2, 1) ? undefined : settings.get("capath"));
  if (demandsCertificate(listener) && authorities === undefined) {
    const hasCapath = settings.get("capath") !== undefined;
    const why = hasCapath
      ? "WebSocket listeners ignore capath, so no authority is trusted"
      : "no cafile or capath says whose certificates are good";
    ctx.find("HW025", `On ${nameOf(listener)} a certificate is demanded, and ${why}: every client is refused.`, {
      place: settings.get("require_certificate")?.place,
      fix: ["cafile /path/to/your-ca.crt"],
    });
    return true;
  }
  if (
    transport === "psk" &&
    securityOf(model, listener).settings.get("psk_file") === undefined &&
    !hasUnknownPlugin(ctx.plugins(listener))
  ) {
    ctx.find("HW025", `On ${nameOf(listener)} a pre-shared key is demanded, and no psk_file holds any: every client is refused.`, {
      place: hint?.place,
      fix: ["psk_file /etc/mosquitto/psk"],
    });
    return true;
  }
  if (takesAnonymous(model, listener)) return false;
  if (transport === "psk" || !takesIdentity(listener)) {
    const empty = emptyCredentials(ctx, listener);
    if (empty !== undefined) {
      ctx.find(
        "HW025",
        `${empty.value} holds no ${empty.name === "psk_file" ? "key" : "user"}: every client of ${nameOf(listener)} is refused.`,
        {
          place: empty.place,
          fix: [empty.name === "psk_file" ? "pump-1:<openssl rand -hex 32>" : `mosquitto_passwd ${empty.value} pump-1`],
        },
      );
      return true;
    }
  }
  if (takesIdentity(listener) || checksNames(ctx, listener)) return false;
  const dead = model.deadLines.find(({ directive }) => directive.name === "allow_anonymous" && directive.words[0] === "true")?.directive;
  const why =
    dead === undefined
      ? "has neither passwords nor certificates nor a plugin, and anonymous clients are not allowed"
      : "does not see the allow_anonymous above it (per_listener_settings), and has no passwords itself";
  const fix = ["password_file /etc/mosquitto/passwd", "acl_file /etc/mosquitto/acl"];
  ctx.find("HW025", `${capital(nameOf(listener))} ${why}: every client is refused.`, {
    place: (anonymousLine(model, listener) ?? dead)?.place ?? listener.place,
    fix,
  });
  return true;
}

/** The only file that could let a client in, when it has no entry at all. */
function emptyCredentials(ctx: AuditContext, listener: Listener): Directive | undefined {
  if (ctx.dynsecLine(listener) !== undefined || hasUnknownPlugin(ctx.plugins(listener))) return undefined;
  const line = transportOf(listener) === "psk" ? securityOf(ctx.model, listener).settings.get("psk_file") : ctx.passwordLine(listener);
  const text = line === undefined ? undefined : ctx.read(line.value);
  return text !== undefined && !text.split("\n").some((entry) => entry.includes(":") && !entry.startsWith("#")) ? line : undefined;
}

function pskBesideCertificate(ctx: AuditContext, listener: Listener, hint: Directive): boolean {
  const file = securityOf(ctx.model, listener).settings.get("psk_file");
  const edits = [hint, ...(file === undefined ? [] : [file])].map(({ place }) => ({ place, action: "remove" as const, lines: [] }));
  const fix = [
    "# remove psk_hint and psk_file here, and give keys a separate listener:",
    "listener 8884",
    "psk_hint hawser",
    "psk_file psk",
    "use_identity_as_username true",
  ];
  if (takesIdentity(listener)) {
    const what = `${capital(nameOf(listener))} cannot do both: with psk_hint beside a certificate, clients with a certificate are refused after the handshake, and those with a key in it. Nobody gets in.`;
    ctx.find("HW025", what, { place: hint.place, fix, edits });
    return true;
  }
  ctx.find(
    "HW003",
    `${capital(nameOf(listener))} has a certificate, so its psk_hint has no effect: no client gets in with a pre-shared key.`,
    { place: hint.place, fix, edits, severity: "medium" },
  );
  return false;
}

function checkNames(ctx: AuditContext, listener: Listener): void {
  const { model } = ctx;
  if (!takesAnonymous(model, listener) || takesIdentity(listener)) return;
  const line = anonymousLine(model, listener);
  const place = line?.place ?? listener.place;
  const named = checksNames(ctx, listener);
  const acl = ctx.acl(listener);
  if (isLocal(model, listener)) return checkLocal(ctx, listener, line);
  const where = nameOf(listener);
  const refuse =
    line === undefined ? [insertAfter(listener.place, "allow_anonymous false")] : [replaceLine(line.place, `${line.name} false`)];
  if (demandsCertificate(listener)) {
    if (named || acl === undefined) return;
    const what = `On ${where} the certificate opens the door but names nobody: without use_identity_as_username any device may call itself by any user name${exampleOf(acl.userLines.keys())}.`;
    return ctx.find("HW024", what, { place, edits: [insertAfter(listener.place, "use_identity_as_username true"), ...refuse] });
  }
  if (transportOf(listener) === "psk") {
    if (named) return;
    const what = `On ${where} every holder of any pre-shared key may call itself by any user name: use_identity_as_username is missing.`;
    return ctx.find("HW028", what, { place, edits: [insertAfter(listener.place, "use_identity_as_username true"), ...refuse] });
  }
  const options = { place, edits: refuse };
  const dynsec = ctx.dynsec(listener);
  if (dynsec !== undefined && (ctx.aclLine(listener) === undefined || !opensByDefault(dynsec)))
    return anonymousWithDynsec(ctx, where, dynsec, options);
  if (hasUnknownPlugin(ctx.plugins(listener)))
    return ctx.find("HW021", `On ${where} anonymous clients are let in wherever the plugin does not decide.`, options);
  const isMeant = ctx.aclLine(listener) !== undefined;
  if (!isMeant) {
    const guard = named
      ? " The password file guards nothing: who gives no user name is let in with every right."
      : " Any client may read and write every topic.";
    return ctx.find("HW020", `On ${where} anybody gets in without credentials.${guard}`, options);
  }
  if (acl === undefined)
    return ctx.find(
      "HW021",
      `On ${where} anybody gets in without credentials; the ACL file is not here, so what they may do is not known.`,
      options,
    );
  const rights = named ? rulesOfAnonymous(acl) : rulesOfAnybody(acl);
  if (!named && (acl.userLines.size > 0 || acl.patterns.length > 0) && rights.length > 0) {
    return ctx.find(
      "HW023",
      `On ${where} any client may connect and call itself by any user name${exampleOf(acl.userLines.keys())}: nothing checks names, so the ACL binds nobody.`,
      options,
    );
  }
  const worst = rights.find((rule) => grantsWrite(rule)) ?? rights.find(({ filter }) => hasWildcard(filter)) ?? rights[0];
  if (worst === undefined)
    return ctx.find(
      "HW021",
      `On ${where} clients without credentials may connect${line === undefined ? "" : ` (${line.place.file})`}. The ACL gives them no topic.`,
      options,
    );
  const severity = rights.some((rule) => grantsWrite(rule) || /^(\+\/)*#$/.test(rule.filter)) ? "critical" : "high";
  ctx.find(
    severity === "critical" ? "HW020" : "HW021",
    `On ${where} clients without credentials may connect and use topics: ${worst.access} ${worst.filter} (${worst.place.file}:${worst.place.line}).`,
    { ...options, severity },
  );
}

function anonymousWithDynsec(
  ctx: AuditContext,
  where: string,
  dynsec: DynsecFile,
  options: { place: Directive["place"]; edits: ReturnType<typeof replaceLine>[] },
): void {
  if (opensByDefault(dynsec)) return; // HW030 says it, with this line.
  if (givesEverything(dynsec, dynsec.anonymousRoles, ["publishClientSend", "subscribePattern", "subscribeLiteral"])) {
    return ctx.find(
      "HW020",
      `On ${where} anybody gets in without credentials, and the roles of the group ${dynsec.anonymousGroup ?? ""} give them every topic.`,
      options,
    );
  }
  ctx.find("HW021", `On ${where} clients without credentials may connect.`, options);
}

/** On loopback: an alarm only where somebody wrote that it should not be so. */
function checkLocal(ctx: AuditContext, listener: Listener, line: Directive | undefined): void {
  const { model } = ctx;
  const { settings } = securityOf(model, listener);
  const wish = line?.words[0] === "false" || line?.words[0] === "0" ? line : line === undefined ? settings.get("password_file") : undefined;
  if (!model.isLocalOnly || wish === undefined)
    return ctx.note(`Clients on this machine get in without credentials on ${nameOf(listener)}.`, line?.place);
  const top = { file: ctx.conf.files.keys().next().value ?? "", line: 0, text: "" };
  const edits = [insertAfter(top, "listener 1883 127.0.0.1", ...(wish.name === "allow_anonymous" ? [] : ["allow_anonymous false"]))];
  const despite = wish.name === "allow_anonymous" ? "whatever allow_anonymous says" : "in spite of the password file";
  const what = `There is no listener line, so mosquitto ${model.version.text} runs in local-only mode and lets clients in without credentials, ${despite}: who comes through a proxy or a tunnel needs no password.`;
  ctx.find("HW022", what, { place: wish.place, edits });
}

function opensByDefault({ defaults }: DynsecFile): boolean {
  return defaults.publishClientSend || (defaults.subscribe && defaults.publishClientReceive);
}

function checkDynsec(ctx: AuditContext, listener: Listener): void {
  const dynsec = ctx.dynsec(listener);
  if (dynsec === undefined) return;
  const anonymous = takesAnonymous(ctx.model, listener) && !takesIdentity(listener) && !demandsCertificate(listener);
  const { publishClientSend, subscribe } = dynsec.defaults;
  // Where an ACL file counts too, mosquitto asks it first, and what it denies stays denied (seen with 2.0.11).
  if (opensByDefault(dynsec) && ctx.aclLine(listener) === undefined) {
    const doing = [
      ...(publishClientSend ? ["send"] : []),
      ...(subscribe && dynsec.defaults.publishClientReceive ? ["subscribe and receive"] : []),
    ].join(", ");
    const what = `defaultACLAccess lets every client ${doing} on every topic that no role mentions${anonymous ? ", anonymous ones too (allow_anonymous true)" : ""}.`;
    const edits = (["publishClientSend", "subscribe"] as const)
      .filter((key) => dynsec.defaults[key])
      .map((key) => defaultEdit(dynsec, key));
    const line = anonymousLine(ctx.model, listener);
    const refuse = anonymous && line !== undefined ? [replaceLine(line.place, `${line.name} false`)] : [];
    ctx.find("HW030", what, {
      place: dynsec.defaultsPlace,
      severity: anonymous || publishClientSend ? "critical" : "high",
      fix: ['"publishClientSend": false, "subscribe": false'],
      edits: [...edits, ...refuse],
    });
  }
  for (const client of dynsec.clients.filter(({ isDisabled }) => !isDisabled)) {
    const roles = [...client.roles, ...(dynsec.groupRoles.get(client.name) ?? [])];
    const control = mayControl(dynsec, roles);
    if (client.guessed !== undefined) {
      const what = `The ${control ? "administrator" : "client"} ${client.name} of the dynamic security plugin has the password ${JSON.stringify(client.guessed)}${control ? ": anyone may give himself any right over $CONTROL" : ""}.`;
      ctx.find("HW026", what, {
        place: client.place,
        severity: control ? "critical" : "high",
        fix: [`mosquitto_ctrl ... dynsec setClientPassword ${client.name}`],
      });
    }
    if (control && isDeviceName(client.name))
      ctx.find("HW031", `The device ${client.name} may send to $CONTROL and so administers the broker.`, { place: client.place });
    if (isDeviceName(client.name) && givesEverything(dynsec, roles, ["publishClientSend", "subscribePattern"]))
      ctx.find("HW064", `The device ${client.name} has a role with every topic (#).`, { place: client.place });
  }
  if (anonymous && mayControl(dynsec, dynsec.anonymousRoles))
    ctx.find("HW031", "Anonymous clients may send to $CONTROL and so administer the broker.", {
      place: dynsec.placeOf(/"anonymousGroup"/),
    });
}

function defaultEdit(dynsec: DynsecFile, key: string): ReturnType<typeof replaceLine> {
  const place = dynsec.placeOf(new RegExp(`"${key}"\\s*:\\s*true`));
  return replaceLine(place, place.text.replace(new RegExp(`("${key}"\\s*:\\s*)true`), "$1false"));
}

function checkMissingAcl(ctx: AuditContext, listener: Listener): void {
  const { model } = ctx;
  if (
    ctx.aclLine(listener) !== undefined ||
    ctx.dynsecLine(listener) !== undefined ||
    hasUnknownPlugin(ctx.plugins(listener)) ||
    isLocal(model, listener)
  )
    return;
  const isAlreadyOpen =
    takesAnonymous(model, listener) && !takesIdentity(listener) && !demandsCertificate(listener) && transportOf(listener) !== "psk";
  if (isAlreadyOpen) return;
  const dead = model.deadLines.find(({ directive }) => directive.name === "acl_file")?.directive;
  const onDefault = model.listeners.find((other) => other.isDefault && other !== listener)?.security.settings.get("acl_file");
  const astray = model.perListener ? (dead ?? onDefault) : undefined;
  const passwords = ctx.passwordLine(listener);
  const isAlone = passwords !== undefined && !demandsCertificate(listener) && ctx.passwords(passwords.value).length === 1;
  const because =
    astray === undefined
      ? "there is no acl_file"
      : `the acl_file stands above the listener and does not apply to it (per_listener_settings)`;
  const what = `Every client that gets in on ${nameOf(listener)} may read and write every topic: ${because}.`;
  const edits = astray === undefined ? [] : [insertAfter(listener.place, astray.place.text)];
  ctx.find("HW060", what, {
    place: (astray ?? passwords)?.place ?? listener.place,
    severity: isAlone ? "medium" : "high",
    edits,
    fix: ["acl_file acl", "# and in acl:", "pattern write telemetry/%u/#", "pattern read commands/%u/#"],
  });
}

function exampleOf(names: Iterable<string>): string {
  for (const name of names) return `, here ${name}`;
  return "";
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
