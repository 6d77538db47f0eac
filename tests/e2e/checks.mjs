/* Checks that compare what the page shows with what the API says.
 *
 * The appliance is alive while we look, so totals are caught between two answers of the API: one from well
 * before the page is read, one after. Each check takes { page, api, traffic } and throws when it does not hold. */

import assert from "node:assert/strict";
import { accessible } from "./looks.mjs";

const LAG_MS = 3500; /* the page may be one poll and one aggregator interval behind */
const LOOK_AGAIN_MS = 500;
const TURN_MS = 30000; /* a busy machine may take long to notice an outage or its end */

/* "1 234 567" -> 1234567; "12.3 k" -> 12300 */
export function parse(text) {
	const [, digits, prefix] = /^<?([\d.]+)([kMGT]?)/.exec(text.replace(/\s/gu, "")) ?? [];
	assert.ok(digits !== undefined, `"${text}" is not a number`);
	return Number(digits) * { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[prefix];
}

/* The page follows the appliance by a poll or more, on a busy machine by many, and both change meanwhile: what holds at one look
 * within the time does. */
export function inTime(look) {
	return async (context) => {
		const end = Date.now() + TURN_MS;
		for (;;) {
			try {
				return await look(context);
			} catch (e) {
				if (Date.now() > end)
					throw e;
			}
			await context.page.waitForTimeout(LOOK_AGAIN_MS);
		}
	};
}

/* Until the page shows an answer that it asked for after now: it asks again when it has shown the one before. */
async function shownAnew(page, path) {
	const asks = (request) => new URL(request.url()).pathname.endsWith(`/api/v1/${path}`);
	await page.waitForRequest(asks);
	await page.waitForRequest(asks);
}

const texts = (page, selector) => page.locator(selector).allTextContents();

async function sectionsExist({ page }) {
	for (const title of ["Engines", "Verdicts", "Pools", "Session search", "Events", "All counters"])
		assert.equal(await page.getByRole("heading", { name: title, exact: true, level: 2 }).count(), 1, title);
	for (const title of ["Throughput", "Packets", "Sessions", "Session setup"])
		assert.equal(await page.getByRole("heading", { name: title, exact: true, level: 3 }).count(), 1, title);
	assert.equal(await page.locator(".plot canvas").count(), 4);
}

async function healthAgrees({ page, api }) {
	const health = await api("health");
	assert.equal(await page.locator("#health").getAttribute("data-status"), health.status);
	assert.match(await page.locator("#health-summary").textContent(), new RegExp(`^${health.engines_up} of ${health.engines} engines up`));
	assert.equal(await page.locator("#health-reasons li").count(), health.reasons.length); /* their wording may count seconds */
	assert.match(await page.locator("#version").textContent(), new RegExp(health.version.replaceAll(".", "\\.")));
}

async function enginesAgree({ page, api }) {
	const { engines } = await api("engines");
	const row = (label) => texts(page, `#engines-body [data-label="${label}"]`);
	assert.ok(engines.length > 0);
	assert.deepEqual(await row("Engine"), engines.map((e) => String(e.engine)));
	assert.deepEqual(await row("State"), engines.map((e) => e.state));
	assert.deepEqual(await row("CPU"), engines.map((e) => String(e.cpu)));
	for (const [i, text] of (await row("XDP inside / outside")).entries())
		assert.ok(text.includes(engines[i].inside) && text.includes(engines[i].outside), text);
}

async function verdictsAgree({ page, api }) {
	const { verdicts } = await api("stats/schema");
	assert.deepEqual(await texts(page, "#verdicts-body code"), byClass(verdicts).map((v) => v.name));
	assert.deepEqual(await texts(page, "#verdicts-body td:nth-child(2)"), byClass(verdicts).map((v) => v.help));

	const before = (await api("stats")).appliance.verdicts;
	await shownAnew(page, "stats");
	const shown = await texts(page, "#verdicts-body td:nth-child(4)");
	const after = (await api("stats")).appliance.verdicts;
	byClass(verdicts).forEach(({ name }, i) => {
		const total = parse(shown[i]);
		assert.ok(before[name] <= total && total <= after[name], `${name}: ${before[name]} <= ${total} <= ${after[name]}`);
	});
}

/* The page groups by class and keeps the order in which classes first appear. */
function byClass(verdicts) {
	const classes = [...new Set(verdicts.map((v) => v.class))];
	return classes.flatMap((c) => verdicts.filter((v) => v.class === c));
}

/* Rates wander: what is shown must lie in the range, with some room, that history tells of the last seconds. */
async function throughputAgrees({ page, api, traffic }) {
	const charts = [["#chart-packets", "packets", 1], ["#chart-bits", "bytes", 8]];
	for (const [chart, unit, scale] of charts) {
		const shown = (await texts(page, `${chart} .value`)).map(parse);
		for (const [i, side] of ["outside", "inside"].entries()) {
			const { points } = await api(`stats/history?counter=tx_${side}_${unit}`);
			const recent = points.slice(-10).map(([, value]) => (value ?? 0) * scale);
			const [low, high] = [0.5 * Math.min(...recent) - 1, 2 * Math.max(...recent) + 1];
			assert.ok(low <= shown[i] && shown[i] <= high, `${chart} to ${side}: ${low} <= ${shown[i]} <= ${high}`);
			assert.ok(!traffic || shown[i] > 0, `${chart} to ${side} shows no traffic`);
		}
	}
	assert.match(await page.locator("#chart-bits-summary").textContent(), /Outbound: now .*bit\/s, mean .*Inbound: now /);
}

async function poolsAgree({ page, api }) {
	const { pools, leaving } = await api("pools");
	const note = await page.locator("#pools-leaving").textContent();
	assert.equal(await page.locator("#pools-leaving").isVisible(), leaving.length > 0);
	assert.ok(leaving.slice(0, 8).every((a) => note.includes(`${a.address} (`)), note);
	assert.deepEqual(await texts(page, ".pool h3"), pools.map((p) => p.name));
	for (const [i, pool] of pools.entries()) {
		const box = page.locator(".pool").nth(i);
		const [used, total] = (await box.locator(".pool-head .meter-number").textContent()).split(" of ").map(parse);
		assert.equal(total, pool.ports_total);
		assert.ok(used <= total);
		assert.equal(await box.locator("tbody tr").count(), Math.min(pool.addresses.length, 256));
		if (pool.addresses.length <= 256)
			assert.equal((await texts(box, "tbody tr")).filter((t) => t.includes("draining")).length,
				pool.addresses.filter((a) => a.draining).length);
	}
}

async function sessionsFound({ page, api, traffic }) {
	const { sessions } = await api("sessions?limit=1");
	if (traffic)
		assert.ok(sessions.length === 1, "no session although traffic flows");
	if (sessions.length === 0)
		return;
	const address = sessions[0].inside.split(":")[0];
	await page.getByLabel("Inside").fill(address);
	await page.getByLabel("Inside").press("Enter");
	await page.locator('#sessions-body [data-label="Inside"]').first().waitFor();
	const found = await texts(page, '#sessions-body [data-label="Inside"]');
	assert.ok(found.every((text) => text.startsWith(`${address}:`)), found.join(" "));
}

async function sessionSearchRefusesNonsense({ page }) {
	const kept = await page.getByLabel("Inside").inputValue();
	await page.getByLabel("Inside").fill("999.1.1.1");
	await page.getByRole("button", { name: "Search" }).click();
	await page.waitForTimeout(LAG_MS); /* an earlier search may not answer over the refusal */
	assert.match(await page.locator("#sessions-note").textContent(), /IPv4 address/);
	assert.equal(await page.getByLabel("Inside").getAttribute("aria-invalid"), "true");
	await page.getByLabel("Inside").fill(kept);
	await page.getByRole("button", { name: "Search" }).click();
	assert.equal(await page.getByLabel("Inside").getAttribute("aria-invalid"), "false");
}

/* The topmost are those the API names; the page of one shows what it uses of each limit. */
/* Nothing is lost here, so the list of what was lost is empty; everything there is comes back as the API says. */
async function eventsShown({ page, api }) {
	const kind = page.locator('#event-form select[name="kind"]');
	await kind.selectOption("lost");
	await page.locator("#events-note", { hasText: "No event matches." }).waitFor({ timeout: TURN_MS });
	await kind.selectOption("");
	const { events } = await api("events?limit=1");
	if (events.length > 0)
		await page.locator("#events-body tbody tr").first().waitFor({ timeout: TURN_MS });
}

async function subscribersShown({ page, api, traffic }) {
	const { subscribers } = await api("subscribers?top=sessions&limit=20");
	if (traffic)
		assert.ok(subscribers.length > 0, "no subscriber although traffic flows");
	if (subscribers.length === 0)
		return;
	const { inside, blocks, refused } = subscribers[0];
	const limits = blocks.length > 0 || refused.blocks ? 7 : 6; /* blocks only where there are any, or were asked for */
	await page.getByLabel("Find").fill(inside);
	const row = page.locator("#subscribers-body tbody tr").filter({ hasText: inside });
	await row.getByRole("button").click();
	await page.locator("#subscriber-limits tbody tr").first().waitFor();
	assert.match(await page.locator("#subscriber-name").textContent(), new RegExp(`^${inside}`));
	assert.equal(await page.locator("#subscriber-limits tbody tr").count(), limits);
	assert.match(await page.locator("#subscriber-where").textContent(), /^behind \d/);
	await page.getByRole("button", { name: "Close" }).click();
	await page.getByLabel("Find").fill("");
}

async function numbersMove({ page, api, traffic }) {
	const clock = await page.locator("#clock").textContent();
	await page.waitForFunction((old) => document.getElementById("clock").textContent !== old, clock, { timeout: TURN_MS });
	if (traffic) {
		const { interval_ms } = await api("stats");
		assert.ok(interval_ms > 0);
	}
}

async function chartAnswersKeys({ page }) {
	const plot = page.getByRole("slider", { name: /^Throughput/ });
	await plot.focus();
	await page.keyboard.press("ArrowLeft");
	assert.match(await plot.getAttribute("aria-valuetext"), /^\d\d:\d\d:\d\d: Outbound .*bit\/s, Inbound .*bit\/s$/);
	await page.keyboard.press("Escape");
	assert.match(await plot.getAttribute("aria-valuetext"), /^now: /);
}

/* Everything that can be operated is reached by Tab alone, in document order. */
async function keyboardReachesAll({ page }) {
	const wanted = await page.evaluate(() => {
		globalThis.controls = () => [...document.querySelectorAll("a[href], button:enabled, input, summary, [tabindex='0']")]
			.filter((n) => n.checkVisibility());
		globalThis.wanted = new Set(globalThis.controls());
		globalThis.reached = new Set();
		document.activeElement.blur();
		return globalThis.wanted.size;
	});
	for (let i = 0; i < wanted + 5; i++) {
		await page.keyboard.press("Tab");
		await page.evaluate(() => globalThis.reached.add(document.activeElement));
	}
	/* Rows come and go meanwhile: of those that were there from beginning to end. */
	const missed = await page.evaluate(() => globalThis.controls()
		.filter((n) => globalThis.wanted.has(n) && !globalThis.reached.has(n)).map((n) => n.outerHTML.slice(0, 80)));
	assert.ok(wanted > 5, `only ${wanted} controls`);
	assert.deepEqual(missed, []);
}

/* An API that stops answering is said plainly, and the page finds back by itself. */
async function outageIsTold({ page }) {
	const banner = page.locator("#health");
	await page.route("**/api/v1/**", (route) => route.abort());
	await page.locator('#health[data-status="unreachable"]').waitFor({ timeout: TURN_MS });
	assert.match(await banner.textContent(), /does not answer.*Last answer at \d\d:\d\d:\d\d.*Trying again/s);
	assert.match(await page.title(), /^Unreachable/);
	await accessible(page);
	await page.unroute("**/api/v1/**");
	await page.locator('#health:not([data-status="unreachable"])').waitFor({ timeout: TURN_MS });
}

export const CHECKS = [
	["all sections are there", sectionsExist],
	["health as the API says", inTime(healthAgrees)],
	["engines as the API says", inTime(enginesAgree)],
	["numbers move", numbersMove],
	["throughput as the API says", inTime(throughputAgrees)],
	["verdicts: names, meanings and totals as the API says", verdictsAgree],
	["pools as the API says", inTime(poolsAgree)],
	["a session is found by its inside address", sessionsFound],
	["session search refuses what is no address", sessionSearchRefusesNonsense],
	["subscribers as the API says", subscribersShown],
	["events by kind", eventsShown],
	["a chart is explored by keyboard", chartAnswersKeys],
	["every control is reached by keyboard", keyboardReachesAll],
];
export const OUTAGE = ["an outage of the API is told and survived", outageIsTold];
