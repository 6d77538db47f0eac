/* mirror: the kernel's routes and neighbours, kept in the arena for the engines.
 *
 * What       reads links, neighbours and routes at start, follows their changes, answers the engines' requests to
 *            resolve a next hop, and has neighbours in use probed so that a dead one is noticed.
 * Units      milliseconds where said.
 * Ownership  mirror_open's result is closed by mirror_close; the arena must outlive it. The mirror is the one writer of
 *            routes and adjacencies: one per arena.
 * Calls      one thread of mgmtd. mirror_run blocks for the time the kernel takes to answer (milliseconds).
 * Errors     mirror_open: NULL and errno. Later ones are logged and tried again; a missing interface is waited for.
 * Use        m = mirror_open(nh, engines, names); for (;;) { poll(mirror_fd(m), MIRROR_TICK_MS); mirror_run(m, now); }
 *
 * Realms     a VLAN link (802.1Q) on the inside interface is the interface of the realm of that number; so is, where
 *            VLANs are made by other means, a link of another kind named like one: cgn-in.100. What leads over it holds
 *            in its realm only, whatever table it is in: a VRF's, or main. Realm 0 is all the rest.
 * Routes     the kernel looks a destination up in its local table, then in main; so does the mirror. Of routes to the
 *            same prefix the lowest metric counts; of a multipath route the first usable hop on our interfaces. A way
 *            out by any other interface is no way for an engine: ROUTE_NONE. Rules and further tables are not followed.
 * Death      whatever a dead mirror left is put right at the next start: half-written adjacencies, neighbours
 *            that went meanwhile. Until then engines go on with what is there.
 */
#ifndef CORENAT_MGMTD_MIRROR_H
#define CORENAT_MGMTD_MIRROR_H

#include "shm/nexthop.h"

enum { MIRROR_TICK_MS = 10 }; /* how long an engine's request may lie there */

struct mirror;

/* `interface` are the names of the two sides, copied. */
struct mirror *mirror_open(struct nexthop *nh, unsigned engines, const char *const interface[N_SIDES]);
void mirror_close(struct mirror *m); /* NULL is fine */

/* Readable when the kernel has changed something. */
int mirror_fd(const struct mirror *m);

/* To be called when the fd is readable, and every MIRROR_TICK_MS. */
void mirror_run(struct mirror *m, mono_t now);

#endif
