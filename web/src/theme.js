/* Light, dark, or as the system says. The choice is kept in this browser. */

import { byId, setAttr, setText } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];
const KEY = "corenat-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/* Storage can be forbidden; then the choice lasts as long as the page. */
function remembered() {
	try {
		return localStorage.getItem(KEY);
	} catch {
		return null;
	}
}

function remember(choice) {
	try {
		localStorage.setItem(KEY, choice);
	} catch {
		/* nothing to do: see above */
	}
}

/* `onChange` is called whenever the colours in force may have changed. */
export function setupTheme(onChange) {
	const button = byId("theme");
	let choice = CHOICES.includes(remembered()) ? remembered() : "auto";

	function apply() {
		if (choice === "auto")
			delete document.documentElement.dataset.theme;
		else
			document.documentElement.dataset.theme = choice;
		setText(button, `Theme: ${choice}`);
		setAttr(button, "title", "Switch between the system's colours, light and dark");
		onChange();
	}

	button.addEventListener("click", () => {
		choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
		remember(choice);
		apply();
	});
	system.addEventListener("change", onChange);
	apply();
}
