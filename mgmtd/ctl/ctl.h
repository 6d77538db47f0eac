/* ctl: the commands of corenatctl.
 *
 * What       one function per command; main.c has the table.
 * Units      none.
 * Ownership  nothing is kept.
 * Calls      main thread, once.
 * Errors     the exit status: 0, or 1 after one sentence on standard error.
 */
#ifndef CORENAT_MGMTD_CTL_H
#define CORENAT_MGMTD_CTL_H

#include "common/config.h"

enum { CTL_FAILED = 1 };

/* Numbers as they were written; NULL: the default. */
struct ctl_plan_options {
	const char *subscribers, *sessions, *peak, *dispersion, *lifetime, *hold, *hold_percent;
	const char *ports_per_address, *block_size, *blocks_max, *addresses, *target;
};

/* What stood on the command line besides the command and the configuration; NULL or false when it did not. */
struct ctl_options {
	bool exact; /* check: nothing runs */
	bool json;  /* sessions: as the API answers */
	const char *inside, *nat, *remote, *protocol,
		*realm;                    /* sessions, pinholes, deterministic, subscribers: which */
	const char *lifetime;              /* pinholes: seconds */
	const char *name, *top;            /* subscribers: which, or what it is to be called */
	const char *set;                   /* subscribers set: limits */
	const char *time, *skew, *earlier; /* deterministic, who: when */
	const char *from, *to;             /* events: when */
	const char *kind, *verdict;        /* events: what */
	bool follow;                       /* events: as they come */
	struct ctl_plan_options plan;
};

int ctl_arena_info(const struct config *c, const struct ctl_options *o);
int ctl_arena_map(const struct config *c, const struct ctl_options *o);
int ctl_arena_remove(const struct config *c, const struct ctl_options *o);
int ctl_deterministic(const struct config *c, const struct ctl_options *o);
int ctl_plan(const struct config *c, const struct ctl_options *o); /* needs no configuration */
int ctl_events(const struct config *c, const struct ctl_options *o);
int ctl_who(const struct config *c, const struct ctl_options *o);
int ctl_check(const struct config *c, const struct ctl_options *o);
int ctl_sessions_list(const struct config *c, const struct ctl_options *o);
int ctl_sessions_clear(const struct config *c, const struct ctl_options *o);
int ctl_pinholes_list(const struct config *c, const struct ctl_options *o);
int ctl_pinholes_open(const struct config *c, const struct ctl_options *o);
int ctl_pinholes_close(const struct config *c, const struct ctl_options *o);
int ctl_subscribers_list(const struct config *c, const struct ctl_options *o);
int ctl_subscribers_show(const struct config *c, const struct ctl_options *o);
int ctl_subscribers_set(const struct config *c, const struct ctl_options *o);
int ctl_subscribers_delete(const struct config *c, const struct ctl_options *o);

#endif
