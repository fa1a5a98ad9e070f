// Lint: TypeScript's strict rules, and the house's one-way imports:
// sdk <- firmware, sim, host-tools; host-tools may use the Node platform (sim/node) as the writer of vaults; only the command line
// (host-tools/cli), what is published for tests (host-tools/testing) and tests may join sim and host-tools.
import tseslint from "typescript-eslint";

const room = (files, ignores, forbidden, message) => ({
  files,
  ignores,
  rules: {
    "no-restricted-imports": ["error", { patterns: [...forbidden, "/test/support/"].map((regex) => ({ regex, message })) }],
  },
});

/**
 * The SDK's rooms from the ground up: each imports only from itself, those before it and the loose files of sdk/, which import no room.
 * In sdk/mqtt the loose files (client, requester) are the top instead. index.ts is the door, which nothing inside goes through.
 */
const SDK_ROOMS = ["encoding", "checks", "sleep", "presets", "mqtt", "identity", "provisioning", "supervisor", "device", "reports"];
const MQTT_ROOMS = ["codec", "contract", "session", "link"];

function sdkFloors() {
  const outside = ["/(firmware|sim|host-tools)/", "^[^.]", "/index\\.js$"];
  const climbing = (rooms) => `^[./]+/(${rooms.join("|")})/`;
  const floor = (files, above, message) => room([files], ["**/*.test.ts", "**/index.ts"], [...outside, ...above], message);
  const above = (name) => SDK_ROOMS.slice(SDK_ROOMS.indexOf(name) + 1);
  return [
    floor("sdk/*.ts", [climbing(SDK_ROOMS)], "the loose files of sdk/ are its ground: they import no room"),
    ...SDK_ROOMS.slice(0, -1).map((name) =>
      floor(`sdk/${name}/**/*.ts`, [climbing(above(name))], `sdk/${name}/ imports nothing from ${above(name).join(", ")}`),
    ),
    ...MQTT_ROOMS.map((name, at) => {
      const later = [...MQTT_ROOMS.slice(at + 1), ...above("mqtt")];
      return floor(
        `sdk/mqtt/${name}/**/*.ts`,
        [climbing(later), "^\\.\\./[\\w-]+\\.js$"],
        `sdk/mqtt/${name}/ imports nothing from ${later.join(", ")} or the client`,
      );
    }),
  ];
}

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", "coverage/", ".cache/", "**/*.d.ts"] },
  ...tseslint.configs.strict,
  {
    rules: {
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-extraneous-class": "off",
      "@typescript-eslint/no-dynamic-delete": "off",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", ignoreRestSiblings: true }],
      eqeqeq: "error",
      "no-console": "error",
      // The formatter breaks code; texts (strings, templates, patterns) stay whole, so that they can be searched for.
      "max-len": ["error", { code: 140, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true }],
      "max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
    },
  },
  // Examples show what happens on the screen.
  { files: ["examples/**/*.ts"], rules: { "no-console": "off" } },
  room(["sdk/**/*.ts"], ["sdk/**/*.test.ts"], ["/(firmware|sim|host-tools)/", "^[^.]"], "sdk/ imports nothing but itself"),
  ...sdkFloors(),
  room(["firmware/**/*.ts"], ["firmware/**/*.test.ts"], ["/(sim|host-tools)/"], "firmware/ imports only sdk/"),
  room(["sim/**/*.ts"], ["sim/**/*.test.ts", "sim/xs/**"], ["/(firmware|host-tools)/"], "sim/ imports only sdk/"),
  // The XS host runs the chip's own parts: its TLS link, its key store.
  // The files of `*world*` play the virtual world on both engines: they join the two rooms.
  room(
    ["sim/xs/**/*.ts"],
    ["sim/**/*.test.ts", "sim/xs/*world*.ts"],
    ["/host-tools/", "/(sim|node|virtual|brokers)/"],
    "sim/xs/ imports sdk/ and firmware/ only",
  ),
  room(
    ["sim/xs/*world*.ts"],
    ["sim/**/*.test.ts"],
    ["/firmware/(?!build/)", "/(host-tools|node|brokers)/"],
    "the worlds on XS import sdk/, sim/virtual/ and the bundler of firmware/build only",
  ),
  room(
    ["host-tools/**/*.ts"],
    ["host-tools/cli/**/*.ts", "host-tools/testing/**/*.ts", "host-tools/**/*.test.ts"],
    ["/firmware/", "/sim/(?!node/)"],
    "host-tools/ imports sdk/ and sim/node/ only",
  ),
  // The policy is plain data and questions about it: no disk, no sockets, no other room of the tools.
  room(
    ["host-tools/policy/**/*.ts"],
    ["**/*.test.ts"],
    ["/firmware/", "/sim/", "/(authority|brokers|ca|ca-directory|cli|pki|station)/", "^node:(?!crypto$|net$)"],
    "host-tools/policy/ imports sdk/ and nothing that has effects",
  ),
  { files: ["**/*.test.ts", "test/**/*.ts"], rules: { "@typescript-eslint/no-non-null-assertion": "off", "max-lines": "off" } },
);
