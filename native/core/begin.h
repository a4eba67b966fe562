/*
 * How a flow begins: the service that a first frame is for, a server for it, and room in the table (room.h).
 */
#ifndef FL_BEGIN_H
#define FL_BEGIN_H

#include "compute.h"
#include "limit.h"
#include "sticky.h"
#include "trail.h"

/* The service that listens on the frame's target, or FL_NONE: an exact port first, then the narrowest range. */
FL_INLINE u32 fl_service_find(const struct fl_view *view, const struct fl_look *look)
{
	u32 hash = fl_config_hash(&look->target, look->target_port | (u32)look->protocol << 16);
	u32 port = FL_BE16(look->target_port);

	for (u32 i = 0; i < FL_PROBES; i++) {
		const struct fl_listen *listen =
			fl_listens_at(view->region, view->settings->first[FL_SECTION_LISTENS] +
							    ((hash + i) & view->settings->listen_mask));

		if (!listen || !(listen->flags & FL_LISTEN_USED))
			break;
		if (listen->port == look->target_port && listen->protocol == look->protocol &&
		    (listen->flags & FL_LISTEN_V6 ? 1 : 0) == look->is_v6 && fl_addr_same(&listen->addr, &look->target))
			return listen->service;
	}
	for (u32 i = 0; i < FL_RANGES_PER_VIP; i++) {
		const struct fl_range *range;

		if (i >= look->range_count)
			break;
		range = fl_ranges_at(view->region, view->settings->first[FL_SECTION_RANGES] + look->range_first + i);
		if (range && range->protocol == look->protocol && port >= range->first_host && port <= range->last_host)
			return range->service;
	}
	return FL_NONE;
}

/*
 * Would the server's answer go around us? It does when the client is the server itself, or in a network that is connected
 * where the server is reached. With nat neither knows the other then.
 */
FL_PART(fl_is_hairpin, 0, server_slot, nothing)
{
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	const u64 *hop = fl_hops_at(view->region, server_slot);
	u32 interface, found;

	if (!server || !hop)
		return 0;
	interface = (u32)(fl_load(hop) >> 48) & 0xff;
	found = fl_addr_same(&look->source, &server->addr);
	for (u32 i = 0; i < FL_NETWORKS_MOST; i++) {
		const struct fl_network *network = &view->settings->networks[i];
		u64 differs = (network->interface ^ interface) | (network->family ^ (FL_NETWORK_V4 + look->is_v6));

		for (int word = 0; word < 4; word++)
			differs |= (look->source.word[word] ^ network->addr.word[word]) & network->mask.word[word];
		found |= fl_is_zero(differs);
	}
	return found;
}

/* What the frame's flow would be to the server, in the scratch's key; FL_REASON_TUPLE_TAKEN when another flow is that. */
FL_PART(fl_flow_propose, FL_REASON_NO_SERVER, service_index, server_slot)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	struct fl_key *key = &view->scratch->key;

	if (!service || !server || !(server->flags & FL_SERVER_USED))
		return FL_REASON_NO_SERVER;
	key->client = look->source;
	key->client_port = look->source_port;
	key->other = server->addr;
	key->other_port = server->port ? server->port : look->target_port;
	key->protocol = look->protocol;
	key->is_v6 = look->is_v6;
	view->scratch->is_local = service->method == FL_METHOD_FULL_NAT;
	view->scratch->port_try = 0;
	if (service->method != FL_METHOD_NAT)
		return FL_REASON_NONE;
	if (service->flags & (FL_SERVICE_HAIRPIN | FL_SERVICE_REFUSES_HAIRPIN) &&
	    fl_is_hairpin(view, look, server_slot, 0)) {
		if (service->flags & FL_SERVICE_REFUSES_HAIRPIN)
			return FL_REASON_REFUSED_HAIRPIN;
		view->scratch->is_local = 1;
		return FL_REASON_NONE;
	}
	if (fl_flow_conflicts(view, look, &look->home, key))
		return FL_REASON_TUPLE_TAKEN;
	return FL_REASON_NONE;
}

/* Enters what was proposed into the claimed slot look->index: 0, or why not, and the slot is free again. */
FL_PART(fl_flow_enter, FL_REASON_NO_SERVER, service_index, server_slot)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	int is_full_nat = view->scratch->is_local;
	int is_dsr = service && fl_method_is_dsr(service->method);
	struct fl_addr *local = &view->scratch->one;
	struct fl_key *key = &view->scratch->key;
	u32 index = look->index, state_of_first, is_known;
	struct fl_server_state *state;
	struct fl_tags *tags = fl_tags_at(view->region, index / FL_WAYS);
	struct fl_flow *flow = fl_flows_at(view->region, index);
	struct fl_client *client;
	u16 local_port;

	if (!service || !server || !flow || !tags)
		return FL_REASON_NO_SERVER;
	flow->flags =
		(look->is_v6 ? FL_FLOW_V6 : 0) | (is_full_nat ? FL_FLOW_FULL_NAT : 0) | (is_dsr ? FL_FLOW_DSR : 0);
	if (view->scratch->client != FL_NONE)
		flow->flags |= fl_client_flag(view, service);
	flow->protocol = look->protocol;
	flow->client_port = look->source_port;
	flow->vip_port = look->target_port;
	flow->server_port = key->other_port;
	*local = look->source;
	local_port = look->source_port;
	if (is_full_nat) {
		local_port = fl_port_take(view, look, index, service_index);
		if (!local_port) {
			fl_flow_release(view, flow, index);
			return FL_REASON_NO_PORT;
		}
	}
	flow->local_port = local_port;
	flow->client = look->source.word[0];
	flow->vip = look->target.word[0];
	flow->server = server->addr.word[0];
	flow->local = local->word[0];
	if (look->is_v6) {
		struct fl_flow6 *wide = fl_flows6_at(view->region, index);

		if (wide) {
			wide->client = look->source;
			wide->vip = look->target;
			wide->server = server->addr;
			wide->local = *local;
		}
	}
	flow->server_slot = server_slot;
	flow->server_generation = server->generation;
	flow->client_interface = view->scratch->interface;
	flow->worker = view->worker_index;
	__builtin_memcpy(flow->client_mac, view->scratch->source_mac, 6);
	flow->seen = view->now;
	flow->created = view->now;
	flow->expected_host = 0;
	flow->handshake = 0;
	is_known = view->scratch->is_moved || view->scratch->is_computed || view->scratch->is_confirmed;
	if (look->kind == FL_KIND_TCP) {
		flow->expected_host = is_dsr ? fl_view_us(view) : FL_BE32(look->tcp_sequence) + 1;
		flow->handshake = is_dsr ? 0 : fl_view_us(view);
	}
	if (is_known)
		flow->expected_host = FL_BE32(look->tcp_sequence);
	if (view->scratch->is_confirmed)
		flow->handshake = FL_BE32(view->scratch->trail.spoken_host - 1);
	flow->tag = look->home.tag;
#ifndef __bpf__
	if (view->region->claims && !is_full_nat && !is_dsr)
		fl_store(&view->region->claims[index],
			 fl_claim_of(view->header->seed, &look->source, look->source_port, &server->addr,
				     key->other_port, look->protocol, look->is_v6));
#endif
	fl_store(&tags->tag[index % FL_WAYS], look->home.tag);
	state_of_first = look->kind == FL_KIND_TCP ? FL_STATE_SYN_SENT : FL_STATE_UDP_ONE_WAY;
	if (is_known)
		state_of_first = FL_STATE_ESTABLISHED;
	if (view->scratch->is_trailing && view->scratch->is_computed && !view->scratch->is_confirmed)
		state_of_first = FL_STATE_SYN_RECEIVED | FL_PICKED_UP;
	look->control = (flow->control & ~(FL_STATE_MASK | FL_FIN_MASK)) | state_of_first;
	fl_store(&flow->control, look->control);
	state = fl_server_count(view, server_slot, server->generation, FL_STATE_FREE, look->control & FL_STATE_MASK);
	if (state)
		fl_add(&state->flows_total, 1);
	client = fl_clients_at(view->region, view->scratch->client);
	if (client)
		fl_add(&client->flows, 1u);
	return 0;
}

/* Enters it with the port of a flow that makes room. */
FL_INLINE u32 fl_flow_enter_evicting(const struct fl_view *view, struct fl_look *look, u32 service, u32 server_slot)
{
	u32 is_evicted = 0, index;

	for (u32 attempt = 0; attempt < FL_PORTS_OF_ROW && !is_evicted; attempt++)
		is_evicted = fl_port_evict(view, look, service, attempt);
	index = is_evicted ? fl_slot_take(view, look, 0, 0) : FL_NONE;
	if (index == FL_NONE)
		return FL_REASON_NO_PORT;
	look->index = index;
	return fl_flow_enter(view, look, service, server_slot);
}

#define FL_INTERFACES_LOOK 8

/* Is it an address of the host itself? The host asks servers too (health checks): a nat flow in its name would claim the
 * answers that are the host's. */
FL_INLINE int fl_is_host(const struct fl_view *view, const struct fl_look *look)
{
	u32 is_host = 0;

	for (u32 i = 0; i < FL_INTERFACES_LOOK; i++) {
		const struct fl_interface *interface = fl_interface_of(view, i);

		if (!interface || i >= view->settings->interface_count)
			break;
		is_host |= look->is_v6 ? fl_addr_same(&interface->address6, &look->source)
				       : interface->address4 == look->source.word[0];
	}
	return is_host;
}

/*
 * Where the server is chosen by the client's hash, a frame in the middle of a connection needs no flow: whoever decides it, and
 * when, sends it to the same server. So a connection outlives its entry. The answers go past us, or by their trail.
 */
FL_INLINE u32 fl_untracked_or(const struct fl_service *service, const struct fl_look *look, u32 why)
{
	int may_trail = look->kind == FL_KIND_TCP && !look->is_fragment;

	if (service->scheduler != FL_SCHEDULER_HASH ||
	    (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) == (FL_TCP_SYN | FL_TCP_ACK))
		return why;
	return may_trail || fl_method_is_dsr(service->method) ? FL_REASON_UNTRACKED : why;
}

/* A client's RST without a flow: FL_REASON_UNTRACKED where it may have a trail, else `why`. */
FL_INLINE u32 fl_rst_or(const struct fl_view *view, const struct fl_service *service, const struct fl_look *look,
			u32 why)
{
	if (!view->scratch->is_trailing || !fl_trails_are_left(view))
		return why;
	return view->scratch->is_computed ? FL_REASON_UNTRACKED : fl_untracked_or(service, look, why);
}

/* Is it a SYN that goes on by the hash alone, or an ACK or RST whose SYN did? */
FL_INLINE int fl_begins_computed(const struct fl_view *view, const struct fl_look *look, u32 service_index)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_service_state *state = fl_service_state_at(view->region, service_index);
	u32 flags = look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK | FL_TCP_RST);

	if (look->kind != FL_KIND_TCP || view->scratch->is_moved)
		return 0;
	if (flags != FL_TCP_SYN && flags != FL_TCP_ACK && !(flags & FL_TCP_RST && view->scratch->is_trailing))
		return 0;
	if (view->scratch->is_trailing && look->is_fragment) /* the other pieces would have to find the trail */
		return 0;
	return service && state && fl_is_computing(view, service, state, flags == FL_TCP_SYN);
}

/* May a flow begin with this frame? FL_REASON_NONE and the scratch's service; FL_REASON_UNTRACKED, the same and no flow;
 * or why not. */
FL_PART(fl_begin_look, FL_REASON_NO_SERVICE, no, more)
{
	u32 index = look->vip_flags & FL_VIP_LISTENS ? fl_service_find(view, look) : FL_NONE;
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + index);

	if (index == FL_NONE || !service)
		return FL_REASON_NO_SERVICE;
	if (!view->header->first_tick)
		view->header->first_tick = view->now;
	/* A check through the path (engine/path.h) leaves by no way that leads here: a server has sent it back. */
	if (fl_is_host(view, look))
		return fl_method_is_dsr(service->method) ? FL_REASON_CAME_BACK : FL_REASON_BAD_SOURCE;
	view->scratch->service = index;
	view->scratch->refusal = FL_REASON_NO_SERVER;
	view->scratch->is_sticky = service->sticky_ticks != 0;
	view->scratch->is_trailing = !fl_method_is_dsr(service->method);
	view->scratch->is_confirmed = 0;
	view->scratch->is_computed = fl_begins_computed(view, look, index);
	if (look->kind == FL_KIND_TCP && look->tcp_flags & FL_TCP_RST)
		return fl_rst_or(view, service, look, FL_REASON_NO_FLOW);
	if (look->kind == FL_KIND_TCP && (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) != FL_TCP_SYN &&
	    !view->scratch->is_moved && !view->scratch->is_computed)
		return fl_untracked_or(service, look, FL_REASON_NO_FLOW);
	/* Not worth a flow, where it would go no further. */
	if (look->ttl <= 1 && !fl_method_is_dsr(service->method))
		return FL_REASON_TIME_EXCEEDED;
	return FL_REASON_NONE;
}

FL_PART(fl_table_full, FL_REASON_TABLE_FULL, service_index, nothing)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);

	if (view->scratch->is_computed || !service)
		return service ? FL_REASON_UNTRACKED : FL_REASON_TABLE_FULL;
	/* Only what has begun goes on by a trail: not all of a connection shall depend on it. */
	if (view->scratch->is_trailing && !view->scratch->is_confirmed)
		return FL_REASON_TABLE_FULL;
	return fl_untracked_or(service, look, FL_REASON_TABLE_FULL);
}

/*
 * The server for a first frame: the one that is remembered for its client, or else the one that the service chooses, which
 * is remembered then if the frame enters a flow. What a reserve takes is not: its client shall go back when there is room.
 */
FL_INLINE u32 fl_server_choose(const struct fl_view *view, struct fl_look *look, u32 service, u32 is_new)
{
	u32 slot = FL_NONE, again;

	if (view->scratch->is_sticky)
		slot = fl_sticky_find(view, look, service, is_new);
	if (slot != FL_NONE)
		return slot;
	if (fl_load(&view->scratch->is_computed)) {
		slot = fl_schedule_hash(view, look, service, 0);
		if (slot == FL_NONE)
			return slot;
	} else {
		slot = fl_schedule(view, look, service, 0);
		if (slot == FL_NONE)
			slot = fl_schedule_least(view, look, service, FL_AMONG_MEMBERS);
		if (slot == FL_NONE)
			return fl_schedule_least(view, look, service, FL_AMONG_RESERVES);
	}
	if (!view->scratch->is_sticky || !is_new || fl_sticky_enter(view, look, service, slot))
		return slot;
	/* Somebody wrote into the bucket meanwhile, perhaps for another flow of this client's. */
	again = fl_sticky_find(view, look, service, is_new);
	if (again != FL_NONE)
		return again;
	fl_sticky_enter(view, look, service, slot);
	return slot;
}

/*
 * What becomes of a frame that would go on by a trail: FL_REASON_UNTRACKED, and it has left it; or FL_REASON_NONE, and a flow
 * is to be entered, since its server has spoken for it, or it is a SYN whose row has no free port to leave a trail by. A RST
 * goes where there is a trail already, or nowhere.
 */
FL_INLINE u32 fl_begin_trail(const struct fl_view *view, struct fl_look *look, u32 service, u32 server_slot, u32 is_syn)
{
	if (fl_load(&view->scratch->is_local) &&
	    !fl_trail_localize(view, look, service, !fl_load(&view->scratch->is_computed))) {
		fl_store(&view->scratch->is_computed, 0u);
		return is_syn ? FL_REASON_NONE : FL_REASON_NO_FLOW;
	}
	if (look->tcp_flags & FL_TCP_RST && !fl_trail_is_left(view, look, 0, 0))
		return FL_REASON_NO_FLOW;
	if (look->tcp_flags & FL_TCP_RST)
		return fl_trail_leave(view, look, server_slot, 0);
	if (!is_syn && fl_trail_confirms(view, look, 0, 0)) {
		fl_store(&view->scratch->is_confirmed, 1u);
		return FL_REASON_NONE;
	}
	if (!is_syn && fl_load(&view->scratch->is_computed))
		return FL_REASON_NONE;
	return fl_trail_leave(view, look, server_slot, 0);
}

/*
 * The first frame of a flow, to a VIP: FL_REASON_NEW_FLOW and look->index, FL_REASON_UNTRACKED and the scratch's
 * server_slot, or why not. The steps are called one after the other, and not each by the one before, because a BPF stack
 * of 512 octets is shared by all that are open.
 */
FL_INLINE u32 fl_begin(const struct fl_view *view, struct fl_look *look)
{
	u32 allowed = fl_begin_look(view, look, 0, 0), why, service, server_slot, index, is_computed, is_syn,
	    is_trailing, does;

	if (allowed && allowed != FL_REASON_UNTRACKED)
		return allowed;
	service = view->scratch->service;
	is_computed = fl_load(&view->scratch->is_computed);
	is_trailing = fl_load(&view->scratch->is_trailing);
	is_syn = (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) == FL_TCP_SYN;
	view->scratch->is_untracked = allowed != 0 || is_computed;
	does = is_computed && !is_syn ? FL_JOINS_FLOW : FL_BEGINS_FLOW;
	if (allowed)
		does = is_trailing && !(look->tcp_flags & FL_TCP_RST) ? FL_JOINS_FLOW : FL_BEGINS_NOTHING;
	why = fl_limit_look(view, look, service, does);
	if (why)
		return why;
	if (is_syn)
		fl_half_open_note(view, look, service, FL_SYN_CAME);
	server_slot = fl_server_choose(view, look, service, !allowed && !(is_computed && is_syn));
	if (server_slot == FL_NONE)
		return view->scratch->refusal;
	view->scratch->server_slot = server_slot;
	if (!is_trailing && (allowed || (is_computed && is_syn)))
		return FL_REASON_UNTRACKED;
	why = fl_flow_propose(view, look, service, server_slot);
	if (!why && is_trailing && (allowed || is_computed))
		why = fl_begin_trail(view, look, service, server_slot, is_syn);
	/* It would have left a trail, but is entered. */
	if (!why && is_computed && is_syn && view->scratch->is_sticky)
		fl_sticky_enter(view, look, service, server_slot);
	if (why) /* and nothing is told to a RST */
		return FL_IS_REFUSAL(why) && look->tcp_flags & FL_TCP_RST ? FL_REASON_NO_FLOW : why;
	index = fl_slot_take(view, look, 0, 0);
	if (index == FL_NONE)
		index = fl_slot_evict(view, look, 0, 0);
	if (index == FL_NONE) {
		view->header->pressure_tick = view->now;
		why = fl_table_full(view, look, service, 0);
		return is_trailing && why == FL_REASON_UNTRACKED ? fl_trail_leave(view, look, server_slot, 0) : why;
	}
	look->index = index;
	why = fl_flow_enter(view, look, service, server_slot);
	if (why == FL_REASON_NO_PORT)
		why = fl_flow_enter_evicting(view, look, service, server_slot);
	if (!why && is_computed && (!is_trailing || fl_load(&view->scratch->is_confirmed)))
		fl_half_open_note(view, look, service, FL_SYN_WAS_ANSWERED);
	return why ? why : FL_REASON_NEW_FLOW;
}

#endif
