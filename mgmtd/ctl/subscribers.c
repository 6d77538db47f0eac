/* corenatctl subscribers: who uses what, and names and limits given and taken, by way of the API. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"
#include "mgmtd/ctl/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMITS_MAX = 8, PATH_SIZE = 96, ADDRESS_WIDTH = 18 };

static const char path[] = "/api/v1/subscribers";

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return o && json_object_object_get_ex(o, key, &v) ? v : NULL;
}

/* "17/100", or "17" without a limit. */
static void print_use(struct json_object *row, const char *what, int width)
{
	struct json_object *use = member(member(row, "use"), what);
	char text[48];

	if (member(use, "limit"))
		snprintf(text, sizeof text, "%s/%s", rows_text(use, "used"), rows_text(use, "limit"));
	else
		snprintf(text, sizeof text, "%s", rows_text(use, "used"));
	printf("%*s ", width, text);
}

/* "198.51.100.1", or "198.51.100.1 +2" when there are two more. */
static void print_address(struct json_object *row, int width)
{
	struct json_object *list = member(row, "addresses");
	size_t n = list ? json_object_array_length(list) : 0;
	char text[48] = "-";

	if (n > 0)
		snprintf(text, sizeof text, "%s", json_object_get_string(json_object_array_get_idx(list, 0)));
	if (n > 1)
		snprintf(text + strlen(text), sizeof text - strlen(text), " +%zu", n - 1);
	printf("%-*s ", width, text);
}

static uint64_t refused(struct json_object *row)
{
	uint64_t sum = 0;

	json_object_object_foreach (member(row, "refused"), reason, o) {
		(void)reason;
		sum += json_object_get_uint64(member(o, "count"));
	}
	return sum;
}

static void print_row(struct json_object *row)
{
	printf("%-15s %5s %-20s ", rows_text(row, "inside"), rows_text(row, "realm"), rows_text(row, "name"));
	print_address(row, ADDRESS_WIDTH);
	print_use(row, "sessions", 13);
	print_use(row, "tcp_ports", 13);
	print_use(row, "udp_ports", 13);
	printf("%9llu\n", (unsigned long long)refused(row));
}

/* ---- list ---- */

static size_t print_page(struct json_object *answer, bool json)
{
	struct json_object *rows = member(answer, "subscribers");
	size_t n = rows ? json_object_array_length(rows) : 0;

	for (size_t i = 0; i < n; i++)
		(json ? rows_json : print_row)(json_object_array_get_idx(rows, i));
	return n;
}

int ctl_subscribers_list(const struct config *c, const struct ctl_options *o)
{
	char next[32] = "0";
	size_t n = 0;

	do {
		const struct rest_parameter p[] = {{"inside", o->inside}, {"realm", o->realm}, {"name", o->name},
			{"top", o->top}, {"limit", o->top ? "20" : "1000"}, {"cursor", next}};
		struct json_object *answer = rest_call(c, "GET", path, p, sizeof p / sizeof p[0]);

		if (!answer)
			return CTL_FAILED;
		if (!o->json && strcmp(next, "0") == 0)
			printf("%-15s %5s %-20s %-*s %13s %13s %13s %9s\n", "inside", "realm", "name", ADDRESS_WIDTH,
				"address", "sessions", "tcp ports", "udp ports", "refused");
		n += print_page(answer, o->json);
		snprintf(next, sizeof next, "%s", rows_text(answer, "next"));
		json_object_put(answer);
	} while (strcmp(next, "-") != 0);
	if (!o->json)
		printf("%zu subscribers\n", n);
	return 0;
}

/* ---- one ---- */

static void print_list(struct json_object *row, const char *key, const char *title)
{
	struct json_object *list = member(row, key);
	size_t n = list ? json_object_array_length(list) : 0;

	printf("%-20s%s", title, n ? "" : " -");
	for (size_t i = 0; i < n; i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(list, i)));
	printf("\n");
}

static void print_blocks(struct json_object *row)
{
	struct json_object *list = member(row, "blocks");
	size_t n = list ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *b = json_object_array_get_idx(list, i);
		int first = json_object_get_int(member(b, "first"));

		printf("%-20s %s:%d-%d, for %s s\n", i ? "" : "port blocks", rows_text(b, "address"), first,
			first + json_object_get_int(member(b, "ports")) - 1, rows_text(b, "since_s_ago"));
	}
}

/* A rate has no use, only what it may be. */
static void print_limit(const char *what, struct json_object *use)
{
	printf("%-20s ", strcmp(what, "memory") == 0 ? "memory, bytes" : what);
	if (member(use, "used"))
		printf("%s, ", rows_text(use, "used"));
	if (member(use, "limit"))
		printf("limit %s\n", rows_text(use, "limit"));
	else
		printf("no limit\n");
}

static void print_one(struct json_object *row)
{
	printf("%-20s %s\n%-20s %s\n%-20s %s\n", "inside", rows_text(row, "inside"), "realm", rows_text(row, "realm"),
		"name", rows_text(row, "name"));
	if (member(row, "seen_s_ago"))
		printf("%-20s %s s ago\n", "last seen", rows_text(row, "seen_s_ago"));
	print_list(row, "addresses", "addresses");
	print_blocks(row);
	print_list(row, "own_limits", "limits of its own");
	json_object_object_foreach (member(row, "use"), what, use) {
		print_limit(what, use);
	}
	printf("%-20s %s\n", "reserved_ports", rows_text(row, "reserved_ports"));
	json_object_object_foreach (member(row, "refused"), reason, r) {
		printf("refused for %s: %s times, since %s s ago, last %s s ago\n", reason, rows_text(r, "count"),
			rows_text(r, "since_s_ago"), rows_text(r, "last_s_ago"));
	}
}

static bool make_path(const struct ctl_options *o, char out[PATH_SIZE])
{
	if (o->inside && strlen(o->inside) < 32 && !strpbrk(o->inside, "/?#% ")) {
		snprintf(out, PATH_SIZE, "%s/%s", path, o->inside);
		return true;
	}
	log_error("which subscriber? give --inside IP");
	return false;
}

static int call_one(const struct config *c, const struct ctl_options *o, const char *method,
	const struct rest_parameter *p, unsigned n)
{
	char one[PATH_SIZE];
	struct json_object *answer = make_path(o, one) ? rest_call(c, method, one, p, n) : NULL;

	if (!answer)
		return CTL_FAILED;
	if (o->json)
		rows_json(answer);
	else if (member(answer, "forgotten"))
		printf("forgotten\n");
	else
		print_one(answer);
	json_object_put(answer);
	return 0;
}

int ctl_subscribers_show(const struct config *c, const struct ctl_options *o)
{
	const struct rest_parameter p[] = {{"realm", o->realm}};

	return call_one(c, o, "GET", p, 1);
}

int ctl_subscribers_delete(const struct config *c, const struct ctl_options *o)
{
	const struct rest_parameter p[] = {{"realm", o->realm}};

	return call_one(c, o, "DELETE", p, 1);
}

/* "sessions=100,udp_ports=50" as parameters; `text` is cut up. */
static int split_limits(char *text, struct rest_parameter *p, int room)
{
	char *rest = NULL;
	int n = 0;

	for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		char *equals = strchr(one, '=');

		if (!equals || n == room) {
			log_error("--limits: \"%s\" is no limit; give sessions=100,udp_ports=50 and so on", one);
			return -1;
		}
		*equals = '\0';
		p[n++] = (struct rest_parameter){one, equals + 1};
	}
	return n;
}

int ctl_subscribers_set(const struct config *c, const struct ctl_options *o)
{
	struct rest_parameter p[2 + LIMITS_MAX] = {{"realm", o->realm}, {"name", o->name}};
	char *text = strdup(o->set ? o->set : "");
	int n = text ? split_limits(text, p + 2, LIMITS_MAX) : -1;
	int status = n < 0 ? CTL_FAILED : call_one(c, o, "PUT", p, 2 + (unsigned)n);

	free(text);
	return status;
}
