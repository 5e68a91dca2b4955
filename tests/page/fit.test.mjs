// How large the page is, and what it may name.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import { gzipSync } from "node:zlib";

const page = new URL("../../api/farpeek_api/ui/page/", import.meta.url);
const served = readdirSync(page).filter((name) => /\.(js|css|svg|html)$/.test(name));
const text = (name) => readFileSync(new URL(name, page), "utf8");

test("all of it together has less than 150 KB, packed", () => {
  const sum = served.reduce((all, name) => all + gzipSync(text(name)).length, 0);
  assert.ok(sum < 150_000, `${sum} bytes`);
});

test("every module that is named is there, and nothing comes from elsewhere", () => {
  for (const name of served.filter((each) => each.endsWith(".js"))) {
    for (const [, other] of text(name).matchAll(/(?:from|import\()\s*"([^"]*)"/g)) {
      assert.ok(other.startsWith("./") && served.includes(other.slice(2)), `${name} imports ${other}`);
    }
  }
  for (const page of ["index.html", "nodes.html"]) {
    for (const [, url] of text(page).matchAll(/(?:src|href)="([^"]*)"/g)) {
      assert.ok(served.includes(url.replace(/^ui\//, "")), url);
    }
  }
});

test("the page names all modules of its first view, so that they come at once and not one behind the other", () => {
  for (const name of served.filter((each) => each.endsWith(".js") && !["uplot.js", "nodes.js"].includes(each))) {
    assert.ok(text("index.html").includes(`"ui/${name}"`), name);
  }
});

test("no text becomes markup, and no module is longer than can be read", () => {
  for (const name of served.filter((each) => each.endsWith(".js") && !/^(preact|hooks|htm|uplot)\.js$/.test(each))) {
    assert.doesNotMatch(text(name), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|\beval\(/, name);
    assert.ok(text(name).split("\n").length <= 400, name);
  }
});
