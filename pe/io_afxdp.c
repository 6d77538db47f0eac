#include "pe/io_afxdp.h"

#include "common/clock.h"
#include "common/log.h"
#include "pe/io_afxdp_internal.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { STATS_INTERVAL_S = 1 };

static struct io_afxdp *of(struct io *io)
{
	return (struct io_afxdp *)io;
}

/* ---- frames ---- */

static uint64_t frame_of(uint64_t addr)
{
	return addr & ~(uint64_t)(FRAME_SIZE - 1);
}

/* Sanitizer builds know where each frame is, and catch one that is handed back twice. */
static void frame_moves(struct io_afxdp *a, uint64_t frame, enum place from, enum place to)
{
#ifdef FRAMES_CHECKED
	uint64_t i = frame / FRAME_SIZE;

	assert(i < a->n_frames && a->place[i] == from);
	a->place[i] = (uint8_t)to;
#endif
}

static void frame_put(struct io_afxdp *a, uint64_t frame, enum place from)
{
	frame_moves(a, frame, from, PLACE_FREE);
	assert(a->n_free < a->n_frames);
	a->free[a->n_free++] = frame;
}

static void assert_balance(const struct io_afxdp *a)
{
	uint64_t sum = (uint64_t)a->n_free + a->n_engine;

	for (int s = 0; s < N_SIDES; s++)
		sum += a->port[s].in_rx + a->port[s].in_tx;
	assert(sum == a->n_frames);
}

/* ---- per burst ---- */

static unsigned afxdp_rx(struct io *io, enum side side, struct packet *burst, unsigned max)
{
	struct io_afxdp *a = of(io);
	struct port *p = &a->port[side];
	uint32_t at, n = xsk_ring_cons__peek(&p->rx, max, &at);

	p->idle = n == 0;
	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&p->rx, at + i);
		uint8_t *data = a->area + d->addr;

		__builtin_prefetch(data, 1);
		burst[i] =
			(struct packet){.data = data, .frame = frame_of(d->addr), .len = d->len, .side = (uint8_t)side};
		frame_moves(a, burst[i].frame, PLACE_RX, PLACE_ENGINE);
	}
	xsk_ring_cons__release(&p->rx, n);
	p->in_rx -= n;
	a->n_engine += n;
	return n;
}

static unsigned afxdp_tx(struct io *io, enum side side, const struct packet *burst, unsigned n)
{
	struct io_afxdp *a = of(io);
	struct port *p = &a->port[side];
	uint32_t at, room = xsk_prod_nb_free(&p->tx, n);

	if (n > room)
		n = room;
	if (!n || !xsk_ring_prod__reserve(&p->tx, n, &at))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t addr = (uint64_t)(burst[i].data - a->area);

		assert(frame_of(addr) == burst[i].frame);
		*xsk_ring_prod__tx_desc(&p->tx, at + i) = (struct xdp_desc){.addr = addr, .len = burst[i].len};
		frame_moves(a, burst[i].frame, PLACE_ENGINE, PLACE_TX);
	}
	p->tx_written += n;
	p->in_tx += n;
	a->n_engine -= n;
	return n;
}

static void afxdp_drop(struct io *io, const struct packet *burst, unsigned n)
{
	struct io_afxdp *a = of(io);

	for (unsigned i = 0; i < n; i++)
		frame_put(a, burst[i].frame, PLACE_ENGINE);
	a->n_engine -= n;
}

static unsigned afxdp_take(struct io *io, struct packet *out, unsigned n)
{
	struct io_afxdp *a = of(io);

	if (n > a->n_free)
		n = a->n_free;
	for (unsigned i = 0; i < n; i++) {
		uint64_t frame = a->free[--a->n_free];

		frame_moves(a, frame, PLACE_FREE, PLACE_ENGINE);
		out[i] = (struct packet){
			.data = a->area + frame + FRAME_SIZE - FRAME_ROOM, .frame = frame, .len = FRAME_ROOM};
	}
	a->n_engine += n;
	return n;
}

/* ---- per loop turn ---- */

static void reclaim(struct io_afxdp *a, struct port *p)
{
	uint32_t at, n = xsk_ring_cons__peek(&p->completion, p->in_tx, &at);

	if (!n)
		return;
	for (uint32_t i = 0; i < n; i++)
		frame_put(a, frame_of(*xsk_ring_cons__comp_addr(&p->completion, at + i)), PLACE_TX);
	xsk_ring_cons__release(&p->completion, n);
	p->in_tx -= n;
}

/* Descriptors of the transmit ring that the kernel has not taken yet. */
static uint32_t unsent(const struct port *p)
{
	return p->tx.cached_prod - __atomic_load_n(p->tx.consumer, __ATOMIC_ACQUIRE);
}

/* A turn tells what it spent in calls from what was its own doing. */
static void time_call(struct io_afxdp *a, mono_t from)
{
	a->io.kernel.ns += mono_since(mono_now(), from).ns;
}

/* EAGAIN after progress is the kernel's budget per call, or a full completion ring: reclaim and go on. The
 * others are the device's state, and pass; what was not taken stays in the ring for the next turn. */
static void kick(struct io_afxdp *a, struct port *p)
{
	uint32_t before, left = unsent(p);
	mono_t from = mono_now();

	do {
		before = left;
		a->stats.kicks++;
		if (!sendto(p->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) || errno != EAGAIN)
			break;
		reclaim(a, p);
		left = unsent(p);
	} while (left && left < before);
	time_call(a, from);
}

static void send_written(struct io_afxdp *a, struct port *p)
{
	if (p->tx_written) {
		xsk_ring_prod__submit(&p->tx, p->tx_written);
		p->tx_written = 0;
	}
	if (p->in_tx && (p->busy_poll || xsk_ring_prod__needs_wakeup(&p->tx)) && unsent(p))
		kick(a, p);
}

void port_refill(struct io_afxdp *a, struct port *p)
{
	uint32_t at, n = xsk_prod_nb_free(&p->fill, a->ring_size);

	if (n > a->n_free)
		n = a->n_free;
	if (!n || n < a->refill_batch)
		return;
	if (!xsk_ring_prod__reserve(&p->fill, n, &at))
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t frame = a->free[--a->n_free];

		frame_moves(a, frame, PLACE_FREE, PLACE_RX);
		*xsk_ring_prod__fill_addr(&p->fill, at + i) = frame;
	}
	xsk_ring_prod__submit(&p->fill, n);
	p->in_rx += n;
}

/* A driver that ran out of frames sleeps until it is told that there are some again. One that is polled is looked at when its
 * ring is empty: what is there is worked off first. */
static void wake_receive(struct io_afxdp *a, struct port *p)
{
	if (!p->in_rx || !(xsk_ring_prod__needs_wakeup(&p->fill) || (p->busy_poll && p->idle)))
		return;
	mono_t from = mono_now();

	a->stats.polls++;
	recvfrom(p->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	time_call(a, from);
}

static void afxdp_flush(struct io *io)
{
	struct io_afxdp *a = of(io);

	for (int s = 0; s < N_SIDES; s++)
		send_written(a, &a->port[s]);
	for (int s = 0; s < N_SIDES; s++)
		reclaim(a, &a->port[s]);
	for (int s = 0; s < N_SIDES; s++) {
		port_refill(a, &a->port[s]);
		wake_receive(a, &a->port[s]);
	}
	assert_balance(a);
}

static void afxdp_wait(struct io *io, unsigned timeout_ms)
{
	struct io_afxdp *a = of(io);
	struct pollfd fds[N_SIDES];

	for (int s = 0; s < N_SIDES; s++)
		fds[s] = (struct pollfd){.fd = a->port[s].fd, .events = POLLIN};
	poll(fds, N_SIDES, (int)timeout_ms);
}

/* ---- now and then ---- */

/* rx_dropped counts packets too large and, in copy mode, those for which the fill ring had no frame;
 * rx_fill_ring_empty_descs counts the latter once more, so it is left out. (With zero-copy it would count tries
 * of the driver, not packets: those the NIC drops it counts itself.) */
static uint64_t rx_drops(const struct port *p)
{
	struct xdp_statistics s = {0};
	socklen_t size = sizeof s;

	if (getsockopt(p->fd, SOL_XDP, XDP_STATISTICS, &s, &size))
		return 0;
	return s.rx_dropped + s.rx_ring_full;
}

static void afxdp_stats(struct io *io, struct io_stats *out)
{
	struct io_afxdp *a = of(io);
	mono_t now = mono_now();
	struct xdp_counts counts;

	if (mono_due(now, a->stats_due)) {
		a->stats_due = mono_after(now, span_s(STATS_INTERVAL_S));
		/* Their end lets the kernel work off what came in meanwhile. */
		a->stats.rx_ring_drops = rx_drops(&a->port[SIDE_INSIDE]) + rx_drops(&a->port[SIDE_OUTSIDE]);
		if (!xdp_count(a->xdp, a->queue, &counts)) {
			a->stats.xdp_no_engine = counts.no_engine;
			a->stats.xdp_to_kernel = counts.to_kernel;
		}
		time_call(a, now);
	}
	*out = a->stats;
}

static void afxdp_close(struct io *io)
{
	io_afxdp_free(of(io));
}

const struct io_ops io_afxdp_ops = {
	.rx = afxdp_rx,
	.tx = afxdp_tx,
	.drop = afxdp_drop,
	.take = afxdp_take,
	.flush = afxdp_flush,
	.wait = afxdp_wait,
	.stats = afxdp_stats,
	.close = afxdp_close,
};

const char *io_afxdp_describe(const struct io *io, enum side side)
{
	return ((const struct io_afxdp *)io)->port[side].text;
}

int xdp_sync(struct io *io, const struct xdp_rules *rules)
{
	return xdp_apply(of(io)->xdp, rules);
}
