// The bar beside the rows. It stands for one mapping, for of all addresses none would be as high as a
// pixel: that of the cursor while it is on the screen, else the one on top.

import { html, useCallback, useRef } from "./dom.js";
import { size } from "./address.js";
import { safe } from "./hostile.js";
import { baseName, pathOf } from "./kinds.js";
import { fractionOf, rowAt } from "./rows.js";

const SHORTEST = 4;

/** @param {{ rows: import("./rows.js").Rows, top: bigint, count: number, at: bigint, onTop: (row: bigint) => void, space: import("./space.js").Space, controls: string }} props */
export function ScrollBar({ rows, top, count, at, onTop, space, controls }) {
  const track = useRef(/** @type {HTMLElement | null} */ (null));
  // Who drags stays in the mapping that the drag began in.
  const held = useRef(/** @type {import("./rows.js").Segment | null} */ (null));
  const segment = held.current ?? segmentFor(rows, top, count, at);
  // The last top is the one whose last row is at the bottom, if it is so long.
  const tops = segment.rows > BigInt(count) ? segment.rows - BigInt(count) + 1n : 1n;
  const fraction = fractionOf(top > segment.row ? top - segment.row : 0n, tops);
  const part = Math.max(SHORTEST, Math.min(100, (count / Number(segment.rows)) * 100));
  const mapping = space.mappingAt(segment.start);
  const name = mapping ? baseName(pathOf(mapping)) || mapping.perms : "";

  const to = useCallback(
    (/** @type {PointerEvent} */ event) => {
      const box = track.current?.getBoundingClientRect();
      if (!box) return;
      const thumb = (box.height * part) / 100;
      onTop(segment.row + rowAt((event.clientY - box.top - thumb / 2) / Math.max(1, box.height - thumb), tops));
    },
    [segment, tops, part, onTop],
  );
  const percent = Math.round(fraction * 100);
  return html`<div class="track" ref=${track} role="scrollbar" aria-controls="${controls}-at" aria-orientation="vertical" aria-label="Place in the mapping"
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent} aria-valuetext="${percent} % of ${safe(name, 60)}, ${size(segment.end - segment.start)}" title="${safe(name, 60)}, ${size(segment.end - segment.start)}"
    onPointerDown=${(/** @type {any} */ event) => {
      event.preventDefault();
      event.currentTarget.setPointerCapture(event.pointerId);
      held.current = segment;
      to(event);
    }}
    onLostPointerCapture=${() => (held.current = null)}
    onPointerMove=${(/** @type {any} */ event) => event.currentTarget.hasPointerCapture(event.pointerId) && to(event)}>
    <div class="thumb" style=${{ height: `${part}%`, top: `${fraction * (100 - part)}%` }}></div>
  </div>`;
}

/**
 * @param {import("./rows.js").Rows} rows
 * @param {bigint} top
 * @param {number} count
 * @param {bigint} at
 */
function segmentFor(rows, top, count, at) {
  const row = rows.rowOf(at);
  const here = rows.segmentAt(at);
  if (here.kind === "bytes" && top <= row && row < top + BigInt(count)) return here;
  const segment = rows.segmentOf(top);
  if (segment.kind === "bytes") return segment;
  return rows.segmentOf(top + 1n < rows.count ? top + 1n : top);
}
