/* The management API over HTTP: one GET at a time per resource, asked again for ever. */

const BASE = new URL("api/v1/", document.baseURI);
const PATIENCE_MS = 4000;

/* `reached` tells an answer that was a refusal from no answer at all. */
export class ApiError extends Error {
	constructor(message, reached) {
		super(message);
		this.reached = reached;
	}
}

/* The body of GET `path`. `accept` lists statuses other than 2xx whose body is an answer all the same. */
export async function get(path, query = {}, { accept = [] } = {}) {
	const url = new URL(path, BASE);
	for (const [name, value] of Object.entries(query))
		if (value !== "" && value != null)
			url.searchParams.set(name, value);

	let response;
	let body;
	try {
		response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
		body = await response.json();
	} catch (e) {
		throw new ApiError(e.name === "TimeoutError" ? `no answer in ${PATIENCE_MS / 1000} s`
			: e.name === "SyntaxError" ? `HTTP ${response.status} with a body that is not JSON`
				: response ? "the connection broke" : "no connection", false);
	}
	if (!response.ok && !accept.includes(response.status))
		throw new ApiError(body.detail || body.title || `HTTP ${response.status}`, true);
	return body;
}

/* Ask every `every_ms`, for ever, never two at a time. An answer that took long is followed by a longer
 * pause, so that a dashboard never keeps the server busy for more than a fifth of the time. */
export function poll(ask, every_ms, onAnswer, onError) {
	async function turn() {
		const begun = performance.now();
		try {
			onAnswer(await ask());
		} catch (e) {
			if (!(e instanceof ApiError))
				console.error(e);
			onError(e);
		}
		const took_ms = performance.now() - begun;
		setTimeout(turn, Math.max(every_ms - took_ms, 4 * took_ms));
	}

	turn();
}
