import assert from "node:assert/strict";
import { test } from "node:test";
import { SPAN_S, Series } from "../src/series.js";

test("history and live values meet in one line, in order", () => {
	const series = new Series();
	series.put(1003.2, "a", 3);
	series.put(1001, "a", 1);
	series.put(1002, "a", 2);
	assert.deepEqual(series.columns(["a"]), [[1001, 1002, 1003], [1, 2, 3]]);
});

test("a hole of several seconds breaks the line, a missed second does not", () => {
	const series = new Series();
	for (const t of [1000, 1002, 1020])
		series.put(t, "a", t);
	assert.deepEqual(series.columns(["a"]), [[1000, 1002, 1003, 1020], [1000, 1002, null, 1020]]);
});

test("a counter that lacks a second leaves it out", () => {
	const series = new Series();
	series.put(1000, "a", 1);
	series.put(1000, "b", 2);
	series.put(1001, "a", 3);
	assert.deepEqual(series.columns(["a", "b"]), [[1000, 1001], [1, 3], [2, undefined]]);
	assert.deepEqual(series.columns(["b"]), [[1000], [2]]);
});

test("what left the window is forgotten", () => {
	const series = new Series();
	series.put(1000, "a", 1);
	series.put(1000 + SPAN_S + 1, "a", 2);
	series.prune();
	assert.deepEqual(series.columns(["a"]), [[1000 + SPAN_S + 1], [2]]);
});
