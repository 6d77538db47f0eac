/* live: a packet engine on real interfaces.
 *
 * What       opens arena, mailbox and AF_XDP sockets, pins itself to its core, and turns the engine until it is asked to
 *            stop: configuration and routes picked up between turns, sleeping when nothing arrives.
 * Ownership  everything is released on return; arena, XDP program and sessions stay.
 * Calls      main thread. Errors: false after one log line.
 */
#ifndef CORENAT_PE_LIVE_H
#define CORENAT_PE_LIVE_H

#include "common/config.h"

bool live_run(const struct config *c, unsigned engine);

#endif
