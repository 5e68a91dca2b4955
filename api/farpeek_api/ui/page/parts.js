// What several views are made of.

import { html, useEffect, useRef } from "./dom.js";
import { hex } from "./address.js";
import { parts } from "./hostile.js";
import { KINDS, kindOf, placeIn } from "./kinds.js";

/**
 * Text that a target chose. `bdi` keeps its direction to itself.
 * @param {{ text: string, most?: number }} props
 */
export function Name({ text, most = 512 }) {
  const shown = parts(text, most).map(({ text: piece, odd }) =>
    odd ? html`<span class="odd" title=${odd}>${piece}</span>` : piece,
  );
  return html`<bdi class="name">${shown}</bdi>`;
}

/** @param {{ advice: import("./advice.js").Advice, onClose?: () => void, onRetry?: () => void }} props */
export function Notice({ advice, onClose, onRetry }) {
  return html`<div class="notice" role="alert">
    <div>
      <strong>${advice.title}</strong>
      ${advice.detail && html`<p>${advice.detail}</p>`} ${advice.cure && html`<p class="cure">${advice.cure}</p>`}
    </div>
    <div class="notice-buttons">
      ${onRetry && html`<button onClick=${onRetry}>Try again</button>`}
      ${onClose && html`<button class="quiet" aria-label="Close this message" onClick=${onClose}>✕</button>`}
    </div>
  </div>`;
}

/** @param {{ title: string, children?: any }} props */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>
    <div>${children}</div></div>`;
}

/**
 * An address that leads to the hex view.
 * @param {{ address: bigint, mappings: readonly import("./kinds.js").Mapping[], mapping: import("./kinds.js").Mapping | null, onGo: (address: bigint) => void, symbol?: string | null }} props
 */
export function Link({ address, mapping, onGo, symbol }) {
  if (!mapping) return html`<span class="address nowhere" title="nothing is mapped there">${hex(address)}</span>`;
  const kind = kindOf(mapping);
  const place = symbol ?? placeIn(mapping, address);
  return html`<button class="link address kind-${kind}" title="${KINDS[kind]}, ${mapping.perms}" onClick=${() => onGo(address)}
      >${hex(address)}</button
    >${place && html` <span class="place"><${Name} text=${place} most=${80} /></span>`}`;
}

/**
 * Buttons of which one is pressed.
 * @template T
 * @param {{ label: string, value: T, options: readonly (readonly [T, string])[], onChange: (value: T) => void }} props
 */
export function Choice({ label, value, options, onChange }) {
  return html`<span class="choice" role="group" aria-label=${label}>
    ${options.map(
      ([option, text]) => html`<button aria-pressed=${option === value} onClick=${() => onChange(option)}>${text}</button>`,
    )}
  </span>`;
}

/**
 * What opens below its name, and closes when somebody goes elsewhere.
 * @param {{ label: string, children?: any }} props
 */
export function Menu({ label, children }) {
  const menu = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  useEffect(() => {
    const leave = (/** @type {Event} */ event) => {
      const { current } = menu;
      if (current?.open && event.target instanceof Node && !current.contains(event.target)) current.open = false;
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
    };
  }, []);
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !menu.current?.open) return;
    menu.current.open = false;
    menu.current.querySelector("summary")?.focus();
  };
  return html`<details class="menu" ref=${menu} onKeyDown=${onKey}><summary>${label}</summary>${children}</details>`;
}
