/* io_replay: packet I/O from memory, for replay, tests, fuzzers and benchmarks.
 *
 * What       a packet given by io_replay_give is what the next rx of its side returns; what the engine sends goes to
 *            `sent`, in order.
 * Units      bytes. Ownership  packets are copied in; `sent` may read the bytes only during the call.
 * Calls      one thread. Errors  give: false when the packet is larger than a frame or too many are waiting.
 */
#ifndef CORENAT_PE_IO_REPLAY_H
#define CORENAT_PE_IO_REPLAY_H

#include "pe/io.h"

#include <stddef.h>

enum { REPLAY_FRAMES = 1024, REPLAY_FRAME_BYTES = 16384 };

typedef void (*io_replay_sent)(void *context, enum side side, const uint8_t *data, uint32_t len);

struct io *io_replay_open(io_replay_sent sent, void *context);
bool io_replay_give(struct io *io, enum side side, const uint8_t *data, uint32_t len);

#endif
