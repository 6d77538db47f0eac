/* corenatctl plan: how many addresses it takes, in a table over block sizes and modes; nothing needs to run. */
#include "common/plan.h"

#include "mgmtd/ctl/ctl.h"

#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 24, BAR = 40, STATUS_USAGE = 2 };

static const char *const mode_names[] = {"blocks", "deterministic", "one by one"};

/* ---- the question ---- */

static bool read_number(const char *option, const char *text, double *out)
{
	char *end;
	double v;

	if (!text)
		return true;
	v = strtod(text, &end);
	if (end == text || *end) {
		fprintf(stderr, "corenatctl: --%s takes a number, not '%.40s'\n", option, text);
		return false;
	}
	*out = v;
	return true;
}

static bool read_whole(const char *option, const char *text, double *out)
{
	if (!read_number(option, text, out))
		return false;
	if (!text || (isfinite(*out) && *out == floor(*out)))
		return true;
	fprintf(stderr, "corenatctl: --%s takes a whole number, not '%.40s'\n", option, text);
	return false;
}

static bool read_numbers(const struct ctl_plan_options *o, struct plan_input *in)
{
	return read_number("sessions-per-subscriber", o->sessions, &in->sessions) &&
	       read_number("peak", o->peak, &in->peak) && read_number("dispersion", o->dispersion, &in->dispersion) &&
	       read_number("lifetime", o->lifetime, &in->lifetime_s) && read_number("hold", o->hold, &in->hold_s) &&
	       read_number("target", o->target, &in->target);
}

static const char *check(const struct ctl_plan_options *o, const struct plan_input *in, double block_size)
{
	const char *wrong = plan_check(in);

	if (wrong)
		return wrong;
	if (!(block_size >= 16 && block_size <= in->ports_per_address))
		return "block size: give 16 ports to as many as an address has";
	return o->addresses && in->addresses < 1 ? "addresses: give 1 to 1000000, or leave it out to have them computed"
						 : NULL;
}

static bool read_input(const struct ctl_plan_options *o, struct plan_input *in, double *block_size)
{
	double ports = 64512, blocks = 4, percent = 50;

	*in = (struct plan_input){.peak = 2, .dispersion = 0.5, .lifetime_s = 120, .hold_s = 120, .target = 0.001};
	*block_size = 512;
	if (!o->subscribers || !o->sessions) {
		fprintf(stderr, "corenatctl: plan needs --subscribers and --sessions-per-subscriber; try --help\n");
		return false;
	}
	if (!read_whole("subscribers", o->subscribers, &in->subscribers) || !read_numbers(o, in) ||
		!read_number("hold-percent", o->hold_percent, &percent) ||
		!read_whole("ports-per-address", o->ports_per_address, &ports) ||
		!read_whole("blocks-max", o->blocks_max, &blocks) ||
		!read_whole("addresses", o->addresses, &in->addresses) ||
		!read_whole("block-size", o->block_size, block_size))
		return false;
	in->hold_share = percent / 100;
	in->ports_per_address = ports >= 1 && ports <= 65535 ? (unsigned)ports : 0;
	in->blocks_max = blocks >= 1 && blocks <= 255 ? (unsigned)blocks : 0;

	const char *wrong = check(o, in, *block_size);

	if (wrong)
		fprintf(stderr, "corenatctl: %s\n", wrong);
	return !wrong;
}

/* ---- the rows ---- */

static unsigned compute(const struct plan_input *in, unsigned chosen, struct plan_row *rows)
{
	bool seen = false;
	unsigned n = 0;

	for (unsigned size = 64; size <= 4096 && size <= in->ports_per_address; size *= 2) {
		if (!seen && chosen < size) {
			plan_blocks(in, chosen, &rows[n++]);
			seen = true;
		}
		plan_blocks(in, size, &rows[n++]);
		seen |= size == chosen;
	}
	if (!seen)
		plan_blocks(in, chosen, &rows[n++]);
	for (unsigned ports = 256; ports <= 4096 && ports <= in->ports_per_address; ports *= 2)
		plan_deterministic(in, ports, &rows[n++]);
	plan_sessions(in, &rows[n++]);
	return n;
}

/* What pools[].block_size takes: a power of two from 64 to 4096 that divides the ports. */
static bool is_configurable(const struct plan_input *in, unsigned size)
{
	return size >= 64 && size <= 4096 && (size & (size - 1)) == 0 && in->ports_per_address % size == 0;
}

/* ---- for people ---- */

/* 0.0123 as "1.2%", 8e-5 as "0.008%", and smaller ones with an exponent: what matters is how many zeroes. */
static void print_share(double share, int width)
{
	char text[24];

	if (share <= 0)
		snprintf(text, sizeof text, "0");
	else if (share >= 0.001)
		snprintf(text, sizeof text, "%.1f%%", share * 100);
	else if (share >= 1e-22)
		snprintf(text, sizeof text, "%.1g%%", share * 100);
	else
		snprintf(text, sizeof text, "<1e-20%%");
	printf(" %*s", width, text);
}

static void print_count(double n, int width)
{
	static const char unit[] = " kMGT";
	unsigned u = 0;
	char text[24];

	if (n >= 100000)
		for (; n >= 1000 && u < 4; u++)
			n /= 1000;
	snprintf(text, sizeof text, "%.*f%.*s", u ? 1 : 0, n, u ? 1 : 0, unit + u);
	printf(" %*s", width, text);
}

static void print_model(const struct plan_input *in)
{
	double m = in->sessions * in->peak;

	printf("Model: ports in use at once per subscriber are negative binomial; busy hour: mean %.4g (%.4g x peak "
	       "%.4g),\n"
	       "dispersion %.4g (variance %.4g; smaller is a heavier tail), a port is held for %.4g s on average "
	       "(exponential),\n"
	       "a freed port or an empty block rests for %.4g s. %.0f subscribers, spread evenly over addresses of %u "
	       "ports;\n",
		m, in->sessions, in->peak, in->dispersion, m + m * m / in->dispersion, in->lifetime_s, in->hold_s,
		in->subscribers, in->ports_per_address);
	if (in->addresses > 0)
		printf("there are %.0f addresses.\n\n", in->addresses);
	else
		printf("as many addresses as make one be out of ports with probability %.2g at most.\n\n", in->target);
}

static void print_notes(const struct plan_input *in, const struct plan_row *rows, unsigned n)
{
	bool any = false;

	printf("\n\"needs more\": a subscriber would use more than the most; \"sessions refused\" for that, of all. "
	       "\"log per day\":\n"
	       "events, two for each block (at most %u a subscriber) or session. *: as asked. \"one by one\": "
	       "shuffled, "
	       "ordered.\n",
		in->blocks_max);
	for (unsigned i = 0; i < n; i++) {
		if (rows[i].mode != PLAN_BLOCKS || is_configurable(in, rows[i].ports))
			continue;
		printf("%s %u", any ? "," : "No pool can have blocks of", rows[i].ports);
		any = true;
	}
	if (any)
		printf(": their size is a power of two from 64 to 4096 that divides the %u ports.\n",
			in->ports_per_address);
}

static void print_table(const struct plan_input *in, const struct plan_row *rows, unsigned n, unsigned chosen)
{
	printf("%-13s %5s | %6s %8s %8s | %7s %9s %9s %8s %8s | %8s\n", "", "", "most", "needs", "sessions", "blocks",
		"subs per", "", "address", "refused", "log");
	printf("%-13s %5s | %6s %8s %8s | %7s %9s %9s %8s %8s | %8s\n", "ports", "size", "ports", "more", "refused",
		"per sub", "address", "addresses", "is out", "for that", "per day");
	for (unsigned i = 0; i < n; i++) {
		const struct plan_row *r = &rows[i];
		char size[12] = "-";

		if (r->ports)
			snprintf(size, sizeof size, "%u%s", r->ports,
				r->mode == PLAN_BLOCKS && r->ports == chosen ? "*" : "");
		printf("%-13s %5s | %6.0f", mode_names[r->mode], size, r->most);
		print_share(r->beyond, 8);
		print_share(r->refused_limit, 8);
		if (r->mode == PLAN_BLOCKS)
			printf(" | %7.2f", r->blocks);
		else
			printf(" | %7s", "-");
		print_count(r->per_address, 9);
		print_count(r->addresses, 9);
		print_share(r->runs_out, 8);
		print_share(r->refused_pool, 8);
		printf(" |");
		print_count(r->log_per_day, 8);
		printf("\n");
	}
	print_notes(in, rows, n);
}

/* `of` is the value, `length` what of it the bar shows. */
static void print_bars(const char *title, const struct plan_row *rows, unsigned n,
	double (*of)(const struct plan_row *), double (*length)(double))
{
	double most = 0;

	for (unsigned i = 0; i < n; i++)
		most = fmax(most, length(of(&rows[i])));
	printf("\n%s\n", title);
	for (unsigned i = 0; i < n && most > 0; i++) {
		int len = (int)(BAR * length(of(&rows[i])) / most + 0.5);

		if (rows[i].ports)
			printf("%-13s %5u ", mode_names[rows[i].mode], rows[i].ports);
		else
			printf("%-13s %5s ", mode_names[rows[i].mode], "-");
		printf("%-*.*s", BAR, len, "########################################");
		print_count(of(&rows[i]), 8);
		printf("\n");
	}
}

static double addresses_of(const struct plan_row *row)
{
	return row->addresses;
}

static double log_of(const struct plan_row *row)
{
	return row->log_per_day;
}

static double as_it_is(double v)
{
	return v;
}

static double decades(double v)
{
	return v > 1 ? log10(v) : 0;
}

/* ---- for programs ---- */

static void add(struct json_object *o, const char *key, double v)
{
	json_object_object_add(o, key, json_object_new_double(v));
}

static struct json_object *row_json(const struct plan_row *r)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "mode", json_object_new_string(mode_names[r->mode]));
	json_object_object_add(o, "size", r->ports ? json_object_new_int64(r->ports) : NULL);
	add(o, "most_ports", r->most);
	add(o, "needs_more", r->beyond);
	add(o, "sessions_refused_by_limit", r->refused_limit);
	if (r->mode == PLAN_BLOCKS)
		add(o, "blocks_per_subscriber", r->blocks);
	add(o, "subscribers_per_address", r->per_address);
	add(o, "addresses", r->addresses);
	add(o, "address_runs_out", r->runs_out);
	add(o, "any_address_runs_out", r->any_runs_out);
	add(o, "refused_by_pool", r->refused_pool);
	add(o, "log_events_per_day", r->log_per_day);
	return o;
}

static void print_json(const struct plan_input *in, const struct plan_row *rows, unsigned n)
{
	struct json_object *o = json_object_new_object(), *model = json_object_new_object(),
			   *list = json_object_new_array();

	add(model, "subscribers", in->subscribers);
	add(model, "sessions_per_subscriber", in->sessions);
	add(model, "peak", in->peak);
	add(model, "dispersion", in->dispersion);
	add(model, "lifetime_s", in->lifetime_s);
	add(model, "hold_s", in->hold_s);
	add(model, "hold_percent", in->hold_share * 100);
	add(model, "ports_per_address", in->ports_per_address);
	add(model, "blocks_max", in->blocks_max);
	add(model, "target", in->target);
	json_object_object_add(o, "model", model);
	for (unsigned i = 0; i < n; i++)
		json_object_array_add(list, row_json(&rows[i]));
	json_object_object_add(o, "rows", list);
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

int ctl_plan(const struct config *c, const struct ctl_options *o)
{
	struct plan_row rows[ROWS_MAX];
	struct plan_input in;
	double chosen;
	unsigned n;

	(void)c;
	if (!read_input(&o->plan, &in, &chosen))
		return STATUS_USAGE;
	n = compute(&in, (unsigned)chosen, rows);
	if (o->json) {
		print_json(&in, rows, n);
		return 0;
	}
	print_model(&in);
	print_table(&in, rows, n, (unsigned)chosen);
	print_bars("Addresses", rows, n, addresses_of, as_it_is);
	print_bars("Log events per day (logarithmic)", rows, n, log_of, decades);
	return 0;
}
