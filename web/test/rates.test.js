import assert from "node:assert/strict";
import { test } from "node:test";
import { RateMeter } from "../src/rates.js";

test("one sample has no rate, two have", () => {
	const meter = new RateMeter(5);
	assert.deepEqual(meter.add(100, { a: 10 }), {});
	assert.deepEqual(meter.add(101, { a: 30 }), { a: 20 });
});

test("the rate is taken over the window", () => {
	const meter = new RateMeter(5);
	for (let t = 0; t <= 20; t++)
		meter.add(t, { a: t < 15 ? 0 : 10 * (t - 14) });
	assert.deepEqual(meter.add(21, { a: 70 }), { a: 10 });
});

test("the same answer twice changes nothing", () => {
	const meter = new RateMeter(5);
	meter.add(1, { a: 0 });
	meter.add(2, { a: 8 });
	assert.deepEqual(meter.add(2, { a: 8 }), { a: 8 });
});

test("a total that shrinks starts anew", () => {
	const meter = new RateMeter(5);
	meter.add(1, { a: 1000 });
	meter.add(2, { a: 1010 });
	assert.deepEqual(meter.add(3, { a: 5 }), {});
	assert.deepEqual(meter.add(4, { a: 7 }), { a: 2 });
});
