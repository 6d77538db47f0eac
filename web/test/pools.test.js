import assert from "node:assert/strict";
import { test } from "node:test";

import { leavingText } from "../src/pools.js";

test("removed addresses are named with what lives on them, a few of many", () => {
	const one = { address: "198.51.100.23", tcp_used: 1, other_used: 125 };
	assert.equal(leavingText([one]), "Removed, draining, with ports in use: 198.51.100.23 (126)");
	assert.match(leavingText(Array(11).fill(one)), /\(126\) and 3 more$/);
});
