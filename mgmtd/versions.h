/* versions: every configuration that was put in force, with its time, in one sqlite3 file.
 *
 * What       a row per configuration: when it came into force, when the next one did, its text in full (config_print).
 *            Who had an address and port at some time is computed from the one in force then (RFC 7422 section 3).
 * Units      milliseconds since 1970.
 * Ownership  open allocates, close frees; texts are the caller's.
 * Calls      open, begin, commit, close: mgmtd's main thread. The rest: any thread; one at a time is served.
 * Errors     0 or -errno; open: NULL and one sentence. A corrupt file is set aside as FILE.corrupt-<time>, which is
 *            logged, and a new one started.
 * Use        versions_begin(v, now_ms, text); while (!commit_try(...)) ...; versions_commit(v, now_ms);
 *
 * Order      begin writes the row before the engines can see the configuration, commit corrects its time: if mgmtd dies
 *            in between, the row is there with the time of the try, and the same configuration, tried again by its
 *            successor, makes no second one. close without commit takes the row back: it never came into force.
 * Bound      at most `keep` rows, and none that ended longer than keep_s ago; the newest stays always.
 */
#ifndef CORENAT_MGMTD_VERSIONS_H
#define CORENAT_MGMTD_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERSION_LASTS INT64_MAX /* until: it is in force still */

struct version {
	int64_t id;                 /* ascending, never used again */
	int64_t since_ms, until_ms; /* in force from, and to before */
	int64_t bytes;              /* of its text */
};

struct versions_error {
	char text[320];
};

struct versions;

struct versions *versions_open(const char *file, unsigned keep, unsigned keep_s, struct versions_error *err);
void versions_close(struct versions *v); /* NULL is fine */

/* A configuration is about to be put in force. The same as the last one is no new version. */
int versions_begin(struct versions *v, int64_t now_ms, const char *text);
/* It is in force now; without a new version of begin before it, nothing. */
int versions_commit(struct versions *v, int64_t now_ms);

/* Versions with an id below `before`, newest first, up to `max`. *n is how many. */
int versions_list(struct versions *v, int64_t before, struct version *out, unsigned max, unsigned *n);
/* Versions with an id above `after`, oldest first. */
int versions_after(struct versions *v, int64_t after, struct version *out, unsigned max, unsigned *n);
/* Those in force at some time from `from_ms` to `to_ms`, both included, newest first. */
int versions_within(struct versions *v, int64_t from_ms, int64_t to_ms, struct version *out, unsigned max, unsigned *n);
/* One of them with its text, malloced; -ENOENT: there is none with that id. */
int versions_get(struct versions *v, int64_t id, struct version *out, char **text);

#endif
