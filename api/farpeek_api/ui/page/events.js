// What happens to targets, as it happens: server-sent events by fetch, because EventSource sends no token.

import { Problem } from "./advice.js";
import { parts } from "./api.js";
import { EventParser } from "./wire.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

/** @typedef {import("./wire.js").ServerEvent} ServerEvent */

export class Events {
  /**
   * @param {import("./api.js").Api} api
   * @param {(event: ServerEvent) => void} told
   * @param {(connected: boolean) => void} changed
   */
  constructor(api, told, changed) {
    this.api = api;
    this.told = told;
    this.changed = changed;
    this.last = "";
    /** @type {AbortController | null} */
    this.abort = null;
    /** @type {(() => void) | null} */
    this.hurry = null;
  }

  /** Listen until `stop`, whatever becomes of the service meanwhile. */
  async start() {
    this.stop();
    const abort = new AbortController();
    this.abort = abort;
    let pause = FIRST_PAUSE_MS;
    while (!abort.signal.aborted) {
      try {
        await this.listen(abort.signal, () => (pause = FIRST_PAUSE_MS));
      } catch (error) {
        if (error instanceof Problem && (error.status === 401 || error.slug === "forbidden")) break;
      }
      if (abort.signal.aborted) return;
      this.changed(false);
      await this.rest(pause, abort.signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  stop() {
    this.abort?.abort();
    this.abort = null;
    this.hurry?.();
  }

  /**
   * Try again at once, if it waits to.
   * @returns {boolean} whether it did
   */
  again() {
    if (!this.hurry) return false;
    this.hurry();
    return true;
  }

  /**
   * @param {AbortSignal} signal
   * @param {() => void} connected
   */
  async listen(signal, connected) {
    /** @type {Record<string, string>} */
    const headers = this.last ? { "Last-Event-ID": this.last } : {};
    const response = await this.api.ask("v1/events", { accept: "text/event-stream", signal, headers });
    connected();
    this.changed(true);
    const parser = new EventParser();
    for await (const part of parts(response)) {
      for (const event of parser.add(part)) {
        if (event.id) this.last = event.id;
        this.told(event);
      }
    }
  }

  /**
   * @param {number} ms
   * @param {AbortSignal} signal
   */
  rest(ms, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.hurry = null;
        resolve(undefined);
      };
      const timer = setTimeout(done, ms);
      this.hurry = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }
}
