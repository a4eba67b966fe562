/*
 * The native boundary, in plain C Node-API: a table of dumb positional functions. Validation is TypeScript's; here are
 * only types. C owns all memory: JS holds external ArrayBuffers over the region's sections, which close() detaches
 * before it unmaps.
 *
 * A handle is an external with a type tag around struct plane. watch() hands coalesced event bits to one JS callback,
 * through an eventfd that a small thread reads, so that engine threads never touch JS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <node_api.h>

#include "../core/record.h"
#include "../engine/replay.h"
#include "../engine/slow.h"
#include "arguments.h"
#include "ask.h"
#include "probe.h"

#define INTERFACES_MAX 8
#define NAME_MAX_OCTETS 64
#define PATH_OCTETS 4096
#define REPLAY_ROOM 70000 /* a super-frame, and what an answer may add */

static const napi_type_tag plane_tag = { 0x6661697266c6c61eull, 0x64a1d0c3b5f29e77ull };

struct plane {
	struct fl_region region;
	struct fl_runner *runner;
	struct fl_replayer *replayer; /* frames are replayed by the kernel's programs */
	int is_open;
	u32 events; /* or-ed by engine threads, taken whole by the watcher */
	int wake;
	int stop;
	pthread_t watcher;
	int has_watcher;
	napi_threadsafe_function listener;
	napi_ref buffers[FL_SECTION_COUNT];
};

static struct plane *read_plane(napi_env env, napi_value value)
{
	struct plane *plane = NULL;
	bool is_plane = false;
	napi_valuetype type;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
	    napi_check_object_type_tag(env, value, &plane_tag, &is_plane) == napi_ok && is_plane &&
	    napi_get_value_external(env, value, (void **)&plane) == napi_ok && plane->is_open)
		return plane;
	napi_throw_type_error(env, NULL, "an open plane is wanted here");
	return NULL;
}

/* Before Node takes the listener down itself at its end, after which it is no more to be touched. */
static void end_watcher(void *data)
{
	struct plane *plane = data;
	u64 one = 1;

	if (!plane->has_watcher)
		return;
	if (write(plane->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(plane->watcher, NULL);
	if (read(plane->stop, &one, sizeof(one)) < 0) /* or the next watcher would end at once */
		one = 0;
	plane->has_watcher = 0;
	napi_release_threadsafe_function(plane->listener, napi_tsfn_abort);
}

static void stop_watcher(napi_env env, struct plane *plane)
{
	if (plane->has_watcher)
		napi_remove_env_cleanup_hook(env, end_watcher, plane);
	end_watcher(plane);
}

static void close_plane(napi_env env, struct plane *plane)
{
	if (!plane->is_open)
		return;
	plane->is_open = 0;
	if (plane->runner)
		fl_runner_stop(plane->runner, true);
	plane->runner = NULL;
	if (plane->replayer)
		fl_replayer_close(plane->replayer);
	plane->replayer = NULL;
	stop_watcher(env, plane);
	for (int section = 0; section < FL_SECTION_COUNT; section++) {
		napi_value buffer;

		if (!plane->buffers[section])
			continue;
		if (napi_get_reference_value(env, plane->buffers[section], &buffer) == napi_ok && buffer)
			napi_detach_arraybuffer(env, buffer);
		napi_delete_reference(env, plane->buffers[section]);
		plane->buffers[section] = NULL;
	}
	fl_region_close(&plane->region);
	close(plane->wake);
	close(plane->stop);
}

static void finalize_plane(napi_env env, void *data, void *hint)
{
	(void)hint;
	close_plane(env, data);
	free(data);
}

static napi_value addon_layout_hash(napi_env env, napi_callback_info info)
{
	char text[17];
	napi_value value;

	(void)info;
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)fl_layout_hash());
	return napi_create_string_utf8(env, text, 16, &value) == napi_ok ? value : NULL;
}

/* open(mode, path, counts: Float64Array, workers) -> [handle, outcome] */
static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value arguments[4], pair, handle, number;
	enum fl_open_outcome outcome;
	struct fl_sizes sizes = { 0 };
	napi_typedarray_type type;
	char path[PATH_OCTETS];
	struct plane *plane;
	u32 mode, workers;
	size_t length;
	double *counts;
	int code;

	if (!read_arguments(env, info, arguments, 4) || !read_u32(env, arguments[0], &mode) ||
	    !read_text(env, arguments[1], path, sizeof(path)) || !read_u32(env, arguments[3], &workers))
		return NULL;
	if (napi_get_typedarray_info(env, arguments[2], &type, &length, (void **)&counts, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || length != FL_SECTION_COUNT || mode > FL_OPEN_MAPS) {
		napi_throw_type_error(env, NULL, "one count for each section is wanted here");
		return NULL;
	}
	for (int section = 0; section < FL_SECTION_COUNT; section++) {
		if (!(counts[section] >= 0 && counts[section] < 0x80000000u)) {
			napi_throw_range_error(env, NULL, "a section's count is out of range");
			return NULL;
		}
		sizes.count[section] = (u64)counts[section];
	}
	plane = calloc(1, sizeof(*plane));
	if (!plane)
		return fail(env, -ENOMEM, "no memory for a plane");
	code = fl_region_open(&plane->region, path, mode, &sizes, workers, &outcome);
	if (code) {
		free(plane);
		return fail(env, code, fl_error());
	}
	plane->is_open = 1;
	plane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	plane->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (napi_create_external(env, plane, finalize_plane, NULL, &handle) != napi_ok) {
		close_plane(env, plane);
		free(plane);
		return NULL;
	}
	napi_type_tag_object(env, handle, &plane_tag);
	napi_create_array_with_length(env, 2, &pair);
	napi_create_uint32(env, outcome, &number);
	napi_set_element(env, pair, 0, handle);
	napi_set_element(env, pair, 1, number);
	return pair;
}

/* memory(handle, section) -> ArrayBuffer over the whole section */
static napi_value addon_memory(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], buffer = NULL;
	struct plane *plane;
	u32 section;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])) ||
	    !read_u32(env, arguments[1], &section))
		return NULL;
	if (section >= FL_SECTION_COUNT) {
		napi_throw_range_error(env, NULL, "there is no such section");
		return NULL;
	}
	if (plane->buffers[section] && napi_get_reference_value(env, plane->buffers[section], &buffer) == napi_ok &&
	    buffer)
		return buffer;
	if (plane->buffers[section])
		napi_delete_reference(env, plane->buffers[section]);
	plane->buffers[section] = NULL;
	if (napi_create_external_arraybuffer(env, fl_region_section(&plane->region, section),
					     fl_region_octets(&plane->region, section), NULL, NULL, &buffer) != napi_ok)
		return fail(env, -ENOMEM, "Node gives no view of the region");
	/* Strong: a view must be detached before the memory goes, whoever still holds it. */
	napi_create_reference(env, buffer, 1, &plane->buffers[section]);
	return buffer;
}

/* commit(handle, image: ArrayBuffer) -> generation */
static napi_value addon_commit(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], generation;
	struct plane *plane;
	void *image;
	size_t size;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	if (napi_get_arraybuffer_info(env, arguments[1], &image, &size) != napi_ok) {
		napi_throw_type_error(env, NULL, "an ArrayBuffer is wanted here");
		return NULL;
	}
	code = fl_region_commit(&plane->region, image, size);
	if (!code && plane->runner)
		code = fl_runner_committed(plane->runner);
	if (code)
		return fail(env, code, fl_error());
	napi_create_double(env, (double)plane->region.header->generation, &generation);
	return generation;
}

struct names {
	char text[INTERFACES_MAX][NAME_MAX_OCTETS];
	const char *pointer[INTERFACES_MAX];
};

/* One to eight interface names, and how many; 0 and a pending error otherwise. */
static u32 read_names(napi_env env, napi_value array, struct names *names)
{
	u32 count;

	if (napi_get_array_length(env, array, &count) != napi_ok || count > INTERFACES_MAX || !count) {
		napi_throw_type_error(env, NULL, "one to eight interface names are wanted here");
		return 0;
	}
	for (u32 i = 0; i < count; i++) {
		napi_value name;

		if (napi_get_element(env, array, i, &name) != napi_ok ||
		    !read_text(env, name, names->text[i], sizeof(names->text[i])))
			return 0;
		names->pointer[i] = names->text[i];
	}
	return count;
}

/*
 * start(handle, interfaces: string[], attachments: number[], workers) -> a warning, or "". For each interface an
 * enum fl_attachment: what is wanted goes in, what was had comes out.
 */
static napi_value addon_start(napi_env env, napi_callback_info info)
{
	struct names names;
	u32 attachments[INTERFACES_MAX];
	napi_value arguments[4], warning;
	struct plane *plane;
	u32 count, workers;
	int code;

	if (!read_arguments(env, info, arguments, 4) || !(plane = read_plane(env, arguments[0])) ||
	    !read_u32(env, arguments[3], &workers))
		return NULL;
	count = read_names(env, arguments[1], &names);
	if (!count)
		return NULL;
	for (u32 i = 0; i < count; i++) {
		napi_value attachment;

		if (napi_get_element(env, arguments[2], i, &attachment) != napi_ok ||
		    !read_u32(env, attachment, &attachments[i]))
			return NULL;
		if (attachments[i] == FL_ATTACH_NONE || attachments[i] >= FL_ATTACH_COUNT ||
		    (attachments[i] == FL_ATTACH_PACKET) != (attachments[0] == FL_ATTACH_PACKET)) {
			napi_throw_range_error(env, NULL, "these attachments do not go together");
			return NULL;
		}
	}
	if (!plane->region.is_writable)
		return fail(env, -EROFS, "this region was opened for reading");
	if (plane->runner)
		return fail(env, -EBUSY, "the engine runs already");
	code = attachments[0] == FL_ATTACH_PACKET ? fl_packet_start(&plane->runner, &plane->region, names.pointer,
								    count, workers, &plane->events, plane->wake)
						  : fl_bpf_start(&plane->runner, &plane->region, names.pointer,
								 attachments, count, &plane->events, plane->wake);
	if (code < 0) {
		plane->runner = NULL;
		return fail(env, code, fl_error());
	}
	for (u32 i = 0; i < count; i++) {
		napi_value attachment;

		napi_create_uint32(env, attachments[i], &attachment);
		napi_set_element(env, arguments[2], i, attachment);
	}
	return napi_create_string_utf8(env, code ? fl_error() : "", NAPI_AUTO_LENGTH, &warning) == napi_ok ? warning
													   : NULL;
}

/* stop(handle, keepGuard) */
static napi_value addon_stop(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct plane *plane;
	bool keep_guard;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	if (napi_get_value_bool(env, arguments[1], &keep_guard) != napi_ok) {
		napi_throw_type_error(env, NULL, "a boolean is wanted here");
		return NULL;
	}
	if (plane->runner)
		fl_runner_stop(plane->runner, keep_guard);
	plane->runner = NULL;
	return NULL;
}

static void *watcher_run(void *data)
{
	struct plane *plane = data;
	struct pollfd waits[2] = { { .fd = plane->wake, .events = POLLIN }, { .fd = plane->stop, .events = POLLIN } };

	for (;;) {
		u64 count;
		u32 events;

		if (poll(waits, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (waits[1].revents)
			return NULL;
		if (read(plane->wake, &count, sizeof(count)) != sizeof(count))
			continue;
		events = __atomic_exchange_n(&plane->events, 0, __ATOMIC_SEQ_CST);
		if (events)
			napi_call_threadsafe_function(plane->listener, (void *)(size_t)events, napi_tsfn_nonblocking);
	}
}

static void call_listener(napi_env env, napi_value listener, void *context, void *data)
{
	napi_value events, undefined;

	(void)context;
	if (!env)
		return;
	napi_create_uint32(env, (u32)(size_t)data, &events);
	napi_get_undefined(env, &undefined);
	napi_call_function(env, undefined, listener, 1, &events, NULL);
}

/* watch(handle, callback: (events) => void): one listener; it does not keep the process alive */
static napi_value addon_watch(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], name;
	struct plane *plane;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	stop_watcher(env, plane);
	napi_create_string_utf8(env, "fairlead events", NAPI_AUTO_LENGTH, &name);
	if (napi_create_threadsafe_function(env, arguments[1], NULL, name, 0, 1, NULL, NULL, NULL, call_listener,
					    &plane->listener) != napi_ok) {
		napi_throw_type_error(env, NULL, "a function is wanted here");
		return NULL;
	}
	napi_unref_threadsafe_function(env, plane->listener);
	if (pthread_create(&plane->watcher, NULL, watcher_run, plane)) {
		napi_release_threadsafe_function(plane->listener, napi_tsfn_abort);
		return fail(env, -ENOMEM, "no thread to watch the engine with");
	}
	pthread_setname_np(plane->watcher, "fl-watch");
	plane->has_watcher = 1;
	napi_add_env_cleanup_hook(env, end_watcher, plane);
	return NULL;
}

static void set_number(napi_env env, napi_value object, const char *name, u32 number)
{
	napi_value value;

	napi_create_uint32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

/* replay(handle, frame: Uint8Array, interface, csumStart, gsoSize, nowNs) -> { verdict, reason, outInterface, frame } */
static napi_value addon_replay(napi_env env, napi_callback_info info)
{
	static _Thread_local u8 room[REPLAY_ROOM];
	napi_value arguments[6], object, array, buffer;
	struct fl_result result = { 0 };
	struct fl_frame frame = { .data = room, .room = sizeof(room) };
	u32 interface, csum_start, gso_size;
	napi_typedarray_type type;
	struct plane *plane;
	size_t length;
	void *octets;
	u64 now;

	if (!read_arguments(env, info, arguments, 6) || !(plane = read_plane(env, arguments[0])) ||
	    !read_u32(env, arguments[2], &interface) || !read_u32(env, arguments[3], &csum_start) ||
	    !read_u32(env, arguments[4], &gso_size) || !read_time(env, arguments[5], &now))
		return NULL;
	if (!plane->region.is_writable)
		return fail(env, -EROFS, "this region was opened for reading");
	if (napi_get_typedarray_info(env, arguments[1], &type, &length, &octets, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array || length > sizeof(room)) {
		napi_throw_type_error(env, NULL, "a frame of at most 70000 octets is wanted here, as a Uint8Array");
		return NULL;
	}
	if (length)
		memcpy(room, octets, length);
	frame.len = length;
	frame.interface = interface;
	frame.csum_start = csum_start;
	frame.gso_size = gso_size;
	if (plane->replayer) {
		int code = fl_replayer_run(plane->replayer, &frame, now, &result);

		if (code)
			return fail(env, code, fl_error());
	} else {
		fl_replay(&plane->region, &frame, now, &result);
	}
	napi_create_object(env, &object);
	set_number(env, object, "verdict", result.verdict);
	set_number(env, object, "reason", result.reason);
	set_number(env, object, "outInterface", result.out_interface);
	if (napi_create_arraybuffer(env, frame.len, &octets, &buffer) != napi_ok)
		return NULL;
	if (frame.len)
		memcpy(octets, room, frame.len);
	napi_create_typedarray(env, napi_uint8_array, frame.len, buffer, 0, &array);
	napi_set_named_property(env, object, "frame", array);
	return object;
}

/* replayer(handle, isTc): from now on frames are replayed by the kernel's program, over this region of maps */
static napi_value addon_replayer(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct plane *plane;
	bool is_tc;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	if (napi_get_value_bool(env, arguments[1], &is_tc) != napi_ok) {
		napi_throw_type_error(env, NULL, "a boolean is wanted here");
		return NULL;
	}
	if (plane->replayer)
		return fail(env, -EBUSY, "frames are replayed by a program already");
	code = fl_replayer_open(&plane->replayer, &plane->region, is_tc);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* move(to, from): `from` is frozen (what is its is dropped from now on), and its state comes into `to` */
static napi_value addon_move(napi_env env, napi_callback_info info)
{
	struct plane *to, *from;
	napi_value arguments[2];
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(to = read_plane(env, arguments[0])) ||
	    !(from = read_plane(env, arguments[1])))
		return NULL;
	if (!to->region.is_writable || !from->region.is_writable)
		return fail(env, -EROFS, "a region that was opened for reading is not moved from or to");
	if (to == from)
		return fail(env, -EINVAL, "a region is not moved into itself");
	code = fl_region_move(&to->region, &from->region);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* thaw(handle): what was moved from goes on after all */
static napi_value addon_thaw(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct plane *plane;

	if (read_arguments(env, info, arguments, 1) && (plane = read_plane(env, arguments[0])) &&
	    plane->region.is_writable)
		fl_region_thaw(&plane->region);
	return NULL;
}

/* detach(handle, interfaces: string[]): what a process that is no more left there */
static napi_value addon_detach(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct names names;
	struct plane *plane;
	u32 count;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	count = read_names(env, arguments[1], &names);
	if (count)
		fl_detach(&plane->region, names.pointer, count);
	return NULL;
}

/* driver(interface) -> its name, or "" */
static napi_value addon_driver(napi_env env, napi_callback_info info)
{
	char interface[NAME_MAX_OCTETS], driver[NAME_MAX_OCTETS];
	napi_value arguments[1], value;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], interface, sizeof(interface)))
		return NULL;
	fl_driver_of(interface, driver, sizeof(driver));
	return napi_create_string_utf8(env, driver, NAPI_AUTO_LENGTH, &value) == napi_ok ? value : NULL;
}

/* processors() -> how many the kernel may ever run on, of which each has counters of its own */
static napi_value addon_processors(napi_env env, napi_callback_info info)
{
	napi_value value;
	int count = libbpf_num_possible_cpus();

	(void)info;
	return napi_create_uint32(env, count > 0 ? (u32)count : 1, &value) == napi_ok ? value : NULL;
}

/* bpffs(path, mayMount): throws in words when it is none, and none can be mounted there */
static napi_value addon_bpffs(napi_env env, napi_callback_info info)
{
	char path[PATH_OCTETS];
	napi_value arguments[2];
	bool may_mount;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !read_text(env, arguments[0], path, sizeof(path)))
		return NULL;
	if (napi_get_value_bool(env, arguments[1], &may_mount) != napi_ok) {
		napi_throw_type_error(env, NULL, "a boolean is wanted here");
		return NULL;
	}
	code = fl_bpffs(path, may_mount);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* remove(directory): a region of maps with its links, whose programs then end */
static napi_value addon_remove(napi_env env, napi_callback_info info)
{
	char path[PATH_OCTETS];
	napi_value arguments[1];
	int code;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], path, sizeof(path)))
		return NULL;
	code = fl_maps_remove(path);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* sample(handle, on): whoever forwards reports what it decides, or no longer does */
static napi_value addon_sample(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct plane *plane;
	bool is_on;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	if (napi_get_value_bool(env, arguments[1], &is_on) != napi_ok) {
		napi_throw_type_error(env, NULL, "a boolean is wanted here");
		return NULL;
	}
	if (!plane->region.is_writable)
		return fail(env, -EROFS, "this region was opened for reading");
	fl_store(&plane->region.header->is_sampling, (u32)is_on);
	return NULL;
}

/* samples(handle) -> ArrayBuffer of struct fl_record, those since last asked */
static napi_value addon_samples(napi_env env, napi_callback_info info)
{
	napi_value arguments[1], buffer;
	struct fl_record *records;
	struct plane *plane;
	void *copy;
	u32 count;

	if (!read_arguments(env, info, arguments, 1) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	records = malloc(FL_SAMPLES * sizeof(*records));
	if (!records)
		return fail(env, -ENOMEM, "no memory for samples");
	count = plane->runner ? fl_runner_samples(plane->runner, records) : 0;
	if (napi_create_arraybuffer(env, count * sizeof(*records), &copy, &buffer) == napi_ok && count)
		memcpy(copy, records, count * sizeof(*records));
	free(records);
	return buffer;
}

/* age(handle, nowNs) -> flows freed by one sweep */
static napi_value addon_age(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], freed;
	struct plane *plane;
	u64 now;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])) ||
	    !read_time(env, arguments[1], &now))
		return NULL;
	if (!plane->region.is_writable)
		return fail(env, -EROFS, "this region was opened for reading");
	napi_create_double(env, (double)fl_age_sweep(&plane->region, now), &freed);
	return freed;
}

/* inspect(type, family) -> ArrayBuffer of netlink messages */
static napi_value addon_inspect(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], buffer;
	unsigned char *messages;
	u32 type, family;
	size_t size;
	void *copy;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !read_u32(env, arguments[0], &type) ||
	    !read_u32(env, arguments[1], &family))
		return NULL;
	code = fl_netlink_dump(type, family, &messages, &size);
	if (code)
		return fail(env, code, fl_error());
	if (napi_create_arraybuffer(env, size, &copy, &buffer) == napi_ok && size)
		memcpy(copy, messages, size);
	free(messages);
	return buffer;
}

/* notify(state): tells a service manager, if there is one (sd_notify(3): a datagram to $NOTIFY_SOCKET) */
static napi_value addon_notify(napi_env env, napi_callback_info info)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	napi_value arguments[1];
	char state[256];
	size_t length;
	int socket_fd;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], state, sizeof(state)))
		return NULL;
	if (!path || (path[0] != '/' && path[0] != '@'))
		return NULL;
	length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return NULL;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (socket_fd < 0)
		return NULL;
	if (sendto(socket_fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   offsetof(struct sockaddr_un, sun_path) + length) < 0)
		fail(env, -errno, "the service manager's socket takes no message");
	close(socket_fd);
	return NULL;
}

static napi_value addon_close(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct plane *plane;

	if (!read_arguments(env, info, arguments, 1) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	close_plane(env, plane);
	return NULL;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback call;
	} table[] = {
		{ "layoutHash", addon_layout_hash },
		{ "open", addon_open },
		{ "memory", addon_memory },
		{ "commit", addon_commit },
		{ "start", addon_start },
		{ "stop", addon_stop },
		{ "watch", addon_watch },
		{ "replay", addon_replay },
		{ "replayer", addon_replayer },
		{ "move", addon_move },
		{ "thaw", addon_thaw },
		{ "detach", addon_detach },
		{ "driver", addon_driver },
		{ "processors", addon_processors },
		{ "bpffs", addon_bpffs },
		{ "remove", addon_remove },
		{ "sample", addon_sample },
		{ "samples", addon_samples },
		{ "age", addon_age },
		{ "inspect", addon_inspect },
		{ "notify", addon_notify },
		{ "ask", fl_addon_ask },
		{ "close", addon_close },
		{ "probeOpen", addon_probe_open },
		{ "probeAsk", addon_probe_ask },
		{ "probeClose", addon_probe_close },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		napi_value function;

		if (napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &function) !=
			    napi_ok ||
		    napi_set_named_property(env, exports, table[i].name, function) != napi_ok)
			return NULL;
	}
	return exports;
}
