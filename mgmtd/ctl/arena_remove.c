/* corenatctl arena remove: takes the appliance away, when none of its processes runs. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "pe/xdp.h"
#include "shm/engine.h"
#include "shm/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Takes every role, so that nothing starts meanwhile. False when a living process holds one. */
static bool claim_all(struct arena *a)
{
	for (unsigned n = 0; n < ACTOR_MAX; n++) {
		int err = arena_claim(a, n);

		if (!err)
			continue;
		if (err != -EBUSY)
			log_error("arena %s: %s", a->name, strerror(-err));
		else if (n == ACTOR_MGMTD)
			log_error("arena %s is in use: stop corenat-mgmtd first", a->name);
		else
			log_error("arena %s is in use: stop engine %u first", a->name, n);
		return false;
	}
	return true;
}

/* The arena is not mapped: its roles are locks on the file alone, so one of any layout can be removed. */
static bool remove_arena(const char *name)
{
	struct arena a = {.fd = shm_open(name, O_RDWR | O_CLOEXEC, 0600)};
	bool ok;

	snprintf(a.name, sizeof a.name, "%s", name);
	if (a.fd < 0 && errno == ENOENT)
		return true;
	if (a.fd < 0) {
		log_error("cannot open the arena %s: %s", name, strerror(errno));
		return false;
	}
	ok = claim_all(&a);
	if (ok) {
		int err = arena_remove(name);

		ok = !err;
		if (err)
			log_error("cannot remove the arena %s: %s", name, strerror(-err));
		else
			printf("removed arena %s\n", name);
	}
	close(a.fd);
	return ok;
}

static bool remove_mailboxes(const char *arena_name)
{
	unsigned removed = 0;
	bool ok = true;

	for (unsigned e = 0; e < ENGINE_MAX; e++) {
		int err = mailbox_remove(arena_name, e);

		removed += err == 0;
		if (!err || err == -ENOENT || err == -EEXIST) /* none, or somebody else's */
			continue;
		log_error("cannot remove the mailbox of engine %u: %s", e, strerror(-err));
		ok = false;
	}
	printf("removed %u mailboxes\n", removed);
	return ok;
}

int ctl_arena_remove(const struct config *c, const struct ctl_options *o)
{
	if (!remove_arena(c->arena.name))
		return CTL_FAILED;

	bool ok = remove_mailboxes(c->arena.name);
	int err = xdp_remove(c->system.bpffs);

	if (err)
		log_error("cannot remove the XDP programs pinned in %s: %s", c->system.bpffs, strerror(-err));
	else
		printf("removed the XDP programs pinned in %s\n", c->system.bpffs);
	return ok && !err ? 0 : CTL_FAILED;
}
