// Live memory: subscriptions on one WebSocket. A browser's WebSocket sends no header, so a ticket that is
// good for one connection goes with it as a subprotocol.

import { Problem } from "./advice.js";
import { hex } from "./address.js";
import { frame } from "./wire.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const REST_MS = 2000;

/**
 * @typedef {object} Subscription
 * @property {string} target
 * @property {[bigint, number][]} regions
 * @property {import("./api.js").Mode} mode
 * @property {number} hz
 * @property {(frame: import("./wire.js").Frame) => void} onTick
 * @property {(problem: Problem) => void} onWait there is no room for it now; it is asked for again
 * @property {(why: string, detail: string) => void} onEnd the slug of what ended it
 */

export class Stream {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.opening = false;
    this.pause = FIRST_PAUSE_MS;
    this.next = 1;
    /** @type {Map<number, Subscription>} */
    this.wanted = new Map();
    /** @type {Set<number>} those that the service had no room for */
    this.waiting = new Set();
  }

  /**
   * @param {Subscription} subscription
   * @returns {() => void} ends it
   */
  subscribe(subscription) {
    const id = this.next;
    this.next += 1;
    this.wanted.set(id, subscription);
    if (this.socket?.readyState === WebSocket.OPEN) this.ask(id, subscription);
    else void this.open();
    return () => this.unsubscribe(id);
  }

  /** @param {number} id */
  unsubscribe(id) {
    if (!this.wanted.delete(id)) return;
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ unsubscribe: id }));
    }
    // Nobody looks: the connection goes as well, after a while, for scrolling subscribes anew.
    setTimeout(() => this.rest(), REST_MS);
  }

  rest() {
    if (!this.wanted.size && this.socket?.readyState === WebSocket.OPEN) this.socket.close();
  }

  async open() {
    if (this.opening || (this.socket && this.socket.readyState <= WebSocket.OPEN)) return;
    this.opening = true;
    try {
      const response = await this.api.ask("v1/stream/tickets", { method: "POST" });
      const { ticket } = await response.json();
      this.connect(ticket);
    } catch (error) {
      this.opening = false;
      if (error instanceof Problem && ![429, 503].includes(error.status)) return this.refuse(error);
      if (error instanceof Problem && error.status === 429) for (const { onWait } of this.wanted.values()) onWait(error);
      this.later();
    }
  }

  /** @param {string} ticket */
  connect(ticket) {
    const url = new URL("v1/stream", this.api.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, ["farpeek.v1", `farpeek.ticket.${ticket}`]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.opening = false;
      this.pause = FIRST_PAUSE_MS;
      this.waiting.clear();
      for (const [id, subscription] of this.wanted) this.ask(id, subscription);
      this.rest();
    };
    socket.onmessage = ({ data }) => this.take(frame(data));
    socket.onclose = () => {
      this.opening = false;
      if (this.socket === socket) this.socket = null;
      if (this.wanted.size) this.later();
    };
  }

  later() {
    setTimeout(() => this.wanted.size && void this.open(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }

  /** @param {Problem} problem */
  refuse(problem) {
    const refused = [...this.wanted.values()];
    this.wanted.clear();
    for (const { onEnd } of refused) onEnd(problem.slug, problem.message);
  }

  /**
   * @param {number} id
   * @param {Subscription} subscription
   */
  ask(id, { target, regions, mode, hz }) {
    const subscribe = {
      target,
      addresses: regions.map(([address]) => hex(address)),
      lengths: regions.map(([, length]) => length),
      mode,
      hz,
      changed_only: true,
    };
    this.socket?.send(JSON.stringify({ id, subscribe }));
  }

  /** @param {number} id */
  askAgain(id) {
    const subscription = this.wanted.get(id);
    // A new connection has asked for all that is wanted.
    const waits = this.waiting.delete(id);
    if (waits && subscription && this.socket?.readyState === WebSocket.OPEN) this.ask(id, subscription);
  }

  /** @param {import("./wire.js").Frame} received */
  take(received) {
    const { head } = received;
    const subscription = this.wanted.get(head.id);
    if (!subscription || head.subscribed) return;
    if (head.problem?.status === 429 && !head.ended) {
      this.waiting.add(head.id);
      subscription.onWait(new Problem(head.problem, 429));
      setTimeout(() => this.askAgain(head.id), LONGEST_PAUSE_MS);
      return;
    }
    if (head.ended || head.problem) {
      this.wanted.delete(head.id);
      const slug = head.ended ?? String(head.problem.type).replace("urn:farpeek:problem:", "");
      subscription.onEnd(slug, head.problem?.detail ?? "");
      return;
    }
    subscription.onTick(received);
  }
}
