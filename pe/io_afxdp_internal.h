/* io_afxdp_internal: what pe/io_afxdp.c (running) and pe/io_afxdp_open.c (setting up) share. Contract: io_afxdp.h. */
#ifndef CORENAT_PE_IO_AFXDP_INTERNAL_H
#define CORENAT_PE_IO_AFXDP_INTERNAL_H

#include "pe/io_afxdp.h"

#include <xdp/xsk.h>

enum { FRAME_SIZE = 2048, FRAME_ROOM = FRAME_SIZE - 256 }; /* the kernel keeps 256 bytes in front */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FRAMES_CHECKED
#endif

enum place { PLACE_FREE, PLACE_RX, PLACE_ENGINE, PLACE_TX };

/* One side's socket and its four rings. */
struct port {
	struct xsk_socket *socket;
	int fd;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	uint32_t tx_written; /* descriptors written, not yet shown to the kernel */
	uint32_t in_rx;      /* frames in the fill or receive ring, or in the kernel between them */
	uint32_t in_tx;      /* frames in the transmit or completion ring, or in the kernel between them */
	bool zero_copy;
	bool busy_poll; /* the driver works in our calls, so they are made whether it asks for them or not */
	bool idle;      /* nothing was there to receive since the last flush */
	char text[64];  /* io_afxdp_describe */
};

struct io_afxdp {
	struct io io;
	struct port port[N_SIDES];
	uint8_t *area;  /* the umem's memory */
	uint64_t *free; /* stack of frame addresses within area */
	uint32_t n_free;
	uint32_t n_engine; /* frames that rx handed out and nobody gave back yet */
	uint32_t n_frames;
	uint32_t ring_size;
	uint32_t refill_batch; /* frames a fill ring must lack before it is topped up */
	unsigned queue;
	uint8_t *place; /* enum place of each frame; only when FRAMES_CHECKED */
	size_t area_size;
	struct xsk_umem *umem;
	struct xdp *xdp;
	struct io_stats stats;
	mono_t stats_due;
};

extern const struct io_ops io_afxdp_ops;

/* Tops a fill ring up from the free stack, when it lacks a batch. */
void port_refill(struct io_afxdp *a, struct port *p);

/* Makes the sockets poll their drivers, as the parameters and the interfaces say (pe/io_afxdp_poll.c). Fails only when the
 * parameters insist, after one log line. */
int ports_poll(struct io_afxdp *a, const struct io_afxdp_params *params);

/* Undoes whatever io_afxdp_open has done so far. */
void io_afxdp_free(struct io_afxdp *a);

#endif
