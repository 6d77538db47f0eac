/* What an event says, for people: pure, so that it is tested without a browser. */

import { NONE, grouped } from "./format.js";

export const KINDS = {
	block_given: "Block given",
	block_returned: "Block returned",
	refusal: "Refused",
	lost: "Events lost",
	arena: "Memory made anew",
};

export const what = (e) => KINDS[e.kind] ?? e.kind;

export const who = (e) => e.inside ? (e.realm ? `${e.inside} (VLAN ${e.realm})` : e.inside) : NONE;

export const ports = (e) => e.nat ? `${e.nat}:${e.port_first}–${e.port_last}` : NONE;

/* "2026-11-27T14:03:07.250Z" -> "2026-11-27 14:03:07" in the operator's own zone. */
export function moment(text) {
	const t = new Date(text);
	const two = (n) => String(n).padStart(2, "0");
	if (Number.isNaN(t.getTime()))
		return NONE;
	return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/* Why, of what, and how often so far: `help` tells verdicts' meanings by name. */
function refusal(e, help) {
	const parts = [help.get(e.verdict) ?? e.verdict];
	if (e.remote)
		parts.push(`${e.protocol ? `${e.protocol} ` : ""}to ${e.remote}`);
	if (e.pool)
		parts.push(`pool ${e.pool}`);
	parts.push(e.of === "subscriber" ? `${grouped(e.total)} so far` : `${grouped(e.total)} so far at engine ${e.engine}`);
	return parts.join("; ");
}

export function details(e, help = new Map()) {
	if (e.kind === "refusal")
		return refusal(e, help);
	if (e.kind === "lost")
		return `${grouped(e.total)} of ${e.engine == null ? "the management daemon" : `engine ${e.engine}`}, after ${moment(e.since)}: its ring was full`;
	if (e.kind === "arena")
		return `all that was held ended; what happened after ${moment(e.since)} may be missing`;
	return e.kind === "block_returned" ? `held since ${moment(e.since)}` : "";
}
