// What is where: patterns in the memory of a target, as they are found.

import { html, useEffect, useRef, useState } from "./dom.js";
import { grouped, hex, size } from "./address.js";
import { CLASSES, HEX, TEXT } from "./bytes.js";
import { KINDS, kindOf, mappingAt } from "./kinds.js";
import { Empty, Link, Name } from "./parts.js";
import { pattern, TYPES } from "./pattern.js";

const MOST = 10_000;
const SHOWN_AT_FIRST = 200;
const CONTEXT = 16;
const DRAW_EVERY_MS = 120;

/** @type {[import("./pattern.js").PatternKind, string, string][]} */
const KINDS_OF_PATTERN = [
  ["text", "Text", "password"],
  ["hex", "Bytes", "4d ?? 49"],
  ["number", "Number", "1337"],
  ["pointer", "Pointer to", "main, or [heap]+0x40, or FROM-TO"],
  ["regex", "Expression", "user=[a-z]+"],
];
/** @type {[string, string][]} */
const PLACES = [
  ["", "everywhere"],
  ["writable", "what can be written"],
  ["heap", "the heap"],
  ["stack", "stacks"],
  ["anonymous", "anonymous memory"],
  ["file", "files"],
];

/** @typedef {{ address: bigint, length: number, context: Uint8Array, before: number }} Match */
/** @typedef {{ matches: Match[], bytes: number, of: number, skipped: number, state: "running" | "done" | "stopped", why: string | null }} Progress */

/** @param {any} props */
export function SearchView({ session, target, space, gone, mappings, onGo }) {
  const [kind, setKind] = useState(/** @type {import("./pattern.js").PatternKind} */ ("text"));
  const [value, setValue] = useState("");
  const [type, setType] = useState("u32");
  const [place, setPlace] = useState("");
  const [wrong, setWrong] = useState("");
  const [found, setFound] = useState(/** @type {Progress | null} */ (null));
  const [shown, setShown] = useState(SHOWN_AT_FIRST);
  const running = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => () => running.current?.abort(), []);

  const search = async (/** @type {Match[] | null} */ within) => {
    setWrong("");
    try {
      const body = await bodyOf(space, kind, value, type, place, within);
      running.current?.abort();
      running.current = new AbortController();
      setShown(SHOWN_AT_FIRST);
      await run(session, target.id, body, running.current.signal, setFound);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      setFound((before) => before && { ...before, state: "stopped", why: "an error" });
      if (error instanceof Error && !("slug" in error)) setWrong(error.message);
      else session.fail(error);
    }
  };
  const stop = () => {
    running.current?.abort();
    setFound((before) => before && { ...before, state: "stopped", why: "you" });
  };
  const placeholder = KINDS_OF_PATTERN.find(([each]) => each === kind)?.[2];
  const busy = found?.state === "running";
  return html`<section class="view" aria-labelledby="search-title">
    <header class="view-head"><div><h2 id="search-title">Search its memory</h2>
      <p class="hint">The service looks; only what it finds comes here. Pages that are not in memory are left alone.</p></div></header>
    <form class="search-form" onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      void search(null);
    }}>
      <select aria-label="What to look for" value=${kind} onChange=${(/** @type {any} */ event) => setKind(event.target.value)}>
        ${KINDS_OF_PATTERN.map(([each, name]) => html`<option value=${each} selected=${each === kind}>${name}</option>`)}
      </select>
      ${kind === "number" && html`<select aria-label="Type of the number" value=${type} onChange=${(/** @type {any} */ event) => setType(event.target.value)}>
        ${TYPES.map((each) => html`<option value=${each} selected=${each === type}>${each}</option>`)}</select>`}
      <input type="search" aria-label="Pattern" placeholder=${placeholder} spellcheck="false" autocomplete="off" aria-invalid=${wrong ? "true" : undefined} value=${value}
        onInput=${(/** @type {any} */ event) => (setValue(event.target.value), setWrong(""))} />
      <label class="hint">in <select aria-label="Where to look" value=${place} onChange=${(/** @type {any} */ event) => setPlace(event.target.value)}>
        ${PLACES.map(([each, name]) => html`<option value=${each} selected=${each === place}>${name}</option>`)}</select></label>
      <button class="primary" disabled=${gone || !value}>Search</button>
      ${busy && html`<button type="button" onClick=${stop}>Stop</button>`}
      ${found && !busy && found.matches.length > 0 && html`<button type="button" disabled=${gone || !value} title="Look for the pattern at the places found before, and nowhere else" onClick=${() => search(found.matches)}>Narrow down</button>`}
    </form>
    ${wrong && html`<p class="why" role="alert">${wrong}</p>`}
    ${found ? html`<${Results} ...${{ found, shown, mappings, onGo }} onMore=${() => setShown(shown * 4)} />` : html`<${Empty} title="Nothing was looked for yet">
      <p>A text of yours, a number that you see elsewhere, or an address that something may point to.</p><//>`}
  </section>`;
}

/** @param {any} props */
function Results({ found, shown, mappings, onGo, onMore }) {
  const { matches, bytes, of, skipped, state, why } = found;
  const words = state === "running" ? "so far" : state === "stopped" ? `until it was stopped by ${why}` : why ? `; it ended early: ${why.replace("-", " ")}` : "in all";
  return html`<p class="progress" role="status">
      <progress max=${of || 1} value=${state === "done" && !why ? of || 1 : bytes + skipped} aria-label="Searched"></progress>
      <span>${grouped(matches.length)} ${matches.length === 1 ? "match" : "matches"} ${words}; ${size(bytes)} searched${skipped ? `, ${size(skipped)} not in memory` : ""}.${matches.length >= MOST ? ` The first ${grouped(MOST)} are kept.` : ""}</span>
    </p>
    ${matches.length > 0
      ? html`<div class="scroll" tabindex="0" role="region" aria-label="Matches"><table class="matches">
          <thead><tr><th scope="col">address</th><th scope="col">kind</th><th scope="col">what is there</th></tr></thead>
          <tbody>${matches.slice(0, shown).map((/** @type {Match} */ each) => html`<${Row} key=${hex(each.address)} match=${each} mappings=${mappings} onGo=${onGo} />`)}</tbody>
        </table>${matches.length > shown && html`<button class="more" onClick=${onMore}>Show more of ${grouped(matches.length)}</button>`}</div>`
      : state === "done" && html`<${Empty} title="It is nowhere in what was searched">${skipped > 0 && html`<p>${size(skipped)} are not in memory, and were left alone.</p>`}<//>`}`;
}

/** @param {{ match: Match, mappings: readonly import("./kinds.js").Mapping[], onGo: (address: bigint) => void }} props */
function Row({ match, mappings, onGo }) {
  const { address, length, context, before } = match;
  const mapping = mappingAt(mappings, address);
  const text = (/** @type {number} */ from, /** @type {number} */ to) => Array.from(context.subarray(from, to), (byte) => TEXT[byte]).join("");
  const printable = [...context.subarray(before, before + length)].every((byte) => CLASSES[byte] === "text" || byte === 0x20);
  const codes = Array.from(context.subarray(before, before + Math.min(length, 24)), (byte) => HEX[byte]).join(" ");
  return html`<tr onClick=${() => onGo(address)}>
    <td><${Link} address=${address} mapping=${mapping} onGo=${onGo} /></td>
    <td>${mapping && html`<span class="swatch fill-${kindOf(mapping)}"></span>${KINDS[kindOf(mapping)]}`}</td>
    <td class="context">${printable ? html`${text(0, before)}<mark>${text(before, before + length)}</mark>${text(before + length, context.length)}` : html`<mark>${codes}</mark> <${Name} text=${text(before, context.length)} />`}</td>
  </tr>`;
}

/**
 * @param {import("./space.js").Space} space
 * @param {import("./pattern.js").PatternKind} kind
 * @param {string} value
 * @param {string} type
 * @param {string} place
 * @param {Match[] | null} within
 */
async function bodyOf(space, kind, value, type, place, within) {
  const looked = kind === "pointer" ? await pointerTo(space, value) : pattern(kind, value, type);
  /** @type {Record<string, unknown>} */
  const rest = { limit: MOST, context: CONTEXT };
  if (place === "writable") rest.mappings = { perms: "w" };
  else if (place) rest.mappings = { kind: [place] };
  if (within) rest.within = within.map(({ address }) => hex(address));
  return `{"pattern": ${looked}, ${JSON.stringify(rest).slice(1)}`;
}

/**
 * @param {import("./space.js").Space} space
 * @param {string} value
 */
async function pointerTo(space, value) {
  let range;
  try {
    range = await space.range(value);
  } catch {
    const address = await space.address(value);
    range = [address, address + 1n];
  }
  return JSON.stringify({ pointer_to: range.map(hex) });
}

/**
 * @param {import("./session.js").Session} session
 * @param {string} target
 * @param {string} body
 * @param {AbortSignal} signal
 * @param {(progress: Progress) => void} show
 */
async function run(session, target, body, signal, show) {
  /** @type {Progress} */
  const progress = { matches: [], bytes: 0, of: 0, skipped: 0, state: "running", why: null };
  let drawn = 0;
  const draw = () => {
    drawn = Date.now();
    show({ ...progress });
  };
  draw();
  for await (const line of session.api.lines(`v1/targets/${target}/search`, body, signal)) {
    if (signal.aborted) return;
    if (line.match && progress.matches.length < MOST) progress.matches.push(matchOf(line.match));
    if (line.progress) Object.assign(progress, line.progress);
    if (line.done) {
      const { bytes, skipped, stopped } = line.done;
      Object.assign(progress, { bytes, skipped, state: "done", why: stopped });
    }
    // Thousands of matches a second are one picture each tenth of it.
    if (Date.now() - drawn > DRAW_EVERY_MS) draw();
  }
  if (progress.state === "running") Object.assign(progress, { state: "stopped", why: "the service" });
  draw();
}

/**
 * @param {any} sent
 * @returns {Match}
 */
function matchOf({ address, length, context, before }) {
  const bytes = Uint8Array.from(atob(context), (letter) => letter.charCodeAt(0));
  return { address: BigInt(address), length, context: bytes, before };
}
