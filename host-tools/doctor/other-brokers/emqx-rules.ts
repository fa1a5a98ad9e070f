/** EMQX's acl.conf: Erlang terms, one rule each, the first that matches counts. */
import type { Place } from "../finding.js";

export interface EmqxRule {
  readonly permission: "allow" | "deny";
  /** Not for one user, client or network alone. */
  readonly isForAll: boolean;
  readonly action: "publish" | "subscribe" | "all";
  /** Filters; names in them are %u for the user name (and the certificate's), %c for the client id. */
  readonly topics: readonly string[];
  readonly place: Place;
}

/** The rules that name topics. `{allow, all}.` and what is not understood are left out. */
export function parseEmqxRules(file: string, text: string): EmqxRule[] {
  // Comments go, their line ends stay: positions remain those of the file.
  const bare = text.replace(/%(?![cu]\b).*$/gm, (comment) => " ".repeat(comment.length));
  const rules: EmqxRule[] = [];
  const pattern = /\{\s*(allow|deny)\s*,\s*(all|\{[^[\]]*?\})\s*,\s*(publish|subscribe|all|\{[^[\]]*?\})\s*,\s*\[([^\]]*)\]\s*\}\s*\./g;
  for (const match of bare.matchAll(pattern)) {
    const [whole, permission, who, action = "", list = ""] = match;
    const line = bare.slice(0, match.index).split("\n").length;
    rules.push({
      permission: permission === "deny" ? "deny" : "allow",
      isForAll: who === "all",
      action: action.includes("publish") ? "publish" : action.includes("subscribe") ? "subscribe" : "all",
      topics: [...list.matchAll(/"([^"]*)"/g)].map(([, topic = ""]) =>
        topic.replace(/\$\{(?:username|cert_common_name)\}/g, "%u").replaceAll("${clientid}", "%c"),
      ),
      place: { file, line, text: whole.replace(/\s+/g, " ") },
    });
  }
  return rules;
}
