/** HW001..HW019: whether the broker runs at all, and how it is run. */
import type { Rule } from "./rule-book.js";

export const OPERATION_RULES = {
  HW001: {
    title: "The broker does not start",
    severity: "high",
    why: "A line that this version does not accept stops the broker at start-up. Whoever restarts it, after an update or a power cut, has no broker; and until then the running one has the old settings.",
    remedy:
      "Correct or remove the line. Options belong to a version: listener_allow_anonymous needs 2.1, for example. Every line counts, also one that is indented before its #.",
    references: ["mosquitto.conf(5)", "mosquitto --test-config (2.1 and later)"],
  },
  HW002: {
    title: "A file the configuration names is missing or cannot be used",
    severity: "high",
    why: "The broker reads its password, ACL, key and certificate files when it starts, and stops when one is missing or malformed. A comment behind a file name is part of the name.",
    remedy: "Correct the path, or put the file there. Put comments on separate lines.",
    references: ["mosquitto.conf(5)"],
  },
  HW003: {
    title: "A setting has no effect where it stands",
    severity: "low",
    why: "The setting looks as if it protected something and does not. mosquitto applies listener options to the listener above them, and each included file starts at the default listener again.",
    remedy: "Move the line below the listener it is meant for, or remove it.",
    references: ["mosquitto.conf(5), per_listener_settings and listener"],
  },
  HW004: {
    title: "The broker runs as root",
    severity: "medium",
    why: "A flaw in the broker or in a plugin then gives the whole machine away, not only the broker's files.",
    remedy: "Remove the line `user root`: mosquitto becomes the user mosquitto by itself.",
    references: ["mosquitto.conf(5), user"],
  },
  HW005: {
    title: "A secret file is readable by every user of the machine",
    severity: "medium",
    why: "A private key lets its reader be the broker. Password hashes can be guessed offline (mosquitto 2 uses 101 rounds of PBKDF2 by default), and a PSK file holds the keys themselves.",
    remedy: "chown the file to the broker's user and chmod it 600.",
    references: ["CWE-732", "mosquitto_passwd(1)"],
  },
  HW006: {
    title: "Nothing is logged",
    severity: "medium",
    why: "Refused passwords, takeovers and protocol errors leave no trace: a break-in is neither seen while it happens nor understood afterwards.",
    remedy: "Log at least error, warning, notice and information to a file or the journal.",
    references: ["CWE-778", "mosquitto.conf(5), log_dest and log_type"],
  },
  HW007: {
    title: "Memory is unbounded",
    severity: "medium",
    why: "A limit of 0 means no limit: one subscriber that stays away, or reads slowly, makes the broker keep every message until the machine runs out of memory.",
    remedy: "Set max_queued_messages and max_inflight_messages to what your devices need; 1000 and 20 are the defaults.",
    references: ["CWE-770", "mosquitto.conf(5), max_queued_messages"],
  },
  HW008: {
    title: "The broker serves files over HTTP",
    severity: "medium",
    why: "http_dir makes every file below a directory readable by anyone who reaches the port, without a password. When keys or password files lie there, they are published.",
    remedy: "Remove http_dir and use a web server, or point it at a directory that holds nothing else.",
    live: "an HTTP GET on the WebSocket port returns a file",
    references: ["CWE-538", "mosquitto.conf(5), http_dir"],
  },
  HW009: {
    title: "The broker's data lies in a directory that others can write",
    severity: "medium",
    why: "The persistence file holds retained and queued messages and sessions. In /tmp any local user may prepare or replace it.",
    remedy: "Use /var/lib/mosquitto/ and mode 700.",
    references: ["CWE-379"],
  },
  HW010: {
    title: "Client addresses can be forged",
    severity: "high",
    why: "A listener with enable_proxy_protocol believes the header that whoever connects sends first. Reached directly, a client writes any source address there, and with version 2 any certificate name.",
    remedy: "Bind the listener to loopback or to the proxy's network.",
    references: ["mosquitto.conf(5), enable_proxy_protocol", "PROXY protocol specification, section 2"],
  },
  HW011: {
    title: "An administration interface is open",
    severity: "high",
    why: "The management interface of the broker changes users, rules and sessions. It should not be reachable from the network of the devices, and never with a password everybody knows.",
    remedy: "Bind it to loopback, require TLS, and set your own password.",
    references: ["CWE-1188"],
  },
  HW012: {
    title: "Clients can write lines into the log",
    severity: "low",
    why: "With log_type subscribe, unsubscribe or all, each subscription is a log line that begins with the client's id. A client that calls itself `New client connected from 198.51.100.7:1 as admin` writes what looks like the broker's own words: whoever reads the log, or bans addresses found in it, believes the client. It also floods: two more lines for each topic filter.",
    remedy:
      "Name the types you need: error, warning, notice and information, and debug where denied publishes are to be seen. `hawser monitor` refuses logs written otherwise.",
    references: ["CWE-117", "mosquitto.conf(5), log_type"],
  },
} as const satisfies Readonly<Record<`HW${number}`, Rule>>;
