/* Ports: bits against the sessions that carry them. */
#include "shm/check_internal.h"

#include <stdlib.h>

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

/* A port that is taken while the sessions are walked may have its carrier where the walk has been already. So the bits
 * are read before and after. */
static void read_before(struct check *c, struct port_use *use)
{
	const struct port_table *t = port_table_at(c->a, use->index);

	if (ports_used(t, PORTS_TCP) + ports_used(t, PORTS_OTHER) == 0)
		return;
	use->before = check_alloc(c, N_PORT_SETS, sizeof *use->before);
	for (int set = 0; use->before && set < N_PORT_SETS; set++)
		for (unsigned w = 0; w < PORT_WORDS; w++)
			use->before[set][w] = atomic_load_explicit(&t->bits[set][w], memory_order_acquire);
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
		c->port[n++] = (struct port_use){PEEK(port_table_at(c->a, i)->address), i, NULL, NULL};
	c->n_ports = n;
	c->counts->port_tables = n;
	qsort(c->port, n, sizeof *c->port, port_order);
	for (uint32_t i = 0; i < n; i++)
		read_before(c, &c->port[i]);
	for (uint32_t i = 1; i < n; i++)
		if (c->port[i].address.net == c->port[i - 1].address.net)
			check_violated(c, CHECK_port_table_unique, 0, check_textf("port table %u", c->port[i].index),
				check_textf("it is of %s", check_endpoint_text(c->port[i].address, (be16_t){0}).text),
				check_textf("so is port table %u", c->port[i - 1].index));
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
	const struct port_use *use = find_table(c, s->nat);
	enum port_set set = port_set_of(s->l4);

	if (use && ports_is_set(port_table_at(c->a, use->index), set, be16_host(s->nat_port)))
		return;
	check_violated(c, CHECK_port_unmarked, s->generation, check_session_text(c, index, s),
		check_textf("it carries %s (%s)", check_endpoint_text(s->nat, s->nat_port).text, set_name[set]),
		use ? check_textf("port table %u says that port is free", use->index)
		    : check_textf("that address has no port table"));
}

/* ---- bits against carriers ---- */

static void check_word(struct check *c, const struct port_use *use, enum port_set set, unsigned w, uint64_t leaked)
{
	for (; leaked; leaked &= leaked - 1) {
		be16_t port = be16_of((uint16_t)(w * 64 + (unsigned)__builtin_ctzll(leaked)));

		check_violated(c, CHECK_port_leaked, port_table_at(c->a, use->index)->generation,
			check_textf("port %s (%s)", check_endpoint_text(use->address, port).text, set_name[set]),
			check_textf("it is taken in port table %u", use->index),
			check_textf("no live session carries it"));
	}
}

static void check_set(struct check *c, const struct port_use *use, enum port_set set)
{
	const struct port_table *t = port_table_at(c->a, use->index);

	for (unsigned w = 0; w < PORT_WORDS; w++) {
		uint64_t taken = atomic_load_explicit(&t->bits[set][w], memory_order_acquire);
		uint64_t stayed = taken & (use->before ? use->before[set][w] : 0);

		c->counts->ports[set] += (uint32_t)__builtin_popcountll(taken);
		check_word(c, use, set, w, stayed & ~(use->carried ? use->carried[set][w] : 0));
	}
}

void check_ports(struct check *c)
{
	for (uint32_t i = 0; i < c->n_ports; i++)
		for (int set = 0; set < N_PORT_SETS; set++)
			check_set(c, &c->port[i], set);
}
