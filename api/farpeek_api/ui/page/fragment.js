// Where somebody is, in the URL's fragment: it survives a reload, can be passed on, and browsers send it
// to nobody. Secrets are not in it, but for the one by which `farpeek ui` opens the page, which goes at once.

import { LIMIT, hex } from "./address.js";

export const VIEWS = /** @type {const} */ (["map", "memory", "search", "threads"]);

/** @typedef {(typeof VIEWS)[number]} View */

/**
 * @typedef {object} Place
 * @property {"processes" | "service" | "target"} page
 * @property {string | null} target
 * @property {View} view
 * @property {bigint[]} at where the cursor of each hex view is; at least one if there is a target
 */

/** @type {Place} */
export const START = { page: "processes", target: null, view: "map", at: [] };

const MOST_PANES = 4;

/**
 * @param {string} fragment with or without its `#`
 * @returns {Place}
 */
export function parse(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  if (fields.has("service")) return { ...START, page: "service" };
  const target = fields.get("target");
  // Anybody may have written the link: what makes no sense is left out.
  if (!target || !/^[0-9a-zA-Z-]{1,128}$/.test(target)) return START;
  const wanted = fields.get("view");
  const view = VIEWS.find((each) => each === wanted) ?? "map";
  const at = fields.getAll("at").map(address).filter((each) => each !== null);
  return { page: "target", target, view, at: at.slice(0, MOST_PANES) };
}

/**
 * What of a link makes no sense, and is left out of the place.
 * @param {string} fragment
 * @returns {string[]}
 */
export function oddIn(fragment) {
  const whole = fragment.replace(/^#/, "");
  const fields = new URLSearchParams(whole);
  if (!whole || fields.has("service")) return [];
  const target = fields.get("target");
  if (parse(fragment).page === "processes") return [target === null ? whole : `target=${target}`];
  const wanted = fields.get("view");
  const views = wanted === null || VIEWS.some((each) => each === wanted) ? [] : [`view=${wanted}`];
  return [...views, ...fields.getAll("at").filter((each) => address(each) === null).map((each) => `at=${each}`)];
}

/** @param {Place} place */
export function format(place) {
  if (place.page === "service") return "#service";
  if (place.page === "processes" || !place.target) return "#";
  const fields = new URLSearchParams({ target: place.target, view: place.view });
  for (const each of place.at) fields.append("at", hex(each));
  return `#${fields}`;
}

/**
 * The secret that `farpeek ui` put there, if it did.
 * @param {string} fragment
 */
export function secretIn(fragment) {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("secret");
}

/** @param {string} text */
function address(text) {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) return null;
  const found = BigInt(text.toLowerCase());
  return found < LIMIT ? found : null;
}
