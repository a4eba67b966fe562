/* Which structs, fields and constants of the region TypeScript gets to see. */
#ifndef FL_LAYOUT_FIELDS_H
#define FL_LAYOUT_FIELDS_H

/* Lists, one entry a line. */
/* clang-format off */

#define FIELDS_HEADER(F) \
	F(fl_header, magic) \
	F(fl_header, layout_hash) \
	F(fl_header, size) \
	F(fl_header, live_flows) \
	F(fl_header, place) \
	F(fl_header, seed) \
	F(fl_header, schedule_seed) \
	F(fl_header, generation) \
	F(fl_header, active_half) \
	F(fl_header, worker_count) \
	F(fl_header, buckets) \
	F(fl_header, pressure_tick) \
	F(fl_header, created_ns)

#define FIELDS_PLACE(F) \
	F(fl_place, shape) \
	F(fl_place, offset) \
	F(fl_place, count) \
	F(fl_place, element) \
	F(fl_place, halves)

#define FIELDS_SETTINGS(F) \
	F(fl_settings, timeout) \
	F(fl_settings, is_active) \
	F(fl_settings, interface_count) \
	F(fl_settings, vip_mask) \
	F(fl_settings, listen_mask) \
	F(fl_settings, icmp_per_tick) \
	F(fl_settings, rst_per_tick) \
	F(fl_settings, is_refusing) \
	F(fl_settings, nat_first) \
	F(fl_settings, nat_count) \
	F(fl_settings, networks) \
	F(fl_settings, first)

#define FIELDS_NETWORK(F) \
	F(fl_network, addr) \
	F(fl_network, mask) \
	F(fl_network, interface) \
	F(fl_network, family)

#define FIELDS_INTERFACE(F) \
	F(fl_interface, ifindex) \
	F(fl_interface, mtu) \
	F(fl_interface, mac) \
	F(fl_interface, is_inside) \
	F(fl_interface, address4) \
	F(fl_interface, address6)

#define FIELDS_VIP(F) \
	F(fl_vip, addr) \
	F(fl_vip, flags) \
	F(fl_vip, range_first) \
	F(fl_vip, range_count)

#define FIELDS_LISTEN(F) \
	F(fl_listen, addr) \
	F(fl_listen, port) \
	F(fl_listen, protocol) \
	F(fl_listen, flags) \
	F(fl_listen, service)

#define FIELDS_RANGE(F) \
	F(fl_range, first_host) \
	F(fl_range, last_host) \
	F(fl_range, protocol) \
	F(fl_range, service)

#define FIELDS_SERVICE(F) \
	F(fl_service, id) \
	F(fl_service, method) \
	F(fl_service, scheduler) \
	F(fl_service, hash_by) \
	F(fl_service, is_v6) \
	F(fl_service, table_first) \
	F(fl_service, table_count) \
	F(fl_service, member_first) \
	F(fl_service, member_count) \
	F(fl_service, source_first) \
	F(fl_service, source_count) \
	F(fl_service, flags) \
	F(fl_service, limit) \
	F(fl_service, half_open) \
	F(fl_service, reserve_count) \
	F(fl_service, sticky_ticks) \
	F(fl_service, sticky_by)

#define FIELDS_LIMIT(F) \
	F(fl_limit, access_first) \
	F(fl_limit, access_count) \
	F(fl_limit, flows) \
	F(fl_limit, rate) \
	F(fl_limit, client_flows) \
	F(fl_limit, client_rate) \
	F(fl_limit, client_of)

#define FIELDS_ACCESS(F) \
	F(fl_access, first_host) \
	F(fl_access, is_allowed)

#define FIELDS_SERVICE_STATE(F) \
	F(fl_service_state, open) \
	F(fl_service_state, sticky) \
	F(fl_service_state, half_open) \
	F(fl_service_state, computing_since)

#define FIELDS_CLIENT(F) \
	F(fl_client, name) \
	F(fl_client, flows)

#define FIELDS_STICKY(F) \
	F(fl_sticky, client) \
	F(fl_sticky, server) \
	F(fl_sticky, seen) \
	F(fl_sticky, port) \
	F(fl_sticky, by)

#define FIELDS_STICKIES(F) \
	F(fl_stickies, control) \
	F(fl_stickies, way)

#define FIELDS_SERVER(F) \
	F(fl_server, id) \
	F(fl_server, addr) \
	F(fl_server, port) \
	F(fl_server, flags) \
	F(fl_server, generation) \
	F(fl_server, service) \
	F(fl_server, weight) \
	F(fl_server, tunnel) \
	F(fl_server, tunnel_flags) \
	F(fl_server, tunnel_ttl) \
	F(fl_server, tunnel_dscp) \
	F(fl_server, source_bits) \
	F(fl_server, tunnel_port) \
	F(fl_server, tunnel_key) \
	F(fl_server, source) \
	F(fl_server, max_flows)

#define FIELDS_SERVER_STATE(F) \
	F(fl_server_state, active) \
	F(fl_server_state, inactive) \
	F(fl_server_state, flows_total) \
	F(fl_server_state, path_mtu) \
	F(fl_server_state, path_tick) \
	F(fl_server_state, open) \
	F(fl_server_state, waiting) \
	F(fl_server_state, answered) \
	F(fl_server_state, refused) \
	F(fl_server_state, abandoned) \
	F(fl_server_state, unanswered) \
	F(fl_server_state, timed) \
	F(fl_server_state, handshake_us) \
	F(fl_server_state, smooth_us8)

#define FIELDS_WORKER(F) \
	F(fl_worker, reasons) \
	F(fl_worker, thread_id) \
	F(fl_worker, alive_ns) \
	F(fl_worker, ring_drops) \
	F(fl_worker, send_errors) \
	F(fl_worker, wakeups)

#define FIELDS_TRAFFIC(F) \
	F(fl_traffic, in_frames) \
	F(fl_traffic, in_octets) \
	F(fl_traffic, out_frames) \
	F(fl_traffic, out_octets)

#define FIELDS_FLOW(F) \
	F(fl_flow, control) \
	F(fl_flow, seen) \
	F(fl_flow, client) \
	F(fl_flow, vip) \
	F(fl_flow, server) \
	F(fl_flow, local) \
	F(fl_flow, client_port) \
	F(fl_flow, vip_port) \
	F(fl_flow, server_port) \
	F(fl_flow, local_port) \
	F(fl_flow, server_slot) \
	F(fl_flow, server_generation) \
	F(fl_flow, protocol) \
	F(fl_flow, flags) \
	F(fl_flow, client_interface) \
	F(fl_flow, client_mac) \
	F(fl_flow, tag) \
	F(fl_flow, created)

#define FIELDS_FLOW6(F) \
	F(fl_flow6, client) \
	F(fl_flow6, vip) \
	F(fl_flow6, server) \
	F(fl_flow6, local)

#define FIELDS_RECORD(F) \
	F(fl_record, now_ns) \
	F(fl_record, len) \
	F(fl_record, size) \
	F(fl_record, flow) \
	F(fl_record, worker) \
	F(fl_record, kind) \
	F(fl_record, interface) \
	F(fl_record, verdict) \
	F(fl_record, reason) \
	F(fl_record, out_interface) \
	F(fl_record, vlan_protocol) \
	F(fl_record, vlan_tci) \
	F(fl_record, data)

#define FL_LAYOUT(S) \
	S(fl_header, FIELDS_HEADER) \
	S(fl_place, FIELDS_PLACE) \
	S(fl_settings, FIELDS_SETTINGS) \
	S(fl_network, FIELDS_NETWORK) \
	S(fl_interface, FIELDS_INTERFACE) \
	S(fl_vip, FIELDS_VIP) \
	S(fl_listen, FIELDS_LISTEN) \
	S(fl_range, FIELDS_RANGE) \
	S(fl_service, FIELDS_SERVICE) \
	S(fl_limit, FIELDS_LIMIT) \
	S(fl_access, FIELDS_ACCESS) \
	S(fl_service_state, FIELDS_SERVICE_STATE) \
	S(fl_client, FIELDS_CLIENT) \
	S(fl_sticky, FIELDS_STICKY) \
	S(fl_stickies, FIELDS_STICKIES) \
	S(fl_server, FIELDS_SERVER) \
	S(fl_server_state, FIELDS_SERVER_STATE) \
	S(fl_worker, FIELDS_WORKER) \
	S(fl_traffic, FIELDS_TRAFFIC) \
	S(fl_flow, FIELDS_FLOW) \
	S(fl_flow6, FIELDS_FLOW6) \
	S(fl_record, FIELDS_RECORD)

#define FL_LAYOUT_CONSTANTS(C) \
	C(tickShift, FL_TICK_SHIFT) \
	C(none, FL_NONE) \
	C(ways, FL_WAYS) \
	C(datagrams, FL_DATAGRAMS) \
	C(trails, FL_TRAILS) \
	C(clients, FL_CLIENTS) \
	C(clientAddress, FL_CLIENT_ADDRESS) \
	C(clientNetwork, FL_CLIENT_NETWORK) \
	C(accessMost, FL_ACCESS_MOST) \
	C(halfOpenTicks, FL_HALF_OPEN_TICKS) \
	C(halfOpenOne, FL_HALF_OPEN_ONE) \
	C(probes, FL_PROBES) \
	C(rangesPerVip, FL_RANGES_PER_VIP) \
	C(methodNat, FL_METHOD_NAT) \
	C(methodFullNat, FL_METHOD_FULL_NAT) \
	C(methodL2Dsr, FL_METHOD_L2_DSR) \
	C(methodL3Dsr, FL_METHOD_L3_DSR) \
	C(tunnelGre, FL_TUNNEL_GRE) \
	C(tunnelIpip, FL_TUNNEL_IPIP) \
	C(tunnelGue, FL_TUNNEL_GUE) \
	C(tunnelKey, FL_TUNNEL_KEY) \
	C(tunnelClamp, FL_TUNNEL_CLAMP) \
	C(tunnelFragment, FL_TUNNEL_FRAGMENT) \
	C(tunnelInner, FL_TUNNEL_INNER) \
	C(pathTicks, FL_PATH_TICKS) \
	C(schedulerSequence, FL_SCHEDULER_SEQUENCE) \
	C(schedulerHash, FL_SCHEDULER_HASH) \
	C(schedulerLeast, FL_SCHEDULER_LEAST) \
	C(schedulerResponse, FL_SCHEDULER_RESPONSE) \
	C(schedulerChoice, FL_SCHEDULER_CHOICE) \
	C(serviceRefuses, FL_SERVICE_REFUSES) \
	C(serviceRefusesFull, FL_SERVICE_REFUSES_FULL) \
	C(serviceHairpin, FL_SERVICE_HAIRPIN) \
	C(serviceRefusesHairpin, FL_SERVICE_REFUSES_HAIRPIN) \
	C(stickyPort, FL_STICKY_PORT) \
	C(stickyWays, FL_STICKY_WAYS) \
	C(stickyClients, FL_STICKY_CLIENTS) \
	C(stickyClaimed, FL_STICKY_CLAIMED) \
	C(hashClient, FL_HASH_CLIENT) \
	C(hashClientPort, FL_HASH_CLIENT_PORT) \
	C(vipUsed, FL_VIP_USED) \
	C(vipV6, FL_VIP_V6) \
	C(vipListens, FL_VIP_LISTENS) \
	C(vipSource, FL_VIP_SOURCE) \
	C(vipHairpin, FL_VIP_HAIRPIN) \
	C(networksMost, FL_NETWORKS_MOST) \
	C(networkV4, FL_NETWORK_V4) \
	C(networkV6, FL_NETWORK_V6) \
	C(listenUsed, FL_LISTEN_USED) \
	C(listenV6, FL_LISTEN_V6) \
	C(serverUsed, FL_SERVER_USED) \
	C(serverV6, FL_SERVER_V6) \
	C(serverEnded, FL_SERVER_ENDED) \
	C(serverMoves, FL_SERVER_MOVES) \
	C(serverReserve, FL_SERVER_RESERVE) \
	C(generationEpoch, FL_GENERATION_EPOCH) \
	C(generationEpochOne, FL_GENERATION_EPOCH_ONE) \
	C(flowV6, FL_FLOW_V6) \
	C(flowFullNat, FL_FLOW_FULL_NAT) \
	C(flowDsr, FL_FLOW_DSR) \
	C(hopKnown, FL_HOP_KNOWN) \
	C(openMemory, FL_OPEN_MEMORY) \
	C(openFile, FL_OPEN_FILE) \
	C(openRead, FL_OPEN_READ) \
	C(openMaps, FL_OPEN_MAPS) \
	C(openLeft, FL_OPEN_LEFT) \
	C(attachPacket, FL_ATTACH_PACKET) \
	C(attachTc, FL_ATTACH_TC) \
	C(attachXdp, FL_ATTACH_XDP) \
	C(attachXdpGeneric, FL_ATTACH_XDP_GENERIC) \
	C(recordBefore, FL_RECORD_BEFORE) \
	C(recordAfter, FL_RECORD_AFTER) \
	C(active, FL_ACTIVE) \
	C(openCreated, FL_OPEN_CREATED) \
	C(openAdopted, FL_OPEN_ADOPTED) \
	C(openSetAside, FL_OPEN_SET_ASIDE) \
	C(eventNeighbour, FL_EVENT_NEIGHBOUR) \
	C(eventLink, FL_EVENT_LINK) \
	C(eventTableFull, FL_EVENT_TABLE_FULL) \
	C(eventWorkerDied, FL_EVENT_WORKER_DIED)

/* clang-format on */

#endif
