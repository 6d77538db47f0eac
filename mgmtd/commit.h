/* commit: puts the configuration in force for all engines at once.
 *
 * What       compiles it into a snapshot and publishes that, unless what is in force says the same already. What the configuration
 *            names no more, but sessions live on, is in force until it has drained; then the same configuration is put in
 *            force without it (snapshot.h, Draining).
 * Units      times are mono_t.
 * Ownership  open allocates, close frees. Only mgmtd, while it holds its role in the arena, may use this.
 * Calls      main thread.
 * Errors     open: false and one sentence. An engine that still uses the generation before makes try say no; it is
 *            named in the log after COMMIT_PATIENCE_S.
 * Use        commit_open(&c, arena, &config, mono_now(), &err); while (!commit_try(&c, mono_now())) wait(100 ms);
 *            every TEND_S: commit_tend(&c, mono_now()); commit_close(&c);
 */
#ifndef CORENAT_MGMTD_COMMIT_H
#define CORENAT_MGMTD_COMMIT_H

#include "shm/snapshot.h"

enum { COMMIT_PATIENCE_S = 5, TEND_S = 2 };

struct commit {
	struct arena *arena;
	const struct config *config; /* the caller's */
	struct snapshot *wanted;
	bool done;
	mono_t since; /* of the first refused try; zero: none */
	bool complained;
};

bool commit_open(struct commit *c, struct arena *a, const struct config *config, mono_t now, struct config_error *err);
void commit_close(struct commit *c);

/* True when the configuration is in force; further calls then do nothing. */
bool commit_try(struct commit *c, mono_t now);

/* Once it is in force: lets go of what has drained. True when that put another generation in force. */
bool commit_tend(struct commit *c, mono_t now);

#endif
