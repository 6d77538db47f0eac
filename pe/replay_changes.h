/* replay_changes: configurations that come into force in the middle of a replay.
 *
 * What       a text file, a line for each change: the time, a space, the configuration's file, in the order of time. Empty
 *            lines and lines that begin with # say nothing.
 *                    1795788187.5 later.json
 * Units      seconds as in the captures' time stamps, up to nine decimals. Files are named from the folder of the list.
 * Ownership  load allocates, free frees.
 * Calls      main thread.
 * Errors     load: false and one sentence, with the line; nothing is held then. What takes a restart (options.h) may not
 *            change: engines that run would not heed it.
 * Use        replay_changes_load(&c, "changes", &first, &err); while (replay_change_due(&c, now)) ...
 */
#ifndef CORENAT_PE_REPLAY_CHANGES_H
#define CORENAT_PE_REPLAY_CHANGES_H

#include "common/config.h"

struct replay_change {
	mono_t at;
	struct config config;
};

struct replay_changes {
	struct replay_change *list;
	unsigned n, next; /* the first that was not asked for yet */
};

/* `first`: what is in force before. */
bool replay_changes_load(
	struct replay_changes *c, const char *path, const struct config *first, struct config_error *err);
void replay_changes_free(struct replay_changes *c);

/* The next one that is due by then, once; NULL: none is. */
const struct replay_change *replay_change_due(struct replay_changes *c, mono_t by);

#endif
