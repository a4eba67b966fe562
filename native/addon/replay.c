/* The core over frames that JS has, by a clock that JS moves: for tests, and for the engine `replay`. */
#include <string.h>

#include "addon.h"
#include "../engine/slot.h"

#define REPLAY_ROOM (70000 + FL_HEAD_MOST) /* a super-frame, and what an answer or a tunnel may add */

static void set_number(napi_env env, napi_value object, const char *name, u32 number)
{
	napi_value value;

	napi_create_uint32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

/* replay(handle, frame: Uint8Array, interface, csumStart, gsoSize, nowNs) -> { verdict, reason, outInterface, frame } */
napi_value addon_replay(napi_env env, napi_callback_info info)
{
	static _Thread_local u8 room[REPLAY_ROOM];
	napi_value arguments[6], object, array, buffer;
	struct fl_result result = { 0 };
	struct fl_frame frame = { .data = room + FL_HEAD_MOST,
				  .room = sizeof(room) - FL_HEAD_MOST,
				  .head = FL_HEAD_MOST };
	u32 interface, csum_start, gso_size;
	napi_typedarray_type type;
	struct plane *plane;
	size_t length;
	void *octets;
	u64 now;

	if (!read_arguments(env, info, arguments, 6) || !(plane = read_writable(env, arguments[0])) ||
	    !read_u32(env, arguments[2], &interface) || !read_u32(env, arguments[3], &csum_start) ||
	    !read_u32(env, arguments[4], &gso_size) || !read_time(env, arguments[5], &now))
		return NULL;
	if (napi_get_typedarray_info(env, arguments[1], &type, &length, &octets, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array || length > frame.room) {
		napi_throw_type_error(env, NULL, "a frame of at most 70000 octets is wanted here, as a Uint8Array");
		return NULL;
	}
	if (length)
		memcpy(frame.data, octets, length);
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
		memcpy(octets, frame.data, frame.len);
	napi_create_typedarray(env, napi_uint8_array, frame.len, buffer, 0, &array);
	napi_set_named_property(env, object, "frame", array);
	return object;
}

/* replayer(handle, isTc): from now on frames are replayed by the kernel's program, over this region of maps */
napi_value addon_replayer(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct plane *plane;
	bool is_tc;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])) ||
	    !read_bool(env, arguments[1], &is_tc))
		return NULL;
	if (plane->replayer)
		return fail(env, -EBUSY, "frames are replayed by a program already");
	code = fl_replayer_open(&plane->replayer, &plane->region, is_tc);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* age(handle, nowNs) -> flows freed by one sweep */
napi_value addon_age(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], freed;
	struct plane *plane;
	u64 now;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_writable(env, arguments[0])) ||
	    !read_time(env, arguments[1], &now))
		return NULL;
	napi_create_double(env, (double)fl_age_sweep(&plane->region, now), &freed);
	return freed;
}
