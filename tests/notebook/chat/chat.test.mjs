// The page's half of a chat, as far as it needs no page: `node --test`.
import assert from "node:assert/strict";
import test from "node:test";

import { duration, enterMeans, openBrace, parts, reduce } from "../../../segmind_jupyter/notebook/chat/chat.js";

const EMPTY = { turns: [], notice: "", alarm: false, names: [], model: "claude-4-sonnet" };
const turn = (id, at, fields = {}) => ({
  id, at, text: id, sent: [], stage: "sent", ended: false, elapsed_s: 2, ...fields,
});
const ids = (state) => state.turns.map((each) => each.id).join("");

test("turns begin, move on in their places, and go", () => {
  let state = EMPTY;
  state = reduce(state, { kind: "turn", turn: turn("a", 0) }, 10_000);
  state = reduce(state, { kind: "turn", turn: turn("c", 1) });
  state = reduce(state, { kind: "turn", turn: turn("b", 1) });
  assert.equal(ids(state), "abc");
  assert.equal(state.turns[0].began_ms, 8_000);
  state = reduce(state, { kind: "turn", turn: turn("a", 0, { ended: true, html: "<p>" }) });
  assert.equal(ids(state), "abc");
  assert.equal(state.turns[0].html, "<p>");
  state = reduce(state, { kind: "gone", ids: ["a", "c"] });
  assert.equal(ids(state), "b");
});

test("a state that was asked for begins anew", () => {
  const state = reduce(EMPTY, { kind: "state", turns: [turn("a", 0)], model: "claude-3-opus" }, 10_000);
  assert.deepEqual([ids(state), state.turns[0].began_ms, state.notice, state.model], ["a", 8_000, "", "claude-3-opus"]);
  assert.equal(reduce(state, { kind: "unheard of" }), state);
});

test("a notice, a head and names change their own fields alone", () => {
  let state = reduce(EMPTY, { kind: "notice", notice: "Saved.", alarm: false });
  state = reduce(state, { kind: "head", model: "claude-3.5-sonnet", usage: "1 reply" });
  state = reduce(state, { kind: "refused", ref: "r", notice: "No.", alarm: true });
  assert.deepEqual([state.notice, state.alarm, state.model, state.usage], ["No.", true, "claude-3.5-sonnet", "1 reply"]);
  assert.equal(state.ref, undefined);
  assert.equal(state.kind, undefined);
});

test("Enter sends, Shift+Enter breaks the line, a composition does neither", () => {
  const key = (fields = {}) => ({ key: "Enter", shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, isComposing: false, ...fields });
  assert.equal(enterMeans(key(), false), "send");
  assert.equal(enterMeans(key({ shiftKey: true }), false), "break");
  assert.equal(enterMeans(key({ isComposing: true }), false), null);
  assert.equal(enterMeans(key({ keyCode: 229 }), false), null);
  assert.equal(enterMeans(key(), true), "break");
  assert.equal(enterMeans(key({ ctrlKey: true }), true), "send");
  assert.equal(enterMeans(key({ metaKey: true }), false), "send");
  assert.equal(enterMeans({ ...key(), key: "a" }, false), null);
});

test("a name is completed behind one open brace", () => {
  assert.deepEqual(openBrace("see {df", 7), { typed: "df", start: 5 });
  assert.deepEqual(openBrace("{", 1), { typed: "", start: 1 });
  assert.deepEqual(openBrace("{größe", 6), { typed: "größe", start: 1 });
  assert.equal(openBrace("{{df", 4), null);
  assert.equal(openBrace("{df} and", 8), null);
});

test("durations and parts", () => {
  assert.deepEqual([0.4, 59, 61, 3700].map(duration), ["0 s", "59 s", "1 min 1 s", "1 h 1 min"]);
  assert.deepEqual(parts(10, 4), [[0, 4], [4, 8], [8, 10]]);
  assert.deepEqual(parts(0, 4), [[0, 0]]);
});
