/** The ways out of a network that lets programs connect through a proxy only, by the URL of the proxy. */
import { HawserError } from "../../sdk/errors.js";
import { ConnectProxy } from "./connect-proxy.js";
import type { OutboundProxy } from "./proxied-connection.js";
import { SocksProxy } from "./socks-proxy.js";

/**
 * @param text `http://proxy:3128` or `https://proxy`, which is judged by Node's own CAs, or `socks5://proxy:1080`; `user:password@` before
 *   the host signs in
 * @throws HawserError `BAD_OPTION`; the message never shows what stands before the host
 */
export function outboundProxy(text: string): OutboundProxy {
  const url = parsed(text);
  const login = { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  if (/^https?:$/.test(url.protocol)) return new ConnectProxy(url, login);
  if ([login.user, login.password].some((part) => Buffer.byteLength(part) > 255))
    throw badProxy("has a user name or password beyond 255 bytes");
  return new SocksProxy(url, login);
}

function parsed(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
    decodeURIComponent(url.username + url.password);
  } catch {
    url = undefined;
  }
  const isPlain = url !== undefined && /^\/?$/.test(url.pathname) && url.search === "" && url.hash === "";
  if (url !== undefined && isPlain && url.hostname !== "" && /^(?:https?|socks5h?):$/.test(url.protocol)) return url;
  throw badProxy("is not the URL of an HTTP or SOCKS5 proxy");
}

function badProxy(what: string): HawserError {
  return new HawserError("BAD_OPTION", `proxy ${what}`, "Give http://proxy:3128, https://user:password@proxy or socks5://proxy:1080.");
}
