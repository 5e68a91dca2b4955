// The mappings of a target: drawn to scale, and as a table for keyboard and screen reader.

import { html, useEffect, useMemo, useRef, useState } from "./dom.js";
import { grouped, hex, size, untagged } from "./address.js";
import { lay } from "./drawing.js";
import { safe } from "./hostile.js";
import { KINDS, kindOf, mappingAt, pathOf } from "./kinds.js";
import { Choice, Empty, Name } from "./parts.js";

const HEIGHT = 84;
const MOST_ROWS = 400;
const ZOOMS = [1, 2, 4, 8, 16, 32, 64];

/** @typedef {import("./kinds.js").Mapping} Mapping */

/** @param {{ target: any, mappings: readonly Mapping[], at: bigint | null, onGo: (address: bigint) => void, onReload: () => void }} props */
export function MapView({ target, mappings, at, onGo, onReload }) {
  const [filter, setFilter] = useState("");
  const [most, setMost] = useState(MOST_ROWS);
  const found = useMemo(() => mappings.filter((each) => fits(each, filter)), [mappings, filter]);
  const mapped = mappings.reduce((sum, { start, end }) => sum + (end - start), 0n);
  const resident = mappings.reduce((sum, each) => sum + BigInt(each.resident ?? 0), 0n) * BigInt(target.page_size);
  return html`<section class="view" aria-labelledby="map-title">
    <header class="view-head">
      <div>
        <h2 id="map-title">What is mapped</h2>
        <p class="hint">
          ${grouped(mappings.length)} mappings, ${size(mapped)} in all, ${size(resident)} of it in memory. Click on one to see its bytes.
        </p>
      </div>
      <div class="filter">
        <input type="search" aria-label="Filter mappings by name, permissions, kind or address" placeholder="Filter: heap, libc, r-xp, 0x7f…"
          value=${filter} onInput=${(/** @type {any} */ event) => setFilter(event.target.value)} />
        <button onClick=${onReload} title="Look at the map again">Refresh</button>
      </div>
    </header>
    <${Drawing} mappings=${found} pageSize=${target.page_size} at=${at === null ? null : untagged(at, target.address_bits)} onGo=${onGo} />
    ${found.length
      ? html`<div class="scroll" tabindex="0" role="region" aria-label="Mappings">
          <table class="mappings">
            <thead><tr><th scope="col">from</th><th scope="col">to</th><th class="number" scope="col">size</th><th scope="col">allows</th>
              <th scope="col">kind</th><th scope="col">in memory</th><th scope="col">name</th><th scope="col">build id</th></tr></thead>
            <tbody>${found.slice(0, most).map((each) => html`<${Line} key=${hex(each.start)} mapping=${each} pageSize=${target.page_size} onGo=${onGo} />`)}</tbody>
          </table>
          ${found.length > most && html`<button class="more" onClick=${() => setMost(most * 4)}>Show more of ${grouped(found.length)}</button>`}
        </div>`
      : html`<${Empty} title=${filter ? `No mapping fits “${filter}”` : "Nothing is mapped"}>
          ${filter && html`<button onClick=${() => setFilter("")}>Show all</button>`}<//>`}
  </section>`;
}

/** @param {{ mapping: Mapping, pageSize: number, onGo: (address: bigint) => void }} props */
function Line({ mapping, pageSize, onGo }) {
  const { start, end, perms, buildId, resident, swapped, deleted } = mapping;
  const kind = kindOf(mapping);
  const pages = Number((end - start) / BigInt(pageSize));
  return html`<tr onClick=${() => onGo(start)}>
    <td><button class="link address kind-${kind}" onClick=${(/** @type {Event} */ event) => {
      event.stopPropagation();
      onGo(start);
    }}>${hex(start)}</button></td>
    <td class="address">${hex(end)}</td>
    <td class="number">${size(end - start)}</td>
    <td class="mono">${perms}</td>
    <td><span class="swatch fill-${kind}"></span>${KINDS[kind]}</td>
    <td>${resident !== null && html`<${Residency} resident=${resident} swapped=${swapped ?? 0} pages=${pages} />`}</td>
    <td class="path"><${Name} text=${pathOf(mapping)} />${deleted && html` <span class="tag">deleted</span>`}</td>
    <td class="mono buildid">${buildId && buildId.slice(0, 12)}</td>
  </tr>`;
}

/** @param {{ resident: number, swapped: number, pages: number }} props */
function Residency({ resident, swapped, pages }) {
  const part = pages ? resident / pages : 0;
  const percent = resident && part < 0.01 ? "<1" : Math.floor(part * 100).toString();
  const title = `${grouped(resident)} of ${grouped(pages)} pages are in memory${swapped ? `, ${grouped(swapped)} are swapped out` : ""}`;
  return html`<span class="residency" title=${title}><span class="bar"><span style=${{ width: `${Math.min(100, part * 100)}%` }}></span></span>
    <span class="percent">${percent} %</span></span>`;
}

/** @param {{ mappings: readonly Mapping[], pageSize: number, at: bigint | null, onGo: (address: bigint) => void }} props */
function Drawing({ mappings, pageSize, at, onGo }) {
  const [zoom, setZoom] = useState(1);
  const [scale, setScale] = useState(/** @type {"linear" | "log"} */ ("linear"));
  const [told, setTold] = useState(/** @type {Mapping | null} */ (null));
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const width = useWidth(box);
  const drawn = useMemo(() => lay(mappings, width * zoom, scale, pageSize), [mappings, width, zoom, scale, pageSize]);
  const here = at === null ? null : mappingAt(mappings, at);
  const level = ZOOMS.indexOf(zoom);
  const shown = told ?? here;
  return html`<figure class="drawing" aria-label="Mappings to scale; the table below has the same">
    <div class="drawing-tools">
      <${Choice} label="Scale" value=${scale} onChange=${setScale} options=${[["linear", "To scale"], ["log", "Logarithmic"]]} />
      <span class="choice" role="group" aria-label="Zoom">
        <button aria-label="Zoom out" disabled=${level === 0} onClick=${() => setZoom(ZOOMS[level - 1])}>−</button>
        <button aria-label="Zoom in" disabled=${level === ZOOMS.length - 1} onClick=${() => setZoom(ZOOMS[level + 1])}>+</button>
      </span>
      <span class="told">${shown ? html`<span class="swatch fill-${kindOf(shown)}"></span>${size(shown.end - shown.start)} <${Name} text=${pathOf(shown) || KINDS[kindOf(shown)]} />` : html`<${Legend} />`}</span>
    </div>
    <div class="drawing-box" ref=${box}>
      <svg width=${Math.max(1, drawn.width)} height=${HEIGHT} aria-hidden="true" onMouseLeave=${() => setTold(null)}>
        ${drawn.holes.map(({ x, width: wide }) => html`<rect class="hole" x=${x} y=${HEIGHT / 2 - 1} width=${wide} height="2" />`)}
        ${drawn.blocks.map(
          ({ mapping, kind, x, width: wide, resident }) => html`<g class=${here === mapping ? "here" : ""} onMouseEnter=${() => setTold(mapping)} onClick=${() => onGo(mapping.start)}>
            <title>${`${hex(mapping.start)} ${size(mapping.end - mapping.start)} ${mapping.perms} ${safe(pathOf(mapping), 120)}`}</title>
            <rect class="block fill-${kind}" x=${x} y="4" width=${Math.max(1, wide - 1)} height=${HEIGHT - 8} rx="1.5" />
            <rect class="filled fill-${kind}" x=${x} y=${4 + (HEIGHT - 8) * (1 - resident)} width=${Math.max(1, wide - 1)} height=${(HEIGHT - 8) * resident} rx="1.5" />
          </g>`,
        )}
      </svg>
    </div>
  </figure>`;
}

function Legend() {
  return html`<span class="legend">${Object.entries(KINDS).map(([kind, name]) => html`<span><span class="swatch fill-${kind}"></span>${name}</span>`)}</span>`;
}

/** @param {{ current: HTMLElement | null }} box */
export function useWidth(box) {
  const [width, setWidth] = useState(800);
  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(100, Math.floor(entry.contentRect.width))));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/**
 * @param {Mapping} mapping
 * @param {string} filter
 */
function fits(mapping, filter) {
  const wanted = filter.trim().toLowerCase();
  if (!wanted) return true;
  if (/^0x[0-9a-f]{1,16}$/.test(wanted)) {
    const address = BigInt(wanted);
    if (mapping.start <= address && address < mapping.end) return true;
    return hex(mapping.start).startsWith(wanted);
  }
  return [mapping.path, mapping.perms, KINDS[kindOf(mapping)]].some((text) => text.toLowerCase().includes(wanted));
}
