// Hex views side by side, and the inspector of the one that is in use.

import { html, useCallback, useEffect, useState } from "./dom.js";
import { Memory as Bytes } from "./gaps.js";
import { HexPane } from "./hex-pane.js";
import { Inspector } from "./inspector.js";
import { Empty } from "./parts.js";

const MOST_PANES = 4;

/** @param {any} props */
export function Memory(props) {
  const { session, target, gone, mappings, space, place, go, reload } = props;
  const [active, setActive] = useState(0);
  const [memories, setMemories] = useState(/** @type {Bytes[]} */ ([]));
  /** @type {bigint[]} */
  const at = place.at.length ? place.at : [first(mappings)];
  const current = Math.min(active, at.length - 1);

  useEffect(() => {
    if (!place.at.length) go({ ...place, at }, false);
  }, [place.at.length]);
  const move = useCallback(
    (/** @type {number} */ number, /** @type {bigint} */ address, /** @type {boolean} */ step) =>
      go({ ...place, at: at.map((each, which) => (which === number ? address : each)) }, step),
    [place, go, at],
  );
  if (!mappings.length) return html`<${Empty} title="Nothing is mapped"><p>There is no memory to be seen.</p><//>`;
  return html`<div class="memory ${at.length > 1 ? "memory-many" : ""}">
    <p id="hex-keys" class="hidden">Arrows, Page up and down, Home and End move; with Control to the ends of the mapping; with Shift they choose bytes.</p>
    <div class="panes panes-${at.length}">
      ${at.map(
        (address, number) => html`<${HexPane} key=${number} ...${{ session, target, space, gone, number }} at=${address} active=${number === current && at.length > 1}
          onAt=${(/** @type {bigint} */ to, /** @type {boolean} */ step) => move(number, to, step)}
          onMemory=${(/** @type {Bytes} */ memory) => setMemories((before) => Object.assign([...before], { [number]: memory }))}
          onActive=${() => setActive(number)} onStale=${reload}
          onClose=${at.length > 1 ? () => go({ ...place, at: at.filter((_, which) => which !== number) }) : null} />`,
      )}
    </div>
    <aside class="aside" aria-label="Under the cursor">
      <${Inspector} ...${{ session, target, space, gone }} at=${at[current]} memory=${memories[current] ?? new Bytes()} onGo=${(/** @type {bigint} */ to) => move(current, to, true)}
        onBeside=${at.length < MOST_PANES ? (/** @type {bigint} */ to) => go({ ...place, at: [...at, to] }) : null} />
    </aside>
  </div>`;
}

/**
 * Where to begin: the program's own data says more than its headers.
 * @param {readonly import("./kinds.js").Mapping[]} mappings
 */
function first(mappings) {
  const heap = mappings.find(({ path }) => path === "[heap]");
  return (heap ?? mappings[0])?.start ?? 0n;
}
