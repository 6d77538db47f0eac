/* Links, neighbours, requests; see mirror.h. Routes are in mirror_routes.c. */
#include "mgmtd/mirror_internal.h"

#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROUTES_SETTLE_MS = 50,     /* changes of routing come in crowds: read once per crowd */
	ROUTES_CROWDED_MS = 10000, /* when there are too many, reading takes long and is in vain */
	REFRESH_MS = 1000,         /* a neighbour in use is mentioned to the kernel this often */
	REFRESH_SLICE = 256,       /* system calls of one mirror_run */
	/* States in which the kernel sends to a neighbour's address (its own NUD_VALID). */
	HAS_ADDRESS = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY,
	RETRY_MS = 200, /* after a failed reading */
};

static const char *const side_name[N_SIDES] = {"inside", "outside"};

const struct mirror_link *mirror_link(const struct mirror *m, uint32_t index)
{
	for (unsigned i = 0; i < m->n_links; i++)
		if (index != 0 && m->link[i].is.index == index)
			return &m->link[i];
	return NULL;
}

/* There is one for every realm that was ever seen or asked for, so a place for each. */
static struct mirror_link *link_of_realm(struct mirror *m, enum side side, uint16_t realm)
{
	struct mirror_link *link = &m->link[side];

	if (realm == 0)
		return link;
	for (unsigned i = N_SIDES; i < m->n_links; i++)
		if (m->link[i].realm == realm)
			return &m->link[i];
	assert(m->n_links < MIRROR_LINKS_MAX);
	link = &m->link[m->n_links++];
	*link = (struct mirror_link){.side = SIDE_INSIDE, .realm = realm};
	return link;
}

/* ---- adjacencies ---- */

/* Writes an adjacency with the header that its link gives; mac NULL: not known. */
static void set_adjacency(struct mirror *m, const struct mirror_link *link, be32_t address, enum adjacency_state state,
	const uint8_t *mac)
{
	struct link_header header = {
		.mtu = (uint16_t)(link->is.mtu < UINT16_MAX ? link->is.mtu : UINT16_MAX),
		.side = link->side,
		.state = state,
		.vlan = link->realm,
	};
	uint32_t before = nexthop_find(m->nh, link->side, link->realm, address), i;

	memcpy(header.src, link->is.mac, sizeof(header.src));
	if (mac != NULL)
		memcpy(header.dst, mac, sizeof(header.dst));
	/* Engines read this line for every packet: it is written only to say something new. */
	if (before != ADJACENCY_NONE && memcmp(&m->nh->adjacency[before].link, &header, sizeof(header)) == 0) {
		m->seen[before] = m->reading;
		return;
	}
	i = nexthop_set_adjacency(m->nh, address, &header);
	if (i == ADJACENCY_NONE) {
		if (!m->table_full)
			log_error("next hops: the table of %d is full; further neighbours are not "
				  "reached",
				ADJACENCY_MAX - 1);
		m->table_full = true;
	} else if (before == ADJACENCY_NONE) {
		m->known[m->n_known++] = i;
	}
	m->seen[i] = m->reading; /* that of ADJACENCY_NONE is never asked */
}

/* The link of an adjacency that is there; what a predecessor left may be of one that is not. */
static const struct mirror_link *link_of(struct mirror *m, const struct adjacency *a)
{
	return link_of_realm(m, a->link.side, a->link.vlan);
}

static bool is_unicast(be32_t address)
{
	uint32_t host = be32_host(address);

	return host != 0 && host < 0xe0000000u;
}

/* Has the kernel resolve or probe a neighbour; the answer comes as a change. */
static void want_neighbour(struct mirror *m, const struct mirror_link *link, be32_t address)
{
	uint32_t i = nexthop_find(m->nh, link->side, link->realm, address);
	bool resolved = i != ADJACENCY_NONE && m->nh->adjacency[i].link.state == ADJACENCY_RESOLVED;
	int err = -EADDRNOTAVAIL;

	/* Before asking: the answer may be there when the kernel returns. */
	if (!resolved)
		set_adjacency(m, link, address, ADJACENCY_UNRESOLVED, NULL);
	if (is_unicast(address) && link->is.ethernet)
		err = netlink_use_neighbour(m->netlink, link->is.index, address);
	if (err == 0)
		return;
	set_adjacency(m, link, address, ADJACENCY_FAILED, NULL);
	if ((err == -ENOBUFS || err == -ENOMEM) && !m->kernel_full) {
		log_error("next hops: the kernel's neighbour table is full; raise "
			  "net.ipv4.neigh.default.gc_thresh3");
		m->kernel_full = true;
	}
}

static void on_neighbour(void *data, const struct netlink_neighbour *n)
{
	struct mirror *m = data;
	const struct mirror_link *link = mirror_link(m, n->index);
	uint32_t i;

	if (link == NULL || !is_unicast(n->address))
		return;
	if (n->gone || (n->state & NUD_FAILED)) {
		i = nexthop_find(m->nh, link->side, link->realm, n->address);
		if (i == ADJACENCY_NONE)
			return;
		set_adjacency(m, link, n->address, ADJACENCY_FAILED, NULL);
		/* One that was flushed while in use is asked for at once; one that failed, when an engine asks. */
		if (n->gone && nexthop_take_used(m->nh, i))
			want_neighbour(m, link, n->address);
	} else if (n->has_mac && (n->state & HAS_ADDRESS)) {
		set_adjacency(m, link, n->address, ADJACENCY_RESOLVED, n->mac);
	} else if (n->state & NUD_INCOMPLETE) {
		set_adjacency(m, link, n->address, ADJACENCY_UNRESOLVED, NULL);
	}
}

/* All adjacencies of one link: its own address or MTU changed, or it is gone. */
static void rewrite_link(struct mirror *m, const struct mirror_link *link)
{
	for (uint32_t k = 0; k < m->n_known; k++) {
		const struct adjacency *a = &m->nh->adjacency[m->known[k]];
		struct link_header old = a->link;

		if (old.side != (unsigned)link->side || old.vlan != link->realm)
			continue;
		if (link->is.index == 0)
			set_adjacency(m, link, a->address, ADJACENCY_FAILED, NULL);
		else
			set_adjacency(m, link, a->address, old.state, old.dst);
	}
}

/* ---- links ---- */

static void link_gone(struct mirror *m, struct mirror_link *link)
{
	log_warning("%s: interface %s is gone; waiting for it", side_name[link->side], link->is.name);
	link->is.index = 0;
	link->is.ethernet = false;
	rewrite_link(m, link);
}

static void link_is(struct mirror *m, struct mirror_link *link, const struct netlink_link *new)
{
	const struct netlink_link *old = &link->is;
	bool same = old->index == new->index;

	link->seen = m->reading_links;
	if (same && old->mtu == new->mtu &&
		old->ethernet == new->ethernet &&memcmp(old->mac, new->mac, sizeof(old->mac)) == 0)
		return;
	log_notice("%s: interface %s, index %u, MTU %u%s", side_name[link->side], new->name, new->index, new->mtu,
		new->ethernet ? "" : ", not Ethernet: no neighbour can be reached");
	link->is = *new;
	m->lost |= !same; /* its neighbours may be older than this message */
	rewrite_link(m, link);
}

/* "cgn-in.100" is 100 to an inside interface cgn-in; 0 when it is no such name. */
static uint16_t realm_in_name(const char *inside, const char *name)
{
	size_t len = strlen(inside);
	char again[IF_NAMESIZE];
	unsigned long id = 0;

	if (strncmp(name, inside, len) == 0 && name[len] == '.')
		id = strtoul(name + len + 1, NULL, 10);
	if (id < VLAN_MIN || id > VLAN_MAX)
		return 0;
	snprintf(again, sizeof(again), "%lu", id);
	return strcmp(again, name + len + 1) == 0 ? (uint16_t)id : 0;
}

/* The realm whose interface a link is; 0: none's. VLANs that the kernel does not make itself are told by the name. */
static uint16_t realm_of(const struct mirror *m, const struct netlink_link *link)
{
	const struct netlink_link *inside = &m->link[SIDE_INSIDE].is;

	if (link->vlan == 0)
		return realm_in_name(inside->name, link->name);
	return link->vlan <= VLAN_MAX && link->lower != 0 && link->lower == inside->index ? link->vlan : 0;
}

static void on_link(void *data, const struct netlink_link *new)
{
	struct mirror *m = data;
	uint16_t realm = realm_of(m, new);

	if (realm != 0 && !new->gone)
		link_of_realm(m, SIDE_INSIDE, realm);
	for (unsigned i = 0; i < m->n_links; i++) {
		struct mirror_link *link = &m->link[i];
		bool its = link->realm ? realm == link->realm : strcmp(link->is.name, new->name) == 0;
		bool same = link->is.index == new->index;

		if (link->is.index != 0 && same && (new->gone || !its))
			link_gone(m, link); /* deleted, or renamed, or moved */
		else if (its && !new->gone)
			link_is(m, link, new);
	}
}

static void on_routing_changed(void *data)
{
	struct mirror *m = data;

	m->routing_changed = true;
}

/* ---- reading everything ---- */

static const struct netlink_visitor visitor = {
	.link = on_link,
	.neighbour = on_neighbour,
	.routing_changed = on_routing_changed,
};

/* The sides' first: which links are VLANs of the inside shows by its index. */
static int read_links(struct mirror *m)
{
	int err;

	m->reading_links++;
	for (unsigned side = 0; side < N_SIDES; side++) {
		err = netlink_get_link(m->netlink, m->link[side].is.name, &visitor, m);
		if (err != 0 && err != -ENODEV)
			return err;
	}
	err = netlink_dump_links(m->netlink, &visitor, m);
	for (unsigned i = 0; err == 0 && i < m->n_links; i++)
		if (m->link[i].is.index != 0 && m->link[i].seen != m->reading_links)
			link_gone(m, &m->link[i]);
	return err;
}

/* After this, what the kernel does not know is not called resolved. */
static int read_neighbours(struct mirror *m)
{
	m->reading++;
	for (unsigned i = 0; i < m->n_links; i++) {
		uint32_t index = m->link[i].is.index;
		int err = index == 0 ? 0 : netlink_dump_neighbours(m->netlink, index, &visitor, m);

		if (err != 0)
			return err;
	}
	for (uint32_t k = 0; k < m->n_known; k++) {
		const struct adjacency *a = &m->nh->adjacency[m->known[k]];

		if (m->seen[m->known[k]] != m->reading && a->link.state != ADJACENCY_FAILED)
			set_adjacency(m, link_of(m, a), a->address, ADJACENCY_FAILED, NULL);
	}
	return 0;
}

static int read_everything(struct mirror *m)
{
	int err = read_links(m);

	if (err == 0) {
		m->lost = false; /* what read_links set: the neighbours are read now */
		err = read_neighbours(m);
	}
	m->routing_changed = true;
	if (err != 0) {
		m->lost = true;
		if (err != -EINTR)
			log_warning("netlink: links and neighbours cannot be read: %s", strerror(-err));
	}
	return err;
}

/* ---- every turn ---- */

static void hear(struct mirror *m)
{
	int err = netlink_events(m->netlink, &visitor, m);

	if (err == 0)
		return;
	if (err == -ENOBUFS)
		log_notice("netlink: changes came faster than they were read; reading everything "
			   "again");
	else
		log_warning("netlink: %s; reading everything again", strerror(-err));
	m->lost = true;
}

static void catch_up(struct mirror *m, mono_t now)
{
	int err;

	if (m->lost && mono_due(now, m->read_due) && read_everything(m) != 0)
		m->read_due = mono_after(now, span_ms(RETRY_MS));
	if (!m->routing_changed || !mono_due(now, m->routes_due))
		return;
	m->routing_changed = false;
	err = mirror_read_routes(m);
	m->routes_due = mono_after(now, span_ms(err                  ? RETRY_MS
						: m->too_many_routes ? ROUTES_CROWDED_MS
								     : ROUTES_SETTLE_MS));
	if (err == 0)
		return;
	m->routing_changed = true;
	if (err != -EINTR)
		log_warning("netlink: routes cannot be read: %s", strerror(-err));
}

static void answer_requests(struct mirror *m)
{
	struct nexthop_request request;

	for (unsigned e = 0; e < m->engines; e++)
		for (unsigned n = 0; n < NEXTHOP_REQUESTS; n++) {
			if (!nexthop_next_request(m->nh, e, &request))
				break;
			if (request.side < N_SIDES && request.realm <= VLAN_MAX)
				want_neighbour(m, link_of_realm(m, request.side, request.realm), request.address);
		}
}

/* The kernel does not see the engines' packets, so to it their neighbours look idle. Mentioning those in use makes it
 * probe them when it has not heard of them for a while (RFC 1122 §2.3.2.1), and keeps it from collecting them. */
static void refresh(struct mirror *m, mono_t now)
{
	unsigned calls = 0;

	if (m->refresh_at == 0 && !mono_due(now, m->refresh_due))
		return;
	if (m->refresh_at == 0)
		m->refresh_due = mono_after(now, span_ms(REFRESH_MS));
	for (; m->refresh_at < m->n_known && calls < REFRESH_SLICE; m->refresh_at++) {
		uint32_t i = m->known[m->refresh_at];
		const struct adjacency *a = &m->nh->adjacency[i];

		if (!nexthop_take_used(m->nh, i) || a->link.state != ADJACENCY_RESOLVED)
			continue;
		want_neighbour(m, link_of(m, a), a->address);
		calls++;
	}
	if (m->refresh_at >= m->n_known)
		m->refresh_at = 0;
}

void mirror_run(struct mirror *m, mono_t now)
{
	hear(m);
	catch_up(m, now);
	answer_requests(m);
	refresh(m, now);
}

/* ---- opening ---- */

/* What a predecessor left in the arena. */
static void take_over(struct mirror *m)
{
	nexthop_repair(m->nh);
	for (uint32_t i = 1; i < ADJACENCY_MAX; i++)
		if (m->nh->adjacency[i].link.state != ADJACENCY_FREE && m->nh->adjacency[i].link.vlan <= VLAN_MAX)
			m->known[m->n_known++] = i;
}

struct mirror *mirror_open(struct nexthop *nh, unsigned engines, const char *const interface[N_SIDES])
{
	struct mirror *m = calloc(1, sizeof(*m));
	int saved;

	if (m == NULL)
		return NULL;
	assert(engines <= ENGINE_MAX);
	m->nh = nh;
	m->engines = engines;
	for (m->n_links = 0; m->n_links < N_SIDES; m->n_links++) {
		struct mirror_link *link = &m->link[m->n_links];

		link->side = (enum side)m->n_links;
		snprintf(link->is.name, sizeof(link->is.name), "%s", interface[link->side]);
	}
	m->netlink = netlink_open();
	if (m->netlink == NULL) {
		saved = errno;
		free(m);
		errno = saved;
		return NULL;
	}
	take_over(m);
	m->lost = true;
	catch_up(m, (mono_t){0});
	for (unsigned side = 0; side < N_SIDES; side++)
		if (m->link[side].is.index == 0)
			log_warning("%s: there is no interface %s yet; waiting for it", side_name[side],
				m->link[side].is.name);
	return m;
}

void mirror_close(struct mirror *m)
{
	if (m == NULL)
		return;
	netlink_close(m->netlink);
	free(m);
}

int mirror_fd(const struct mirror *m)
{
	return netlink_fd(m->netlink);
}
