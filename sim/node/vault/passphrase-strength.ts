/**
 * Whether a new passphrase would hold against somebody who has the files and guesses: scrypt makes a guess cost a tenth of a second, so
 * what counts is how many guesses come before the right one. A coarse sieve for what everybody tries first, no measure of what passes it.
 */

const LEAST_CHARACTERS = 10;
const LEAST_DIFFERENT = 5;
/** Words that stand at the core of the passphrases most often found in leaked lists, and the names of what is protected here. */
const COMMON = [
  ..."password passwort passw0rd p@ssword p@ssw0rd qwerty qwertz azerty letmein iloveyou welcome admin administrator geheim dragon monkey".split(
    " ",
  ),
  ..."master football baseball superman batman trustno1 sunshine princess shadow login root toor default changeme changeit hawser mosquitto".split(
    " ",
  ),
];
const ROWS = ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm"];

/** @returns what is weak about it, as the end of a sentence; undefined when nothing is */
export function weaknessOf(passphrase: string): string | undefined {
  const text = passphrase.normalize("NFC").toLowerCase();
  const characters = [...text];
  if (characters.length < LEAST_CHARACTERS) return `it has ${characters.length} characters; use ${LEAST_CHARACTERS} or more`;
  if (new Set(characters).size < LEAST_DIFFERENT) return "it repeats a few characters";
  if (isRepeated(text)) return "it repeats itself";
  if (unexplained(text) < LEAST_DIFFERENT) return "it is made of sequences and of words that are tried first";
  return undefined;
}

function isRepeated(text: string): boolean {
  // Found in the text written twice, beginning anywhere but at its ends: it is a shorter one several times over.
  return (text + text).indexOf(text, 1) < text.length;
}

/**
 * How many characters are left when common words and runs along alphabet or keyboard are taken away; three digits or signs count as one.
 */
function unexplained(text: string): number {
  let rest = text;
  for (const word of [...COMMON].sort((a, b) => b.length - a.length)) rest = rest.replaceAll(word, "");
  for (const row of ROWS) for (const run of runsOf(row)) rest = rest.replaceAll(run, "");
  const letters = rest.replace(/[^\p{L}]/gu, "").length;
  return letters + Math.floor((rest.length - letters) / 3);
}

/** Runs of four and more along a row, either way, the longest first. */
function runsOf(row: string): string[] {
  const runs: string[] = [];
  for (let length = row.length; length >= 4; length -= 1) {
    for (let start = 0; start + length <= row.length; start += 1) {
      const run = row.slice(start, start + length);
      runs.push(run, [...run].reverse().join(""));
    }
  }
  return runs;
}
