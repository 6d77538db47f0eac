/* dashboard.mjs URL OUTDIR: runs every check, prints one line each, answers by exit status. Called by ./run. */

import { launch, open } from "./browser.mjs";
import { CHECKS, OUTAGE, inTime } from "./checks.mjs";
import { LOOKS, accessible, fitsWidth, holdsStill, nothingCut, picture, themeToggles, wear } from "./looks.mjs";

const LIVE_MS = 30000;
const [url, outdir] = process.argv.slice(2);
const traffic = process.env.TRAFFIC === "1";

async function api(path) {
	const response = await fetch(new URL(`api/v1/${path}`, url));
	if (!response.ok && response.status !== 503)
		throw new Error(`GET ${path}: HTTP ${response.status}: ${await response.text()}`);
	return response.json();
}

const failed = [];

async function check(name, body) {
	try {
		await body();
		console.log(`ok      ${name}`);
	} catch (e) {
		failed.push(name);
		console.log(`not ok  ${name}\n  # ${e.message.replaceAll("\n", "\n  # ")}`);
	}
}

/* Live: health, engines, pools, verdicts and a clock that came from a statistics answer. */
async function waitUntilLive(page) {
	await page.locator('#health:not([data-status="unknown"])').waitFor({ timeout: LIVE_MS });
	await page.locator("#engines-body tbody tr").first().waitFor({ timeout: LIVE_MS });
	await page.locator(".pool tbody tr").first().waitFor({ timeout: LIVE_MS });
	await page.locator("#verdicts-body tbody tr").first().waitFor({ timeout: LIVE_MS });
	await page.waitForFunction(() => /\d/.test(document.querySelector("#chart-bits .digits").textContent), null, { timeout: LIVE_MS });
	await page.waitForTimeout(3000);
}

const browser = await launch();
try {
	const { page, complaints } = await open(browser, url);
	await check("the dashboard shows live numbers", () => waitUntilLive(page));
	for (const [name, body] of CHECKS)
		await check(name, () => body({ page, api, traffic }));
	for (const look of LOOKS) {
		await wear(page, look);
		await check(`${look.name}: accessible`, () => accessible(page));
		await check(`${look.name}: nothing is cut off`, () => nothingCut(page));
		await check(`${look.name}: fits the window`, () => fitsWidth(page));
		await picture(page, outdir, look.name);
	}
	await wear(page, LOOKS[0]);
	await check("nothing jumps while numbers change", () => inTime(({ page }) => holdsStill(page))({ page }));
	await check("the theme button overrules and is remembered", () => themeToggles(page));
	await check("no script error, no console error, no request elsewhere", () => {
		if (complaints.length > 0)
			throw new Error([...new Set(complaints)].join("\n"));
	});
	await check(OUTAGE[0], () => OUTAGE[1]({ page }));
} catch (e) {
	failed.push("the page opens");
	console.log(`not ok  the page opens\n  # ${e.message.split("\n")[0]}`);
} finally {
	await browser.close();
}
console.log(failed.length ? `${failed.length} failed` : "all checks held");
process.exitCode = failed.length ? 1 : 0;
