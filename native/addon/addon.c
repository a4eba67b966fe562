/*
 * The native boundary, in plain C Node-API: a table of dumb positional functions. Validation is TypeScript's; here are
 * only types. C owns all memory: JS holds external ArrayBuffers over the region's sections, which close() detaches
 * before it unmaps.
 *
 * A handle is an external with a type tag around struct plane. Here are the functions of a plane's life, and the table of
 * them all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../core/record.h"
#include "../engine/slow.h"
#include "addon.h"

#define INTERFACES_MAX 8

static const napi_type_tag plane_tag = { 0x6661697266c6c61eull, 0x64a1d0c3b5f29e77ull };

napi_value fail_by_name(napi_env env, int code)
{
	const char *name = strerrorname_np(-code);

	napi_throw_error(env, name ? name : "EFAILED", fl_error());
	return NULL;
}

struct plane *read_plane(napi_env env, napi_value value)
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

struct plane *read_writable(napi_env env, napi_value value)
{
	struct plane *plane = read_plane(env, value);

	if (!plane || plane->region.is_writable)
		return plane;
	fail(env, -EROFS, "this region was opened for reading");
	return NULL;
}

static void close_plane(napi_env env, struct plane *plane)
{
	if (!plane->is_open)
		return;
	plane->is_open = 0;
	forget_path(plane);
	if (plane->runner)
		fl_runner_stop(plane->runner, true, NULL);
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
	    type != napi_float64_array || length != FL_SECTION_COUNT || mode > FL_OPEN_LEFT) {
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
	if (plane->wake < 0 || plane->stop < 0) {
		code = -errno;
		close_plane(env, plane);
		free(plane);
		return fail(env, code, "no file descriptors left to watch the engine with");
	}
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
	struct fl_path *path;
	void *image;
	size_t size;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	if (napi_get_arraybuffer_info(env, arguments[1], &image, &size) != napi_ok) {
		napi_throw_type_error(env, NULL, "an ArrayBuffer is wanted here");
		return NULL;
	}
	path = path_of(plane);
	if (path)
		fl_path_hold(path);
	code = fl_region_commit(&plane->region, image, size);
	if (path)
		fl_path_let(path);
	if (!code && plane->runner)
		code = fl_runner_committed(plane->runner);
	if (code)
		return fail(env, code, fl_error());
	napi_create_double(env, (double)plane->region.header->generation, &generation);
	return generation;
}

struct names {
	char text[INTERFACES_MAX][INTERFACE_OCTETS];
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
	napi_value arguments[5], warning;
	struct plane *plane;
	u32 count, workers;
	int code, inherit;

	if (!read_arguments(env, info, arguments, 5) || !(plane = read_writable(env, arguments[0])) ||
	    !read_u32(env, arguments[3], &workers))
		return NULL;
	if (napi_get_value_int32(env, arguments[4], &inherit) != napi_ok) {
		napi_throw_type_error(env, NULL, "a file descriptor or -1 is wanted here");
		return NULL;
	}
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
	if (plane->runner)
		return fail(env, -EBUSY, "the engine runs already");
	code = attachments[0] == FL_ATTACH_PACKET
		       ? fl_packet_start(&plane->runner, &plane->region, names.pointer, count, workers, &plane->events,
					 plane->wake, inherit)
		       : fl_bpf_start(&plane->runner, &plane->region, names.pointer, attachments, count, &plane->events,
				      plane->wake);
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

/* inherit(path) -> file descriptor: listens for the rings that a predecessor leaves */
static napi_value addon_inherit(napi_env env, napi_callback_info info)
{
	char path[PATH_OCTETS];
	napi_value arguments[1], value;
	int fd;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], path, sizeof(path)))
		return NULL;
	fd = fl_inherit_listen(path);
	if (fd < 0)
		return fail(env, fd, fl_error());
	return napi_create_int32(env, fd, &value) == napi_ok ? value : NULL;
}

/* stop(handle, keepGuard, heir): `heir` is where a successor listens for rings, or "" */
static napi_value addon_stop(napi_env env, napi_callback_info info)
{
	char heir[PATH_OCTETS];
	napi_value arguments[3];
	struct plane *plane;
	bool keep_guard;

	if (!read_arguments(env, info, arguments, 3) || !(plane = read_plane(env, arguments[0])) ||
	    !read_bool(env, arguments[1], &keep_guard) || !read_text(env, arguments[2], heir, sizeof(heir)))
		return NULL;
	if (plane->runner)
		fl_runner_stop(plane->runner, keep_guard, heir[0] ? heir : NULL);
	plane->runner = NULL;
	return NULL;
}

/* move(to, from): `from` is frozen (what is its is dropped from now on), and its state comes into `to` */
static napi_value addon_move(napi_env env, napi_callback_info info)
{
	struct plane *to, *from;
	napi_value arguments[2];
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(to = read_writable(env, arguments[0])) ||
	    !(from = read_writable(env, arguments[1])))
		return NULL;
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

	if (read_arguments(env, info, arguments, 1) && (plane = read_writable(env, arguments[0])))
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

/* sample(handle, on): whoever forwards reports what it decides, or no longer does */
static napi_value addon_sample(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct plane *plane;
	bool is_on;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_writable(env, arguments[0])) ||
	    !read_bool(env, arguments[1], &is_on))
		return NULL;
	fl_store(&plane->region.header->is_sampling, (u32)is_on);
	return NULL;
}

/* samples(handle) -> ArrayBuffer of struct fl_record, those since last asked */
static napi_value addon_samples(napi_env env, napi_callback_info info)
{
	napi_value arguments[1], buffer = NULL;
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
		{ "inherit", addon_inherit },
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
		{ "ask", addon_ask },
		{ "close", addon_close },
		{ "probeOpen", addon_probe_open },
		{ "probeAsk", addon_probe_ask },
		{ "probeClose", addon_probe_close },
		{ "pathOpen", addon_path_open },
		{ "pathUse", addon_path_use },
		{ "pathSocket", addon_path_socket },
		{ "pathEnd", addon_path_end },
		{ "pathClose", addon_path_close },
		{ "pathRemove", addon_path_remove },
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
