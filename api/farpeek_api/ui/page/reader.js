// Reads what is on the screen. While one read is under way the newest wish waits, and older ones are
// forgotten: who scrolls fast wants the rows where it ends.

import { Memory } from "./gaps.js";

/** @typedef {[bigint, number][]} Regions */

export class Reader {
  /**
   * @param {import("./api.js").Api} api
   * @param {string} target
   * @param {(memory: Memory, head: any) => void} onRead
   * @param {(error: unknown) => void} onError
   */
  constructor(api, target, onRead, onError) {
    this.api = api;
    this.target = target;
    this.onRead = onRead;
    this.onError = onError;
    /** @type {{ regions: Regions, mode: import("./api.js").Mode } | null} */
    this.wish = null;
    this.abort = new AbortController();
    this.reading = false;
  }

  /**
   * @param {Regions} regions
   * @param {import("./api.js").Mode} mode
   */
  want(regions, mode) {
    this.wish = { regions, mode };
    if (!this.reading) void this.read();
  }

  async read() {
    this.reading = true;
    while (this.wish && !this.abort.signal.aborted) {
      const { regions, mode } = this.wish;
      this.wish = null;
      if (!regions.length) continue;
      try {
        const { head, bytes } = await this.api.readv(this.target, regions, mode, this.abort.signal);
        this.onRead(Memory.of(regions, bytes, head.gaps), head);
      } catch (error) {
        if (!this.abort.signal.aborted) this.onError(error);
      }
    }
    this.reading = false;
  }

  stop() {
    this.abort.abort();
    this.wish = null;
  }
}
