/** The processes of the Linux scenario: each is ended with the scenario, however that ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

/** How long anything may take before the scenario fails: liveness, not speed. */
const LIMIT_MS = 60_000;

export class Processes {
  #running = new Set();

  constructor() {
    process.on("exit", () => this.#kill());
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));
  }

  start(command, words, options = {}) {
    const child = new LineProcess(command, words, options);
    this.#running.add(child);
    return child;
  }

  async end() {
    await Promise.all([...this.#running].map((child) => child.kill("SIGKILL")));
  }

  #kill() {
    for (const child of this.#running) child.signal("SIGKILL");
  }
}

/** A child process as the lines it prints, standard error among them. */
class LineProcess {
  lines = [];
  #child;
  #name;
  #waiting = [];
  #takers = [];
  #ended;

  constructor(command, words, options) {
    this.#name = command.split("/").at(-1);
    this.#child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"], ...options });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      createInterface({ input: stream }).on("line", (line) => this.#take(line));
    this.#ended = once(this.#child, "close").then(([code, signal]) => {
      this.#take(`(ended: ${code ?? signal})`);
      for (const { reject } of this.#waiting) reject(new Error(`${this.#name} ended\n${this.tail()}`));
    });
  }

  /** Every line, said already or still to come. */
  each(take) {
    this.lines.forEach(take);
    this.#takers.push(take);
  }

  tail() {
    return this.lines
      .slice(-25)
      .map((line) => `    ${this.#name}: ${line}`)
      .join("\n");
  }

  /** The first line from `from` on that matches, said already or still to come. */
  line(pattern, from = 0) {
    const said = this.lines.slice(from).find((line) => pattern.test(line));
    if (said !== undefined) return Promise.resolve(said);
    return new Promise((resolve, reject) => {
      const waiter = { pattern, resolve, reject };
      this.#waiting.push(waiter);
      const timer = setTimeout(() => reject(new Error(`${this.#name} did not say ${pattern}\n${this.tail()}`)), LIMIT_MS);
      const settle = (take) => (value) => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        take(value);
      };
      waiter.resolve = settle(resolve);
      waiter.reject = settle(reject);
    });
  }

  signal(name) {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(name);
  }

  /** @returns the exit code, or null when the signal ended it */
  async kill(name) {
    this.signal(name);
    await this.#ended;
    return this.#child.exitCode;
  }

  #take(line) {
    this.lines.push(line);
    for (const take of this.#takers) take(line);
    for (const { pattern, resolve } of this.#waiting) if (pattern.test(line)) resolve(line);
  }
}

export async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
