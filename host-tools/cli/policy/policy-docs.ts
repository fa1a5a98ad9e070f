/** `policy docs`: the topic catalogue. */
import { writeFileSync } from "node:fs";
import { asyncApi } from "../../policy/asyncapi.js";
import { catalogue, toHtml, toMarkdown } from "../../policy/catalogue.js";
import type { Context } from "../command-runner.js";
import { loadPolicy } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";

export interface DocsOptions extends PolicySources {
  markdown?: string;
  html?: string;
  asyncapi?: string;
  host: string;
}

export async function docs(options: DocsOptions, { terminal }: Context): Promise<void> {
  const policy = loadPolicy(options);
  const blocks = catalogue(policy);
  const { markdown, html, asyncapi, host } = options;
  const files: [string | undefined, () => string][] = [
    [markdown, () => toMarkdown(blocks)],
    [html, () => toHtml(blocks, `Topics of ${policy.name}`)],
    [asyncapi, () => `${JSON.stringify(asyncApi(policy, host), null, 2)}\n`],
  ];
  const written = files.flatMap(([file, text]) => {
    if (file === undefined) return [];
    writeFileSync(file, text());
    return [file];
  });
  const markdownText = toMarkdown(blocks);
  if (written.length > 0)
    terminal.result(
      { files: written },
      written.map((file) => `Wrote ${file}`),
    );
  else terminal.result({ files: [], markdown: markdownText }, [markdownText.trimEnd()]);
}
