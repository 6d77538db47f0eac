#include "common/deterministic.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

static int by_first(const void *a, const void *b)
{
	const struct deterministic_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sorts, joins, counts. Returns how many ranges are left; *total is what they hold. */
static uint32_t arrange(struct deterministic_range *r, uint32_t n, uint64_t *total)
{
	uint32_t kept = 0;

	qsort(r, n, sizeof(*r), by_first);
	for (uint32_t i = 0; i < n; i++) {
		struct deterministic_range next = r[i];

		if (kept > 0 && (uint64_t)r[kept - 1].last + 1 >= next.first) {
			if (next.last > r[kept - 1].last)
				r[kept - 1].last = next.last;
		} else {
			r[kept++] = next;
		}
	}
	*total = 0;
	for (uint32_t i = 0; i < kept; i++) {
		r[i].before = (uint32_t)*total;
		*total += (uint64_t)r[i].last - r[i].first + 1;
	}
	memset(r + kept, 0, (n - kept) * sizeof(*r)); /* equal specs give equal bytes */
	return kept;
}

static void copy_ranges(struct deterministic_range *to, const struct address_range *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = (struct deterministic_range){from[i].first, from[i].last, 0};
}

static int by_port(const void *a, const void *b)
{
	const struct deterministic_reserved *x = a, *y = b;

	return (int)x->first - (int)y->first;
}

static void take_reserved(struct deterministic *d, const struct port_range *from, uint32_t n)
{
	struct deterministic_reserved *r = d->reserved;
	uint32_t kept = 0, total = 0;

	for (uint32_t i = 0; i < n; i++)
		r[i] = (struct deterministic_reserved){from[i].first, from[i].last, 0};
	qsort(r, n, sizeof(*r), by_port);
	for (uint32_t i = 0; i < n; i++) {
		struct deterministic_reserved next = r[i];

		if (kept > 0 && r[kept - 1].last + 1 >= next.first) {
			if (next.last > r[kept - 1].last)
				r[kept - 1].last = next.last;
		} else {
			r[kept++] = next;
		}
	}
	for (uint32_t i = 0; i < kept; i++) {
		r[i].before = total;
		total += r[i].last - r[i].first + 1u;
	}
	memset(r + kept, 0, (n - kept) * sizeof(*r));
	d->n_reserved = kept;
}

/* Reserved ports below `port`. */
static uint32_t reserved_below(const struct deterministic *d, uint32_t port)
{
	uint32_t low = 0, high = d->n_reserved;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (d->reserved[mid].first < port)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return 0;

	const struct deterministic_reserved *r = &d->reserved[low - 1];

	return r->before + (port <= r->last ? port - r->first : r->last - r->first + 1u);
}

static uint32_t reserved_in(const struct deterministic *d, uint32_t first, uint32_t n)
{
	return reserved_below(d, first + n) - reserved_below(d, first);
}

/* Cuts an address's ports in slices of `size`. Each gap has a reserved range of its own, so there is room for all. */
static void cut(struct deterministic *d, uint32_t size, uint32_t ports)
{
	uint32_t all = ports / size, out = 0;

	d->size = size;
	d->n_gaps = 0;
	memset(d->gaps, 0, sizeof(d->gaps));
	for (uint32_t s = 0; s < all; s++) {
		struct deterministic_gap *last = d->n_gaps ? &d->gaps[d->n_gaps - 1] : NULL;

		if (2 * reserved_in(d, d->port_first + s * size, size) <= size)
			continue;
		if (last && last->first + last->n == s) {
			last->n++;
		} else {
			assert(d->n_gaps < CONFIG_RESERVED_MAX);
			d->gaps[d->n_gaps++] = (struct deterministic_gap){(uint16_t)s, 1, out};
		}
		out++;
	}
	d->slices = all - out;
	d->dealt = (uint64_t)d->slices * d->addresses;
	if (d->dealt > d->subscribers)
		d->dealt = d->subscribers;
}

/* The largest slice with which everyone gets one. Slices left out may make the first guess too large. */
static bool cut_for_all(struct deterministic *d, uint32_t ports)
{
	uint64_t each = (d->subscribers + d->addresses - 1) / d->addresses;
	uint32_t size = each > ports ? 0 : (uint32_t)(ports / each) / DETERMINISTIC_ALIGN * DETERMINISTIC_ALIGN;

	for (; size > 0; size -= DETERMINISTIC_ALIGN) {
		cut(d, size, ports);
		if (d->dealt == d->subscribers)
			return true;
	}
	return false;
}

int deterministic_init(struct deterministic *d, const struct deterministic_spec *spec)
{
	uint32_t first = (spec->port_first + DETERMINISTIC_ALIGN - 1u) / DETERMINISTIC_ALIGN * DETERMINISTIC_ALIGN;
	uint32_t end = (spec->port_last + 1u) / DETERMINISTIC_ALIGN * DETERMINISTIC_ALIGN;
	uint64_t addresses;

	memset(d, 0, sizeof(*d));
	d->n_inside = spec->n_inside;
	d->n_nat = spec->n_nat;
	if (spec->n_inside == 0 || spec->n_nat == 0 || spec->port_first > spec->port_last ||
		spec->ports_per_subscriber % DETERMINISTIC_ALIGN != 0)
		return -EINVAL;
	if (spec->n_inside > DETERMINISTIC_INSIDE_MAX || spec->n_nat > DETERMINISTIC_NAT_MAX ||
		spec->n_reserved > CONFIG_RESERVED_MAX)
		return -E2BIG;
	copy_ranges(d->inside, spec->inside, spec->n_inside);
	copy_ranges(d->nat, spec->nat, spec->n_nat);
	d->n_inside = arrange(d->inside, spec->n_inside, &d->subscribers);
	d->n_nat = arrange(d->nat, spec->n_nat, &addresses);
	if (addresses > UINT32_MAX)
		return -E2BIG;
	d->addresses = (uint32_t)addresses;
	take_reserved(d, spec->reserved, spec->n_reserved);
	d->port_first = first;
	d->spread = spec->order == ORDER_SPREAD;
	if (first >= end)
		return -ERANGE;
	if (spec->ports_per_subscriber == 0)
		return cut_for_all(d, end - first) ? 0 : -ERANGE;
	cut(d, spec->ports_per_subscriber, end - first);
	return d->slices > 0 ? 0 : -ERANGE;
}

uint64_t deterministic_addresses_needed(const struct deterministic *d)
{
	return d->slices == 0 ? 0 : (d->subscribers + d->slices - 1) / d->slices;
}

/* ---- numbers and addresses ---- */

/* The range with the greatest first (or before) not above the key; NULL when there is none. */
static const struct deterministic_range *find(
	const struct deterministic_range *r, uint32_t n, uint32_t key, bool by_number)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if ((by_number ? r[mid].before : r[mid].first) <= key)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &r[low - 1] : NULL;
}

static bool number_of(const struct deterministic_range *r, uint32_t n, uint32_t address, uint32_t *number)
{
	const struct deterministic_range *in = find(r, n, address, false);

	if (!in || address > in->last)
		return false;
	*number = in->before + (address - in->first);
	return true;
}

static uint32_t address_of(const struct deterministic_range *r, uint32_t n, uint32_t number)
{
	const struct deterministic_range *in = find(r, n, number, true);

	assert(in);
	return in->first + (number - in->before);
}

/* ---- slices ---- */

/* The gap with the greatest key not above; for both searches, keys ascend. */
static const struct deterministic_gap *find_gap(const struct deterministic *d, uint32_t key, bool by_number)
{
	uint32_t low = 0, high = d->n_gaps;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		uint32_t at = d->gaps[mid].first - (by_number ? d->gaps[mid].before : 0);

		if (at <= key)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &d->gaps[low - 1] : NULL;
}

/* The place of the slice that has this number among those not left out. */
static uint32_t slice_place(const struct deterministic *d, uint32_t number)
{
	const struct deterministic_gap *gap = find_gap(d, number, true);

	return number + (gap ? gap->before + gap->n : 0);
}

static bool slice_number(const struct deterministic *d, uint32_t place, uint32_t *number)
{
	const struct deterministic_gap *gap = find_gap(d, place, false);

	if (gap && place < (uint32_t)gap->first + gap->n)
		return false;
	*number = place - (gap ? gap->before + gap->n : 0);
	return *number < d->slices;
}

/* ---- both ways ---- */

bool deterministic_is_subscriber(const struct deterministic *d, uint32_t inside)
{
	uint32_t number;

	return number_of(d->inside, d->n_inside, inside, &number);
}

bool deterministic_forward(const struct deterministic *d, uint32_t inside, struct deterministic_ports *out)
{
	uint32_t i, address, slice, first;

	if (!number_of(d->inside, d->n_inside, inside, &i) || i >= d->dealt)
		return false;
	address = d->spread ? i % d->addresses : i / d->slices;
	slice = d->spread ? i / d->addresses : i % d->slices;
	first = d->port_first + slice_place(d, slice) * d->size;
	*out = (struct deterministic_ports){
		.nat = address_of(d->nat, d->n_nat, address),
		.first = (uint16_t)first,
		.last = (uint16_t)(first + d->size - 1),
		.usable = d->size - reserved_in(d, first, d->size),
	};
	return true;
}

bool deterministic_reverse(const struct deterministic *d, uint32_t nat, uint16_t port, uint32_t *inside)
{
	uint32_t address, slice;
	uint64_t i;

	if (!number_of(d->nat, d->n_nat, nat, &address) || port < d->port_first || reserved_in(d, port, 1) ||
		!slice_number(d, (port - d->port_first) / d->size, &slice))
		return false;
	i = d->spread ? (uint64_t)slice * d->addresses + address : (uint64_t)address * d->slices + slice;
	if (i >= d->dealt)
		return false;
	*inside = address_of(d->inside, d->n_inside, (uint32_t)i);
	return true;
}
