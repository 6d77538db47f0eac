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

static bool remove_programs(const char *bpffs)
{
	int err = xdp_remove(bpffs);

	if (err)
		log_error("cannot remove the XDP programs pinned in %s: %s", bpffs, strerror(-err));
	else
		printf("removed the XDP programs pinned in %s\n", bpffs);
	return !err;
}

static bool remove_object(const char *name)
{
	int err = arena_remove(name);

	if (err)
		log_error("cannot remove the arena %s: %s", name, strerror(-err));
	else
		printf("removed arena %s\n", name);
	return !err;
}

/* Without an arena nobody can be asked whether engines run: programs that are pinned may be those of another's. */
static bool remove_rest(const struct config *c)
{
	char pin[CONFIG_PATH_SIZE + sizeof "/link_inside"];

	snprintf(pin, sizeof pin, "%s/link_inside", c->system.bpffs);
	if (access(pin, F_OK) != 0)
		return remove_mailboxes(c->arena.name);
	log_error("there is no arena %s, but XDP programs are pinned in %s: name the arena they serve, or, when no "
		  "engine "
		  "runs, call corenat-pe --remove-xdp",
		c->arena.name, c->system.bpffs);
	return false;
}

/* All while every role is held, the arena last: nobody starts in between, and what was interrupted can be done again. The
 * arena is not mapped: its roles are locks on the file alone, so one of any layout can be removed. */
int ctl_arena_remove(const struct config *c, const struct ctl_options *o)
{
	struct arena a = {.fd = shm_open(c->arena.name, O_RDWR | O_CLOEXEC, 0600)};
	bool ok;

	snprintf(a.name, sizeof a.name, "%s", c->arena.name);
	if (a.fd < 0 && errno == ENOENT)
		return remove_rest(c) ? 0 : CTL_FAILED;
	if (a.fd < 0) {
		log_error("cannot open the arena %s: %s", c->arena.name, strerror(errno));
		return CTL_FAILED;
	}
	ok = claim_all(&a);
	if (ok) {
		ok = remove_mailboxes(c->arena.name);
		ok &= remove_programs(c->system.bpffs);
		ok &= remove_object(c->arena.name);
	}
	close(a.fd);
	return ok ? 0 : CTL_FAILED;
}
