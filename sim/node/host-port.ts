/** `host:port` as URLs, HTTP and messages have it: an IPv6 address in brackets. */
export function hostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
