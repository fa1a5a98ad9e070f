/** `policy docs`: the topics and the rules about them in one place, as Markdown or HTML. */
import { conditionKey } from "./concrete-rules.js";
import type { Channel, Policy, Role, Rule } from "./policy-model.js";
import { templateText } from "./topic-template.js";

/** A document's parts, before they are Markdown or HTML. */
export type Block =
  | { readonly kind: "heading"; readonly level: 1 | 2 | 3; readonly text: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "table"; readonly rows: readonly (readonly string[])[] };

export function catalogue(policy: Policy): Block[] {
  return [
    heading(1, `Topics and access: ${policy.name}`),
    ...paragraph(policy.description),
    ...(policy.tenant === undefined
      ? []
      : paragraph(
          `Tenants are told apart by the attribute ${policy.tenant}. No right crosses from one to another unless this page says "across tenants".`,
        )),
    ...[...policy.classes.values()].flatMap((deviceClass) => [
      heading(2, `Class ${deviceClass.name}`),
      ...paragraph(deviceClass.description),
      ...paragraph(`Base: ${deviceClass.base}`),
      table(
        ["Channel", "Topic", "Direction", "QoS", "Retain", "Payload", "Rate", "Who publishes", "Who reads", "Description"],
        [...deviceClass.channels.values()].map((channel) => channelRow(policy, channel)),
      ),
    ]),
    heading(2, "Roles"),
    ...[...policy.roles.values()].flatMap(roleBlocks),
    heading(2, "Listeners"),
    table(
      ["Listener", "Port", "Clients show", "Gives"],
      [...policy.listeners.values()].map(({ name, port, requires, scope, websocket }) => [
        name,
        `${port}${websocket ? " (WebSocket)" : ""}`,
        requires.join(" and "),
        scope === "full" ? "all rights" : "recovery channels only",
      ]),
    ),
    ...(Object.keys(policy.limits).length === 0
      ? []
      : [
          heading(2, "Limits"),
          table(
            ["Limit", "Value"],
            Object.entries(policy.limits).map(([name, value]) => [name, String(value)]),
          ),
        ]),
    ...(policy.attributes.size === 0
      ? []
      : [
          heading(2, "Attributes"),
          table(
            ["Attribute", "Values"],
            [...policy.attributes.values()].map(({ name, values, pattern }) => [
              name,
              values?.join(", ") ?? (pattern === undefined ? "any" : pattern.source.slice(4, -2)),
            ]),
          ),
        ]),
    ...(policy.bridges.length === 0
      ? []
      : [
          heading(2, "Bridges"),
          table(
            ["Bridge", "Broker", "Direction", "Topic here", "Topic there"],
            policy.bridges.flatMap(({ name, host, port, topics }) =>
              topics.map(({ topic, direction, localPrefix, remotePrefix }) => [
                name,
                `${host}:${port}`,
                direction,
                `${localPrefix}${topic}`,
                `${remotePrefix}${topic}`,
              ]),
            ),
          ),
        ]),
  ];
}

function channelRow(policy: Policy, channel: Channel): string[] {
  const { name, template, direction, qos, retain, maxBytes, messagesPerSecond, schema, description = "" } = channel;
  const payload = [maxBytes === undefined ? "" : `at most ${maxBytes} bytes`, schema === undefined ? "" : `schema ${schema}`]
    .filter((part) => part !== "")
    .join(", ");
  const [publishers, readers] = (["publish", "subscribe"] as const).map((access) => whoMay(policy, channel, access));
  return [
    name,
    templateText(template),
    direction === "up" ? "from the device" : "to the device",
    qos === undefined ? "any" : `at most ${qos}`,
    retain === undefined ? "any" : retain ? "allowed" : "never",
    payload === "" ? "any" : payload,
    messagesPerSecond === undefined ? "any" : `${messagesPerSecond}/s`,
    publishers ?? "",
    readers ?? "",
    description,
  ];
}

/** Roles with a right on the channel, each with the line that says so. */
function whoMay(policy: Policy, channel: Channel, access: Rule["access"]): string {
  const parts = [...policy.roles.values()].flatMap(({ name, rules }) =>
    rules
      .filter((rule) => rule.channel === channel && rule.access === access)
      .map(
        (rule) =>
          `${rule.effect === "deny" ? "not " : ""}${rule.own ? `its own device (${name})` : name}${scopeText(rule)} (line ${rule.source.line})`,
      ),
  );
  return parts.length === 0 ? "nobody by this channel" : [...new Set(parts)].join("; ");
}

function scopeText(rule: Rule): string {
  const scope = [...rule.scope].map(([name, values]) =>
    values.map((value) => (/^\{.*\}$/.test(value) ? `its own ${name}` : `${name} ${value}`)).join(" or "),
  );
  const parts = [
    ...(scope.length === 0 ? [] : [`for ${scope.join(", ")}`]),
    ...(rule.acrossTenants ? ["across tenants"] : []),
    ...(rule.when === undefined ? [] : [conditionKey(rule)]),
  ];
  return parts.length === 0 ? "" : ` ${parts.join(", ")}`;
}

function roleBlocks(role: Role): Block[] {
  const { name, description, inherits, rules, may, limits, requires } = role;
  const forbidden = Object.entries(may).flatMap(([right, allowed]) => (allowed ? [] : [right]));
  const facts = [
    `For ${role.for}.`,
    ...(inherits.length === 0 ? [] : [`Inherits from ${inherits.join(", ")}.`]),
    ...(forbidden.length === 0 ? [] : [`May not use: ${forbidden.join(", ")}.`]),
    ...[...requires].map(([listener, factors]) => `Also shows on ${listener}: ${factors.join(", ")}.`),
    ...Object.entries(limits).map(([limit, value]) => `${limit}: ${String(value)}.`),
  ];
  return [
    heading(3, name),
    ...paragraph(description),
    ...paragraph(facts.join(" ")),
    table(
      ["Right", "Access", "Topic", "Limited to", "Line"],
      rules.map((rule) => [
        rule.effect,
        rule.access === "publish" ? "publish" : "read",
        templateText(rule.template),
        `${rule.own ? "its own" : scopeText(rule).trim()}${rule.recovery ? " (recovery too)" : ""}`,
        String(rule.source.line),
      ]),
    ),
  ];
}

function heading(level: 1 | 2 | 3, text: string): Block {
  return { kind: "heading", level, text };
}

function paragraph(text: string | undefined): Block[] {
  return text === undefined || text === "" ? [] : [{ kind: "text", text }];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): Block {
  return { kind: "table", rows: [head, ...rows] };
}

export function toMarkdown(blocks: readonly Block[]): string {
  const cell = (text: string): string => markdown(text).replace(/\|/g, "\\|").replace(/\s+/g, " ");
  const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
  const parts = blocks.map((block) => {
    if (block.kind === "heading") return `${"#".repeat(block.level)} ${markdown(block.text)}`;
    if (block.kind === "text") return markdown(block.text);
    const [head = [], ...rows] = block.rows;
    return [row(head), `|${head.map(() => "---|").join("")}`, ...rows.map(row)].join("\n");
  });
  return `${parts.join("\n\n")}\n`;
}

/** `#` and `+` are topics here, `<` is not HTML. */
function markdown(text: string): string {
  return text.replace(/[\\`*_<>[\]]/g, "\\$&");
}

export function toHtml(blocks: readonly Block[], title: string): string {
  const body = blocks.map((block) => {
    if (block.kind === "heading") return `<h${block.level}>${escaped(block.text)}</h${block.level}>`;
    if (block.kind === "text") return `<p>${escaped(block.text)}</p>`;
    const [head = [], ...rows] = block.rows;
    const line = (cells: readonly string[], tag: "th" | "td"): string =>
      `<tr>${cells.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join("")}</tr>`;
    return `<table>\n<thead>${line(head, "th")}</thead>\n<tbody>\n${rows.map((cells) => line(cells, "td")).join("\n")}\n</tbody>\n</table>`;
  });
  const style =
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}table{border-collapse:collapse;width:100%}th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top}";
  return `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>${escaped(title)}</title>\n<style>${style}</style>\n</head>\n<body>\n${body.join("\n")}\n</body>\n</html>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
