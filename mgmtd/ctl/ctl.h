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

int ctl_arena_info(const struct config *c);
int ctl_arena_map(const struct config *c);
int ctl_arena_remove(const struct config *c);
int ctl_check(const struct config *c);
int ctl_check_exact(const struct config *c);

#endif
