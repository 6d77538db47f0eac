/* One Chromium, one page, and everything the page complains about. */

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const EXECUTABLES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
	"--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check", "--no-proxy-server"];

const PATIENCE_MS = 120000; /* a small machine that is busy reads a browser from its disk for a long time */
/* An answer like others, which the page tells: a part of the appliance had no processor for a while. */
const UNAVAILABLE = /status of 503/;

export const DESKTOP = { width: 1600, height: 1000 };
export const PHONE = { width: 390, height: 844 };

export function launch() {
	const executablePath = process.env.CHROMIUM ?? EXECUTABLES.find(existsSync);
	if (!executablePath)
		throw new Error("no Chromium found: install the package chromium, or name one in CHROMIUM");
	return chromium.launch({ executablePath, args: FLAGS, timeout: PATIENCE_MS });
}

/* Answers { page, complaints }. Complaints are script errors, console errors and requests to anywhere but `origin`. */
export async function open(browser, url) {
	const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light", reducedMotion: "reduce" });
	const page = await context.newPage();
	page.setDefaultTimeout(PATIENCE_MS / 2);
	page.setDefaultNavigationTimeout(PATIENCE_MS);
	const complaints = [];
	const origin = new URL(url).origin;

	page.on("pageerror", (e) => complaints.push(`script error: ${e.message}`));
	page.on("console", (m) => m.type() === "error" && !UNAVAILABLE.test(m.text()) && complaints.push(`console: ${m.text()} (${m.location().url})`));
	page.on("request", (r) => new URL(r.url()).origin !== origin && complaints.push(`request to ${r.url()}`));
	await page.goto(url);
	return { page, complaints };
}
