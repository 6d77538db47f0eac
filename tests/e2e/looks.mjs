/* Accessibility and layout in each look: light and dark, desk and phone; a screenshot of each. */

import assert from "node:assert/strict";
import { join } from "node:path";
import axe from "axe-core";
import { DESKTOP, PHONE } from "./browser.mjs";

const SEVERE = ["serious", "critical"];
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };

export const LOOKS = [
	{ name: "light", colorScheme: "light", viewport: DESKTOP },
	{ name: "dark", colorScheme: "dark", viewport: DESKTOP },
	{ name: "phone-light", colorScheme: "light", viewport: PHONE },
	{ name: "phone-dark", colorScheme: "dark", viewport: PHONE },
];

export async function wear(page, { colorScheme, viewport }) {
	await page.emulateMedia({ colorScheme });
	await page.setViewportSize(viewport);
	await page.waitForTimeout(1500);
}

export async function picture(page, outdir, name) {
	await page.evaluate(() => {
		document.activeElement.blur();
		scrollTo(0, 0);
	});
	await page.screenshot({ path: join(outdir, `${name}.png`), fullPage: true });
}

export async function accessible(page) {
	await page.evaluate(axe.source);
	const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, rules), RULES);
	for (const v of violations)
		console.log(`  # axe ${v.impact}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 4).join(", ")}`);
	assert.deepEqual(violations.filter((v) => SEVERE.includes(v.impact)).map((v) => v.id), []);
}

export async function fitsWidth(page) {
	const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
	assert.ok(wide <= seen, `the page is ${wide} px wide in a window of ${seen} px`);
}

/* No number or label is cut off or runs into its neighbour. */
export async function nothingCut(page) {
	const cut = await page.evaluate(() => [...document.querySelectorAll("th, td, dt, dd, button, .top *, .meter")]
		.filter((n) => n.checkVisibility() && n.clientWidth > 1 && n.scrollWidth > n.clientWidth + 1 && getComputedStyle(n).overflowX !== "auto")
		.map((n) => `${n.closest("[id]").id}: ${n.textContent.trim().slice(0, 40)} (${n.scrollWidth} in ${n.clientWidth} px)`));
	assert.deepEqual(cut, []);
}

/* Numbers change each second; nothing may move because of it. */
export async function holdsStill(page) {
	const places = () => page.evaluate(() => [...document.querySelectorAll("main section, main article, thead th")]
		.map((n) => { const r = n.getBoundingClientRect(); return [n.id || n.textContent, Math.round(r.x), Math.round(r.y), Math.round(r.width), Math.round(r.height)].join(" "); }));
	const before = await places();
	await page.waitForTimeout(3000);
	assert.deepEqual((await places()).filter((p, i) => p !== before[i]), []);
}

/* The button overrules the system's preference and remembers it. */
export async function themeToggles(page) {
	const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
	const button = page.getByRole("button", { name: /^Theme/ });
	await page.emulateMedia({ colorScheme: "dark" });
	const dark = await ground();
	await button.click(); /* light */
	assert.notEqual(await ground(), dark);
	await page.reload();
	assert.equal(await button.textContent(), "Theme: light");
	assert.notEqual(await ground(), dark);
	await button.click(); /* dark */
	assert.equal(await ground(), dark);
	await button.click(); /* auto */
}
