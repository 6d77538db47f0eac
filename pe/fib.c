#include "pe/fib.h"

#include <stdlib.h>

static uint64_t first_of(const struct route *r)
{
	return (uint64_t)r->realm << 32 | r->prefix;
}

static uint64_t last_of(const struct route *r)
{
	return first_of(r) | 0xffffffffull >> r->length;
}

/* By first place; the wider prefix first, so that what it encloses follows it. */
static int by_prefix(const void *x, const void *y)
{
	const struct route *a = x, *b = y;

	if (first_of(a) != first_of(b))
		return first_of(a) < first_of(b) ? -1 : 1;
	return (a->length > b->length) - (a->length < b->length);
}

/* From `first` on, `route` rules; replaces an interval that would be empty. */
static void cut(struct fib *f, uint64_t first, uint32_t route)
{
	if (f->n && f->interval[f->n - 1].first == first)
		f->n--;
	f->interval[f->n++] = (struct fib_interval){first, route};
}

/* Walks the sorted prefixes with a stack of those still open: prefixes nest or are disjoint, 33 deep at most, bar
 * duplicates, of which the last one rules. */
static void build(struct fib *f)
{
	uint32_t open[34], depth = 0;

	f->n = 0;
	cut(f, 0, FIB_NO_ROUTE);
	for (uint32_t i = 0; i <= f->set.n; i++) {
		while (depth &&
			(i == f->set.n || first_of(&f->set.route[i]) > last_of(&f->set.route[open[depth - 1]]))) {
			uint64_t end = last_of(&f->set.route[open[--depth]]);

			cut(f, end + 1, depth ? open[depth - 1] : FIB_NO_ROUTE);
		}
		if (i == f->set.n)
			break;
		if (depth && by_prefix(&f->set.route[i], &f->set.route[open[depth - 1]]) == 0)
			depth--;
		open[depth++] = i;
		cut(f, first_of(&f->set.route[i]), i);
	}
}

void fib_load(struct fib *f, const struct nexthop *nh)
{
	f->generation = nexthop_read_routes(nh, &f->set);
	qsort(f->set.route, f->set.n, sizeof f->set.route[0], by_prefix);
	build(f);
}

uint32_t fib_interval_of(const struct fib *f, uint64_t place)
{
	uint32_t lo = 0, hi = f->n;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (f->interval[mid].first <= place)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

struct route fib_find(const struct fib *f, uint16_t realm, uint32_t address)
{
	uint32_t near = 0;
	const struct route *r = fib_find_near(f, realm, address, &near);

	return r ? *r : (struct route){.kind = ROUTE_NONE};
}
