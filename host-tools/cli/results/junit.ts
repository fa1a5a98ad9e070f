/** A result as JUnit XML, as GitLab, Jenkins and most others read it: one case a check. */
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";

export function junitXml(result: FleetResult): string {
  const failed = result.checks.filter(({ passed }) => !passed).length;
  const seconds = (result.durationMs / 1000).toFixed(3);
  const cases = result.checks.map(({ name, passed, detail }) => {
    const head = `    <testcase classname="${escaped(`hawser.${result.name}`)}" name="${escaped(name)}" time="${passed ? "0" : seconds}"`;
    const text = escaped(detail);
    return passed
      ? `${head}>\n      <system-out>${text}</system-out>\n    </testcase>`
      : `${head}>\n      <failure message="${text}">${text}</failure>\n    </testcase>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="${result.checks.length}" failures="${failed}" errors="0" time="${seconds}">
  <testsuite name="${escaped(result.name)}" tests="${result.checks.length}" failures="${failed}" errors="0" skipped="0" time="${seconds}" timestamp="${result.startedAt}">
    <properties>
      <property name="seed" value="${escaped(result.seed)}"/>
      <property name="devices" value="${result.devices}"/>
      <property name="broker" value="${escaped(result.broker)}"/>
    </properties>
${cases.join("\n")}
  </testsuite>
</testsuites>
`;
}

/** XML 1.0 has no way to write most control characters, not even escaped. */
export function escaped(text: string): string {
  const clean = text.replace(
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    "\ufffd",
  );
  return clean
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/[\n\r\t]/g, " ");
}
