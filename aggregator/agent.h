/* agent: the UNIX socket on which the aggregator answers, JSON lines (docs/interfaces.md).
 *
 * What       one request line, one answer line, any number per connection, one thread for all. A client that does not
 *            take its answer within AGENT_PATIENCE_MS is dropped and never waited for; so is one that sends an endless
 *            line. Past AGENT_CLIENTS a newcomer is told so and closed.
 * Units      bytes, milliseconds.
 * Ownership  open makes the directory and the socket file and holds a lock file beside it as long as it lives, so that
 *            the socket of a dead predecessor is replaced and that of a live one is not. close removes the socket
 *            file.
 * Calls      one thread.
 * Errors     open: NULL and one sentence. serve: -errno when polling itself fails.
 * Use        a = agent_open("/run/corenat", board, interval_ms, &why);
 *            while (!service_stop_asked())
 *                    agent_serve(a, service_stop_fd(), 500);
 *            agent_close(a);
 */
#ifndef CORENAT_AGGREGATOR_AGENT_H
#define CORENAT_AGGREGATOR_AGENT_H

#include "aggregator/board.h"

enum {
	AGENT_CLIENTS = 64,
	AGENT_LINE_SIZE = 4096, /* longest request with its newline */
	AGENT_PATIENCE_MS = 2000,
};

struct agent;

struct agent_error {
	char text[320];
};

/* NULL and a sentence. The board must outlive the agent. */
struct agent *agent_open(const char *runtime_dir, struct board *board, unsigned interval_ms, struct agent_error *err);
void agent_close(struct agent *a);

/* Waits for clients, at most so long or until stop_fd (-1: none) is readable, and serves them. */
int agent_serve(struct agent *a, int stop_fd, int timeout_ms);

#endif
