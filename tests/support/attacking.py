"""A page of somebody else's: all ways in which it may ask the service, and what it sees of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTACK = """async ({base, pid, id, address, ticket}) => {
  const seen = {};
  const read = JSON.stringify({addresses: [address], lengths: 16});
  const register = JSON.stringify({pid});
  const paths = [
    ["GET", "/v1/info"], ["GET", "/v1/targets"], ["GET", "/v1/processes"], ["GET", "/openapi.json"],
    ["POST", "/v1/targets", register], ["POST", `/v1/targets/${id}/readv`, read],
    ["POST", `/v1/targets/${id}/writev`, JSON.stringify({addresses: [address], data: ["AAAA"]})],
    ["GET", "/"], ["GET", "/ui/app.js"], ["POST", "/v1/stream/tickets"],
    ["DELETE", `/v1/targets/${id}`],
  ];
  const ask = async (name, path, options) => {
    try {
      const answer = await fetch(base + path, options);
      seen[name] = [answer.type, answer.status, await answer.text()];
    } catch (error) { seen[name] = ["error", 0, ""]; }
  };
  for (const [method, path, body] of paths) {
    for (const credentials of ["omit", "include"]) {
      const headers = body ? {"Content-Type": "application/json"} : {};
      await ask(`${method} ${path} ${credentials}`, path, {method, body, headers, credentials});
      if (method === "DELETE") continue;
      const simple = {method, body, credentials, mode: "no-cors"};
      await ask(`no-cors ${method} ${path} ${credentials}`, path, simple);
    }
  }
  const settled = (make) => new Promise((resolve) => {
    setTimeout(() => resolve(["silence", 0, ""]), 5000);
    try { make(resolve); } catch (error) { resolve(["error", 0, ""]); }
  });
  seen["events"] = await settled((resolve) => {
    const events = new EventSource(base + "/v1/events");
    events.onopen = () => { events.close(); resolve(["open", 200, ""]); };
    events.onerror = () => { events.close(); resolve(["error", 0, ""]); };
  });
  seen["stream"] = await settled((resolve) => {
    const stream = new WebSocket(base.replace("http", "ws") + "/v1/stream");
    stream.onopen = () => { stream.close(); resolve(["open", 101, ""]); };
    stream.onerror = () => resolve(["error", 0, ""]);
  });
  seen["stream with a ticket"] = await settled((resolve) => {
    const offered = ["farpeek.v1", `farpeek.ticket.${ticket}`];
    const stream = new WebSocket(base.replace("http", "ws") + "/v1/stream", offered);
    stream.onopen = () => { stream.close(); resolve(["open", 101, ""]); };
    stream.onerror = () => resolve(["error", 0, ""]);
  });
  seen["script"] = await settled((resolve) => {
    const script = document.createElement("script");
    script.onload = () => resolve(["open", 200, ""]);
    script.onerror = () => resolve(["error", 0, ""]);
    script.src = base + "/ui/app.js";
    document.head.append(script);
  });
  seen["image"] = await settled((resolve) => {
    const image = new Image();
    image.onload = () => resolve(["open", 200, ""]);
    image.onerror = () => resolve(["error", 0, ""]);
    image.src = base + "/v1/info";
  });
  for (const path of ["/v1/targets", `/v1/targets/${id}/writev`]) {
    seen[`form ${path}`] = await settled((resolve) => {
      const frame = document.createElement("iframe");
      frame.name = "frame" + Math.random();
      document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, {method: "POST", action: base + path, target: frame.name});
      form.enctype = "text/plain";
      const field = document.createElement("input");
      // A JSON object, but for the equals sign that a form puts into it.
      Object.assign(field, {name: register.slice(0, -1) + ', "x": "', value: '"}'});
      form.append(field);
      document.body.append(form);
      frame.onload = () => {
        let text = "";
        try { text = frame.contentDocument.body.innerText; } catch (error) { /* not its own */ }
        if (text || frame.contentDocument === null) resolve(["frame", 0, text]);
      };
      form.submit();
    });
  }
  return seen;
}"""


PAGE = "<!doctype html><title>elsewhere</title><body>elsewhere"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def page_elsewhere() -> Iterator[int]:
    """Serve a page that is nobody's; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
