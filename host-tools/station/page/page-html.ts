/** The page's frame; its script fills in the rest. */
import type { PageTexts } from "./page-texts.js";

/** @param csrf what the page's own commands carry */
export function pageHtml(texts: PageTexts, csrf: string): string {
  const t = (key: keyof PageTexts): string => escapeHtml(texts[key]);
  const fact = (id: string, key: keyof PageTexts): string => `<div><dt>${t(key)}</dt><dd id="${id}"></dd></div>`;
  return `<!doctype html>
<html lang="${t("language")}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${t("title")}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/station.css">
<script src="/station.js" defer></script>
</head>
<body data-csrf="${escapeHtml(csrf)}" data-texts="${escapeHtml(JSON.stringify(texts))}">
<header>
<h1>${t("title")}</h1>
<dl>${fact("operator", "operator")}${fact("order", "order")}${fact("product", "product")}${fact("role", "role")}${fact("firmware", "firmware")}${fact("caDays", "caDays")}${fact("clock", "clock")}</dl>
<dl class="figures">${fact("passed", "passed")}${fact("failed", "failed")}${fact("yield", "yield")}${fact("perHour", "perHour")}${fact("queued", "queued")}</dl>
</header>
<p id="dead" role="alert" hidden>${t("dead")}</p>
<main id="heads" aria-live="off"></main>
<p id="unlisted" hidden></p>
<footer>
<form id="form"><label for="scan">${t("scan")}</label><input id="scan" autocomplete="off" spellcheck="false" maxlength="2048" autofocus></form>
<output id="answer" role="status"></output>
<button id="start" type="button">${t("start")}</button><button id="stop" type="button">${t("stop")}</button>
<label class="sound"><input id="sound" type="checkbox" checked> ${t("sound")}</label>
</footer>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
