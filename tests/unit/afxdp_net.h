/* afxdp_net: two veth pairs in a network namespace of the test's own, and frames to send through them.
 *
 * Units      len in bytes; addresses in host order.
 * Ownership  the namespaces (network and mount) go with the process.
 * Calls      one thread. Errors: fail the test, except afxdp_net_enter: false means skip.
 */
#ifndef CORENAT_TESTS_AFXDP_NET_H
#define CORENAT_TESTS_AFXDP_NET_H

#include "common/units.h"

struct afxdp_net {
	char directory[32], bpffs[48]; /* a temporary directory, and one in it that does not exist yet */
	int raw[N_SIDES];              /* on the far end of each pair */
};

struct test_frame {
	const char *what;
	uint8_t bytes[128];
	uint32_t len;
};

bool afxdp_net_enter(struct afxdp_net *n); /* new namespaces */
void afxdp_net_leave(struct afxdp_net *n);
void afxdp_net_open(struct afxdp_net *n); /* new veth pairs with two queues */
void afxdp_net_close(struct afxdp_net *n);

/* Sends from the far end of this side, into the queue chosen: a queue is a CPU here. */
void afxdp_net_send(struct afxdp_net *n, enum side side, const struct test_frame *f);
bool afxdp_net_choose_queue(unsigned queue);
/* True when exactly this frame arrives at the far end within a second. */
bool afxdp_net_receive(struct afxdp_net *n, enum side side, const struct test_frame *f);
void afxdp_net_discard(struct afxdp_net *n, enum side side);

struct test_frame frame_ipv4(const char *what, uint32_t src, uint32_t dst);
struct test_frame frame_fragment(const char *what, uint32_t src, uint32_t dst);
struct test_frame frame_options(const char *what, uint32_t src, uint32_t dst);
struct test_frame frame_group(const char *what, uint32_t src, uint32_t dst);
struct test_frame frame_cut(const char *what, uint32_t len, uint32_t src, uint32_t dst);
struct test_frame frame_tagged(const char *what, unsigned tags, uint32_t src, uint32_t dst);
struct test_frame frame_arp(const char *what);

#endif
