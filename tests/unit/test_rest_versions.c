/* rest: who had an address and port when, over several configurations (RFC 7422 section 3, RFC 6302). */
#include "mgmtd/versions.h"
#include "mgmtd/when.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T0 ((int64_t)1795788000) /* 2026-11-27T14:00:00Z */

/* 256 subscribers, four addresses, 1,008 ports each. Static: one port of TCP and UDP each; overflow and other pools. */
static const char dealt[] =
	"{\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/24\"]},\"outside\":{\"interface\":\"out\"},"
	"\"pools\":[{\"name\":\"rest\",\"addresses\":[\"192.0.2.0/30\"]},"
	"{\"name\":\"dealt\",\"addresses\":[\"198.51.100.0/30\"]}],"
	"\"realms\":[{\"name\":\"a\",\"vlan\":7,\"prefixes\":[\"100.64.0.0/24\"]}],"
	"\"rules\":[{\"name\":\"homes\",\"realm\":\"untagged\",\"pool\":\"dealt\",\"ports\":\"deterministic\","
	"\"order\":\"%s\"%s}],"
	"\"nat\":{\"ports\":\"blocks\"},"
	"\"static\":[{\"protocol\":\"tcp\",\"inside\":\"100.64.0.9\",\"nat\":\"198.51.100.0\",\"inside_port\":80,"
	"\"nat_port\":2100,\"ports\":3},"
	"{\"protocol\":\"any\",\"realm\":\"a\",\"inside\":\"100.64.0.9\",\"nat\":\"192.0.2.3\"}]}";

static void put(struct lab *lab, int64_t s, const char *order, const char *more)
{
	char text[2048];
	struct config_error wrong;
	static struct config c;
	int n = snprintf(text, sizeof text, dealt, order, more);

	if (!config_parse(&c, text, (size_t)n, &wrong))
		fail_msg("%s", wrong.text);
	char *printed = config_print(&c);

	assert_int_equal(versions_begin(lab->api.versions, s * 1000, printed), 0);
	assert_int_equal(versions_commit(lab->api.versions, s * 1000), 0);
	free(printed);
}

static int setup(void **state)
{
	int err = lab_setup(state);

	if (err)
		return err;
	put(*state, T0, "fill", "");
	put(*state, T0 + 100, "spread", "");
	put(*state, T0 + 200, "spread", ",\"timeout_s\":120"); /* changes no port */
	return 0;
}

static struct json_object *look(struct lab *lab, const char *query, int64_t s)
{
	char path[256];

	snprintf(path, sizeof path, "/api/v1/deterministic?%s&time=%lld", query, (long long)s);
	return ask(lab, path, 200);
}

static void assert_candidate(struct json_object *o, unsigned i, const char *basis, const char *key, const char *value)
{
	struct json_object *c = row(o, "candidates", i);

	assert_int_equal(get_number(c, "rank"), i + 1);
	assert_string_equal(get_text(c, "basis"), basis);
	assert_string_equal(get_text(c, key), value);
}

/* 14:01:30: the first configuration. */
static void test_7422_b(void **state)
{
	struct lab *lab = *state;
	struct json_object *o = look(lab, "inside=100.64.0.65", T0 + 90), *c = row(o, "candidates", 0);

	assert_int_equal(rows(o, "candidates"), 1);
	assert_true(json_object_get_boolean(get(o, "known")));
	assert_string_equal(get_text(o, "time"), "2026-11-27T14:01:30Z");
	assert_candidate(o, 0, "in force", "nat", "198.51.100.1");
	assert_string_equal(get_text(c, "kind"), "deterministic");
	assert_string_equal(get_text(c, "realm"), "untagged");
	assert_string_equal(get_text(c, "rule"), "rules[0]");
	assert_string_equal(get_text(c, "rule_name"), "homes");
	assert_string_equal(get_text(c, "algorithm"), "rfc7422-fill");
	assert_int_equal(get_number(c, "port_first"), 2032);
	assert_int_equal(get_number(c, "port_last"), 3039);
	assert_int_equal(get_number(c, "ports"), 1008);
	assert_string_equal(get_text(c, "from"), "2026-11-27T14:00:00Z");
	assert_string_equal(get_text(c, "until"), "2026-11-27T14:01:40Z");
	assert_int_equal(get_number(c, "version"), 1);
	json_object_put(o);

	o = look(lab, "nat=198.51.100.1:2500", T0 + 90);
	assert_int_equal(rows(o, "candidates"), 1);
	assert_candidate(o, 0, "in force", "inside", "100.64.0.65");
	json_object_put(o);
}

/* Within the skew of a change, and soon after it, both may be meant: the likely one first. */
static void test_6302(void **state)
{
	struct lab *lab = *state;
	struct json_object *o = look(lab, "nat=198.51.100.1:2500&skew_s=2&earlier_s=0", T0 + 98);

	assert_int_equal(rows(o, "candidates"), 2);
	assert_candidate(o, 0, "in force", "inside", "100.64.0.65");
	assert_candidate(o, 1, "skew", "inside", "100.64.0.5");
	json_object_put(o);
	o = look(lab, "nat=198.51.100.1:2500&skew_s=1&earlier_s=0", T0 + 98);
	assert_int_equal(rows(o, "candidates"), 1);
	json_object_put(o);
	o = look(lab, "nat=198.51.100.1:2500&skew_s=2&earlier_s=0", T0 + 101);
	assert_candidate(o, 0, "in force", "inside", "100.64.0.5");
	assert_candidate(o, 1, "skew", "inside", "100.64.0.65");
	json_object_put(o);
	o = look(lab, "nat=198.51.100.1:2500", T0 + 300); /* sessions of then may have lived on */
	assert_int_equal(rows(o, "candidates"), 2);
	assert_candidate(o, 0, "in force", "inside", "100.64.0.5");
	assert_candidate(o, 1, "earlier", "inside", "100.64.0.65");
	json_object_put(o);
	o = look(lab, "nat=198.51.100.1:2500&earlier_s=60", T0 + 300);
	assert_int_equal(rows(o, "candidates"), 1);
	json_object_put(o);
}

/* Two versions that agree are one span. */
static void spans_join(void **state)
{
	struct json_object *o = look(*state, "inside=100.64.0.5", T0 + 150), *c = row(o, "candidates", 0);

	assert_string_equal(get_text(c, "nat"), "198.51.100.1");
	assert_string_equal(get_text(c, "from"), "2026-11-27T14:01:40Z");
	assert_null(get(c, "until"));
	json_object_put(o);
	o = look(*state, "inside=100.64.0.5&earlier_s=0", T0 + 250); /* as far back as it goes */
	c = row(o, "candidates", 0);
	assert_string_equal(get_text(c, "from"), "2026-11-27T14:01:40Z");
	assert_int_equal(get_number(c, "version"), 2);
	json_object_put(o);
	o = look(*state, "inside=100.64.0.5&skew_s=60", T0 + 150);
	c = row(o, "candidates", 0);
	assert_null(get(c, "until"));
	assert_int_equal(get_number(c, "version"), 2);
	json_object_put(o);
}

static void static_mappings_come_first(void **state)
{
	struct json_object *o = look(*state, "nat=198.51.100.0:2101", T0 + 1), *c = row(o, "candidates", 0);

	assert_int_equal(rows(o, "candidates"), 2);
	assert_string_equal(get_text(c, "kind"), "static");
	assert_string_equal(get_text(c, "protocol"), "tcp");
	assert_string_equal(get_text(c, "inside"), "100.64.0.9");
	assert_int_equal(get_number(c, "port_first"), 2100);
	assert_int_equal(get_number(c, "port_last"), 2102);
	assert_int_equal(get_number(c, "inside_port_first"), 80);
	assert_candidate(o, 1, "in force", "inside", "100.64.0.1"); /* of UDP */
	json_object_put(o);
	o = look(*state, "nat=192.0.2.3:99", T0 + 1);
	c = row(o, "candidates", 0);
	assert_int_equal(rows(o, "candidates"), 1);
	assert_string_equal(get_text(c, "protocol"), "any");
	assert_string_equal(get_text(c, "realm"), "a");
	json_object_put(o);
	o = look(*state, "inside=100.64.0.9", T0 + 1);
	assert_int_equal(rows(o, "candidates"), 3);
	json_object_put(o);
	o = look(*state, "inside=100.64.0.9&realm=a", T0 + 1);
	assert_int_equal(rows(o, "candidates"), 1);
	json_object_put(o);
	o = look(*state, "inside=100.64.0.9&realm=7", T0 + 1); /* its VLAN */
	assert_int_equal(rows(o, "candidates"), 1);
	assert_string_equal(get_text(row(o, "candidates", 0), "realm"), "a");
	json_object_put(o);
	o = look(*state, "inside=100.64.0.9&realm=0", T0 + 1); /* untagged */
	assert_int_equal(rows(o, "candidates"), 2);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(get_text(row(o, "candidates", i), "realm"), "untagged");
	json_object_put(o);
}

/* Not computed, not known, not anybody's. */
static void what_is_not_computed_is_told(void **state)
{
	struct lab *lab = *state;
	struct json_object *o = look(lab, "nat=192.0.2.1:5000", T0 + 1), *c = row(o, "candidates", 0);

	assert_string_equal(get_text(c, "kind"), "logged");
	assert_string_equal(get_text(c, "pool"), "rest");
	json_object_put(o);
	o = look(lab, "nat=203.0.113.1:5000", T0 + 1);
	assert_int_equal(rows(o, "candidates"), 0);
	json_object_put(o);
	o = look(lab, "nat=198.51.100.1:1023", T0 + 1);
	assert_int_equal(rows(o, "candidates"), 0);
	json_object_put(o);
	o = look(lab, "inside=100.64.0.5", T0 - 10);
	assert_false(json_object_get_boolean(get(o, "known")));
	assert_int_equal(rows(o, "candidates"), 0);
	json_object_put(o);
	put(lab, T0 + 300, "fill", ",\"ports_per_subscriber\":2016,\"overflow\":\"rest\"");
	o = look(lab, "inside=100.64.0.128&earlier_s=0", T0 + 310);
	c = row(o, "candidates", 0);
	assert_string_equal(get_text(c, "kind"), "overflow");
	assert_string_equal(get_text(c, "pool"), "rest");
	json_object_put(o);
	o = look(lab, "inside=100.64.0.127&earlier_s=0", T0 + 310);
	assert_candidate(o, 0, "in force", "overflow", "rest");
	assert_candidate(o, 0, "in force", "nat", "198.51.100.3");
	json_object_put(o);
	assert_int_equal(versions_begin(lab->api.versions, (T0 + 400) * 1000, "{\"nonsense\":1}"), 0);
	o = look(lab, "inside=100.64.0.127&earlier_s=0", T0 + 410);
	assert_int_equal(rows(o, "unreadable"), 1);
	assert_int_equal(get_number(row(o, "unreadable", 0), "version"), 5);
	assert_non_null(strstr(get_text(row(o, "unreadable", 0), "problem"), "nonsense"));
	json_object_put(o);
}

static void questions_are_checked(void **state)
{
	struct lab *lab = *state;
#define Q "/api/v1/deterministic?"

	assert_problem(lab, "/api/v1/deterministic", 400, "inside or nat is missing");
	assert_problem(lab, Q "inside=100.64.0.1&nat=198.51.100.1:5", 400, "both given");
	assert_problem(lab, Q "inside=100.64.0.1:5", 400, "is not an IPv4 address; give one like 100.64.0.2");
	assert_problem(lab, Q "nat=198.51.100.1", 400, "is not an IPv4 address and port");
	assert_problem(lab, Q "nat=198.51.100.1:65536", 400, "is not an IPv4 address and port");
	assert_problem(lab, Q "nat=198.51.100.100000000000001:5", 400, "is not an IPv4 address and port");
	assert_problem(lab, Q "inside=100.64.0.1&time=14:03:07", 400, "is not a point in time; give seconds since");
	assert_problem(lab, Q "inside=100.64.0.1&skew_s=86401", 400, "from 0 to 86400");
	assert_problem(lab, Q "nat=198.51.100.1:5&realm=a", 400, "leave it out with nat");
	assert_problem(lab, Q "inside=100.64.0.1&realm=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 400, "too long");
	json_object_put(ask(lab, Q "inside=100.64.0.1&time=2026-11-27T15:00:00%2B01:00", 200));
	json_object_put(ask(lab, Q "inside=100.64.0.1&time=2026-11-27T15:00:00+01:00", 200));
	json_object_put(ask(lab, Q "inside=100.64.0.1", 200));
}

static void versions_are_listed_and_shown(void **state)
{
	struct lab *lab = *state;
	struct json_object *o = ask(lab, "/api/v1/config/versions", 200);

	assert_int_equal(rows(o, "versions"), 3);
	assert_int_equal(get_number(row(o, "versions", 0), "id"), 3);
	assert_null(get(row(o, "versions", 0), "until"));
	assert_string_equal(get_text(row(o, "versions", 1), "from"), "2026-11-27T14:01:40Z");
	assert_string_equal(get_text(row(o, "versions", 1), "until"), "2026-11-27T14:03:20Z");
	assert_null(get(o, "next"));
	json_object_put(o);
	o = ask(lab, "/api/v1/config/versions?limit=2", 200);
	assert_int_equal(get_number(o, "next"), 2);
	json_object_put(o);
	o = ask(lab, "/api/v1/config/versions?limit=2&before=2", 200);
	assert_int_equal(rows(o, "versions"), 1);
	json_object_put(o);
	o = ask(lab, "/api/v1/config/version?id=2", 200);
	assert_string_equal(get_text(row(o, "rules", 0), "order"), "spread");
	json_object_put(o);
	assert_problem(lab, "/api/v1/config/version?id=9", 404, "there is no version 9");
	assert_problem(lab, "/api/v1/config/version", 400, "id: is missing");
}

static void without_the_file_it_says_so(void **state)
{
	struct lab *lab = *state;
	struct versions *kept = lab->api.versions;

	rest_close(lab->rest);
	lab->api.versions = NULL;
	lab_serve(lab);
	assert_problem(lab, "/api/v1/deterministic?inside=100.64.0.1", 503, "cannot be opened");
	assert_problem(lab, "/api/v1/config/versions", 503, "cannot be opened");
	assert_problem(lab, "/api/v1/config/version?id=1", 503, "cannot be opened");
	struct json_object *o = ask(lab, "/api/v1/health", 503);

	assert_true(has_reason(o, "the file of versions cannot be opened"));
	json_object_put(o);
	lab->api.versions = kept;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_7422_b),
		TEST(test_6302),
		TEST(spans_join),
		TEST(static_mappings_come_first),
		TEST(what_is_not_computed_is_told),
		TEST(questions_are_checked),
		TEST(versions_are_listed_and_shown),
		TEST(without_the_file_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
