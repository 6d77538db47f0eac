import assert from "node:assert/strict";
import { test } from "node:test";
import { NONE } from "../src/format.js";
import { KINDS, details, moment, ports, what, who } from "../src/happened.js";

const HELP = new Map([["drop_no_port", "no free port on any address of the pool"]]);
const local = (text) => moment(text); /* whatever zone the tests run in */

test("every kind has a name, and an unknown one is shown as it is", () => {
	for (const kind of Object.keys(KINDS))
		assert.notEqual(what({ kind }), kind);
	assert.equal(what({ kind: "session_made" }), "session_made");
});

test("a block: who, which ports, since when", () => {
	const e = { kind: "block_returned", inside: "100.64.0.2", realm: 7, nat: "198.51.100.1", port_first: 1024,
		port_last: 1535, since: "2026-11-27T14:00:01Z" };
	assert.equal(who(e), "100.64.0.2 (VLAN 7)");
	assert.equal(ports(e), "198.51.100.1:1024–1535");
	assert.equal(details(e), `held since ${local("2026-11-27T14:00:01Z")}`);
	assert.equal(details({ ...e, kind: "block_given" }), "");
	assert.equal(who({ ...e, realm: 0 }), "100.64.0.2");
});

test("a refusal: why, for whom, how often", () => {
	const e = { kind: "refusal", verdict: "drop_no_port", remote: "203.0.113.7:53", protocol: "udp", total: 1234,
		pool: "main", of: "engine", engine: 2 };
	assert.equal(details(e, HELP),
		"no free port on any address of the pool; udp to 203.0.113.7:53; pool main; 1\u202f234 so far at engine 2");
	assert.equal(details({ kind: "refusal", verdict: "drop_odd", total: 3, of: "subscriber" }), "drop_odd; 3 so far");
	assert.equal(who(e), NONE);
	assert.equal(ports(e), NONE);
});

test("what was lost says how much and since when", () => {
	const since = "2026-11-27T14:00:01Z";
	assert.equal(details({ kind: "lost", engine: 1, total: 3, since }), `3 of engine 1, after ${local(since)}: its ring was full`);
	assert.match(details({ kind: "lost", engine: null, total: 3, since }), /^3 of the management daemon/);
	assert.match(details({ kind: "arena", since }), /^all that was held ended/);
});

test("a moment", () => {
	assert.match(moment("2026-11-27T14:03:07.250Z"), /^\d{4}-\d\d-\d\d \d\d:\d\d:07$/);
	assert.equal(moment("yesterday"), NONE);
});
