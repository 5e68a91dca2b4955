// @ts-nocheck - the one module that imports the libraries: their types are said here, and nowhere guessed.
import * as preact from "./preact.js";
import * as hooks from "./hooks.js";
import htm from "./htm.js";

/** @typedef {any} Node what a component gives */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => Node} */
export const html = htm.bind(preact.h);
/** @type {(name: string, inputs: object, ...children: any[]) => Node} what `html` makes, for what is made by the thousand */
export const h = preact.h;
/** @type {(node: Node, into: Element) => void} */
export const render = preact.render;
/** @type {<T>(initial: T | (() => T)) => [T, (next: T | ((before: T) => T)) => void]} */
export const useState = hooks.useState;
/** @type {(effect: () => void | (() => void), inputs?: readonly unknown[]) => void} */
export const useEffect = hooks.useEffect;
/** @type {(effect: () => void | (() => void), inputs?: readonly unknown[]) => void} */
export const useLayoutEffect = hooks.useLayoutEffect;
/** @type {<T>(initial: T) => { current: T }} */
export const useRef = hooks.useRef;
/** @type {<T>(make: () => T, inputs: readonly unknown[]) => T} */
export const useMemo = hooks.useMemo;
/** @type {<T extends Function>(callback: T, inputs: readonly unknown[]) => T} */
export const useCallback = hooks.useCallback;
/** @type {() => string} */
export const useId = hooks.useId;

/**
 * A value that components watch.
 * @template T
 */
export class Store {
  /** @param {T} value */
  constructor(value) {
    this.value = value;
    /** @type {Set<() => void>} */
    this.watchers = new Set();
  }

  /** @param {T} value */
  set(value) {
    if (value === this.value) return;
    this.value = value;
    for (const watcher of [...this.watchers]) watcher();
  }

  /** @param {() => void} watcher */
  watch(watcher) {
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  }
}

/**
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [, again] = hooks.useState(0);
  hooks.useLayoutEffect(() => {
    const seen = store.value;
    const stop = store.watch(() => again((count) => count + 1));
    if (store.value !== seen) again((count) => count + 1);
    return stop;
  }, [store]);
  return store.value;
}

/** Whether the page is looked at: a hidden one asks for nothing. */
export const visible = new Store(!document.hidden);
document.addEventListener("visibilitychange", () => visible.set(!document.hidden));
