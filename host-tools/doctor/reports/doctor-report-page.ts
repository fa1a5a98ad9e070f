/** A report as one HTML file without scripts or anything to load: it can be mailed and kept. */
import { countOf, gradeOf, SEVERITIES } from "../finding.js";
import type { DoctorReport, Finding, Grade } from "../finding.js";
import { ruleOf } from "../rule-book.js";

const VERDICTS: Readonly<Record<Grade, string>> = {
  A: "Nothing was found.",
  B: "Small things only.",
  C: "Weaker than it looks.",
  D: "There is a way in, or nobody gets in.",
  F: "Open. Act today.",
};

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #fff; --edge: #d9dee5; --wash: #f4f6f8; --red: #b3261e; --amber: #9a6700; --blue: #1f5fa8; --green: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3adba; --paper: #14181d; --edge: #333b45; --wash: #1d232a; --red: #ff8a80; --amber: #e3b341; --blue: #79b8ff; --green: #56d364; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
header { display: flex; gap: 1.5rem; align-items: center; border-bottom: 1px solid var(--edge); padding-bottom: 1rem; }
.grade { font-size: 4rem; font-weight: 700; line-height: 1; width: 6rem; height: 6rem; flex: none; display: grid; place-items: center; border-radius: 1rem; border: 3px solid currentColor; }
.A, .B, .good { color: var(--green); } .C, .medium { color: var(--amber); } .D, .F, .critical, .high { color: var(--red); } .low { color: var(--blue); }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1.05rem; margin: 0; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
article { border: 1px solid var(--edge); border-left-width: 6px; border-radius: .5rem; padding: .8rem 1rem; margin: 1rem 0; break-inside: avoid; }
article.critical, article.high { border-left-color: var(--red); } article.medium { border-left-color: var(--amber); } article.low { border-left-color: var(--blue); }
article > * { color: var(--ink); } .tag { font-weight: 700; text-transform: uppercase; font-size: .8rem; letter-spacing: .04em; }
pre { background: var(--wash); padding: .6rem .8rem; border-radius: .4rem; overflow-x: auto; font: 14px/1.45 ui-monospace, monospace; margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
ol.first li { margin: .3rem 0; } summary { cursor: pointer; color: var(--soft); }
@media print { body { margin: 0; max-width: none; } details > * { display: block; } }
`;

export function htmlReport(report: DoctorReport, madeAt: Date): string {
  const { findings, notes, target, broker, version } = report;
  const grade = gradeOf(findings);
  const counts = SEVERITIES.map((severity) => `${countOf(findings, severity)} ${severity}`).join(" &middot; ");
  const starts = report.starts === false ? " The broker does not start with this configuration." : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Grade ${grade}: ${escape(target)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<div class="grade ${grade}" role="img" aria-label="Grade ${grade}">${grade}</div>
<div><h1>${escape(target)}</h1>
<p>${escape(broker)} ${escape(version)}. <strong>${VERDICTS[grade]}</strong>${starts}</p>
<p class="soft">${counts} &middot; examined ${madeAt.toISOString().slice(0, 16).replace("T", " ")} UTC by hawser doctor</p></div>
</header>
<main>
${firstSteps(findings)}
<h2>Findings</h2>
${findings.length === 0 ? '<p class="good">None.</p>' : findings.map(article).join("\n")}
${notes.length === 0 ? "" : `<h2>Notes</h2>\n<ul>${notes.map(({ what, place }) => `<li>${escape(what)}${place === undefined ? "" : ` <span class="soft">${escape(place.file)}${place.line > 0 ? `:${place.line}` : ""}</span>`}</li>`).join("\n")}</ul>`}
</main>
</body>
</html>
`;
}

/** The three worst, as things to do. */
function firstSteps(findings: readonly Finding[]): string {
  if (findings.length === 0) return "";
  const steps = [...new Map(findings.map((finding) => [finding.id, finding])).values()].slice(0, 3);
  return `<h2>What to do first</h2>\n<ol class="first">${steps.map(({ id }) => `<li>${prose(ruleOf(id).remedy)} <span class="soft">(${id})</span></li>`).join("\n")}</ol>`;
}

function article({ id, severity, what, place, fix }: Finding): string {
  const { title, why, remedy, references } = ruleOf(id);
  const where =
    place === undefined || place.file === ""
      ? ""
      : `<p class="soft">${escape(place.file)}${place.line > 0 ? `, line ${place.line}` : ""}</p>${place.text === "" ? "" : `<pre>${escape(place.text)}</pre>`}`;
  const lines = fix.length === 0 ? `<p>${prose(remedy)}</p>` : `<pre>${escape(fix.join("\n"))}</pre>`;
  const see = references.length === 0 ? "" : `<p class="soft">See ${escape(references.join("; "))}.</p>`;
  return `<article class="${severity}" id="${id}"><span class="tag ${severity}">${severity}</span>
<h3>${id}: ${escape(title)}</h3>
<p>${escape(what)}</p>
${where}
<p><strong>Fix</strong></p>
${lines}
<details><summary>Why it matters</summary><p>${prose(why)}</p><p>${prose(remedy)}</p>${see}</details>
</article>`;
}

/** Text of the rule book, with code between backticks. */
function prose(text: string): string {
  return escape(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
