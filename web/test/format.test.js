import assert from "node:assert/strict";
import { test } from "node:test";
import { NONE, axisLabel, duration, grouped, milliseconds, percent, quantity, rate } from "../src/format.js";

const NARROW = "\u202f";

test("three significant digits at every size", () => {
	assert.equal(rate(0, "bit/s"), "0 bit/s");
	assert.equal(rate(0.004), "<0.01");
	assert.equal(rate(0.3), "0.30");
	assert.equal(rate(9.996), "10.0");
	assert.equal(rate(99.96), "100");
	assert.equal(rate(12345, "bit/s"), "12.3 kbit/s");
	assert.equal(rate(1234567, "bit/s"), "1.23 Mbit/s");
	assert.equal(rate(999600), "1.00 M");
});

test("a count has no decimals, a rate keeps its shape", () => {
	assert.equal(quantity(7), "7");
	assert.equal(rate(7), "7.00");
	assert.equal(quantity(999), "999");
	assert.equal(quantity(1000), "1.00 k");
});

test("what is not known is a dash", () => {
	for (const f of [quantity, rate, grouped, milliseconds, duration])
		assert.equal(f(undefined), NONE);
	assert.equal(percent(1, 0), NONE);
	assert.equal(rate(NaN, "bit/s"), NONE);
});

test("totals keep every digit", () => {
	assert.equal(grouped(0), "0");
	assert.equal(grouped(999), "999");
	assert.equal(grouped(1234567), `1${NARROW}234${NARROW}567`);
});

test("a share never rounds to none or all", () => {
	assert.equal(percent(0, 10), "0.0 %");
	assert.equal(percent(1, 100000), "<0.1 %");
	assert.equal(percent(99999, 100000), ">99.9 %");
	assert.equal(percent(10, 10), "100.0 %");
});

test("axis labels drop needless zeros", () => {
	assert.equal(axisLabel(200e6), "200 M");
	assert.equal(axisLabel(1000), "1 k");
	assert.equal(axisLabel(2500), "2.5 k");
});

test("spans of time", () => {
	assert.equal(milliseconds(3), "3 ms");
	assert.equal(milliseconds(4800), "4.8 s");
	assert.equal(duration(75), "1 min 15 s");
	assert.equal(duration(90061), "1 d 1 h");
});
