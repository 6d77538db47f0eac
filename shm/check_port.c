/* Ports: bits against the sessions that carry them. */
#include "shm/check_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const set_name[N_PORT_SETS] = {[PORTS_TCP] = "tcp", [PORTS_OTHER] = "udp and icmp"};

/* ---- the tables there are ---- */

static int port_order(const void *x, const void *y)
{
	const struct port_use *a = x, *b = y;

	if (a->address.net != b->address.net)
		return a->address.net < b->address.net ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static uint32_t next_table(const struct check *c, uint32_t from)
{
	uint32_t per = slab_per_page(SLAB_port_table), end = (c->a->header->geometry.pages + 1) * per;

	for (uint32_t i = from < per ? per : from; i < end; i++)
		if (check_known(c, SLAB_port_table, i) && slab_live(port_table_at(c->a, i)))
			return i;
	return 0;
}

/* What is taken, by port. */
static void read_taken(const struct check *c, const struct port_use *use, enum port_set set, uint64_t out[PORT_WORDS])
{
	const struct port_table *t = port_table_at(c->a, use->index);

	memset(out, 0, PORT_WORDS * sizeof *out);
	for (unsigned chunk = 0; chunk < N_CHUNKS; chunk++)
		for (uint32_t taken = chunk_taken(chunk_read(t, set, chunk)); taken; taken &= taken - 1) {
			struct port_place p = {(uint16_t)chunk, (uint8_t)__builtin_ctz(taken)};
			uint16_t port = port_of_place(&use->order, p);

			out[port / 64] |= 1ull << port % 64;
		}
}

/* A port that is taken while the sessions are walked may have its carrier where the walk has been already. So what is
 * taken is read before and after. */
static void read_before(struct check *c, struct port_use *use)
{
	const struct port_table *t = port_table_at(c->a, use->index);

	if (!ports_used(t, PORTS_TCP, 0).taken && !ports_used(t, PORTS_OTHER, 0).taken)
		return;
	use->before = check_alloc(c, N_PORT_SETS, sizeof *use->before);
	for (int set = 0; use->before && set < N_PORT_SETS; set++)
		read_taken(c, use, set, use->before[set]);
}

static void check_holders(struct check *c, const struct port_use *use)
{
	const struct port_table *t = port_table_at(c->a, use->index);

	for (int set = 0; set < N_PORT_SETS; set++)
		for (unsigned chunk = 0; chunk < N_CHUNKS; chunk++) {
			unsigned holder = chunk_holder(chunk_read(t, set, chunk));

			if (holder > c->a->header->geometry.engines && holder != CHUNK_BLOCK)
				check_violated(c, CHECK_port_holder, t->generation,
					check_textf("chunk %u (%s) of port table %u", chunk, set_name[set], use->index),
					check_textf("engine %u holds it", holder - 1),
					check_textf("the arena has %u engines", c->a->header->geometry.engines));
		}
}

/* A table whose ports can be told. */
static bool add_table(struct check *c, struct port_use *use, uint32_t index)
{
	const struct port_table *t = port_table_at(c->a, index);
	struct port_basis basis = PEEK(t->basis);

	*use = (struct port_use){.address = PEEK(t->address), .index = index};
	if (port_order_of(&use->order, &basis))
		return true;
	check_violated(c, CHECK_port_table_valid, t->generation, check_textf("port table %u", index),
		check_textf("its basis cannot be inverted"), check_textf("an order of ports is a map both ways"));
	return false;
}

static bool same_address(const struct check *c, uint32_t i, uint32_t j)
{
	return i < c->n_ports && j < c->n_ports && c->port[i].address.net == c->port[j].address.net;
}

/* Tables of one address have different orders. */
static void check_unique(struct check *c, uint32_t i)
{
	const struct port_table *t = port_table_at(c->a, c->port[i].index);

	for (uint32_t j = i; j > 0 && same_address(c, i, j - 1); j--) {
		const struct port_table *other = port_table_at(c->a, c->port[j - 1].index);
		struct port_basis a = PEEK(t->basis), b = PEEK(other->basis);

		if (port_basis_equal(&a, &b))
			check_violated(c, CHECK_port_table_unique, 0, check_textf("port table %u", c->port[i].index),
				check_textf("it is of %s", check_endpoint_text(c->port[i].address, (be16_t){0}).text),
				check_textf("so is port table %u, in the same order", c->port[j - 1].index));
	}
}

void check_port_tables(struct check *c)
{
	uint32_t n = 0, room = 0;

	for (uint32_t number = 1; number <= c->a->header->geometry.pages; number++)
		if (c->page[number].owned && c->page[number].class == SLAB_port_table)
			room += slab_per_page(SLAB_port_table);
	c->port = check_alloc(c, room, sizeof *c->port);
	if (!c->port)
		return;
	for (uint32_t i = 0; n < room && (i = next_table(c, i + 1));)
		n += add_table(c, &c->port[n], i);
	c->n_ports = n;
	c->counts->port_tables = n;
	qsort(c->port, n, sizeof *c->port, port_order);
	for (uint32_t i = 0; i < n; i++) {
		read_before(c, &c->port[i]);
		check_holders(c, &c->port[i]);
		check_unique(c, i);
	}
}

/* The table of an address, the first if there are several; NULL: none. */
static struct port_use *find_table(const struct check *c, be32_t address)
{
	uint32_t lo = 0, hi = c->n_ports;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (c->port[mid].address.net < address.net)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n_ports && c->port[lo].address.net == address.net ? &c->port[lo] : NULL;
}

struct port_use *check_port_table(const struct check *c, uint32_t index)
{
	if (!check_known(c, SLAB_port_table, index) || !slab_live(port_table_at(c->a, index)))
		return NULL;
	struct port_use *use = find_table(c, PEEK(port_table_at(c->a, index)->address));

	for (; use && use < c->port + c->n_ports; use++)
		if (use->index == index)
			return use;
	return NULL;
}

/* ---- who carries what ---- */

void check_port_carried(struct check *c, uint32_t index, const struct session *s)
{
	struct port_use *use = find_table(c, s->nat);
	enum port_set set = port_set_of(s->l4);
	uint16_t port = be16_host(s->nat_port);

	if (!use)
		return; /* check_port_of says so */
	if (!use->carried)
		use->carried = check_alloc(c, N_PORT_SETS, sizeof *use->carried);
	if (!use->carried)
		return;
	uint64_t *word = &use->carried[set][port / 64], one = 1ull << (port & 63);
	if (*word & one)
		check_violated(c, CHECK_port_shared, s->generation, check_session_text(c, index, s),
			check_textf("it carries %s (%s)", check_endpoint_text(s->nat, s->nat_port).text, set_name[set]),
			check_textf("a session before it carries that too"));
	*word |= one;
}

void check_port_of(struct check *c, uint32_t index, const struct session *s)
{
	const struct port_use *first = find_table(c, s->nat);
	enum port_set set = port_set_of(s->l4);
	uint16_t port = be16_host(s->nat_port);

	for (const struct port_use *use = first; use && use < c->port + c->n_ports && use->address.net == s->nat.net;
		use++)
		if (ports_is_taken(port_table_at(c->a, use->index), &use->order, set, port)) {
			check_block_port(c, index, s, use);
			return;
		}
	check_violated(c, CHECK_port_unmarked, s->generation, check_session_text(c, index, s),
		check_textf("it carries %s (%s)", check_endpoint_text(s->nat, s->nat_port).text, set_name[set]),
		first ? check_textf("port table %u says that port is free", first->index)
		      : check_textf("that address has no port table"));
}

/* ---- what is taken against carriers ---- */

/* A port that is given back and taken again while the sessions are walked may have been carried by one that was still ahead,
 * and then by one that is behind: on a live box a suspect is looked for once more, by itself. */
static bool is_carried_now(const struct check *c, const struct port_use *use, enum port_set set, be16_t port)
{
	const struct port_table *t = port_table_at(c->a, use->index);
	uint32_t i = 0;

	while ((i = slab_next_live(c->a, SLAB_session, i + 1))) {
		const struct session *s = session_at(c->a, i);

		if (session_has(s, SESSION_CARRIES) && PEEK(s->nat).net == use->address.net &&
			PEEK(s->nat_port).net == port.net && port_set_of(PEEK(s->l4)) == set)
			return true;
	}
	return !ports_is_taken(t, &use->order, set, be16_host(port));
}

static void say_ports(struct check *c, enum check_rule rule, const struct port_use *use, enum port_set set, unsigned w,
	uint64_t ports, const char *but)
{
	for (; ports; ports &= ports - 1) {
		be16_t port = be16_of((uint16_t)(w * 64 + (unsigned)__builtin_ctzll(ports)));

		if (c->mode == CHECK_LIVE && rule == CHECK_port_leaked && is_carried_now(c, use, set, port))
			continue;
		check_violated(c, rule, port_table_at(c->a, use->index)->generation,
			check_textf("port %s (%s)", check_endpoint_text(use->address, port).text, set_name[set]),
			check_textf("it is taken in port table %u", use->index), check_textf("%s", but));
	}
}

/* Against the sessions, and against the tables of the address before this one. */
static void check_set(struct check *c, const struct port_use *first, const struct port_use *use, enum port_set set,
	uint64_t all[PORT_WORDS])
{
	uint64_t taken[PORT_WORDS];

	read_taken(c, use, set, taken);
	for (unsigned w = 0; w < PORT_WORDS; w++) {
		uint64_t stayed = taken[w] & (use->before ? use->before[set][w] : 0);

		c->counts->ports[set] += (uint32_t)__builtin_popcountll(taken[w]);
		say_ports(c, CHECK_port_leaked, use, set, w, stayed & ~(first->carried ? first->carried[set][w] : 0),
			"no live session carries it");
		say_ports(c, CHECK_port_twice, use, set, w, stayed & all[w], "so it is in another one of that address");
		all[w] |= stayed;
	}
}

void check_ports(struct check *c)
{
	for (int set = 0; set < N_PORT_SETS; set++) {
		const struct port_use *first = c->port;
		uint64_t all[PORT_WORDS] = {0};

		for (uint32_t i = 0; i < c->n_ports; i++) {
			if (first->address.net != c->port[i].address.net) {
				first = &c->port[i];
				memset(all, 0, sizeof all);
			}
			check_set(c, first, &c->port[i], set, all);
		}
	}
}
