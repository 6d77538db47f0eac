/* feed_line: one question line, one answer line, over a UNIX socket that stays open.
 *
 * What       connects when need be, sends the question, reads the answer up to its newline.
 * Units      bytes; the deadline is a mono_t.
 * Ownership  text belongs to the line and is overwritten by the next ask; close frees it.
 * Calls      one thread.
 * Errors     ask: -errno; -ETIMEDOUT, -ECANCELED when stop_fd became readable, -EMSGSIZE for an endless answer,
 *            -ECONNRESET when the other side hung up. After an error the caller closes.
 * Use        struct feed_line l = {.fd = -1}; if (!feed_line_ask(&l, path, "…\n", stop, deadline)) use(l.text, l.size);
 */
#ifndef CORENAT_MGMTD_FEED_LINE_H
#define CORENAT_MGMTD_FEED_LINE_H

#include "common/units.h"

#include <stddef.h>

enum { FEED_LINE_MAX = 4 << 20 }; /* bytes; an answer of 64 engines takes some 150 KiB */

struct feed_line {
	int fd; /* -1: not connected */
	char *text;
	size_t size, room; /* size is without the newline */
};

int feed_line_ask(struct feed_line *l, const char *path, const char *question, int stop_fd, mono_t deadline);
void feed_line_close(struct feed_line *l);

#endif
