/* rtnetlink messages to the structs of netlink.h. */
#include "mgmtd/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* The attribute's fixed-size payload, or false when it is shorter. */
static bool take(const struct nlattr *attr, void *out, size_t size)
{
	if (mnl_attr_get_payload_len(attr) < size)
		return false;
	memcpy(out, mnl_attr_get_payload(attr), size);
	return true;
}

static uint32_t take_u32(const struct nlattr *attr)
{
	uint32_t v = 0;

	take(attr, &v, sizeof(v));
	return v;
}

/* The id of an 802.1Q link, the only kind whose tag engines put on. */
static uint16_t decode_vlan(const struct nlattr *data)
{
	const struct nlattr *attr;
	uint16_t id = 0, protocol = htons(ETH_P_8021Q);

	mnl_attr_for_each_nested(attr, data)
	{
		if (mnl_attr_get_type(attr) == IFLA_VLAN_ID)
			take(attr, &id, sizeof(id));
		else if (mnl_attr_get_type(attr) == IFLA_VLAN_PROTOCOL)
			take(attr, &protocol, sizeof(protocol));
	}
	return protocol == htons(ETH_P_8021Q) ? id : 0;
}

static void decode_link_info(const struct nlattr *info, struct netlink_link *link)
{
	const struct nlattr *attr, *data = NULL;
	bool vlan = false;

	mnl_attr_for_each_nested(attr, info)
	{
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			vlan = mnl_attr_get_payload_len(attr) >= strlen("vlan") &&
			       strncmp(mnl_attr_get_payload(attr), "vlan", mnl_attr_get_payload_len(attr)) == 0;
		else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (vlan && data != NULL)
		link->vlan = decode_vlan(data);
}

static void decode_link(const struct nlmsghdr *msg, const struct netlink_visitor *v, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(msg);
	struct netlink_link link = {.gone = msg->nlmsg_type == RTM_DELLINK};
	const struct nlattr *attr;
	bool elsewhere = false;

	if (v->link == NULL || mnl_nlmsg_get_payload_len(msg) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return;
	link.index = (uint32_t)info->ifi_index;
	mnl_attr_for_each(attr, msg, sizeof(*info))
	{
		size_t len = mnl_attr_get_payload_len(attr);

		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			memcpy(link.name, mnl_attr_get_payload(attr),
				len < sizeof(link.name) ? len : sizeof(link.name) - 1);
			break;
		case IFLA_ADDRESS:
			link.ethernet = info->ifi_type == ARPHRD_ETHER && len == sizeof(link.mac) &&
					take(attr, link.mac, sizeof(link.mac));
			break;
		case IFLA_MTU:
			link.mtu = take_u32(attr);
			break;
		case IFLA_LINK:
			link.lower = take_u32(attr);
			break;
		case IFLA_LINK_NETNSID: /* the one below is in another namespace */
			elsewhere = true;
			break;
		case IFLA_LINKINFO:
			decode_link_info(attr, &link);
			break;
		}
	}
	if (elsewhere)
		link.lower = 0;
	v->link(data, &link);
}

static void decode_neighbour(const struct nlmsghdr *msg, const struct netlink_visitor *v, void *data)
{
	const struct ndmsg *nd = mnl_nlmsg_get_payload(msg);
	struct netlink_neighbour n = {.gone = msg->nlmsg_type == RTM_DELNEIGH};
	const struct nlattr *attr;
	bool has_address = false;

	if (v->neighbour == NULL || mnl_nlmsg_get_payload_len(msg) < sizeof(*nd) || nd->ndm_family != AF_INET ||
		(nd->ndm_flags & NTF_PROXY))
		return;
	n.index = (uint32_t)nd->ndm_ifindex;
	n.state = nd->ndm_state;
	mnl_attr_for_each(attr, msg, sizeof(*nd))
	{
		switch (mnl_attr_get_type(attr)) {
		case NDA_DST:
			has_address = take(attr, &n.address, sizeof(n.address));
			break;
		case NDA_LLADDR:
			n.has_mac = mnl_attr_get_payload_len(attr) == sizeof(n.mac) && take(attr, n.mac, sizeof(n.mac));
			break;
		}
	}
	if (has_address)
		v->neighbour(data, &n);
}

/* Attributes of a hop, which a plain route has itself and a multipath route has once for each. */
static void decode_hop_attr(const struct nlattr *attr, struct netlink_hop *hop)
{
	switch (mnl_attr_get_type(attr)) {
	case RTA_OIF:
		hop->index = take_u32(attr);
		break;
	case RTA_GATEWAY:
		hop->gateway = ntohl(take_u32(attr));
		break;
	case RTA_VIA: /* a gateway of another family */
		hop->foreign = true;
		break;
	}
}

static void decode_multipath(const struct nlattr *list, struct netlink_route *route)
{
	const char *at = mnl_attr_get_payload(list);
	size_t left = mnl_attr_get_payload_len(list);

	for (route->n_hops = 0; left >= sizeof(struct rtnexthop) && route->n_hops < NETLINK_HOPS_MAX;) {
		const struct rtnexthop *nh = (const void *)at;
		struct netlink_hop *hop = &route->hop[route->n_hops];
		const struct nlattr *attr;
		size_t step = RTNH_ALIGN(nh->rtnh_len);

		if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > left)
			return;
		*hop = (struct netlink_hop){.index = (uint32_t)nh->rtnh_ifindex, .dead = nh->rtnh_flags & RTNH_F_DEAD};
		mnl_attr_for_each_payload((const void *)(at + RTNH_LENGTH(0)), nh->rtnh_len - RTNH_LENGTH(0))
			decode_hop_attr(attr, hop);
		route->n_hops++;
		at += step;
		left -= step < left ? step : left;
	}
}

static void decode_route(const struct nlmsghdr *msg, const struct netlink_visitor *v, void *data)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	struct netlink_route route = {.n_hops = 1};
	const struct nlattr *attr;

	if (v->route == NULL || mnl_nlmsg_get_payload_len(msg) < sizeof(*rt) || rt->rtm_family != AF_INET ||
		(rt->rtm_flags & RTM_F_CLONED) || rt->rtm_dst_len > 32)
		return;
	route.table = rt->rtm_table;
	route.length = rt->rtm_dst_len;
	route.type = rt->rtm_type;
	route.tos = rt->rtm_tos;
	route.hop[0].dead = rt->rtm_flags & RTNH_F_DEAD;
	mnl_attr_for_each(attr, msg, sizeof(*rt))
	{
		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			route.table = take_u32(attr);
			break;
		case RTA_DST:
			route.prefix = ntohl(take_u32(attr));
			break;
		case RTA_PRIORITY:
			route.priority = take_u32(attr);
			break;
		case RTA_MULTIPATH:
			decode_multipath(attr, &route);
			break;
		default:
			decode_hop_attr(attr, &route.hop[0]);
		}
	}
	v->route(data, &route);
}

void netlink_decode(const struct nlmsghdr *msg, bool event, const struct netlink_visitor *v, void *data)
{
	switch (msg->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		decode_link(msg, v, data);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		decode_neighbour(msg, v, data);
		break;
	case RTM_NEWROUTE:
		if (!event)
			decode_route(msg, v, data);
		break;
	}
	/* Routes die silently with their link: a link's change is a change of routing too. */
	if (event && v->routing_changed != NULL && msg->nlmsg_type != RTM_NEWNEIGH && msg->nlmsg_type != RTM_DELNEIGH)
		v->routing_changed(data);
}
