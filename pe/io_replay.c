#include "pe/io_replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct queue {
	struct packet packet[REPLAY_FRAMES];
	unsigned first, n;
};

struct io_replay {
	struct io io;
	io_replay_sent sent;
	void *context;
	struct queue in[N_SIDES];
	uint64_t free[REPLAY_FRAMES]; /* frames nobody has */
	unsigned n_free;
	uint8_t frame[REPLAY_FRAMES][VLAN_TAG_SIZE + REPLAY_FRAME_BYTES]; /* room for a tag first, as packet.h wants */
};

static unsigned replay_rx(struct io *io, enum side side, struct packet *burst, unsigned max)
{
	struct queue *q = &((struct io_replay *)io)->in[side];
	unsigned n = q->n < max ? q->n : max;

	for (unsigned i = 0; i < n; i++)
		burst[i] = q->packet[(q->first + i) % REPLAY_FRAMES];
	q->first = (q->first + n) % REPLAY_FRAMES;
	q->n -= n;
	return n;
}

static void replay_drop(struct io *io, const struct packet *burst, unsigned n)
{
	struct io_replay *r = (struct io_replay *)io;

	for (unsigned i = 0; i < n; i++) {
		assert(r->n_free < REPLAY_FRAMES);
		r->free[r->n_free++] = burst[i].frame;
	}
}

static unsigned replay_tx(struct io *io, enum side side, const struct packet *burst, unsigned n)
{
	struct io_replay *r = (struct io_replay *)io;

	for (unsigned i = 0; i < n; i++)
		r->sent(r->context, side, burst[i].data, burst[i].len);
	replay_drop(io, burst, n);
	return n;
}

static unsigned replay_take(struct io *io, struct packet *out, unsigned n)
{
	struct io_replay *r = (struct io_replay *)io;

	if (n > r->n_free)
		n = r->n_free;
	for (unsigned i = 0; i < n; i++) {
		uint64_t frame = r->free[--r->n_free];

		out[i] = (struct packet){
			.data = r->frame[frame] + VLAN_TAG_SIZE, .frame = frame, .len = REPLAY_FRAME_BYTES};
	}
	return n;
}

static void replay_flush(struct io *io)
{
	(void)io;
}

static void replay_wait(struct io *io, unsigned timeout_ms)
{
	(void)io;
	(void)timeout_ms;
}

static void replay_stats(struct io *io, struct io_stats *out)
{
	(void)io;
	memset(out, 0, sizeof *out);
}

static void replay_close(struct io *io)
{
	free(io);
}

struct io *io_replay_open(io_replay_sent sent, void *context)
{
	static const struct io_ops ops = {
		.rx = replay_rx,
		.tx = replay_tx,
		.drop = replay_drop,
		.take = replay_take,
		.flush = replay_flush,
		.wait = replay_wait,
		.stats = replay_stats,
		.close = replay_close,
	};
	struct io_replay *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->io.ops = &ops;
	r->sent = sent;
	r->context = context;
	for (unsigned i = 0; i < REPLAY_FRAMES; i++)
		r->free[r->n_free++] = i;
	return &r->io;
}

bool io_replay_give(struct io *io, enum side side, const uint8_t *data, uint32_t len)
{
	struct io_replay *r = (struct io_replay *)io;
	struct queue *q = &r->in[side];

	if (len > REPLAY_FRAME_BYTES || !r->n_free)
		return false;
	uint64_t frame = r->free[--r->n_free];
	uint8_t *at = r->frame[frame] + VLAN_TAG_SIZE;

	memcpy(at, data, len);
	q->packet[(q->first + q->n) % REPLAY_FRAMES] =
		(struct packet){.data = at, .frame = frame, .len = len, .side = (uint8_t)side};
	q->n++;
	return true;
}
