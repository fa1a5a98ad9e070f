/**
 * The page's looks: dark text on light tiles or light on dark ones, each state a colour and a shape, contrast at least 7:1 for the state.
 */
export const PAGE_STYLE = `
:root { color-scheme: light; --gap: 12px; }
* { box-sizing: border-box; margin: 0; }
html, body { height: 100%; }
body { display: flex; flex-direction: column; gap: var(--gap); padding: var(--gap); background: #e9ecef; color: #111; font: 18px/1.35 system-ui, "Liberation Sans", sans-serif; }
header { display: grid; grid-template-columns: auto 1fr; align-items: baseline; gap: 4px 24px; }
h1 { font-size: 22px; grid-row: span 2; align-self: center; }
dl { display: flex; flex-wrap: wrap; gap: 2px 26px; }
[hidden] { display: none !important; }
dl div { display: flex; gap: 8px; align-items: baseline; }
dt { color: #3d4349; font-size: 16px; }
dd { font-weight: 700; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures dd { font-size: clamp(24px, 1.7vw, 36px); }
#dead { padding: 12px 16px; background: #111; color: #fff; font-size: 24px; font-weight: 700; }
main { flex: 1; min-height: 0; display: grid; gap: var(--gap); grid-template-columns: repeat(4, minmax(0, 1fr)); grid-auto-rows: minmax(0, 1fr); }
article { display: flex; flex-direction: column; gap: 3px; padding: 8px 14px; border-radius: 8px; border: 4px solid #343a40; background: #fff; color: #111; overflow: hidden; }
article h2 { display: flex; justify-content: space-between; font-size: clamp(24px, 1.8vw, 40px); }
.word { display: flex; align-items: center; gap: 12px; font-size: clamp(30px, 3vw, 60px); line-height: 1.05; font-weight: 800; overflow: clip; }
.shape { flex: none; width: 0.9em; height: 0.9em; background: currentColor; }
.id { font-size: clamp(24px, 1.9vw, 40px); font-weight: 700; overflow-wrap: anywhere; }
.hint::first-letter { text-transform: uppercase; }
.hint { font-size: clamp(18px, 1.4vw, 30px); line-height: 1.25; }
.step { font-size: clamp(19px, 1.4vw, 30px); }
article button { margin-top: auto; align-self: flex-start; }
.empty { border-style: dashed; }
.empty .shape { background: none; border: 0.12em dashed currentColor; border-radius: 50%; }
.no-port { border-style: dotted; background: #dee2e6; }
.no-port .shape { background: none; border: 0.12em dotted currentColor; }
.waiting { background: #e9ecef; }
.waiting .shape { clip-path: polygon(0 0, 38% 0, 38% 100%, 62% 100%, 62% 0, 100% 0, 100% 100%, 0 100%); }
.working { background: #d0e4fb; border-color: #0b3d75; color: #06264a; }
.working .shape { border-radius: 50%; background: none; border: 0.16em solid currentColor; border-right-color: transparent; animation: turn 1s linear infinite; }
.label, .approval { background: #ffe08a; border-color: #5c4300; color: #2b1f00; }
.label .shape { clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.approval { background: #ffc9a3; border-color: #6b2e00; }
.approval .shape { clip-path: polygon(50% 0, 100% 38%, 82% 100%, 18% 100%, 0 38%); }
.passed { background: #0a5c2b; border-color: #053518; color: #fff; }
.passed .shape { border-radius: 50%; }
.failed { background: #8b0f14; border-color: #4d0507; color: #fff; }
.failed .shape { clip-path: polygon(20% 0, 50% 30%, 80% 0, 100% 20%, 70% 50%, 100% 80%, 80% 100%, 50% 70%, 20% 100%, 0 80%, 30% 50%, 0 20%); }
.held { background: #3b2a63; border-color: #1d1236; color: #fff; }
.held .shape { clip-path: polygon(50% 0, 100% 100%, 0 100%); }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { .working .shape { animation: none; } }
footer { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; }
form { display: flex; gap: 8px; align-items: center; }
input#scan { width: 22em; max-width: 40vw; padding: 8px; font: inherit; border: 2px solid #343a40; background: #fff; color: #111; }
output { flex: 1; min-width: 12em; font-weight: 700; }
output.refused { color: #8b0f14; }
button { padding: 8px 14px; font: inherit; font-weight: 700; border: 2px solid #111; border-radius: 6px; background: #fff; color: #111; }
button:disabled { border-style: dashed; background: #e9ecef; color: #495057; }
.sound input { width: 22px; height: 22px; vertical-align: middle; }
:focus-visible { outline: 4px solid #0b57d0; outline-offset: 2px; }
.is-dead main, .is-dead header { filter: grayscale(1); opacity: 0.45; }
@media (max-width: 900px) { main { grid-template-columns: repeat(2, minmax(0, 1fr)); grid-auto-rows: auto; } html, body { height: auto; } }
`;
