// What is under the cursor: as numbers, text, time and pointer, where it lies, and where it leads.

import { html, useEffect, useState, useStore, visible } from "./dom.js";
import { hex, size } from "./address.js";
import { numbers, text as textOf, time, word } from "./bytes.js";
import { REASONS, Memory } from "./gaps.js";
import { KINDS, kindOf, placeIn, pathOf } from "./kinds.js";
import { Link, Name } from "./parts.js";
import { follow } from "./telescope.js";

const LOOKED_AT = 64;
const REST_MS = 80;
const POINTERS = 8;

/** @param {any} props */
export function Inspector({ session, target, space, gone, at, memory, onGo, onBeside }) {
  const own = useOwn(session, target, gone, at);
  const here = memory.bytes(at, LOOKED_AT);
  const bytes = here.length >= 16 ? here : own.bytes(at, LOOKED_AT).length > here.length ? own.bytes(at, LOOKED_AT) : here;
  const mapping = space.mappingAt(at);
  const symbol = useSymbol(space, mapping ? at : null);
  const pointer = word(bytes, 0, space.little, space.pointerSize);
  const wide = word(bytes, 0, space.little, 8);
  const when = wide === null ? null : time(wide);
  const said = textOf(bytes);
  return html`<div class="inspector">
    <h2>${hex(at)}</h2>
    <p class="place-line">${mapping
      ? html`<span class="swatch fill-${kindOf(mapping)}"></span>${KINDS[kindOf(mapping)]} <span class="mono">${mapping.perms}</span>, ${size(mapping.end - mapping.start)}<br /><${Name} text=${symbol ?? (placeIn(mapping, at) || "anonymous memory")} most=${120} />
        ${symbol && pathOf(mapping) && html`<br /><span class="hint"><${Name} text=${placeIn(mapping, at)} most=${120} /></span>`}`
      : REASONS.unmapped}</p>
    ${bytes.length
      ? html`<dl class="values">
          ${numbers(bytes, space.little).map(({ name, value }) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
          ${said !== null && html`<div class="wide"><dt>text</dt><dd><${Name} text=${said} most=${64} /></dd></div>`}
          ${when && html`<div class="wide"><dt>time</dt><dd>${when.iso} <span class="hint">in ${when.unit}</span></dd></div>`}
          ${pointer !== null && html`<div class="wide"><dt>pointer</dt><dd><${Link} address=${pointer} mapping=${space.mappingAt(pointer)} onGo=${onGo} /></dd></div>`}
        </dl>`
      : html`<p class="hint">${mapping ? "Its bytes cannot be seen." : "Move to a place that is mapped."}</p>`}
    <${Telescope} ...${{ session, target, space, gone, at, onGo }} />
    ${onBeside && html`<p class="beside"><button onClick=${() => onBeside(at)}>Open beside it</button></p>`}
    <${Bookmarks} target=${target} at=${at} onGo=${onGo} />
  </div>`;
}

/**
 * The bytes at the cursor, where the rows on the screen end too early.
 * @param {import("./session.js").Session} session
 * @param {any} target
 * @param {boolean} gone
 * @param {bigint} at
 */
function useOwn(session, target, gone, at) {
  const [memory, setMemory] = useState(() => new Memory());
  const seen = useStore(visible);
  useEffect(() => {
    if (gone || !seen) return;
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      /** @type {[bigint, number][]} */
      const region = [[at, Number(at + BigInt(LOOKED_AT) > 1n << 64n ? (1n << 64n) - at : BigInt(LOOKED_AT))]];
      try {
        const { head, bytes } = await session.api.readv(target.id, region, "nowait", abort.signal);
        setMemory(Memory.of(region, bytes, head.gaps));
      } catch {
        // The rows beside it say what is wrong.
      }
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [session, target.id, gone, at, seen]);
  return memory;
}

/**
 * @param {import("./space.js").Space} space
 * @param {bigint | null} at
 */
export function useSymbol(space, at) {
  const [symbol, setSymbol] = useState(/** @type {string | null} */ (null));
  useEffect(() => {
    setSymbol(null);
    if (at === null) return;
    let current = true;
    const timer = setTimeout(async () => {
      const found = await space.symbols.nearest(at);
      if (current) setSymbol(found);
    }, REST_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [space, at]);
  return symbol;
}

/**
 * @param {import("./space.js").Space} space
 * @param {import("./telescope.js").Chain[]} chains
 */
async function symbolsOf(space, chains) {
  /** @type {Map<bigint, string>} */
  const names = new Map();
  for (const { links } of chains) {
    for (const { value, mapping } of links) {
      const name = mapping && !names.has(value) ? await space.symbols.nearest(value) : null;
      if (name) names.set(value, name);
    }
  }
  return names;
}

/** @param {any} props */
export function Telescope({ session, target, space, gone, at, onGo, count = POINTERS, title = "Where it leads" }) {
  const [chains, setChains] = useState(/** @type {import("./telescope.js").Chain[]} */ ([]));
  const [names, setNames] = useState(/** @type {ReadonlyMap<bigint, string>} */ (new Map()));
  const seen = useStore(visible);
  useEffect(() => {
    if (gone || !seen || at === null) return;
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const read = (/** @type {[bigint, number][]} */ regions) => session.api.readv(target.id, regions, "nowait", abort.signal);
        const found = await follow(read, space, at, count);
        if (abort.signal.aborted) return;
        setChains(found);
        // The tables of its files may take a while: names come when they are there.
        const named = await symbolsOf(space, found);
        if (!abort.signal.aborted) setNames(named);
      } catch {
        // The same.
      }
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [session, target.id, space, gone, at, seen, count]);
  if (!chains.some(({ links }) => links.some(({ mapping }) => mapping))) return null;
  return html`<section aria-label=${title}><h3>${title}</h3>
    <ol class="telescope">${chains.map(
      ({ offset, links, end, what }) => html`<li><span class="offset">+${offset.toString(16).padStart(2, "0")}</span> <span class="chain">
        ${links.map(({ value, mapping }, number) => html`${number > 0 && html`<span class="arrow" aria-label="leads to"> → </span>`}<${Link} address=${value} mapping=${mapping} symbol=${names.get(value) ?? null} onGo=${onGo} />`)}
        ${end === "text" && html`<span class="arrow"> → </span><span class="said">“<${Name} text=${what} most=${64} />”</span>`}
        ${end === "loop" && html` <span class="tag">loop</span>`}
        ${end === "gap" && html` <span class="tag" title=${REASONS[what] ?? ""}>${what.replace("_", " ")}</span>`}
      </span></li>`,
    )}</ol></section>`;
}

/** @param {{ target: any, at: bigint, onGo: (address: bigint) => void }} props */
function Bookmarks({ target, at, onGo }) {
  const key = `farpeek.bookmarks.${target.id}`;
  const [kept, setKept] = useState(() => kept_(key));
  const set = (/** @type {string[]} */ next) => {
    setKept(next);
    sessionStorage.setItem(key, JSON.stringify(next));
  };
  const here = hex(at);
  return html`<section aria-label="Bookmarks"><h3>Bookmarks</h3>
    <ul class="bookmarks">${kept.map(
      (each) => html`<li><button class="link address" onClick=${() => onGo(BigInt(each))}>${each}</button>
        <button class="quiet" aria-label="Forget ${each}" onClick=${() => set(kept.filter((other) => other !== each))}>✕</button></li>`,
    )}</ul>
    <button disabled=${kept.includes(here)} onClick=${() => set([...kept, here].slice(-32))}>Bookmark ${here}</button>
  </section>`;
}

/**
 * @param {string} key
 * @returns {string[]}
 */
function kept_(key) {
  try {
    const found = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => /^0x[0-9a-f]{1,16}$/.test(each)) : [];
  } catch {
    return [];
  }
}
