/* nat_model: a NAT as plain as it can be said, to hold the real one against.
 *
 * What       sessions and mappings as lists that are walked from end to end, after design and RFCs: endpoint-independent,
 *            address-dependent, address-and-port-dependent mapping and filtering, inbound-created sessions, hairpinning as
 *            "out, and in again", idle times. No engines, no tables, no code of the product.
 * Units      seconds as double; host byte order.
 * Ownership  the test's. Calls  one thread.
 * Errors     what the appliance chose against the rules ends the test (fail_msg).
 * Use        model_age(m, now); struct model_word w = model_out(m, UDP, host, server); compare; model_learn(m, &w, seen.src);
 *
 * Which port a new mapping gets is the appliance's choice: a session is "unseen" until a packet of it came out. The model
 * judges the choice: of the pool, nobody else's, on the host's address, in none of another host's blocks.
 */
#ifndef CORENAT_TESTS_NAT_MODEL_H
#define CORENAT_TESTS_NAT_MODEL_H

#include "tests/unit/lab_packet.h"

enum { MODEL_MAX = 4096 };

enum model_scope { ANYBODY, SAME_ADDRESS, SAME_ENDPOINT, N_MODEL_SCOPES };

struct model_mapping {
	bool used, seen; /* seen: nat holds */
	uint8_t protocol;
	struct lab_end inside, remote; /* remote: towards whom it was made */
	uint32_t maker;                /* remote's address */
	uint32_t former; /* that of a mapping before, of the same ends: it may have been taken up again at once */
	struct lab_end nat;
};

struct model_session {
	bool used;
	uint8_t protocol;
	struct lab_end inside, remote;
	unsigned mapping;
	double last_out, last_in;
	double spoke; /* when the inside first had a part in it */
	bool heard_out, heard_in, from_outside;
};

struct model {
	enum model_scope mapping, filtering;
	double udp_s, icmp_s, opening_s, established_s;
	uint32_t pool_first, pool_last;
	uint32_t port_first; /* of what may be chosen */
	uint32_t block;      /* this many ports in a row are one host's alone; 0: no such thing */
	double now;
	unsigned next; /* mapping to be made: those that ended stay to be looked at */
	struct model_mapping maps[MODEL_MAX];
	struct model_session sessions[MODEL_MAX];
};

/* What the model expects of one packet. */
enum model_fate { MODEL_DROP, MODEL_PASS, MODEL_EITHER /* the design leaves it open */ };

struct model_word {
	enum model_fate fate;
	enum side side;
	bool src_known;          /* src holds */
	struct lab_end src, dst; /* as it comes out */
	int session;             /* whose NAT end the output's source shows; -1: none */
	int admits;              /* when either: the mapping whose filter may yet be open; -1: none */
};

void model_init(struct model *m, enum model_scope mapping, enum model_scope filtering);
/* Forgets what has been idle too long at `now`. */
void model_age(struct model *m, double now);

/* A packet from inside; to the Internet, or to an address of the pool: hairpin. */
struct model_word model_outbound(struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote);
/* A packet from outside to an address of the pool. */
struct model_word model_inbound(struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat);
/* Takes the NAT end a packet showed; fails when it was not to be chosen. */
void model_learn(struct model *m, const struct model_word *w, struct lab_end nat);

/* A packet passed that might have been stopped: its session, then. */
void model_admit(struct model *m, const struct model_word *w, uint8_t protocol);

/* The live session, or NULL: by what an outbound packet of it shows, and by what an inbound one does. */
const struct model_session *model_find_outbound(
	const struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote);
const struct model_session *model_find_inbound(
	const struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat);
/* The NAT end a host shows, or would, to a remote; false when that is not known yet. */
bool model_shows(
	const struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote, struct lab_end *nat);
/* True when the packet is from somebody to whom the host speaks by another mapping already: which of the two NAT ends the
 * host shows from then on, neither design nor RFCs say. */
bool model_conflicts(const struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat);
/* True when it is the inside endpoint's own NAT end. */
bool model_is_of(const struct model *m, uint8_t protocol, struct lab_end nat, struct lab_end inside);
bool model_in_pool(const struct model *m, uint32_t address);
/* True while a mapping of the protocol's ports may be at a NAT end that nobody knows. */
bool model_has_unseen(const struct model *m, uint8_t protocol);

#endif
