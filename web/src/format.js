/* Numbers for people. Units are always the caller's: these return digits and an SI prefix. */

const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];
const NARROW_SPACE = "\u202f";
export const NONE = "–";

const known = (v) => typeof v === "number" && Number.isFinite(v);

/* Three significant digits, never in exponent form: 0, 0.42, 7.5, 12.3, 123. */
function threeDigits(v) {
	if (v === 0)
		return "0";
	if (v < 0.01)
		return "<0.01";
	const digits = v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
	return v.toFixed(digits);
}

/* 1234567 -> { digits: "1.23", prefix: "M" }. `whole`: a small integer is a count and has no decimals; a rate
 * keeps them, so that it does not change its shape whenever it happens to be even. */
export function scaled(v, whole = true) {
	if (!known(v))
		return { digits: NONE, prefix: "" };
	let step = 0;
	let rest = Math.abs(v);
	while (rest >= 999.5 && step < PREFIXES.length - 1) {
		rest /= 1000;
		step++;
	}
	const count = whole && step === 0 && Number.isInteger(v);
	return { digits: (v < 0 ? "−" : "") + (count ? String(rest) : threeDigits(rest)), prefix: PREFIXES[step] };
}

const joined = ({ digits, prefix }, unit) => digits === NONE ? NONE : `${digits} ${prefix}${unit}`.trimEnd();

/* 1234567 -> "1.23 M", 7 -> "7" */
export const quantity = (v, unit = "") => joined(scaled(v), unit);

/* 1234567, "bit/s" -> "1.23 Mbit/s", 7 -> "7.00" */
export const rate = (v, unit = "") => joined(scaled(v, false), unit);

/* Labels on a chart axis: as short as they can be without lying. */
export function axisLabel(v) {
	const { digits, prefix } = scaled(v);
	const short = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
	return prefix ? `${short} ${prefix}` : short;
}

/* Every digit, in groups of three: totals that must visibly count. */
export function grouped(v) {
	return known(v) ? String(Math.trunc(v)).replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE) : NONE;
}

export function percent(part, whole) {
	if (!known(part) || !known(whole) || whole <= 0)
		return NONE;
	const p = (100 * part) / whole;
	return p > 0 && p < 0.1 ? "<0.1 %" : p < 100 && p > 99.9 ? ">99.9 %" : `${p.toFixed(1)} %`;
}

export function milliseconds(ms) {
	if (!known(ms))
		return NONE;
	return ms < 1000 ? `${Math.round(ms)} ms` : duration(ms / 1000);
}

export function duration(s) {
	if (!known(s))
		return NONE;
	if (s < 60)
		return `${s < 10 && !Number.isInteger(s) ? s.toFixed(1) : Math.floor(s)} s`;
	if (s < 3600)
		return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
	if (s < 86400)
		return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
	return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/* Time of day, 24 hours, in the operator's own zone. */
export function timeOfDay(seconds) {
	return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
